"""Perturb-then-diagonalize (PTD): A + E = V diag(lambda) V^-1 with V well conditioned.

Seven ways to the perturbation E of HiPPO-LegS: the normal part (E = P P^T, S4D), the rank-one
family (E = t P P^T, closed form), the same with its singular values clipped, a random E (the
control), one entry in the corner, an optimised E (the paper's objective, `ptd_optimizer`) and one
optimised for the error itself (`ptd_minimax`). Each result carries what a user must know of it:
kappa(V), |E| / |A|, max Re lambda and the backward error.

References: arXiv 2310.01698, section 4; Davies, SIAM J. Matrix Anal. 29 (2007), approximate
diagonalization. The rank-one family is this project's own.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy.optimize import brentq

from robustssm.errors import StabilityError, UsageError
from robustssm.hippo import legs
from robustssm.hippo.spectrum import (
    damped_eigenvalues,
    defective_tau,
    log_phi_slope,
    normal_eigenpairs,
)
from robustssm.typing import ComplexArray, FloatArray

DEFAULT_TAU = 0.1
# Logarithmic cuts of the singular values at the lower and upper end, in units of tau ln(1 / tau).
LIFT, LOWER = 0.3, 0.9
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
    perturbed: FloatArray | ComplexArray,
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
    A, _ = legs.matrices(len(B))
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
    A, B = legs.matrices(n)
    eigenvalues, V = normal_eigenpairs(n)
    relative = 0.5 * n * n / np.linalg.norm(A, 2)
    return _finish("normal", legs.normal_part(n), eigenvalues, V, 0.5 * B, float(relative))


def rank_one(n: int, tau: float = DEFAULT_TAU) -> Diagonalization:
    """Return A + t P P^T with input (1 - t/2) B, t = 2 tau / (1 + tau), 0 < tau <= 1.

    Its transfer function is G / (1 + tau phi_n), and Re lambda < -1/2 always (numerical range).
    Raises StabilityError where tau is below 1.5 tau_c and the matrix nearly defective.
    """
    eigenvalues = damped_eigenvalues(legs.check_order(n), tau)
    t = 2.0 * tau / (1.0 + tau)
    A, B = legs.matrices(n)
    P = legs.low_rank(n)
    relative = float(t * np.dot(P, P) / np.linalg.norm(A, 2))
    V = legs.state(n, eigenvalues)
    return _finish("rank1", A + t * np.outer(P, P), eigenvalues, V, (1.0 - 0.5 * t) * B, relative)


def clipped(n: int, tau: float = DEFAULT_TAU) -> tuple[Diagonalization, FloatArray, FloatArray]:
    """Return Q (A + t P P^T) Q^-1 with input (1 - t/2) Q B, its E (n, n) and its input B_E (n,).

    The rank-one family's eigenvalues, so it is stable, with less kappa for the error: Q cuts the
    largest and the smallest singular values of V = [x(lambda_k) |L_k|^-1/2]. These fall like
    tau^(k/n), and the few at either end, whose states the cut distorts, set kappa. With c = tau
    ln(1 / tau) the smallest are raised to e^(0.3 c) times the least, the largest lowered to
    e^(-0.9 c) times the most. That touches some 1.2 n tau of them: measured, the error is below
    that of `rank_one` at the same kappa where n tau >= 1.6, above it where n tau <= 1.3.
    Raises as `rank_one`.
    """
    known = rank_one(n, tau)
    V = legs.state(n, known.eigenvalues)
    V = V / np.sqrt(np.abs(log_phi_slope(n, known.eigenvalues + 0.5)))
    U, sigma, _ = np.linalg.svd(V)
    c = -tau * np.log(tau)
    low, high = sigma[-1] * np.exp(LIFT * c), sigma[0] * np.exp(-LOWER * c)
    # V V^* is real, the spectrum being closed under conjugation, and so is Q.
    Q = ((U * (np.clip(sigma, low, max(low, high)) / sigma)) @ U.conj().T).real
    A, B = legs.matrices(n)
    t, P = 2.0 * tau / (1.0 + tau), legs.low_rank(n)
    perturbed = np.linalg.solve(Q.T, (Q @ (A + t * np.outer(P, P))).T).T
    E, B_E = perturbed - A, (1.0 - 0.5 * t) * (Q @ B)
    relative = float(np.linalg.norm(E, 2) / np.linalg.norm(A, 2))
    found = _finish("clipped", perturbed, known.eigenvalues, Q @ V, B_E, relative)
    return found, E, B_E


def tau_of_kappa(n: int, kappa: float) -> float:
    """Return the tau at which the rank-one family has kappa(V) = kappa, unit columns.

    kappa falls from about 1 / tau to 1 at tau = 1. Raises UsageError where kappa is out of the
    family's reach: below 1, or above what 1.5 tau_c, its least tau, has.
    """
    least, most = 1.5 * defective_tau(legs.check_order(n, minimum=2)) * (1.0 + 1e-12), 0.9999
    least = max(least, 1e-12)
    lowest, highest = rank_one(n, most).kappa, rank_one(n, least).kappa
    if not lowest <= kappa <= highest:
        raise UsageError(
            f"rank-one PTD: kappa is {kappa:g}, expected 1 < kappa <= {highest:.4g} at n = {n}"
        )

    def excess(log_tau: float) -> float:
        return float(np.log(rank_one(n, float(np.exp(log_tau))).kappa / kappa))

    return float(np.exp(brentq(excess, np.log(least), np.log(most), xtol=1e-12)))


def perturb(
    E: FloatArray | ComplexArray,
    method: str = "given",
    *,
    B: FloatArray | None = None,
    stable: bool = True,
) -> Diagonalization:
    """Return the diagonalisation of A + E for E of shape (n, n), input matrix B (HiPPO's).

    Raises StabilityError where A + E has an eigenvalue with Re >= 0, unless `stable` is False.
    Order: Im descending.
    """
    n = len(E)
    A, own = legs.matrices(n)
    if E.shape != (n, n) or not np.isfinite(E).all():
        raise UsageError(f"PTD: E has shape {E.shape}, expected a finite square matrix")
    B = own if B is None else legs.check_readout(B, n)
    eigenvalues, V = np.linalg.eig(A + E)
    if stable and eigenvalues.real.max() >= 0.0:
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
    A, _ = legs.matrices(n)
    E = np.random.default_rng(seed).standard_normal((n, n))
    E *= RANDOM_RELATIVE_NORM * np.linalg.norm(A, 2) / np.linalg.norm(E, 2)
    while np.linalg.eigvals(A + E).real.max() > MAX_REAL:
        E *= 0.5
    return E


def scaled_random(n: int, seed: int, relative_norm: float) -> FloatArray:
    """Return a real Gaussian E with |E|_2 / |A|_2 = relative_norm; A + E may be unstable."""
    E = np.random.default_rng(seed).standard_normal((legs.check_order(n), n))
    return E * (relative_norm * np.linalg.norm(legs.matrices(n)[0], 2) / np.linalg.norm(E, 2))


def corner_perturbation(n: int, size: float = 1.0) -> FloatArray:
    """Return E = size e_0 e_{n-1}^T: |E|_2 = |size|, the one entry farthest above the diagonal.

    It closes the chain of states to a ring, as the corner of a circulant does for a shift.
    """
    E = np.zeros((legs.check_order(n, minimum=2), n))
    E[0, -1] = size
    return E


def shipped_orders(prefix: str = "n") -> list[int]:
    """Return the state sizes whose optimised E ships with the package (`minimax-n`: the other)."""
    folder = resources.files("robustssm.hippo") / "ptd_matrices"
    found = [re.fullmatch(f"{prefix}([0-9]+)[.]npz", file.name) for file in folder.iterdir()]
    return sorted(int(match[1]) for match in found if match)


@lru_cache(maxsize=8)
def shipped_perturbation(n: int, prefix: str = "n") -> tuple[FloatArray, dict[str, object]]:
    """Return the optimised E (n, n) that ships with the package, and how it was made.

    Made by `robustssm ptd --method optimized` (prefix `minimax-n`: `--method minimax`); raises
    UsageError where none ships for n.
    """
    if n not in shipped_orders(prefix):
        raise UsageError(
            f"s4ptd: no optimised perturbation ships for state size {n}, expected one of "
            f"{shipped_orders(prefix)}; use s4ptd-rank1, which has every size in closed form"
        )
    path = resources.files("robustssm.hippo") / "ptd_matrices" / f"{prefix}{n}.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return stored["E"].astype(np.float64), json.loads(str(stored["meta"]))


def diagonalize(
    n: int,
    method: str,
    *,
    tau: float = DEFAULT_TAU,
    seed: int = 0,
    size: float | None = None,
) -> Diagonalization:
    """Return the diagonalisation of HiPPO-LegS by `normal`, `rank1`, `random` or `optimized`.

    size: |E|/|A| of a random E; None takes that of `random_perturbation`. Raises StabilityError
    where A + E has an eigenvalue with real part >= 0.
    """
    match method:
        case "normal":
            return normal(n)
        case "rank1":
            return rank_one(n, tau)
        case "random":
            E = random_perturbation(n, seed) if size is None else scaled_random(n, seed, size)
            return perturb(E, "random")
        case "optimized":
            return perturb(shipped_perturbation(n)[0], "optimized")
    raise UsageError(f"PTD: method is {method!r}, expected one of normal, rank1, random, optimized")


__all__ = [
    "DEFAULT_TAU",
    "Diagonalization",
    "clipped",
    "corner_perturbation",
    "defective_tau",
    "diagonalize",
    "normal",
    "perturb",
    "random_perturbation",
    "rank_one",
    "scaled_random",
    "shipped_orders",
    "shipped_perturbation",
    "tau_of_kappa",
]
