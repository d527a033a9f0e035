"""The fast adaptive boundary attack on the coordinates of a band.

Reference: Croce and Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary
Attack (arXiv 1907.02044), algorithm 1, with the constants of section 3 and no random start; its
targeted form with the linearisation of one difference of logits is that of arXiv 2003.01690.
"""

import torch

from robustssm.attacks.adversaries.ball import BandBall, Best
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.adversaries.victim import cleaned
from robustssm.attacks.base import family

# Of the paper: overshoot, the way back of a broken sample, the largest pull to the sample itself.
_ETA, _BETA, _PULL = 1.05, 0.9, 0.1
# Sizes of steps are at least this, as in the authors' code.
_LEAST = 1e-8


@family
class Boundary(Adversary):
    """Steps onto the boundary linearised at the current point, pulled to the sample itself.

    Points in the ball alone count; a sample that has a broken one is left. Each step goes along
    h = minus the gradient (l2), or the part in the band of its sign (linf), as far as the
    linearised margin needs to vanish. In l2 that is the nearest point of the linearised boundary
    within the band, in closed form. In linf it is the nearest in the whole band, or of a single
    coordinate; in other bands, where the nearest one is the solution of a linear program, it is a
    point of boundary and band farther away: the attack is weaker for it, but what it reports as
    broken is broken and in the ball. Passes per sample: at most 2 steps + 1 forwards, steps back.

    Parameters
    ----------
    steps : int
        Steps from the sample.
    """

    steps: int = 100

    def search(self, target: Target) -> Found:
        """Return points in the ball that are broken, or x."""
        space = whole = BandBall.of(target, self.low, self.high)
        c, rows = space.zero(), torch.arange(len(target), device=target.x.device)
        best = Best(c.clone(), target.margins(target.x), torch.zeros_like(rows).repeat(2, 1))
        for _ in range(self.steps):
            alive = best.margin[rows] > 0.0
            if not bool(alive.any()):
                break
            rows, target = rows[alive], target.select(alive)
            space, c = space.select(alive), c[alive]
            _, value, slope = target.slopes(space.point(c), "margin")
            h, trouble = cleaned(space.descent(slope, c))
            way = space.steepest(h)
            reach = (h * way).flatten(1).sum(1)
            # By how much h . c has to grow from c, and from the sample itself at c = 0.
            ends = value, value + (h * c).flatten(1).sum(1)
            factors = [torch.where(reach > 0.0, end / reach, 0.0)[:, None, None] for end in ends]
            here, there = (factor * way for factor in factors)
            near, far = (space.size(step).clamp_min(_LEAST) for step in (here, there))
            pull = (near / (near + far)).clamp_max(_PULL)[:, None, None]
            c = (1.0 - pull) * (c + _ETA * here) + pull * _ETA * there
            margins = target.margins(space.point(c))
            inside = space.size(c) <= space.ball.radius
            best.book(rows, c, torch.where(inside, margins, torch.inf), trouble)
            c = torch.where((margins <= 0.0)[:, None, None], _BETA * c, c)
        return best.found(whole)
