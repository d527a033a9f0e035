"""One perturbation in a band for many samples at once.

Reference: Moosavi-Dezfooli et al., Universal Adversarial Perturbations (arXiv 1610.08401), for the
question; solved as by Shafahi et al. (arXiv 1811.11304), section 3, by gradient steps on a clipped
loss, here with the whole set in every step.
"""

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robustssm.attacks.adversaries.ball import Ball, BandBall
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.base import family
from robustssm.errors import ShapeError
from robustssm.targets import LOSSES

# Samples whose gradients are held at a time.
_CHUNK = 256
_MOMENTUM = 0.75
# Step over the radius, first and last.
_FIRST, _LAST = 0.3, 0.05


@family
class Universal(Adversary):
    """The waveform within DFT bins low..high that, added to all samples, harms most.

    Each sample gets the same waveform (times the task's standard deviations for unit std), up to
    its own radius for unit snr-db. The waveform with the fewest samples right is kept, then the
    one of the least mean loss. What is found depends on the set it was found on: flags `universal`
    says so, and `waveform` (length, channels), of size 1 in the ball's norm, goes to `apply` for
    other samples. Passes per sample: 2 steps + 5.

    Parameters
    ----------
    steps : int
        Gradient steps.
    loss : str
        The loss whose mean is made small: `ce`, `margin` or `dlr`.
    floor : float
        Each loss is cut off below at minus `floor` times the mean size of the clean losses: what
        is well past its decision boundary counts no more.
    """

    joint: ClassVar[bool] = True

    steps: int = 40
    loss: str = "margin"
    floor: float = 0.5

    def __post_init__(self) -> None:
        self.check_word("loss", LOSSES)
        self.check_counts("steps")
        positive = math.isfinite(self.floor) and self.floor >= 0.0
        self.check(positive, "floor", "a number >= 0")

    def search(self, target: Target) -> Found:
        """Return the waveform on every sample: the same bits in whatever order they come."""
        order = np.argsort(target.sample_id, kind="stable")
        samples = target.select(torch.as_tensor(order, device=target.x.device))
        space = BandBall.of(samples, self.low, self.high)
        one = space.select(torch.zeros(1, dtype=torch.int64, device=target.x.device))
        one = replace(one, ball=replace(one.ball, radius=torch.ones_like(one.ball.radius)))
        c = one.zero()
        _, _, size, g = self._slope(samples, space, c, math.inf)
        velocity = one.steepest(g)
        best, key = c, (len(target) + 1, math.inf)
        for step in range(self.steps + 1):
            share = step / self.steps
            rate = _FIRST * 0.5 * (1.0 + math.cos(math.pi * share)) + _LAST * share
            c = one.surface(one.project(c + 2.0 * rate * one.steepest(velocity)))
            right, loss, _, g = self._slope(samples, space, c, self.floor * size)
            if (right, loss) < key:
                best, key = c, (right, loss)
            velocity = _MOMENTUM * velocity + (1.0 - _MOMENTUM) * one.steepest(g)
        found = apply(one.band.synthesise(best)[0], target)
        found.flags["universal"] = "found on the samples attacked together, and depends on that set"
        return found

    def _slope(
        self, target: Target, space: BandBall, c: Tensor, floor: float
    ) -> tuple[int, float, float, Tensor]:
        """Return samples right, mean cut loss, mean size of the losses, descent direction in c."""
        right, total, size = 0, 0.0, 0.0
        g = torch.zeros_like(c)
        rows = torch.arange(len(target), device=c.device)
        for chunk in rows.split(_CHUNK):
            part = space.select(chunk)
            own = c * part.ball.radius[:, None, None]
            margins, losses, slopes = target.select(chunk).slopes(part.point(own), self.loss)
            slopes = part.descent(slopes, own) * part.ball.radius[:, None, None]
            counts = (losses > -floor) & torch.isfinite(slopes).flatten(1).all(1)
            g += torch.where(counts[:, None, None], slopes, 0.0).sum(0, keepdim=True)
            right += int((margins >= 0.0).sum())
            total += float(losses.clamp(min=-floor).nan_to_num(nan=0.0).sum())
            size += float(losses.abs().nan_to_num(nan=0.0, posinf=0.0).sum())
        return right, total / len(target), size / len(target), g


def apply(waveform: Tensor, target: Target) -> Found:
    """Return what a waveform of size 1 does to other samples, each at its own radius.

    The flag `waveform` is the waveform. Raises ShapeError for samples of another length or with
    other channels.

    Parameters
    ----------
    waveform : Tensor
        As `Universal` reports it, (length, channels).
    target : Target
        The samples, of the same length and channels.
    """
    if waveform.shape != target.x.shape[1:]:
        raise ShapeError(
            f"Universal: the waveform has shape {tuple(waveform.shape)}, the samples "
            f"{tuple(target.x.shape[1:])}; apply it to samples of the same length and channels"
        )
    ball, x = Ball.of(target), target.x
    delta = ball.radius[:, None, None] * waveform.to(x.device) * ball.scale
    after = target.budget.clipped(x.double(), delta, None, "Universal").to(x.dtype)
    return Found(after, target.margins(after), {"waveform": waveform})
