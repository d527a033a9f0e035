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

from robustssm.attacks.adversaries.band import BandBall
from robustssm.attacks.adversaries.base import (
    LOSSES,
    Adversary,
    Ball,
    Found,
    Victim,
    check_choice,
    check_count,
)
from robustssm.attacks.base import Site, family
from robustssm.attacks.budget import Budget
from robustssm.errors import UsageError
from robustssm.typing import IntArray

# Samples whose gradients are held at a time.
_CHUNK = 256
_MOMENTUM = 0.75
# Step over the radius, first and last.
_FIRST, _LAST = 0.3, 0.05


@family
class Universal(Adversary):
    """The waveform within DFT bins low..high that, added to all samples, harms most.

    Each sample gets the same waveform (times the task's standard deviations for unit std), up to
    its own radius for unit snr-db. Made small is the mean of the losses, each cut off below at
    minus `floor` times the mean size of the clean losses: what is well past its decision boundary
    counts no more. Kept is the waveform with the fewest samples right, then the least mean loss.

    What is found depends on the set it was found on: flags `universal` says so, and `waveform`
    (length, channels), of size 1 in the ball's norm, goes to `apply` for other samples. Passes per
    sample: 2 steps + 5.
    """

    joint: ClassVar[bool] = True

    low: int
    high: int
    steps: int = 40
    loss: str = "margin"
    floor: float = 0.5

    def __post_init__(self) -> None:
        check_choice("Universal", "loss", self.loss, tuple(LOSSES))
        check_count("Universal", "steps", self.steps)
        if not (math.isfinite(self.floor) and self.floor >= 0.0):
            raise UsageError(f"Universal: floor is {self.floor!r}, expected a number >= 0")

    def attack(
        self,
        victim: Victim,
        x: Tensor,
        labels: Tensor,
        sample_id: IntArray,
        seed: int,
        *,
        budget: Budget,
        site: Site,
    ) -> Found:
        """Return perturbed inputs for x (batch, length, channels), found on these samples.

        The same bits whatever the samples' order and the victim's batch size.
        """
        passes = victim.forwards, victim.backwards
        order = torch.as_tensor(np.argsort(sample_id, kind="stable"), device=x.device)
        space = BandBall.of(x[order], self.low, self.high, budget, site, "Universal")
        one = replace(
            space.select(order[:1] * 0),
            ball=Ball(space.ball.norm, space.ball.radius.new_ones(1), space.ball.scale),
        )
        c = torch.zeros(one.shape, dtype=torch.float64, device=x.device)
        if budget.nothing:
            margins = victim.margins(x, labels)
            flags = _flags(c, one)
            return Found(x, margins, victim.forwards - passes[0], 0, flags)
        labels_in_order = labels[order]
        _, _, size, g = self._slope(victim, space, labels_in_order, c, math.inf)
        velocity = one.steepest(g)
        best, key = c, (len(x) + 1, math.inf)
        for step in range(self.steps + 1):
            share = step / self.steps
            rate = _FIRST * 0.5 * (1.0 + math.cos(math.pi * share)) + _LAST * share
            c = one.surface(one.project(c + 2.0 * rate * one.steepest(velocity)))
            right, loss, _, g = self._slope(victim, space, labels_in_order, c, self.floor * size)
            if (right, loss) < key:
                best, key = c, (right, loss)
            velocity = _MOMENTUM * velocity + (1.0 - _MOMENTUM) * one.steepest(g)
        flags = _flags(best, one)
        waveform = flags["waveform"]
        assert isinstance(waveform, Tensor)
        found = apply(waveform, victim, x, labels, budget=budget, site=site)
        return replace(
            found,
            forwards=victim.forwards - passes[0],
            backwards=victim.backwards - passes[1],
            flags=flags,
        )

    def _slope(
        self, victim: Victim, space: BandBall, labels: Tensor, c: Tensor, floor: float
    ) -> tuple[int, float, float, Tensor]:
        """Return samples right, mean cut loss, mean size of the losses, descent direction in c."""
        right, total, size = 0, 0.0, 0.0
        g = torch.zeros_like(c)
        rows = torch.arange(len(labels), device=c.device)
        for chunk in rows.split(_CHUNK):
            part = space.select(chunk)
            own = c * part.ball.radius[:, None, None]
            margins, losses, slopes = victim.slopes(part.point(own), labels[chunk], self.loss)
            slopes = part.descent(slopes, own) * part.ball.radius[:, None, None]
            counts = (losses > -floor) & torch.isfinite(slopes).flatten(1).all(1)
            g += torch.where(counts[:, None, None], slopes, 0.0).sum(0, keepdim=True)
            right += int((margins >= 0.0).sum())
            total += float(losses.clamp(min=-floor).nan_to_num(nan=0.0).sum())
            size += float(losses.abs().nan_to_num(nan=0.0, posinf=0.0).sum())
        return right, total / len(labels), size / len(labels), g


def _flags(c: Tensor, one: BandBall) -> dict[str, object]:
    return {
        "universal": "found on the samples attacked together, and depends on that set",
        "waveform": one.band.synthesise(c)[0],
    }


def apply(
    waveform: Tensor, victim: Victim, x: Tensor, labels: Tensor, *, budget: Budget, site: Site
) -> Found:
    """Return what a waveform (length, channels) of size 1 does to other samples x."""
    ball = Ball.of(budget, x, site)
    if waveform.shape != x.shape[1:]:
        raise UsageError(
            f"Universal: the waveform has shape {tuple(waveform.shape)}, the samples "
            f"{tuple(x.shape[1:])}; apply it to samples of the same length and channels"
        )
    delta = ball.radius[:, None, None] * waveform.to(x.device) * ball.scale
    after = budget.clipped(x.double(), delta, None, "Universal").to(x.dtype)
    return Found(after, victim.margins(after, labels), len(x), 0, {"waveform": waveform})
