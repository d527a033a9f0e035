"""One mode of the two-dimensional DFT, for sequences that are images read row by row.

Reference: Yin et al., A Fourier Perspective on Model Robustness (arXiv 1906.08988), section 2, and
the code that it released.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from robustssm.attacks.bands import NOTHING
from robustssm.attacks.base import Site, family
from robustssm.attacks.channels import Channelled
from robustssm.errors import UsageError
from robustssm.typing import IntArray

_CONVENTIONS = ("yin", "equal")


@family
class Fourier2D(Channelled):
    """The mode (i, j) of the image: i along the rows' axis, j along the columns', and its mirror.

    Needs a task of images, whole ones. Under `yin` every channel has the same l2 norm: the v of
    the paper, per channel, is eps in l2 over the square root of the number of channels.

    Parameters
    ----------
    i, j : int
        Signed bins, -rows/2..rows/2 and -columns/2..columns/2.
    convention : str
        `yin`: the basis U_ij of the heat map, real, norm 1, phase pi/4 as in the authors' code (0
        if the mode is its own mirror), with a sign drawn per sample and channel. `equal`: peak 1
        in every channel, the phase drawn instead, so that with eps in linf all modes have one
        amplitude.
    channels : str
        `independent` (draws per channel), `same`, or `one` channel, drawn per sample.
    """

    i: int
    j: int
    convention: str = "yin"
    channels: str = "independent"

    sites: ClassVar[tuple[str, ...]] = ("input",)

    def __post_init__(self) -> None:
        self.check_channels()
        self.check_word("convention", _CONVENTIONS)

    def _image(self, site: Site) -> tuple[int, int]:
        if site.image is None:
            raise UsageError(
                f"{self.who}: the sequence is no image, expected one read row by row; use Fourier"
            )
        return site.image

    def check_length(self, L: int, site: Site) -> None:
        """Raise UsageError if the sequence is no image, or has no such bin."""
        rows, columns = self._image(site)
        if rows * columns != L:
            raise UsageError(
                f"{self.who}: an image of {rows} x {columns} has {rows * columns} pixels, but the "
                f"sequence has {L} steps"
            )
        for name, value, d in (("i", self.i, rows), ("j", self.j, columns)):
            nyquist = d // 2
            self.check(abs(value) <= nyquist, name, f"{-nyquist} to {nyquist}, bins of {d} pixels")

    def _own_mirror(self, site: Site) -> bool:
        rows, columns = self._image(site)
        return 2 * self.i % rows == 0 and 2 * self.j % columns == 0

    def _waves(self, site: Site, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of 2 pi (i row / rows + j column / columns), each (L, 1)."""
        rows, columns = self._image(site)
        t = torch.arange(rows * columns, device=like.device)
        # In whole turns' numerator, exact.
        turns = self.i * (t // columns) * columns + self.j * (t % columns) * rows
        angle = 2.0 * math.pi * (turns % (rows * columns)).double()[:, None] / (rows * columns)
        sine = torch.sin(angle)
        return torch.cos(angle), torch.zeros_like(sine) if self._own_mirror(site) else sine

    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return the mode with norm 1 (`yin`) or peak 1 (`equal`) in every channel that has it."""
        if x.shape[1] != site.length:
            raise UsageError(
                f"{self.who}: {x.shape[1]} valid steps of {site.length} are no image; "
                "give whole ones"
            )
        cosine, sine = self._waves(site, x)
        draws = self.channel_draws(1, x, sample_id, seed, site)
        if self.convention == "yin":
            phase = 0.0 if self._own_mirror(site) else math.pi / 4.0
            U = math.cos(phase) * cosine - math.sin(phase) * sine
            wave = torch.where(draws < 0.5, -1.0, 1.0) * (U / torch.linalg.vector_norm(U))
        else:
            phases = 2.0 * math.pi * draws
            wave = torch.cos(phases) * cosine - torch.sin(phases) * sine
            peak = wave.abs().amax(1, keepdim=True)
            wave = wave / torch.where(peak > NOTHING, peak, torch.inf)
        return self.spread(wave, x, sample_id, seed, site)

    def in_band(self, delta: Tensor, site: Site) -> Tensor:
        """Return the energy in bin (i, j) of the two-dimensional DFT and in its mirror."""
        rows, columns = self._image(site)
        X = torch.fft.fft2(delta.unflatten(1, (rows, columns)), dim=(1, 2))
        energy = X[:, self.i % rows, self.j % columns].abs().square().sum(1)
        if not self._own_mirror(site):
            energy = energy + X[:, -self.i % rows, -self.j % columns].abs().square().sum(1)
        return energy / (rows * columns)
