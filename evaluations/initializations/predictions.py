"""What theory says of the errors of the rank-one family, for a readout C of fixed, finite support.

With CB the jump of the kernel at t = 0+, |phi_n| ~ omega / n for omega << n and D = G_t - G =
-G tau phi_n / (1 + tau phi_n) (tau = 1 is the normal part, S4D):

strong  tau = 1: sup -> (2/pi) |CB|, and O(1/n) if CB = 0 (theorem A, B; for CB = 0 the constant is
        sup |omega G|). tau < 1: at most tau / (1 - tau) sup |omega G| / n.
weak    |D u|_2 -> tau |s G u^|_2 / n wherever s G u^ is in L2 (arXiv 2310.01698, Theorem 1: O(1/n)
        for |u^| = O(|s|^-q), q > 1/2). Where it is not, high frequencies decide:
  tau = 1: the spikes at omega_k ~ n^2 / q_k, q_k = (2k-1) pi, of height 2 |CB| / q_k and half-width
        1/2: energy sum_k (2 |CB|^2 / q_k^2) |u^(i omega_k)|^2. For the impulse that is |CB|^2 / 4
        (Theorem 2: no convergence), for |u^| = |s|^-q, q < 1/2, the rate is -2q.
  tau < 1: the mean over the phase of phi_n, tau^2 |CB|^2 / pi int |u^|^2 d omega /
        ((1 - tau^2) omega^2 + n^2): rates -1/2 for the impulse and -(q + 1/2) for |s|^-q.
  a mode at omega_1 with window e^-t: |CB| / (pi sqrt 3) at tau = 1, where the residue of the
        spike is |CB| / pi; tau / (1 - tau) |CB| pi / (2 n^2) at tau < 1.

`proved` marks theorems A and B and the bound; `derived` the leading terms above, whose remainders
were not estimated.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import zeta

from robustssm.evaluations.initializations.inputs import Input
from robustssm.evaluations.initializations.parseval import slope_norm
from robustssm.evaluations.initializations.responses import Damped, Response, on_axis, reference
from robustssm.hippo.legs import input_vector
from robustssm.typing import FloatArray

# "Fixed support": the readout ends this far below n.
FIXED = 0.25
# CB counts as zero below this share of sum |C_i B_i|: rounding of the sum.
NO_JUMP = 1e-12


@dataclass(frozen=True)
class Prediction:
    """error ~ constant n^rate, or <= where `bound`; status `proved`, `derived`, or "" for none."""

    rate: float = np.nan
    constant: float = np.nan
    status: str = ""
    bound: bool = False


def _fixed(system: Response) -> tuple[FloatArray, float] | None:
    """Return the readout without trailing zeros, if it counts as fixed, and tau; else None."""
    used = np.flatnonzero(system.C)
    if not isinstance(system, Damped) or not len(used) or used[-1] + 1 > FIXED * system.n:
        return None
    return system.C[: used[-1] + 1], system.tau


def _jump(C: FloatArray) -> float:
    """Return |C B|, 0 if it is rounding."""
    terms = C * input_vector(len(C))
    total = abs(float(np.sum(terms)))
    return total if total > NO_JUMP * float(np.sum(np.abs(terms))) else 0.0


def _next_jump(C: FloatArray) -> float:
    """Return |C A B|: where CB = 0, G ~ C A B / s^2."""
    b = input_vector(len(C))
    below = np.concatenate([[0.0], np.cumsum(b * b)[:-1]])
    return abs(float(np.dot(C, -b * below - (np.arange(len(C)) + 1.0) * b)))


def largest_slope(C: FloatArray) -> float:
    """Return sup_omega |omega G(i omega)|, on a grid that is fine for its smooth curve."""
    omega = np.geomspace(1e-2, 1e4 * len(C) ** 2, 20001)
    curve = np.abs(omega * reference(C, on_axis(omega)))
    return float(max(curve.max(), _jump(C)))


def strong(system: Response) -> Prediction:
    """Return what is known of sup |G_a - G|."""
    fixed = _fixed(system)
    if fixed is None:
        return Prediction()
    C, tau = fixed
    if tau < 1.0:
        return Prediction(-1.0, tau / (1.0 - tau) * largest_slope(C), "proved", bound=True)
    jump = _jump(C)
    if jump:
        return Prediction(0.0, 2.0 / np.pi * jump, "proved")
    return Prediction(-1.0, largest_slope(C), "proved")


def weak(system: Response, signal: Input) -> Prediction:
    """Return what is known of |(G_a - G) u|_2."""
    fixed = _fixed(system)
    if fixed is None:
        return Prediction()
    C, tau = fixed
    jump = _jump(C)
    if signal.name == "spike":
        return _spike(C, tau, jump)
    if signal.kind == "mode" and signal.value > FIXED * system.n:
        return Prediction()
    q = {"impulse": 0.0, "decay": signal.value}.get(signal.kind, 1.0)
    if jump and q <= 0.5:
        return _high_frequency(tau, jump, q)
    return Prediction(-1.0, tau * slope_norm(C, signal), "derived")


def _high_frequency(tau: float, jump: float, q: float) -> Prediction:
    if q == 0.5:
        return Prediction()
    if tau == 1.0:
        odd = (1.0 - 2.0 ** -(2.0 - 2.0 * q)) * float(zeta(2.0 - 2.0 * q))
        energy = 2.0 * np.pi ** (2.0 * q - 2.0) * odd
        return Prediction(0.0 - 2.0 * q, jump * np.sqrt(energy), "derived")
    # int_0^inf w^-2q / (a w^2 + 1) dw = a^(q - 1/2) pi / (2 cos pi q), a = 1 - tau^2.
    integral = (1.0 - tau**2) ** (q - 0.5) / (2.0 * np.cos(np.pi * q))
    return Prediction(-(q + 0.5), tau * jump * np.sqrt(integral), "derived")


def _spike(C: FloatArray, tau: float, jump: float) -> Prediction:
    if tau == 1.0:
        if jump:
            return Prediction(0.0, jump / (np.pi * np.sqrt(3.0)), "derived")
        return Prediction(-2.0, _next_jump(C) / np.sqrt(3.0), "derived")
    damping = tau / (1.0 - tau)
    if jump:
        return Prediction(-2.0, damping * jump * np.pi / 2.0, "derived")
    return Prediction(-4.0, damping * _next_jump(C) * np.pi**2 / 2.0, "derived")
