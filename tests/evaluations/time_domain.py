"""Output errors in the time domain: int_0^inf |((k_a - k) * u)(t)|^2 dt, exactly.

The second route to what `evaluations.initializations.parseval` integrates over frequency.

The error is a sum of exponentials, so its energy is a finite sum, without sampling in t.

Rank-one family: D = G_t - G vanishes at s = 0, 1, ..., n-1, where phi_n does, and phi_n(s)
phi_n(-s) = s^2 / (s^2 - n^2), so that at the mirrored poles D(-lambda) = tau^2 lambda^2 G(-lambda)
/ ((1 - tau^2) lambda^2 - n^2). HiPPO's own poles -1..-(n-1) therefore drop out of the residues of
D(s) D(-s) u^(s) u^(-s), which leave O(n) terms: those of lambda_k, of u^, and of -n.

Other systems: the observability Gramian of error and input in cascade (Lyapunov).
"""

import numpy as np
from scipy.linalg import block_diag, expm, solve_continuous_lyapunov
from scipy.special import roots_jacobi

from robustssm.evaluations.initializations.inputs import Input
from robustssm.evaluations.initializations.responses import (
    Damped,
    Response,
    is_hippo,
    paired,
    reference,
)
from robustssm.hippo import legs
from robustssm.typing import Array, ComplexArray, FloatArray

# Largest dense Lyapunov equation: seconds.
MAX_GRAMIAN = 640
# The other sums, whose terms are bounded by moduli only, generously.
EPS, CANCELLED = 2.2e-16, 1e-3
# Largest relative correction by refinement with which a Gramian sum is still given.
RESOLUTION = 1e-7
# Readouts that reach further have no residues in float64: binom(2 J, J) at J = 12 is 2.7e6.
MAX_SUPPORT = 12
# End of the integral along the branch cut of `decay`: slow powers need decades.
CUT_END = 1e40
# D(1) D(-1) is 0 times infinity for a readout with C_0: its value this far off the real axis, where
# for odd n a pole may lie as near as n tau, is within 1e-8.
ASIDE = 1e-9j
# A real pole nearer than this to -1 is not resolved by the nodes on the branch cut.
NEAREST = 0.05


def product(signal: Input, s: ComplexArray) -> ComplexArray:
    """Return u^(s) u^(-s), Re s < 0; for the box the part of it that decays to the left.

    There u^(s) u^(-s) = (2 - e^s - e^-s) / (-s^2), and both exponentials integrate alike.
    """
    if signal.kind == "box":
        result: ComplexArray = 2.0 * np.expm1(s) / (s * s)
        return result
    if signal.kind == "decay":
        return (1.0 - s * s) ** -signal.value
    return signal.transform(s) * signal.transform(-s)


def state_space(signal: Input) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (A, x_0, C) with u(t) = C e^{At} x_0, for `exp` and `mode`."""
    if signal.kind == "exp":
        return -np.eye(1), np.ones(1), np.ones(1)
    w = signal.value
    return np.array([[-1.0, -w], [w, -1.0]]), np.array([1.0, 0.0]), np.array([1.0, 0.0])


def time_error(system: Response, signal: Input) -> float | None:
    """Return |(G_a - G) u|_2, or None if float64 cannot hold the sums.

    None: dense systems beyond MAX_GRAMIAN states, or with residues that cancel; `decay` with
    readouts of more than MAX_SUPPORT entries, or of all n, or beside a real pole near -1; n = 1.
    """
    if is_hippo(system) or not np.any(system.C):
        return 0.0
    support = int(np.flatnonzero(system.C)[-1]) + 1
    if signal.kind == "decay" and (support > MAX_SUPPORT or support == system.n):
        return None
    if isinstance(system, Damped) and signal.kind in ("decay", "exp", "mode"):
        # -1, of u^, is HiPPO's only pole; the cut from -1 on passes by a real pole.
        real = system.poles[system.poles.imag == 0.0].real
        if system.n == 1 or (signal.kind == "decay" and (1.0 + real < NEAREST).any()):
            return None
    energy: float | None
    if isinstance(system, Damped):
        energy = _damped_energy(system, signal)
    elif 2 * len(system.poles) + support > MAX_GRAMIAN:
        return None
    elif signal.kind == "decay":
        energy = _modal_energy(system, signal, support)
    else:
        energy = _gramian_energy(system, signal, support)
    return None if energy is None or energy < 0.0 else float(np.sqrt(energy))


def _damped_energy(system: Damped, signal: Input) -> float:
    """Return the sum of the residues of D(s) D(-s) u^(s) u^(-s) in the left half-plane."""
    n, tau, poles = system.n, system.tau, system.poles
    square = poles * poles
    mirrored = tau**2 * square * reference(system.C, -poles) / ((1.0 - tau**2) * square - n * n)
    terms = system.residues * mirrored * product(signal, poles)
    energy = float(np.sum(system.weight * terms.real))
    for pole in signal.poles():
        # A pole of u^ has residue 1 or, for a mode, 1/2 at each of two.
        share = 1.0 / len(signal.poles())
        at = np.array([1.0 + ASIDE if pole == -1.0 else -pole])
        value = _product(system, at)[0] * share * signal.transform(-pole[None])[0]
        energy += float(value.real)
    if signal.kind == "decay":
        # (1/pi) int_1^inf Im-jump of (1 - s^2)^-q times D(x) D(-x) dx along the branch cut.
        q = signal.value
        x, weight = _cut_nodes(q)
        values = _product(system, x).real * (x + 1.0) ** -q
        return energy + float(np.sin(np.pi * q) / np.pi * np.dot(weight, values))
    last = system.C[-1]
    if last:
        s = np.array([n + 0j])
        factor = last * np.sqrt(2.0 * n - 1.0) * n / (2.0 * (2.0 * n - 1.0))
        G, ratio = reference(system.C, s)[0].real, 1.0 + tau * legs.phi(n, s)[0].real
        energy += float(factor * tau * G / ratio * product(signal, -s)[0].real)
    return energy


def _product(system: Damped, a: Array) -> ComplexArray:
    """Return D(a) D(-a) for Re a > 0, a not an integer below n."""
    n, tau = system.n, system.tau
    a = np.asarray(a, dtype=np.complex128)
    phi, kappa = legs.phi(n, a), a * a / (a * a - n * n)
    product = reference(system.C, a) * (reference(system.C, -a) * phi)
    result: ComplexArray = tau**2 * product * kappa / ((1.0 + tau * phi) * (phi + tau * kappa))
    return result


def _cut_nodes(q: float) -> tuple[FloatArray, FloatArray]:
    """Return nodes x and weights of int_1^CUT_END f(x) (x - 1)^-q dx, 0 < q < 1.

    Gauss-Jacobi on [1, 2], where the weight (x - 1)^-q sits, and Gauss-Legendre in ln x beyond.
    """
    t, w = roots_jacobi(32, 0.0, -q)
    first, first_weight = 1.5 + 0.5 * t, w * 0.5 ** (1.0 - q)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(np.log(2.0), np.log(CUT_END), int(np.ceil(np.log2(CUT_END))))
    half = 0.5 * np.diff(edges)[:, None]
    x = np.exp(0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes)
    rest = half * weights * x * (x - 1.0) ** -q
    return np.concatenate([first, x.ravel()]), np.concatenate([first_weight, rest.ravel()])


def _modal_energy(system: Response, signal: Input, support: int) -> float | None:
    """Return the energy of the output for `decay`, u(t) as a sum of exponentials e^-at.

    t^(q-1) e^-t / Gamma(q) = sin(pi q) / pi int_1^inf (a - 1)^-q e^-at da, by the nodes of the cut.
    """
    poles, residues = _error_modes(system, support)
    a, weight = _cut_nodes(signal.value)
    weight = weight * np.sin(np.pi * signal.value) / np.pi
    coupling = 1.0 / (poles[:, None] + a)
    modes = np.concatenate([poles, -a.astype(np.complex128)])
    free = residues * (coupling @ weight)
    driven = -weight * (residues @ coupling)
    amplitudes = np.concatenate([free, driven])
    gram = -1.0 / (modes[:, None] + np.conj(modes))
    size = np.abs(amplitudes)
    return _unless_cancelled(
        float((amplitudes @ gram @ np.conj(amplitudes)).real), float(size @ np.abs(gram) @ size)
    )


def _unless_cancelled(energy: float, terms: float) -> float | None:
    """Return the energy, or None if rounding of its terms may reach CANCELLED of it."""
    return energy if EPS * terms <= CANCELLED * energy else None


def _error_modes(system: Response, support: int) -> tuple[ComplexArray, ComplexArray]:
    """Return all poles and residues of G_a - G, those of HiPPO being -1..-support."""
    poles, residues = paired(system)
    of_hippo = np.empty(support)
    for m in range(support):
        x = np.array([_residue(i, m) for i in range(support)])
        of_hippo[m] = np.dot(system.C[:support] * legs.input_vector(support), x)
    poles = np.concatenate([poles, -(np.arange(support) + 1.0)])
    return poles, np.concatenate([residues, -of_hippo])


def _residue(i: int, m: int) -> float:
    """Return the residue of phi_i(s) / (s + i + 1) at s = -(m+1); 0 for m > i.

    The factor 1 / (s + m + 1) is left out.
    """
    if m > i:
        return 0.0
    s = -(m + 1.0)
    below = np.array([s + k + 1.0 for k in range(i + 1) if k != m])
    return float(np.prod(s - np.arange(i)) / np.prod(below))


def _gramian_energy(system: Response, signal: Input, support: int) -> float | None:
    """Return x_0^T Q x_0 with the observability Gramian Q of G_a - G driven by the input.

    HiPPO is lower triangular: a readout of `support` entries sees its leading block only.
    """
    cells = [
        np.array([[p.real, p.imag], [-p.imag, p.real]]) if p.imag else np.array([[p.real]])
        for p in system.poles
    ]
    A_hippo, B_hippo = legs.matrices(support)
    A = block_diag(*cells, A_hippo)
    columns = [
        (np.array([2.0, 0.0]), np.array([r.real, r.imag])) if p.imag else ([1.0], [r.real])
        for p, r in zip(system.poles, system.residues, strict=True)
    ]
    B = np.concatenate([*(b for b, _ in columns), B_hippo])
    C = np.concatenate([*(c for _, c in columns), -system.C[:support]])
    if signal.kind == "box":
        return _box_energy(A, B, C)
    if signal.kind == "impulse":
        return _energy(A, B, C)
    A_u, x_u, C_u = state_space(signal)
    cascade = np.block([[A, np.outer(B, C_u)], [np.zeros((len(A_u), len(A))), A_u]])
    start = np.concatenate([np.zeros(len(A)), x_u])
    return _energy(cascade, start, np.concatenate([C, np.zeros(len(A_u))]))


def _energy(A: FloatArray, start: FloatArray, C: FloatArray) -> float | None:
    """Return x_0^T Q x_0, Q = int e^{A^T t} C^T C e^{A t} dt refined by one step, or None.

    None if that step still moved it by more than RESOLUTION: residues then cancel too far.
    """
    Q = solve_continuous_lyapunov(A.T, -np.outer(C, C))
    residual = A.T @ Q + Q @ A + np.outer(C, C)
    correction = solve_continuous_lyapunov(A.T, -residual)
    moved = float(start @ correction @ start)
    energy = float(start @ Q @ start) + moved
    return energy if abs(moved) <= RESOLUTION * energy else None


def _box_energy(A: FloatArray, B: FloatArray, C: FloatArray) -> float | None:
    """Return the energy for the box: v = A^-1 B, y = C (e^{At} - I) v on [0, 1], then free."""
    v = np.linalg.solve(A, B)
    w = expm(A) @ v
    Q = solve_continuous_lyapunov(A.T, -np.outer(C, C))
    still = float(C @ v)
    moving = float(v @ Q @ v - w @ Q @ w) - 2.0 * still * float(C @ np.linalg.solve(A, w - v))
    energy = moving + still**2 + float((w - v) @ Q @ (w - v))
    return _unless_cancelled(energy, 2.0 * float(np.linalg.norm(Q) * (v @ v + w @ w)) + still**2)
