"""Accuracy of the optimal detector under what a sweep adds to `frequency-discrimination`.

`ColouredNoise(0)` is Gaussian only in its direction: brought to its budget, it is uniform on the
sphere of radius R = eps std sqrt(L) in the n = L - 1 dimensions without the mean (eps in std, std
that of the task's training inputs). So the closed form of white Gaussian noise does not fit it;
these do. Together with the task's own noise of standard deviation sigma it has, in these n
dimensions, a length rho with (rho / sigma)^2 noncentral chi^2 of n degrees of freedom and
noncentrality (R / sigma)^2, and a direction that is uniform and independent of rho. Given rho, with
s = amplitude sqrt(L / 2) the length of a signal:

random phase: the two coordinates of the noise in the right class's plane have length r and an
angle psi to the signal, uniform, with r^2 / rho^2 of law Beta(1, (n - 2) / 2). The shares of the
other M - 1 planes in the rest rho^2 - r^2 are Dirichlet with parameters 1, so that none exceeds
t = |s + r exp(i psi)|^2 / (rho^2 - r^2) with probability

    sum_k (-1)^k C(M-1, k) max(0, 1 - k t)^(n/2 - 2),   k = 0 to M - 1.

known phase, two classes: the answer is right where one coordinate d of the noise is below s /
sqrt(2), and d^2 / rho^2 is of law Beta(1/2, (n - 1) / 2).

A Fourier mode of random phase in the bin of a class adds a vector of length R to that class's
plane, or to one that no class has, which changes nothing. For two classes with random phase,

    mode in the right class   1 - exp(-(s^2 + R^2) / (4 sigma^2)) I0(s R / (2 sigma^2)) / 2
    mode in the other class   1 - Q1(a, b) + exp(-(a^2 + b^2) / 2) I0(a b) / 2,
                              a = R / (sqrt(2) sigma), b = s / (sqrt(2) sigma)

Source: Fang, Kotz and Ng, Symmetric Multivariate and Related Distributions (1990), sections 1.4
and 2.2 for spheres and Dirichlet laws; Stein, IEEE Trans. Inf. Theory 10 (1964), pages 210-217, and
Proakis and Salehi, Digital Communications (5th edition, 2008), appendix B, for two Rice variables.
"""

import math

import numpy as np
from scipy import integrate, special, stats

from robustssm.errors import UsageError
from robustssm.typing import FloatArray

# Nodes for rho, r^2 and psi. The integrands are smooth: from length 64 on, twice as many change
# nothing above 1e-9.
_LENGTHS, _RADII, _ANGLES = 64, 96, 128
# Standard deviations of rho^2 on both sides that are integrated over; of a normal law, 1e-15 is
# left out.
_WIDTH = 9.0
_MOST_CLASSES = 20


def accuracy_in_noise(
    radius: float,
    sigma: float,
    length: int = 256,
    classes: int = 2,
    amplitude: float = 1.0,
    phase: str = "random",
) -> float:
    """Return the accuracy under `ColouredNoise(0)` of Euclidean norm `radius`.

    sigma: standard deviation of the task's own noise. radius = 0 is the closed form of white
    noise, by another route. Raises UsageError for what has no closed form here: a known phase
    with more than two classes, or more than 20 classes.
    """
    if (phase == "known" and classes > 2) or classes > _MOST_CLASSES:
        raise UsageError(
            f"calibration: phase {phase!r} with {classes} classes has no closed form here, "
            f"expected random with 2 to {_MOST_CLASSES}, or known with 2"
        )
    _check(radius, sigma)
    if length < 8 or 2 * classes > length - 1:
        raise UsageError(
            f"calibration: length is {length}, expected 8 or more and above twice the classes"
        )
    n, signal = length - 1, amplitude * math.sqrt(length / 2.0)
    rho, weights = _lengths(n, radius, sigma)
    if phase == "known":
        share = np.minimum(1.0, signal**2 / (2.0 * rho**2))
        values = 0.5 + 0.5 * stats.beta.cdf(share, 0.5, (n - 1) / 2.0)
    else:
        values = _on_sphere(rho, n, signal, classes)
    return float(np.sum(weights * values))


def accuracy_in_mode(
    radius: float, sigma: float, length: int = 256, amplitude: float = 1.0
) -> float:
    """Return the accuracy, two classes and random phase, under a mode in the bin of one class.

    radius: Euclidean norm of the mode, whose phase is random; labels equally likely. Raises
    UsageError where sigma is 0.
    """
    _check(radius, sigma)
    if sigma == 0.0:
        raise UsageError("calibration: sigma is 0, expected noise in the task")
    signal = amplitude * math.sqrt(length / 2.0)
    a, b = radius / (math.sqrt(2.0) * sigma), signal / (math.sqrt(2.0) * sigma)
    # exp(-(a^2 + b^2) / 2) I0(a b), without overflow.
    both = math.exp(-((a - b) ** 2) / 2.0) * float(special.i0e(a * b))
    right = 1.0 - 0.5 * both
    marcum = float(stats.ncx2.sf(b * b, 2, a * a)) if a > 0.0 else math.exp(-b * b / 2.0)
    other = 1.0 - marcum + 0.5 * both
    return 0.5 * (right + other)


def _lengths(n: int, radius: float, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Return nodes (nodes,) of rho and their weights, which sum to 1."""
    if sigma == 0.0:
        return np.array([radius]), np.ones(1)
    centre = (radius / sigma) ** 2
    mean, deviation = n + centre, math.sqrt(2.0 * (n + 2.0 * centre))
    nodes, weights = np.polynomial.legendre.leggauss(_LENGTHS)
    square = np.maximum(mean + _WIDTH * deviation * nodes, 1e-12)
    law = stats.ncx2(n, centre) if centre > 0.0 else stats.chi2(n)
    weights = weights * law.pdf(square)
    return sigma * np.sqrt(square), weights / weights.sum()


def _on_sphere(rho: FloatArray, n: int, signal: float, classes: int) -> FloatArray:
    """Return the accuracy (nodes,) of noise uniform on spheres of radius rho, random phase."""
    nodes, weights = np.polynomial.laguerre.laggauss(_RADII)
    # r^2 / rho^2 = 1 - (1 - u)^(2 / (n - 2)) with u uniform, u = 1 - exp(-node).
    rest = np.exp(-nodes / ((n - 2) / 2.0))[:, None]
    psi = 2.0 * np.pi * np.arange(_ANGLES) / _ANGLES
    r = rho[:, None, None] * np.sqrt(1.0 - rest)
    t = signal**2 + r**2 + 2.0 * signal * r * np.cos(psi)
    t = t / (rho[:, None, None] ** 2 * rest)
    found = np.zeros_like(t)
    for k in range(classes):
        sign = -1.0 if k % 2 else 1.0
        term = np.maximum(0.0, 1.0 - k * t) ** (n / 2.0 - 2.0)
        found += sign * math.comb(classes - 1, k) * term
    result: FloatArray = (found.mean(2) * weights).sum(1) / weights.sum()
    return result


def _check(radius: float, sigma: float) -> None:
    for name, value in (("radius", radius), ("sigma", sigma)):
        if not (math.isfinite(value) and value >= 0.0):
            raise UsageError(f"calibration: {name} is {value:g}, expected a finite number >= 0")
    if radius == 0.0 and sigma == 0.0:
        raise UsageError("calibration: radius and sigma are 0, expected some noise")


# In white Gaussian noise:
#
# With E / N0 = amplitude^2 L / (4 sigma^2), the ratio of a sinusoid's energy to the noise power per
# dimension of a complex coefficient, the share of right answers is
#
#     phase random   sum_k (-1)^k C(M-1, k) / (k+1) exp(-(k / (k+1)) E / N0),  k = 0 to M - 1
#     phase known    integral of pdf(y - sqrt(2 E / N0)) cdf(y)^(M-1) dy, of the normal distribution
#
# Source: Proakis and Salehi, Digital Communications (5th edition, 2008), equations 4.4-9 (coherent
# detection of orthogonal signals) and 4.5-46 (noncoherent).
#
# Nodes of Gauss-Hermite quadrature: the integrand is smooth, 200 leave nothing above rounding.
_NODES = 200


def energy_ratio(sigma: float, length: int = 256, amplitude: float = 1.0) -> float:
    """Return E / N0 = amplitude^2 L / (4 sigma^2); inf without noise."""
    return math.inf if sigma == 0.0 else amplitude**2 * length / (4.0 * sigma**2)


def bayes_accuracy(
    sigma: float,
    length: int = 256,
    classes: int = 2,
    amplitude: float = 1.0,
    phase: str = "random",
) -> float:
    """Return the largest accuracy that any classifier can reach in white Gaussian noise.

    sigma: its standard deviation in all: independent noise of deviation s that is added to a task
    of deviation `noise` makes sigma^2 = noise^2 + s^2. See the equations above.
    """
    ratio = energy_ratio(sigma, length, amplitude)
    if phase == "random":
        # The alternating sum loses digits for many classes; the integral that it stands for does
        # not: the energy of the right coefficient is noncentral chi^2, of the others exponential.
        return _noncoherent(ratio, classes)
    return _coherent(ratio, classes)


def _noncoherent(ratio: float, classes: int) -> float:
    k = np.arange(classes)
    if math.isinf(ratio):
        return 1.0
    if classes <= 20:  # C(19, 9) < 1e5: eleven digits are left
        binomial = np.array([math.comb(classes - 1, i) for i in k], dtype=np.float64)
        terms = (-1.0) ** k * binomial / (k + 1) * np.exp(-k / (k + 1) * ratio)
        return float(np.clip(math.fsum(terms), 1.0 / classes, 1.0))

    def density(r: float) -> float:
        # Rice density of the amplitude r, unit variance per part, times P(all others are less).
        mean = math.sqrt(2.0 * ratio)
        weight = r * math.exp(-((r - mean) ** 2) / 2.0) * float(special.i0e(r * mean))
        return float(weight * (-math.expm1(-(r**2) / 2.0)) ** (classes - 1))

    centre = math.sqrt(2.0 * ratio)
    found, _ = integrate.quad(
        density, max(0.0, centre - 12.0), centre + 14.0, limit=400, epsabs=1e-13
    )
    return float(min(1.0, found))


def _coherent(ratio: float, classes: int) -> float:
    if math.isinf(ratio):
        return 1.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    values = np.exp((classes - 1) * special.log_ndtr(nodes + math.sqrt(2.0 * ratio)))
    return float(np.sum(weights * values) / math.sqrt(2.0 * math.pi))
