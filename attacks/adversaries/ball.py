"""A band of DFT bins as a space with orthonormal coordinates, and the ball of a budget in it."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from robustssm import philox
from robustssm.attacks.adversaries.base import Found, Target
from robustssm.attacks.budget import Budget
from robustssm.errors import require
from robustssm.networks.inference import padded
from robustssm.typing import IntArray

# Sweeps of Dykstra's method; what the last leaves outside the box, scaling removes.
_SWEEPS = 24
# Inputs of a network are float32 at least, and are squared.
_LARGEST = 1e15


@dataclass(frozen=True)
class Band:
    """Signals of length L whose DFT is supported on the bins low..high, low >= 0.

    Coordinates c (batch, dimension, channels): cosine and sine of each bin, one column for bins
    0 and L/2. |c|_2 = |Q c|_2.
    """

    low: int
    high: int
    length: int

    @cached_property
    def _special(self) -> Tensor:
        """Which bins have no sine (0 and L/2)."""
        return 2 * torch.arange(self.low, self.high + 1) % self.length == 0

    @cached_property
    def _amplitude(self) -> Tensor:
        return torch.sqrt(2.0 / self.length / (1.0 + self._special.double()))

    @property
    def dimension(self) -> int:
        """Number of coordinates per channel."""
        return 2 * len(self._special) - int(self._special.sum())

    @property
    def bins(self) -> Tensor:
        """DFT bin of each coordinate, (dimension,)."""
        bins = torch.arange(self.low, self.high + 1)
        return torch.cat([bins, bins[~self._special]])

    def analyse(self, x: Tensor) -> Tensor:
        """Return coordinates of x (batch, length, channels) in the band, the same in any batch."""
        X = torch.fft.rfft(padded(x.double()), dim=1)[: len(x), self.low : self.high + 1]
        X = X * self._amplitude.to(x.device)[:, None]
        return torch.cat([X.real, -X.imag[:, ~self._special.to(x.device)]], dim=1)

    def synthesise(self, c: Tensor) -> Tensor:
        """Return the signal (batch, length, channels) with coordinates c."""
        count, special = self.high - self.low + 1, self._special.to(c.device)
        X = c.new_zeros((len(c), self.length // 2 + 1, c.shape[2]), dtype=torch.complex128)
        X.real[:, self.low : self.high + 1] = c[:, :count]
        # The imaginary part of the bins 0 and L/2 stays zero.
        X.imag[:, self.low : self.high + 1][:, ~special] = -c[:, count:]
        X[:, self.low : self.high + 1] /= self._amplitude.to(c.device)[:, None]
        # irfft counts a bin twice where it stands for a pair; 1 / amplitude is sqrt(L/2) there
        # and sqrt(L) in the others, as its 1/L asks for.
        return torch.fft.irfft(padded(X), n=self.length, dim=1)[: len(c)]


def norm(c: Tensor) -> Tensor:
    """Return the Euclidean norm of each sample of c (batch, ...), whatever its batch."""
    return padded(c).flatten(1).square().sum(1).sqrt()[: len(c)]


@dataclass(frozen=True)
class Ball:
    """Perturbations of size <= radius (batch,); scale (channels,) is 1 unless the unit is std.

    box: whether the size is the largest modulus of delta / scale, else its Euclidean norm.
    """

    radius: Tensor
    scale: Tensor
    box: bool

    @staticmethod
    def of(target: Target) -> "Ball":
        """Return the ball, or box, of a target's budget around its samples."""
        budget, x = target.budget, target.x
        size = budget.target(x.double(), "adversary")
        largest = float(size.max()) if len(size) else 0.0
        require(largest <= _LARGEST, "adversary: eps", largest, f"at most {_LARGEST:g}")
        norm = budget.norm
        radius = size if norm.box else size * math.sqrt(norm.values(x))
        return Ball(radius, norm.scale(x, target.site.scale), norm.box)

    def select(self, rows: Tensor) -> "Ball":
        """Return the balls of some samples."""
        return replace(self, radius=self.radius[rows])

    def size(self, delta: Tensor) -> Tensor:
        """Return the size of each signal delta / scale (batch, length, channels), (batch,)."""
        return delta.abs().amax((1, 2)) if self.box else torch.linalg.vector_norm(delta, dim=(1, 2))


@dataclass(frozen=True)
class BandBall:
    """Perturbations of x within a band and the ball of a budget, as coordinates c.

    x (batch, length, channels) as given; the perturbation is scale * synthesise(c). A clip range
    is applied to what the network sees, not to c.
    """

    x: Tensor
    band: Band
    ball: Ball
    budget: Budget

    @staticmethod
    def of(target: Target, low: int, high: int) -> "BandBall":
        """Return the set for a target's samples and the bins low..high."""
        band, ball = Band(low, high, target.x.shape[1]), Ball.of(target)
        return (BandBox if ball.box else BandBall)(target.x, band, ball, target.budget)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of c."""
        return len(self.x), self.band.dimension, self.x.shape[2]

    def zero(self) -> Tensor:
        """Return the coordinates of x itself."""
        return torch.zeros(self.shape, dtype=torch.float64, device=self.x.device)

    def select(self, rows: Tensor) -> "BandBall":
        """Return the set for some of the samples."""
        return replace(self, x=self.x[rows], ball=self.ball.select(rows))

    def point(self, c: Tensor) -> Tensor:
        """Return the perturbed samples, in x's dtype."""
        delta = self.band.synthesise(c) * self.ball.scale
        return self.budget.clipped(self.x.double(), delta, None, "adversary").to(self.x.dtype)

    def descent(self, slope: Tensor, c: Tensor) -> Tensor:
        """Return minus the gradient in c, from the gradient in the perturbed samples."""
        if self.budget.clip != "none":
            after = self.x.double() + self.band.synthesise(c) * self.ball.scale
            slope = slope * ((after >= self.budget.low) & (after <= self.budget.high))
        return -self.band.analyse(slope * self.ball.scale)

    def size(self, c: Tensor) -> Tensor:
        """Return the size of each signal with coordinates c, (batch,)."""
        return norm(c)

    def steepest(self, g: Tensor) -> Tensor:
        """Return the step of size 1 that goes farthest along g; zero if g is."""
        size = norm(g)
        return g / torch.where(size > 0.0, size, 1.0)[:, None, None]

    def project(self, c: Tensor) -> Tensor:
        """Return the nearest point of the ball within the band, which is the radial one."""
        size, radius = self.size(c), self.ball.radius
        return c * torch.where(size > radius, radius / size, 1.0)[:, None, None]

    def surface(self, c: Tensor) -> Tensor:
        """Return c scaled to the ball's surface; zero stays zero."""
        size = self.size(c)
        factor = self.ball.radius / torch.where(size > 0.0, size, 1.0)
        return c * factor[:, None, None]

    def random(self, stream: str, sample_id: IntArray) -> Tensor:
        """Return points on the surface with random directions, from counter-based draws."""
        _, dimension, channels = self.shape
        draws = philox.normal_tensor(stream, sample_id, dimension * channels, self.x.device)
        return self.surface(draws.view(self.shape))

    def share(self, after: Tensor) -> Tensor:
        """Return the share of energy of after - x within the band, (batch,); 1 if none is."""
        delta = after.double() - self.x.double()
        total = norm(delta).square()
        inside = norm(self.band.analyse(delta)).square()
        return torch.where(total > 0.0, inside / torch.where(total > 0.0, total, 1.0), 1.0)


@dataclass
class Best:
    """The lowest margin met so far for each sample, and where; changed in place.

    trouble: (2, batch), how many gradients were zero, and how many not finite.
    """

    c: Tensor
    margin: Tensor
    trouble: Tensor

    def book(self, rows: Tensor, c: Tensor, margins: Tensor, trouble: Tensor | None = None) -> None:
        """Keep what is better for the samples `rows`; NaN is never better."""
        better = margins < self.margin[rows]
        self.margin[rows[better]] = margins[better]
        self.c[rows[better]] = c[better]
        if trouble is not None:
            self.trouble[:, rows] += trouble

    def found(self, space: BandBall) -> Found:
        """Return the points, their margins, and flags of gradients and energy."""
        after = space.point(self.c)
        flags: dict[str, object] = {
            "zero_gradients": self.trouble[0],
            "nonfinite": self.trouble[1],
            "in_band_share": space.share(after),
        }
        return Found(after, self.margin, flags)


class BandBox(BandBall):
    """The same for a bound on the largest modulus."""

    def size(self, c: Tensor) -> Tensor:
        """Return the largest modulus of each signal with coordinates c."""
        return self.ball.size(self.band.synthesise(c))

    def steepest(self, g: Tensor) -> Tensor:
        """Return the part in the band of the sign of g as a signal."""
        return self.band.analyse(self.band.synthesise(g).sign())

    def project(self, c: Tensor) -> Tensor:
        """Return a point of box and band near c.

        Dykstra's alternating projections (Boyle and Dykstra, 1986) onto the box and the band, a
        fixed number of sweeps, then scaled into the box: always in both, and the nearest such
        point only in the limit.
        """
        radius = self.ball.radius[:, None, None]
        signal = self.band.synthesise(c)
        correction = torch.zeros_like(signal)
        for _ in range(_SWEEPS):
            boxed = torch.minimum(torch.maximum(signal + correction, -radius), radius)
            correction = signal + correction - boxed
            c = self.band.analyse(boxed)
            signal = self.band.synthesise(c)
        return super().project(c)
