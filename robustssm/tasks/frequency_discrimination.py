"""Frequency discrimination: which sinusoid it is; the best is known.

Sample: x[t] = amplitude cos(2 pi k t / L + phi) + noise g[t], t = 0 to L - 1, with k one of M
DFT bins, equally spaced from `low` to `high` (rounded to whole bins), g white Gaussian noise of
variance 1, and phi uniform in [0, 2 pi), or 0 where `phase=known`. The M signals are orthogonal
and of equal energy, so that what any classifier can reach at most is known in closed form. This
makes it a task by which the harness itself is checked: `evaluations/calibration/` holds the
optimal detector, and what it loses to noise and to modes that are added.

With E / N0 = amplitude^2 L / (4 sigma^2), the ratio of a sinusoid's energy to the noise power per
dimension of a complex coefficient, the share of right answers is

    phase random   sum_k (-1)^k C(M-1, k) / (k+1) exp(-(k / (k+1)) E / N0),  k = 0 to M - 1
    phase known    integral of pdf(y - sqrt(2 E / N0)) cdf(y)^(M-1) dy, of the normal distribution

Source: Proakis and Salehi, Digital Communications (5th edition, 2008), equations 4.4-9 (coherent
detection of orthogonal signals) and 4.5-46 (noncoherent).
"""

import math

import numpy as np

from robustssm.errors import UsageError
from robustssm.tasks.base import Split, Task
from robustssm.tasks.generated import (
    check,
    check_sizes,
    draws,
    normals,
    numbered,
    on_grid,
    spec,
    splits_of,
)
from robustssm.typing import FloatArray, IntArray

PHASES = ("random", "known")
_WHO = "frequency-discrimination"
_CHUNK = 1 << 20
# Nodes of Gauss-Hermite quadrature: the integrand is smooth, 200 leave nothing above rounding.
_NODES = 200


def frequency_discrimination(
    length: int = 256,
    classes: int = 2,
    low: int = 8,
    high: int = 32,
    noise: float = 3.0,
    amplitude: float = 1.0,
    phase: str = "random",
    train: int = 2000,
    validation: int = 200,
    test: int = 1000,
    seed: int = 0,
) -> Task:
    """Return the task; low, high: DFT bins, 1 to below length / 2; noise: standard deviation.

    Labels are dealt out in turn, so that chance is 1 / classes. Raises UsageError.
    """
    given = dict(locals())
    check_sizes(_WHO, seed, train=train, validation=validation, test=test)
    check(_WHO, "length", length, 8, 1 << 20)
    bins = class_bins(length, classes, low, high)
    check(_WHO, "noise", noise, 0.0, 1e3)
    check(_WHO, "amplitude", amplitude, 1e-3, 1e3)
    _check_phase(phase)
    # Of the noise alone: samples of the same number have the same noise at every strength.
    stream = f"{_WHO}|{length}|{seed}"
    turn = _turn(length)

    def make(split: str, index: IntArray) -> Split:
        labels = index % classes
        inputs = np.empty((len(index), length, 1), dtype=np.float32)
        size = max(1, _CHUNK // length)
        for start in range(0, len(index), size):
            part = slice(start, start + size)
            angle = (bins[labels[part], None] * np.arange(length)) % length
            if phase == "known":
                x = turn[0][angle]
            else:
                phi = 2.0 * np.pi * draws(f"{stream}|phase", split, index[part], 1)
                x = np.cos(phi) * turn[0][angle] - np.sin(phi) * turn[1][angle]
            x = amplitude * x + noise * normals(stream, split, index[part], length)
            inputs[part, :, 0] = on_grid(x)
        return numbered(split, index, inputs, labels)

    splits = splits_of(make, train, validation, test)
    return Task(spec(_WHO, given, frequency_discrimination), classes, splits)


def class_bins(length: int, classes: int, low: int, high: int) -> IntArray:
    """Return the DFT bins (classes,) of the classes; raise UsageError where they do not exist."""
    check(_WHO, "classes", classes, 2, 256)
    check(_WHO, "low", low, 1, (length - 1) // 2)
    check(_WHO, "high", high, low + classes - 1, (length - 1) // 2)
    # Halves are rounded up, in whole numbers.
    spread = np.arange(classes, dtype=np.int64) * (high - low)
    return low + (2 * spread + classes - 1) // (2 * (classes - 1))


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
    of deviation `noise` makes sigma^2 = noise^2 + s^2. See the equations above. Raises UsageError.
    """
    check(_WHO, "sigma", sigma, 0.0, math.inf)
    check(_WHO, "classes", classes, 2, 256)
    _check_phase(phase)
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
    from scipy.integrate import quad
    from scipy.special import i0e

    def density(r: float) -> float:
        # Rice density of the amplitude r, unit variance per part, times P(all others are less).
        mean = math.sqrt(2.0 * ratio)
        weight = r * math.exp(-((r - mean) ** 2) / 2.0) * float(i0e(r * mean))
        return float(weight * (-math.expm1(-(r**2) / 2.0)) ** (classes - 1))

    centre = math.sqrt(2.0 * ratio)
    found, _ = quad(density, max(0.0, centre - 12.0), centre + 14.0, limit=400, epsabs=1e-13)
    return float(min(1.0, found))


def _coherent(ratio: float, classes: int) -> float:
    from scipy.special import log_ndtr

    if math.isinf(ratio):
        return 1.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    values = np.exp((classes - 1) * log_ndtr(nodes + math.sqrt(2.0 * ratio)))
    return float(np.sum(weights * values) / math.sqrt(2.0 * math.pi))


def _turn(length: int) -> tuple[FloatArray, FloatArray]:
    """Return cos and sin of 2 pi t / length, (length,) each."""
    angle = 2.0 * np.pi * np.arange(length) / length
    return np.cos(angle), np.sin(angle)


def _check_phase(phase: str) -> None:
    if phase not in PHASES:
        raise UsageError(f"{_WHO}: phase is {phase!r}, expected {' or '.join(PHASES)}")
