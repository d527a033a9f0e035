"""Perturb-then-diagonalize (PTD): A + E = V diag(lambda) V^-1 with V well conditioned.

Here are the diagonalisations in closed form, the normal part (E = P P^T, S4D), the rank-one family
(E = t P P^T) and the same with its singular values clipped, and that of any given E (`perturb`).
`ptd_methods` names all ways to an E. Each result carries what a user must know of it: kappa(V),
|E| / |A|, max Re lambda and the backward error.

References: arXiv 2310.01698, section 4; Davies, SIAM J. Matrix Anal. 29 (2007), approximate
diagonalization. The rank-one family is this project's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from robustssm.errors import StabilityError, UsageError
from robustssm.hippo import legs, spectrum
from robustssm.typing import ComplexArray, FloatArray

DEFAULT_TAU = 0.1
# Logarithmic cuts of the singular values at the lower and upper end, in units of tau ln(1 / tau).
LIFT, LOWER = 0.3, 0.9
# Stable means with a margin: eigenvalues at most here, none reflected afterwards.
MAX_REAL = -0.25


@dataclass(frozen=True)
class Diagonalization:
    """A + E = V diag(eigenvalues) V^-1 with input matrix B_E, and its quality.

    method is a name of `ptd_methods`, settings what E was made with, as reports and files say it.
    E (n, n), B_E (n,); eigenvalues (n,) per unit time; V and V_inv (n, n) with unit columns in V;
    B (n,) = V^-1 B_E. kappa is the 2-norm condition number of V; relative_norm is |E|_2 / |A|_2;
    max_real is max Re lambda; backward_error is |A + E - V diag(lambda) V^-1|_F / |A|_F.
    """

    method: str
    settings: Mapping[str, object]
    E: FloatArray | ComplexArray
    B_E: FloatArray
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
    settings: Mapping[str, object],
    E: FloatArray | ComplexArray,
    B_E: FloatArray,
    eigenvalues: ComplexArray,
    V: ComplexArray,
    norm: float | None = None,
) -> Diagonalization:
    """Normalise the columns of V, invert it and measure; norm: |E|_2, computed if None."""
    A, _ = legs.matrices(len(B_E))
    norm = float(np.linalg.norm(E, 2)) if norm is None else norm
    V = V / np.linalg.norm(V, axis=0)
    V_inv = np.linalg.inv(V)
    singular = np.linalg.svd(V, compute_uv=False)
    residual = A + E - (V * eigenvalues) @ V_inv
    return Diagonalization(
        method=method,
        settings=settings,
        E=E,
        B_E=B_E,
        eigenvalues=eigenvalues,
        V=V,
        V_inv=V_inv,
        B=V_inv @ B_E,
        kappa=float(singular[0] / singular[-1]),
        relative_norm=norm / float(np.linalg.norm(A, 2)),
        max_real=float(eigenvalues.real.max()),
        backward_error=float(np.linalg.norm(residual) / np.linalg.norm(A)),
    )


def normal(n: int) -> Diagonalization:
    """Return the normal part with input B/2 (S4D-LegS): V unitary, |E|_2 = n^2 / 2."""
    eigenvalues, V = spectrum.normal_eigenpairs(n)
    P, B = legs.low_rank(n), legs.input_vector(n)
    return _finish("normal", {}, np.outer(P, P), 0.5 * B, eigenvalues, V, 0.5 * n * n)


def rank_one(n: int, tau: float = DEFAULT_TAU) -> Diagonalization:
    """Return A + t P P^T with input (1 - t/2) B, t = 2 tau / (1 + tau), 0 < tau <= 1.

    Its transfer function is G / (1 + tau phi_n), and Re lambda < -1/2 always (numerical range).
    Raises StabilityError if tau is below 1.5 tau_c and the matrix nearly defective.
    """
    eigenvalues = spectrum.damped_eigenvalues(legs.check_order(n), tau)
    t = 2.0 * tau / (1.0 + tau)
    P, B = legs.low_rank(n), legs.input_vector(n)
    E, B_E = t * np.outer(P, P), (1.0 - 0.5 * t) * B
    V = legs.state(n, eigenvalues)
    return _finish("rank1", {"tau": tau}, E, B_E, eigenvalues, V, t * float(np.dot(P, P)))


def clipped(n: int, tau: float = DEFAULT_TAU) -> Diagonalization:
    """Return Q (A + t P P^T) Q^-1 with input (1 - t/2) Q B.

    The rank-one family's eigenvalues, so it is stable, with less kappa for the error: Q cuts the
    largest and the smallest singular values of V = [x(lambda_k) |L_k|^-1/2]. These fall like
    tau^(k/n), and the few at either end, whose states the cut distorts, set kappa. With c = tau
    ln(1 / tau) the smallest are raised to e^(0.3 c) times the least, the largest lowered to
    e^(-0.9 c) times the most. That touches some 1.2 n tau of them: measured, the error is below
    that of `rank_one` at the same kappa where n tau >= 1.6, above it where n tau <= 1.3.
    Raises as `rank_one`.
    """
    family = rank_one(n, tau)
    V = legs.state(n, family.eigenvalues)
    V = V / np.sqrt(np.abs(spectrum.log_phi_slope(n, family.eigenvalues + 0.5)))
    U, sigma, _ = np.linalg.svd(V)
    c = -tau * np.log(tau)
    low, high = sigma[-1] * np.exp(LIFT * c), sigma[0] * np.exp(-LOWER * c)
    # V V^* is real, the spectrum being closed under conjugation, and so is Q.
    Q = ((U * (np.clip(sigma, low, max(low, high)) / sigma)) @ U.conj().T).real
    A, B = legs.matrices(n)
    E = np.linalg.solve(Q.T, (Q @ (A + family.E)).T).T - A
    B_E = (1.0 - tau / (1.0 + tau)) * (Q @ B)
    return _finish("clipped", {"tau": tau}, E, B_E, family.eigenvalues, Q @ V)


def perturb(
    E: FloatArray | ComplexArray,
    method: str = "given",
    settings: Mapping[str, object] = MappingProxyType({}),
    *,
    B: FloatArray | None = None,
    stable: bool = True,
) -> Diagonalization:
    """Return the diagonalisation of A + E for any E of shape (n, n), eigenvalues by descending Im.

    method and settings say how E was made; B (n,) is the input matrix, HiPPO's by default. Raises
    UsageError if E is not a finite square matrix, StabilityError if A + E has an eigenvalue with a
    real part >= 0, unless `stable` is False.
    """
    n = len(E)
    if E.shape != (n, n) or not np.isfinite(E).all():
        raise UsageError(f"PTD: E has shape {E.shape}, expected a finite square matrix")
    A, B_H = legs.matrices(n)
    eigenvalues, V = np.linalg.eig(A + E)
    if stable and eigenvalues.real.max() >= 0.0:
        raise StabilityError(
            f"PTD: A + E has max Re lambda = {eigenvalues.real.max():.3g}, expected < 0; "
            "take a smaller or a constrained perturbation"
        )
    order = np.argsort(-eigenvalues.imag, kind="stable")
    B_E = B_H if B is None else legs.check_readout(B, n)
    poles, V = eigenvalues[order].astype(np.complex128), V[:, order].astype(np.complex128)
    return _finish(method, settings, E, B_E, poles, V)
