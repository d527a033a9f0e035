"""One Fourier mode of the input, random phase per sample.

Reference: Yin et al., A Fourier Perspective on Model Robustness (arXiv 1906.08988), section 2,
in one dimension and with the phase drawn instead of the sign.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from robustssm.attacks.base import Perturbation, Site
from robustssm.errors import UsageError
from robustssm.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Fourier(Perturbation):
    """cos(2 pi mode t / L + phase), scaled to root mean square eps in `std`.

    mode: DFT bin 0..floor(L/2); the phase is uniform per sample and channel. With `lengths` the
    frequency stays mode / L cycles per sample and the scale is that of the valid part.
    """

    mode: int

    unit: ClassVar[str] = "std"
    injection: ClassVar[str] = "input"

    def check_length(self, L: int) -> None:
        """Raise UsageError for a mode beyond the Nyquist bin of length L."""
        nyquist = L // 2
        if not 0 <= self.mode <= nyquist:
            raise UsageError(
                f"fourier: mode {self.mode} is beyond the Nyquist bin {nyquist} of length-{L} "
                f"inputs, expected 0-{nyquist}; use --modes 1-{nyquist}"
            )

    def direction(
        self,
        valid: IntArray,
        shape: tuple[int, ...],
        sample_id: IntArray,
        seed: int,
        site: Site,
    ) -> FloatArray:
        """Return the mode with root mean square `site.scale` over each sample's valid part."""
        _, L, channels = shape
        self.check_length(L)
        phase = 2.0 * np.pi * self.draws(sample_id, channels, seed, site)
        t = np.arange(L)
        angle = 2.0 * np.pi * (self.mode * t % L) / L
        # Where sin(angle) is rounding only (bins 0 and L/2) the mode is +-1 times the cosine.
        sine = 0.0 if 2 * self.mode % L == 0 else 1.0
        wave = (
            np.cos(phase)[:, None, :] * np.cos(angle)[:, None]
            - sine * np.sin(phase)[:, None, :] * np.sin(angle)[:, None]
        )
        inside = (t < valid[:, None])[..., None]
        rms = np.sqrt(np.sum(wave**2 * inside, axis=1, keepdims=True) / valid[:, None, None])
        scale = np.ones(channels) if site.scale is None else site.scale
        return wave / rms * scale

    def in_band(self, delta: FloatArray, site: Site) -> FloatArray:
        """Return the energy in the mode's DFT bin (and its mirror), by Parseval."""
        L = delta.shape[1]
        t = np.arange(L)
        basis = np.exp(-2j * np.pi * (self.mode * t % L) / L)
        coefficient = np.einsum("btc,t->bc", delta, basis)
        weight = 1.0 if 2 * self.mode % L == 0 else 2.0
        result: FloatArray = weight / L * np.sum(np.abs(coefficient) ** 2, axis=1)
        return result
