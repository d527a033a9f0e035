"""Sinusoids: tell frequency and amplitude of A cos(s t), and extrapolate.

The regression of Fig. 2 of arXiv 2310.01698. No script of it was released: that s is learnt on
[0, 80] and tested to 100 is the paper's, everything else is chosen here. The phase is 0, so that
s = 0 has an amplitude too. Targets are s and A, each mapped to [-1, 1] over the range of training,
so that a test beyond it has targets above 1. The samples of a split depend on its number: they are
those of the study (`evaluations.paper.sinusoids`), whose training samples are those of its seed.
"""

import math
from dataclasses import dataclass

import numpy as np

from robustssm.errors import UsageError
from robustssm.targets import VALUES
from robustssm.tasks.base import SPLITS, Split, Task, spec_of
from robustssm.tasks.generated import FIRST, check, check_memory, check_sizes
from robustssm.typing import FloatArray

_WHO = "sinusoids"


@dataclass(frozen=True)
class Signals:
    """Sampling and ranges: step h (time units), length L, s in [0, s_max], A in [low, high].

    Frequencies in rad per unit time; h s_max must stay below pi.
    """

    step: float
    length: int
    s_max: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 < self.step * self.s_max < math.pi:
            raise UsageError(
                f"sinusoids: step {self.step} and s_max {self.s_max} give "
                f"{self.step * self.s_max:.3g} rad per sample, expected above 0 and below pi; "
                "take a smaller step"
            )
        if not 0.0 < self.low < self.high:
            raise UsageError(
                f"sinusoids: amplitudes from {self.low} to {self.high}, expected 0 < low < high"
            )

    def samples(self, s: FloatArray, A: FloatArray) -> FloatArray:
        """Return A cos(s t) at t = 0, h, ..., (L - 1) h, shape (m, L), of s and A (m,)."""
        t = self.step * np.arange(self.length)
        return np.asarray(A[:, None] * np.cos(s[:, None] * t))

    def draw(self, count: int, *seed: int) -> tuple[FloatArray, FloatArray]:
        """Return s (count,), uniform on [0, s_max], and A (count,), uniform on [low, high]."""
        bits = np.random.Philox(seed[0] if len(seed) == 1 else seed)
        uniform = np.random.Generator(bits).random((2, count))
        return self.s_max * uniform[0], self.low + (self.high - self.low) * uniform[1]

    def scaled(self, s: FloatArray, A: FloatArray) -> FloatArray:
        """Return the targets (m, 2): s and A mapped to [-1, 1] over the training ranges."""
        amplitude = (2.0 * A - self.low - self.high) / (self.high - self.low)
        return np.stack([2.0 * s / self.s_max - 1.0, amplitude], axis=1)

    def unscaled(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return s and A (m,) of targets or predictions (m, 2): the inverse of `scaled`."""
        middle, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        return 0.5 * self.s_max * (y[:, 0] + 1.0), middle + half * y[:, 1]


def sinusoids(
    length: int = 512,
    step: float = 0.02,
    s_max: float = 80.0,
    s_test: float = 100.0,
    low: float = 0.5,
    high: float = 2.0,
    train: int = 2000,
    validation: int = 200,
    test: int = 500,
    seed: int = 0,
) -> Task:
    """Return the task; s_test: the largest frequency of a test sample; low, high: amplitudes.

    Raises UsageError.
    """
    given = dict(locals())
    check_sizes(_WHO, seed, train=train, validation=validation, test=test)
    check(_WHO, "length", length, 2, 1 << 20)
    check_memory(_WHO, 4 * length, train, validation, test)
    learnt = Signals(step, length, s_max, low, high)
    widest = Signals(step, length, s_test, low, high)
    splits = {}
    for number, (name, size) in enumerate(zip(SPLITS, (train, validation, test), strict=True)):
        drawn = widest if name == "test" else learnt
        s, A = drawn.draw(size, *([seed, number] if number else [seed]))
        inputs = learnt.samples(s, A).astype(np.float32)[..., None]
        splits[name] = Split(inputs, learnt.scaled(s, A), FIRST[name] + np.arange(size))
    spec = spec_of(_WHO, given, sinusoids)
    return Task(spec, 2, splits, rate=1.0 / step, names=("s", "A"), kind=VALUES)
