"""Frequency discrimination: which sinusoid it is; the best is known.

Sample: x[t] = amplitude cos(2 pi k t / L + phi) + noise g[t], t = 0 to L - 1, with k one of M
DFT bins, equally spaced from `low` to `high` (rounded to whole bins), g white Gaussian noise of
variance 1, and phi uniform in [0, 2 pi), or 0 where `phase=known`. The M signals are orthogonal
and of equal energy, so that what any classifier can reach at most is known in closed form. This
makes it a task by which the harness itself is checked: `tests/evaluations/calibration/` holds the
optimal detector, and what it loses to noise and to modes that are added.

Source: Proakis and Salehi, Digital Communications (5th edition, 2008), sections 4.4 and 4.5.
"""

import numpy as np

from robustssm.errors import require_one_of
from robustssm.philox import uniform
from robustssm.tasks.base import Task, spec_of
from robustssm.tasks.generated import check, check_memory, check_sizes, normals, on_grid, splits_of
from robustssm.typing import Array, IntArray

PHASES = ("random", "known")
_WHO = "frequency-discrimination"


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
    check_memory(_WHO, 4 * length, train, validation, test)
    bins = class_bins(length, classes, low, high)
    check(_WHO, "noise", noise, 0.0, 1e3)
    check(_WHO, "amplitude", amplitude, 1e-3, 1e3)
    require_one_of(f"{_WHO}: phase", phase, PHASES)
    # Of the noise alone: samples of the same number have the same noise at every strength.
    stream = f"{_WHO}|{length}|{seed}"
    angle = 2.0 * np.pi * np.arange(length) / length
    cosine, sine = np.cos(angle), np.sin(angle)

    def make(split: str, index: IntArray) -> tuple[Array, ...]:
        labels = index % classes
        turn = (bins[labels, None] * np.arange(length)) % length
        if phase == "known":
            x = cosine[turn]
        else:
            phi = 2.0 * np.pi * uniform(f"{stream}|phase|{split}", index, 1)
            x = np.cos(phi) * cosine[turn] - np.sin(phi) * sine[turn]
        x = amplitude * x + noise * normals(stream, split, index, length)
        return on_grid(x)[..., None], labels

    splits = splits_of(make, length, train, validation, test)
    return Task(spec_of(_WHO, given, frequency_discrimination), classes, splits)


def class_bins(length: int, classes: int, low: int, high: int) -> IntArray:
    """Return the DFT bins (classes,) of the classes; raise UsageError where they do not exist."""
    check(_WHO, "classes", classes, 2, 256)
    check(_WHO, "low", low, 1, (length - 1) // 2)
    check(_WHO, "high", high, low + classes - 1, (length - 1) // 2)
    # Halves are rounded up, in whole numbers.
    spread = np.arange(classes, dtype=np.int64) * (high - low)
    return low + (2 * spread + classes - 1) // (2 * (classes - 1))
