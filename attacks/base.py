"""The contract of a perturbation: pure, budgeted, the same for a sample wherever it is drawn."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from robustssm.attacks.philox import uniform
from robustssm.errors import UsageError
from robustssm.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Site:
    """Where a perturbation acts: the input (layer None), or the input of an SSM layer.

    scale: size of eps = 1 per channel, (channels,); dt: step sizes of the layer, (channels,).
    """

    layer: int | None = None
    scale: FloatArray | None = None
    dt: FloatArray | None = None


class Perturbation(ABC):
    """What is done to a signal (batch, length, channels), apart from how strongly.

    Subclasses are frozen dataclasses whose repr can be typed back; they write `direction`.
    unit says what eps means. std: root mean square of the perturbation, in standard deviations
    of the task's training inputs; linf: its largest absolute value, in the signal's own units.
    """

    unit: ClassVar[str]
    injection: ClassVar[str]  # "input" or "layers"

    @final
    def perturb(
        self,
        x: Tensor,
        lengths: Tensor | None,
        sample_id: IntArray,
        seed: int,
        *,
        eps: float,
        site: Site,
    ) -> Tensor:
        """Return x perturbed at strength eps, in `unit`; x itself where eps = 0.

        x: (batch, length, channels); lengths: (batch,) valid steps or None; sample_id: (batch,).
        Padding is never touched. Raises UsageError for eps that is negative or not finite.
        """
        check_eps(eps)
        if eps == 0.0:
            return x
        valid = np.full(len(x), x.shape[1]) if lengths is None else lengths.cpu().numpy()
        delta = eps * self.direction(valid, x.shape, np.asarray(sample_id), seed, site)
        if lengths is not None:
            delta = delta * (np.arange(x.shape[1]) < valid[:, None])[..., None]
        return x + torch.from_numpy(delta).to(x.device, x.dtype)

    @abstractmethod
    def direction(
        self,
        valid: IntArray,
        shape: tuple[int, ...],
        sample_id: IntArray,
        seed: int,
        site: Site,
    ) -> FloatArray:
        """Return the perturbation at eps = 1, broadcastable to `shape`, float64."""

    @abstractmethod
    def in_band(self, delta: FloatArray, site: Site) -> FloatArray:
        """Return each sample's energy of delta (batch, length, channels) at the named frequency."""

    def check_length(self, L: int) -> None:  # noqa: B027
        """Raise UsageError where the perturbation does not exist at sequence length L."""

    def draws(self, sample_id: IntArray, count: int, seed: int, site: Site) -> FloatArray:
        """Return uniform draws in [0, 1), (samples, count), of this perturbation at this site."""
        return uniform(f"{seed}|{self!r}|{site.layer}", sample_id, count)


def check_eps(eps: float) -> float:
    """Return eps, or raise UsageError where it is negative or not finite."""
    if not (np.isfinite(eps) and eps >= 0.0):
        raise UsageError(f"eps: {eps:g} is not a strength, expected a finite number >= 0")
    return eps


@dataclass
class Delivered:
    """What reached each sample of a batch, summed over the sites of one forward pass.

    energy: sum of squares of the perturbation; largest: its maximum modulus; in_band: the part
    of the energy at the named frequency. All (batch,); count is the number of perturbed values
    per sample.
    """

    energy: FloatArray
    largest: FloatArray
    in_band: FloatArray
    count: int = 0

    @classmethod
    def nothing(cls, batch: int) -> "Delivered":
        """Return the account of an untouched batch."""
        return cls(np.zeros(batch), np.zeros(batch), np.zeros(batch))

    def add(self, before: Tensor, after: Tensor, perturbation: Perturbation, site: Site) -> None:
        """Book the difference of a site's signal after and before (batch, length, channels)."""
        delta = (after.double() - before.double()).cpu().numpy()
        self.energy += np.sum(delta**2, axis=(1, 2))
        self.largest = np.maximum(self.largest, np.abs(delta).max(axis=(1, 2)))
        self.in_band += perturbation.in_band(delta, site)
        self.count += delta.shape[1] * delta.shape[2]

    @property
    def l2(self) -> FloatArray:
        """Euclidean norm per sample."""
        return np.sqrt(self.energy)

    @property
    def rms(self) -> FloatArray:
        """Root mean square per sample, over all values of all perturbed sites."""
        return np.sqrt(self.energy / max(self.count, 1))

    @property
    def share(self) -> FloatArray:
        """Share of energy at the named frequency, 1 where nothing was added."""
        safe = np.where(self.energy > 0.0, self.energy, 1.0)
        return np.where(self.energy > 0.0, self.in_band / safe, 1.0)
