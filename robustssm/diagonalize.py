"""Perturb-then-diagonalize (PTD): A + E = V diag(lambda) V^-1 with V well conditioned.

Four ways to the perturbation E of HiPPO-LegS: the normal part (E = P P^T, S4D), the rank-one
family (E = t P P^T, closed form), a random E (the control) and an optimised E (the paper's
method, `ptd_optimizer`). Each result carries what a user must know of it: kappa(V), |E| / |A|,
max Re lambda and the backward error.

References: arXiv 2310.01698, section 4; Davies, SIAM J. Matrix Anal. 29 (2007), approximate
diagonalization. The rank-one family is this project's own.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from robustssm import hippo
from robustssm.errors import StabilityError, UsageError
from robustssm.spectrum import damped_eigenvalues, defective_tau, normal_eigenpairs
from robustssm.typing import ComplexArray, FloatArray

DEFAULT_TAU = 0.1
# Stable means with a margin: eigenvalues at most here, none reflected afterwards.
MAX_REAL = -0.25
# The size at which the search for a stable random E starts: that of the optimised E.
RANDOM_RELATIVE_NORM = 0.035


@dataclass(frozen=True)
class Diagonalization:
    """A + E = V diag(eigenvalues) V^-1, and its quality.

    eigenvalues (n,), V and V_inv (n, n) with unit columns in V, B (n,) = V^-1 times the input
    matrix. kappa is the 2-norm condition number of V; relative_norm is |E|_2 / |A|_2;
    backward_error is |A + E - V diag(lambda) V^-1|_F / |A|_F.
    """

    method: str
    eigenvalues: ComplexArray
    V: ComplexArray
    V_inv: ComplexArray
    B: ComplexArray
    kappa: float
    relative_norm: float
    max_real: float
    backward_error: float


def _finish(
    method: str,
    perturbed: FloatArray,
    eigenvalues: ComplexArray,
    V: ComplexArray,
    B: FloatArray,
    relative_norm: float,
) -> Diagonalization:
    """Normalise the columns of V, invert it and measure."""
    V = V / np.linalg.norm(V, axis=0)
    V_inv = np.linalg.inv(V)
    singular = np.linalg.svd(V, compute_uv=False)
    residual = perturbed - (V * eigenvalues) @ V_inv
    A, _ = hippo.legs(len(B))
    return Diagonalization(
        method=method,
        eigenvalues=eigenvalues,
        V=V,
        V_inv=V_inv,
        B=V_inv @ B,
        kappa=float(singular[0] / singular[-1]),
        relative_norm=relative_norm,
        max_real=float(eigenvalues.real.max()),
        backward_error=float(np.linalg.norm(residual) / np.linalg.norm(A)),
    )


def normal(n: int) -> Diagonalization:
    """Return the normal part with input B/2 (S4D-LegS): V unitary, |E|_2 = n^2 / 2."""
    A, B = hippo.legs(n)
    eigenvalues, V = normal_eigenpairs(n)
    relative = 0.5 * n * n / np.linalg.norm(A, 2)
    return _finish("normal", hippo.normal_part(n), eigenvalues, V, 0.5 * B, float(relative))


def rank_one(n: int, tau: float = DEFAULT_TAU) -> Diagonalization:
    """Return A + t P P^T with input (1 - t/2) B, t = 2 tau / (1 + tau), 0 < tau <= 1.

    Its transfer function is G / (1 + tau phi_n), and Re lambda < -1/2 always (numerical range).
    Raises StabilityError where tau is below 1.5 tau_c and the matrix nearly defective.
    """
    eigenvalues = damped_eigenvalues(hippo.check_order(n), tau)
    t = 2.0 * tau / (1.0 + tau)
    A, B = hippo.legs(n)
    P = hippo.low_rank(n)
    relative = float(t * np.dot(P, P) / np.linalg.norm(A, 2))
    V = hippo.state(n, eigenvalues)
    return _finish("rank1", A + t * np.outer(P, P), eigenvalues, V, (1.0 - 0.5 * t) * B, relative)


def perturb(E: FloatArray, method: str = "given") -> Diagonalization:
    """Return the diagonalisation of A + E for a real E of shape (n, n), input matrix B.

    Raises StabilityError where A + E has an eigenvalue with Re >= 0. Order: Im descending.
    """
    n = len(E)
    A, B = hippo.legs(n)
    if E.shape != (n, n) or not np.isfinite(E).all():
        raise UsageError(f"PTD: E has shape {E.shape}, expected a finite square matrix")
    eigenvalues, V = np.linalg.eig(A + E)
    if eigenvalues.real.max() >= 0.0:
        raise StabilityError(
            f"PTD: A + E has max Re lambda = {eigenvalues.real.max():.3g}, expected < 0; "
            "take a smaller or a constrained perturbation"
        )
    order = np.argsort(-eigenvalues.imag, kind="stable")
    relative = float(np.linalg.norm(E, 2) / np.linalg.norm(A, 2))
    return _finish(
        method,
        A + E,
        eigenvalues[order].astype(np.complex128),
        V[:, order].astype(np.complex128),
        B,
        relative,
    )


def random_perturbation(n: int, seed: int = 0) -> FloatArray:
    """Return a real Gaussian E, scaled to |E|/|A| = 0.035 and halved until A + E is stable.

    The control of the optimised E: the largest size on that ladder with max Re lambda <= -1/4.
    """
    A, _ = hippo.legs(n)
    E = np.random.default_rng(seed).standard_normal((n, n))
    E *= RANDOM_RELATIVE_NORM * np.linalg.norm(A, 2) / np.linalg.norm(E, 2)
    while np.linalg.eigvals(A + E).real.max() > MAX_REAL:
        E *= 0.5
    return E


def shipped_orders() -> list[int]:
    """Return the state sizes whose optimised E ships with the package."""
    folder = resources.files("robustssm") / "ptd_matrices"
    return sorted(int(f.name[1:-4]) for f in folder.iterdir() if f.name.endswith(".npz"))


@lru_cache(maxsize=8)
def shipped_perturbation(n: int) -> tuple[FloatArray, dict[str, object]]:
    """Return the optimised E (n, n) that ships with the package, and how it was made.

    Made by `robustssm ptd --method optimized`; raises UsageError where none ships for n.
    """
    if n not in shipped_orders():
        raise UsageError(
            f"s4ptd: no optimised perturbation ships for state size {n}, expected one of "
            f"{shipped_orders()}; use s4ptd-rank1, which has every size in closed form"
        )
    path = resources.files("robustssm") / "ptd_matrices" / f"n{n}.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return stored["E"].astype(np.float64), json.loads(str(stored["meta"]))


def diagonalize(n: int, method: str, *, tau: float = DEFAULT_TAU, seed: int = 0) -> Diagonalization:
    """Return the diagonalisation of HiPPO-LegS by `normal`, `rank1`, `random` or `optimized`."""
    match method:
        case "normal":
            return normal(n)
        case "rank1":
            return rank_one(n, tau)
        case "random":
            return perturb(random_perturbation(n, seed), "random")
        case "optimized":
            return perturb(shipped_perturbation(n)[0], "optimized")
    raise UsageError(f"PTD: method is {method!r}, expected one of normal, rank1, random, optimized")


__all__ = [
    "DEFAULT_TAU",
    "Diagonalization",
    "defective_tau",
    "diagonalize",
    "normal",
    "perturb",
    "random_perturbation",
    "rank_one",
    "shipped_orders",
    "shipped_perturbation",
]
