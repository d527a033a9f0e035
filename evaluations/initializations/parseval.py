"""Output errors in the frequency domain: 1/(2 pi) int |G_a - G|^2 |u^|^2 d omega (Parseval).

Composite Gauss-Legendre with panels no longer than their distance to the poles allows, one panel in
1 / omega for the rest. Where |u^|^2 oscillates faster than a panel resolves, as for the box,
|D|^2 is expanded in Legendre polynomials and the oscillation integrated exactly (Filon).
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import spherical_jn

from robustssm.evaluations.initializations.inputs import Input
from robustssm.evaluations.initializations.responses import Response, on_axis, reference
from robustssm.hippo import legs
from robustssm.typing import Array, ComplexArray, FloatArray

# Gauss-Legendre nodes per panel, and its largest half-length over the distance to a pole: the
# Bernstein ellipse then has parameter 2.2 to 3, and the error is about 2.2^-32 = 1e-11.
NODES, REACH = 16, 0.75
# Half-lengths up to which 16 nodes integrate cos(omega) to rounding: 4^32 / 32! = 7e-17.
RESOLVED = 4.0
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(NODES)
# Values at the nodes -> Legendre coefficients.
LEGENDRE = (
    (np.arange(NODES)[:, None] + 0.5) * np.polynomial.legendre.legvander(POINTS, NODES - 1).T
) * WEIGHTS


class AxisQuadrature:
    """|f(i omega)|^2 on panels of [0, end] and on 1 / omega beyond, for any number of inputs.

    centre and half are of the panels, (panels,); omega (panels, NODES) and beyond (NODES,) are the
    nodes, at which whoever makes one gives `square` and `square_beyond`.
    """

    def __init__(self, poles: ComplexArray, end: float) -> None:
        low, high = quadrature_panels(poles, end)
        self.end, self.centre, self.half = end, 0.5 * (high + low), 0.5 * (high - low)
        self.omega: FloatArray = self.centre[:, None] + self.half[:, None] * POINTS
        self.beyond: FloatArray = 2.0 * end / (1.0 + POINTS)
        self.square = np.zeros(0)
        self.square_beyond = np.zeros(0)

    def integral(self, signal: Input) -> float:
        """Return 1/(2 pi) int |f|^2 |u^|^2 over the whole axis; f is real on the real axis."""
        direct = self.half <= RESOLVED if signal.kind == "box" else np.ones(len(self.half), bool)
        omega, square = self.omega[direct], self.square[direct]
        total = np.sum(self.half[direct] * ((square * signal.energy(omega)) @ WEIGHTS))
        if signal.kind == "box":
            total += self._filon(~direct)
            # cos(omega) averages out beyond the end.
            energy = 2.0 / self.beyond**2
        else:
            energy = signal.energy(self.beyond)
        tail = self.square_beyond * energy * self.beyond**2
        total += 0.5 / self.end * np.dot(WEIGHTS, tail)
        return float(total / np.pi)

    def _filon(self, chosen: np.ndarray) -> float:
        """Return int |f|^2 (2 - 2 cos omega) / omega^2 over the chosen panels.

        int_{-1}^{1} P_l(x) e^{i h x} dx = 2 i^l j_l(h), spherical Bessel functions.
        """
        if not chosen.any():
            return 0.0
        half, centre = self.half[chosen], self.centre[chosen]
        smooth = self.square[chosen] / self.omega[chosen] ** 2
        order = np.arange(NODES)
        moments = 2.0 * 1j**order * spherical_jn(order, half[:, None])
        wave = np.exp(1j * centre) * np.sum((smooth @ LEGENDRE.T) * moments, axis=1)
        return float(2.0 * np.sum(half * (smooth @ WEIGHTS - wave.real)))


def quadrature(system: Response, inputs: Sequence[Input] = ()) -> AxisQuadrature:
    """Return |G_a - G|^2 on panels that resolve its poles and those of the inputs."""
    extra = [signal.poles() for signal in inputs]
    end = 1e3 * system.n**2
    axis = AxisQuadrature(np.concatenate([system.poles, np.conj(system.poles), *extra]), end)
    # By blocks of panels, so that intermediates stay small.
    starts = range(0, len(axis.omega), 4096)
    errors = [np.abs(system.error(axis.omega[start : start + 4096])) for start in starts]
    axis.square = np.concatenate(errors) ** 2
    axis.square_beyond = np.abs(system.error(axis.beyond)) ** 2
    return axis


def slope_norm(C: FloatArray, signal: Input) -> float:
    """Return |s G(s) u^(s)|_2: n times it is what the error of the normal part tends to.

    For inputs with |s G u^| in L2. Beyond omega = 1e14 s G is C B, which counts for `decay` alone:
    elsewhere the rest is below 1e-14.
    """
    end = 1e14
    axis = AxisQuadrature(signal.poles(), end)
    axis.square = np.abs(axis.omega * reference(C, on_axis(axis.omega))) ** 2
    axis.square_beyond = np.zeros(NODES)
    beyond = 0.0
    if signal.kind == "decay" and signal.value > 0.5:
        excess = 2.0 * signal.value - 1.0
        beyond = float(C @ legs.input_vector(len(C))) ** 2 * end**-excess / (np.pi * excess)
    return float(np.sqrt(axis.integral(signal) + beyond))


def quadrature_panels(poles: Array, end: float) -> tuple[FloatArray, FloatArray]:
    """Return the ends of panels that cover [0, end], each bisected until poles are far enough.

    poles closed under conjugation; -1, the pole of HiPPO nearest to the axis, counts as one.
    """
    poles = np.concatenate([poles, [-1.0]])
    tree = cKDTree(np.stack([poles.real, poles.imag], axis=1))
    edges = np.concatenate([[0.0], end * 0.5 ** np.arange(np.ceil(np.log2(end)) + 2.0)[::-1]])
    low, high = edges[:-1], edges[1:]
    done_low, done_high = [], []
    while len(low):
        center, half = 0.5 * (low + high), 0.5 * (high - low)
        distance, _ = tree.query(np.stack([np.zeros_like(center), center], axis=1))
        long = half > REACH * distance
        done_low.append(low[~long])
        done_high.append(high[~long])
        low, high = (
            np.concatenate([low[long], center[long]]),
            np.concatenate([center[long], high[long]]),
        )
    order = np.argsort(np.concatenate(done_low))
    return np.concatenate(done_low)[order], np.concatenate(done_high)[order]
