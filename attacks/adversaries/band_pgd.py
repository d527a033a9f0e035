"""Projected gradient descent on the coordinates of a band, with APGD's step sizes.

Reference: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of
Diverse Parameter-free Attacks (arXiv 2003.01690), algorithm 1 and section 3; here in Fourier
coordinates, and per sample. The first step is damped by alpha = 0.75 as all others are; the
reference code takes 1 there.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustssm.attacks.adversaries.ball import BandBall, Best, norm
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.adversaries.victim import cleaned
from robustssm.attacks.base import family
from robustssm.targets import LOSSES

# Constants of the paper: momentum, the share of steps that must succeed, checkpoint distances.
_ALPHA, _RHO = 0.75, 0.75
_FIRST, _SHRINK, _LEAST = 0.22, 0.03, 0.06
_STARTS = ("gradient", "random")


@family
class BandPGD(Adversary):
    """Gradient steps within DFT bins low..high and the budget's ball, all channels.

    The point of the lowest margin met is kept, x itself included. Passes per sample: 2 + restarts
    (2 steps + 1), fewer with drop. Flags per sample: `zero_gradients` and `nonfinite`, how often
    each was met; `in_band_share`, of the energy.

    Parameters
    ----------
    steps, restarts : int
        Gradients per start, and number of starts.
    loss : str
        What is made small: `ce` (minus cross entropy), `margin` or `dlr`; of values `ce` and
        `margin` are minus the squared error.
    start : str
        Where the first start begins: `gradient` (the best point for the network linearised at x;
        in linf only a good one) or `random` in the band. Further ones are random.
    drop : bool
        Leave samples alone once misclassified, which changes their margins but not their success.
    """

    steps: int = 30
    restarts: int = 1
    loss: str = "ce"
    start: str = "gradient"
    drop: bool = False

    def __post_init__(self) -> None:
        self.check_word("loss", LOSSES)
        self.check_word("start", _STARTS)
        self.check_counts("steps", "restarts")

    def search(self, target: Target) -> Found:
        """Return the points of the lowest margin on the way of all starts."""
        space = BandBall.of(target, self.low, self.high)
        c = space.zero()
        margins, _, slope = target.slopes(target.x, self.loss)
        g, trouble = cleaned(space.descent(slope, c))
        best = Best(c, torch.where(torch.isnan(margins), torch.inf, margins), trouble)
        for restart in range(self.restarts):
            rows = torch.arange(len(target), device=c.device)
            if self.drop:
                rows = rows[best.margin >= 0.0]
            part, samples = space.select(rows), target.select(rows)
            stream = f"{target.seed}|{replace(self, drop=False)!r}|start {restart}"
            start = part.random(stream, samples.sample_id)
            if restart == 0 and self.start == "gradient":
                linear = part.surface(
                    part.project(2.0 * part.ball.radius[:, None, None] * (part.steepest(g[rows])))
                )
                start = torch.where((norm(linear) > 0.0)[:, None, None], linear, start)
            self._descend(samples, part, start, best, rows)
        return best.found(space)

    def _descend(
        self, target: Target, space: BandBall, start: Tensor, best: Best, rows: Tensor
    ) -> None:
        """Run one start for the samples `rows`, and book what it finds in `best`."""
        at = checkpoints(self.steps)
        walk: _Walk | None = None
        last = 0
        for number in range(self.steps + 1):
            c = start if walk is None else walk.proposal(space)
            if number == self.steps:
                best.book(rows, c, target.margins(space.point(c)))
                return
            margins, losses, slope = target.slopes(space.point(c), self.loss)
            g, trouble = cleaned(space.descent(slope, c))
            best.book(rows, c, margins, trouble)
            walk = _Walk.begin(space, c, g, losses) if walk is None else walk.moved(c, g, losses)
            if number in at:
                walk = walk.checked(number - last)
                last = number
            if self.drop:
                alive = best.margin[rows] >= 0.0
                if not bool(alive.any()):
                    return
                rows, target = rows[alive], target.select(alive)
                space, walk = space.select(alive), walk.select(alive)


@dataclass(frozen=True)
class _Walk:
    """Where each sample is on its way: all fields have the samples first.

    c, previous: the last two points; g, loss: descent direction and loss at c; best_*: the same
    at the point of the lowest loss; step; falls: how often the loss fell since the checkpoint;
    loss_then, halved_then: the lowest loss, and whether the step was halved, at the checkpoint.
    """

    c: Tensor
    previous: Tensor
    g: Tensor
    loss: Tensor
    best_c: Tensor
    best_g: Tensor
    best_loss: Tensor
    step: Tensor
    falls: Tensor
    loss_then: Tensor
    halved_then: Tensor

    @classmethod
    def begin(cls, space: BandBall, c: Tensor, g: Tensor, loss: Tensor) -> "_Walk":
        """Return the walk at its start, with the step that crosses the ball."""
        falls = torch.zeros_like(loss)
        lowest = torch.where(torch.isnan(loss), torch.inf, loss)
        step = 2.0 * space.ball.radius
        # A step halved "then" keeps the first checkpoint from halving for lack of a past.
        return cls(c, c, g, loss, c, g, lowest, step, falls, lowest, torch.ones_like(loss) > 0.0)

    def proposal(self, space: BandBall) -> Tensor:
        """Return the next point: a projected step, and momentum, projected again."""
        z = space.project(self.c + self.step[:, None, None] * space.steepest(self.g))
        return space.project(
            self.c + _ALPHA * (z - self.c) + (1.0 - _ALPHA) * (self.c - self.previous)
        )

    def moved(self, c: Tensor, g: Tensor, loss: Tensor) -> "_Walk":
        """Return the walk after a move to c."""
        better = loss < self.best_loss
        wide = better[:, None, None]
        return replace(
            self,
            c=c,
            previous=self.c,
            g=g,
            loss=loss,
            best_c=torch.where(wide, c, self.best_c),
            best_g=torch.where(wide, g, self.best_g),
            best_loss=torch.where(better, loss, self.best_loss),
            falls=self.falls + (loss < self.loss),
        )

    def checked(self, since: int) -> "_Walk":
        """Return the walk after a checkpoint: where it stalls, half the step, from the best."""
        stalls = (self.falls < _RHO * since) | (
            ~self.halved_then & (self.best_loss == self.loss_then)
        )
        wide = stalls[:, None, None]
        return replace(
            self,
            c=torch.where(wide, self.best_c, self.c),
            previous=torch.where(wide, self.best_c, self.previous),
            g=torch.where(wide, self.best_g, self.g),
            loss=torch.where(stalls, self.best_loss, self.loss),
            step=torch.where(stalls, self.step / 2.0, self.step),
            falls=torch.zeros_like(self.falls),
            loss_then=self.best_loss,
            halved_then=stalls,
        )

    def select(self, rows: Tensor) -> "_Walk":
        """Return the walks of some of the samples."""
        return _Walk(**{name: value[rows] for name, value in vars(self).items()})


def checkpoints(steps: int) -> set[int]:
    """Return the steps after which the step size is reconsidered (section 3 of the paper)."""
    found, position, distance = set(), 0.0, _FIRST
    while position + distance < 1.0:
        position += distance
        found.add(math.ceil(round(position * steps, 9)))
        distance = max(distance - _SHRINK, _LEAST)
    return found
