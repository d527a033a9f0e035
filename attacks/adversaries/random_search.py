"""Search without gradients: random changes of the Fourier coordinates, kept if they harm.

References: Andriushchenko et al., Square Attack (arXiv 1912.00049), algorithm 1, for random search
on the surface of the ball with shrinking changes; Broyden, Math. Comp. 19 (1965), equation (4.5),
for the slope fitted to the margins that were met, along which more than half of each change goes.
(Bundled s4d, 96 samples, 0.3 std, bins 1-128, 200 queries: 13 % stay right, 30 % without a slope.)
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from robustssm import philox
from robustssm.attacks.adversaries.ball import BandBall, norm
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.base import family
from robustssm.networks.inference import padded
from robustssm.typing import IntArray

# Size of a change over the ball's radius, first and last; the part of it along the fitted slope.
_FIRST, _LAST, _ALONG = 1.0, 0.3, 0.6
_CHANGES = ("slope", "windows")
# Of Square: the first window's share of the steps, and the queries after which it is halved.
_SHARE, _HALVED = 0.8, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Windows that the first point is made of.
_STRIPES = 16


@family
class RandomSearch(Adversary):
    """Queries of the margin alone, within DFT bins low..high and the budget's ball.

    Passes per sample: queries + 1 forwards, fewer with drop. Flags per sample: `nonfinite`, how
    many margins were not finite; `in_band_share`, of the energy.

    Parameters
    ----------
    queries : int
        Number of margins that are asked for.
    modes : int
        The first queries that are single modes: bin, phases and channels are drawn per sample. The
        rest change the best point so far.
    drop : bool
        Leave samples alone once misclassified.
    change : str
        How the best point is changed: along a fitted `slope`, or, as Square does in linf, in
        `windows` of steps that shrink, where the signal becomes the largest that is allowed, of one
        sign per channel. Then the first query is made of such windows, and no single modes.
    """

    queries: int = 200
    modes: int = 20
    drop: bool = False
    change: str = "slope"

    def __post_init__(self) -> None:
        self.check_word("change", _CHANGES)
        self.check_counts("queries", "modes")
        self.check(self.modes <= self.queries, "modes", f"at most queries, {self.queries}")

    def search(self, target: Target) -> Found:
        """Return the points of the lowest margin among all queries."""
        x = target.x
        space = BandBall.of(target, self.low, self.high)
        clean = target.margins(x)
        zero = space.zero()
        best, slope, lowest = zero.clone(), zero.clone(), torch.full_like(clean, torch.inf)
        nonfinite = (~torch.isfinite(clean)).long()
        rows, samples, part = torch.arange(len(x), device=x.device), target, space
        for query in range(self.queries):
            alive = torch.fmin(lowest, clean)[rows] >= 0.0
            if self.drop and not bool(alive.all()):
                rows, samples, part = rows[alive], samples.select(alive), part.select(alive)
            if not len(rows):
                break
            ids, least = np.asarray(samples.sample_id), lowest[rows]
            stream = f"{target.seed}|{replace(self, drop=False)!r}|query {query}"
            if self.change == "windows":
                origin, known = best[rows], least
                c = _windows(part, origin, stream, ids, query)
            elif query < self.modes:
                origin, known, c = zero[rows], clean[rows], self._mode(part, stream, ids)
            else:
                progress = (query - self.modes) / (self.queries - self.modes)
                origin, known = best[rows], least
                c = _change(part, origin, slope[rows], stream, ids, progress)
            margins = samples.margins(part.point(c))
            if self.change == "slope":
                slope[rows] = _fitted(slope[rows], c - origin, margins - known)
            nonfinite[rows] += ~torch.isfinite(margins)
            better = margins < least
            lowest[rows] = torch.where(better, margins, least)
            best[rows[better]] = c[better]
        better = lowest < clean
        after = torch.where(better[:, None, None], space.point(best), x)
        lowest = torch.where(better | torch.isnan(clean), lowest, clean)
        flags: dict[str, object] = {"nonfinite": nonfinite, "in_band_share": space.share(after)}
        return Found(after, lowest, flags)

    def _mode(self, space: BandBall, stream: str, ids: IntArray) -> Tensor:
        """Return one random mode for each sample, on the ball's surface."""
        _, dimension, channels = space.shape
        device = space.x.device
        draw = philox.uniform_tensor(stream + "|bin", ids, 1, device)
        chosen = self.low + (draw * (self.high - self.low + 1)).long()
        columns = (space.band.bins.to(device) == chosen)[:, :, None]
        draws = philox.normal_tensor(stream, ids, dimension * channels, device).view(space.shape)
        return space.surface(draws * columns)


def _change(
    space: BandBall, best: Tensor, slope: Tensor, stream: str, ids: IntArray, progress: float
) -> Tensor:
    """Return the next point to try, on the surface; progress runs from 0 to 1."""
    change = (1.0 - _ALONG) * space.random(stream, ids) - _ALONG * space.surface(slope)
    return space.surface(best + _FIRST * (_LAST / _FIRST) ** progress * space.surface(change))


def _windows(space: BandBall, best: Tensor, stream: str, ids: IntArray, query: int) -> Tensor:
    """Return the best point with one window of steps set, or for query 0 with all of them."""
    L, channels, device = space.x.shape[1], space.x.shape[2], space.x.device
    count = min(L, _STRIPES) if query == 0 else 1
    draws = philox.uniform_tensor(stream, ids, 1 + count * channels, device)
    signs = torch.where(draws[:, 1:] < 0.5, -1.0, 1.0).double().view(-1, count, channels)
    steps = torch.arange(L, device=device)
    if query == 0:
        return space.surface(space.band.analyse(signs[:, steps * count // L]))
    width = max(1, round(_SHARE * 0.5 ** sum(query > at for at in _HALVED) * L))
    start = (draws[:, :1] * (L - width + 1)).long()
    inside = (steps >= start) & (steps < start + width)
    now = space.band.synthesise(best) / space.ball.radius[:, None, None]
    return space.surface(space.band.analyse(torch.where(inside[:, :, None], signs, now)))


def _fitted(slope: Tensor, change: Tensor, difference: Tensor) -> Tensor:
    """Return the least correction of the slope that explains a difference of margins."""
    size = norm(change).square()
    surprise = difference - padded(slope * change).flatten(1).sum(1)[: len(slope)]
    factor = surprise / torch.where(size > 0.0, size, 1.0)
    usable = torch.isfinite(factor) & (size > 0.0)
    return slope + torch.where(usable, factor, 0.0)[:, None, None] * change
