"""The inputs of weak convergence by name: transforms u^, energies |u^|^2, and their poles.

| name      | u(t), t >= 0                      | u^(s)                              |
|-----------|-----------------------------------|------------------------------------|
| impulse   | delta                             | 1                                  |
| exp       | e^-t                              | 1 / (1 + s)                        |
| box       | 1 on [0, 1]                       | (1 - e^-s) / s                     |
| decay:q   | t^(q-1) e^-t / Gamma(q)           | (1 + s)^-q, O(|s|^-q), 0 < q < 1   |
| mode:w    | e^-t cos(w t)                     | (s + 1) / ((s + 1)^2 + w^2)        |
| spike     | mode at the highest eigenfrequency of the normal part, which moves with n          |

A Fourier mode has no finite energy: e^-t is its window, of half-width 1 in frequency where the
spikes of the normal part have 1/2. arXiv 2310.01698, section 3 and appendix F, takes Fourier modes,
e^-t and the impulse, and Theorem 1 asks for |u^| = O(|s|^-q).
"""

from dataclasses import dataclass

import numpy as np

from robustssm.errors import UsageError
from robustssm.hippo.spectrum import spikes
from robustssm.typing import ComplexArray, FloatArray

NAMES = ("impulse", "exp", "box", "decay:Q", "mode:W", "spike")
DEFAULT = ("impulse", "exp", "box", "decay:0.75", "decay:0.25", "mode:10", "spike")


@dataclass(frozen=True)
class Input:
    """One input: kind `impulse`, `exp`, `box`, `decay` or `mode`, and its q or its frequency."""

    name: str
    kind: str
    value: float = 0.0

    def energy(self, omega: FloatArray) -> FloatArray:
        """Return |u^(i omega)|^2."""
        square = 1.0 + omega * omega
        match self.kind:
            case "impulse":
                return np.ones_like(omega)
            case "exp":
                return 1.0 / square
            case "box":
                return np.sinc(omega / (2.0 * np.pi)) ** 2
            case "decay":
                return square**-self.value
        w = self.value
        return square / ((1.0 + (omega - w) ** 2) * (1.0 + (omega + w) ** 2))

    def transform(self, s: ComplexArray) -> ComplexArray:
        """Return u^(s), Re s > -1 (`box`: any s but 0)."""
        match self.kind:
            case "impulse":
                return np.ones_like(s)
            case "exp":
                return 1.0 / (1.0 + s)
            case "box":
                return -np.expm1(-s) / s
            case "decay":
                return (1.0 + s) ** -self.value
        return (s + 1.0) / ((s + 1.0) ** 2 + self.value**2)

    def poles(self) -> ComplexArray:
        """Return the poles of u^, shape (0,), (1,) or (2,)."""
        if self.kind == "exp":
            return np.array([-1.0 + 0.0j])
        if self.kind == "mode":
            return np.array([-1.0 + 1j * self.value, -1.0 - 1j * self.value])
        return np.zeros(0, dtype=np.complex128)


def parse_input(text: str, n: int) -> Input:
    """Return the input that `text` names at state size n; raise UsageError with what is allowed."""
    kind, colon, number = text.partition(":")
    if kind in ("impulse", "exp", "box") and not colon:
        return Input(text, kind)
    if kind == "spike" and not colon:
        return Input(text, "mode", float(spikes(n, 1)[0]))
    try:
        value = float(number)
    except ValueError:
        value = np.nan
    if kind == "decay" and 0.0 < value < 1.0:
        return Input(text, kind, value)
    if kind == "mode" and 0.0 <= value < 1e100:
        return Input(text, kind, value)
    raise UsageError(
        f"input: {text!r} is unknown, expected one of {', '.join(NAMES)} with 0 < Q < 1, "
        "0 <= W < 1e100"
    )
