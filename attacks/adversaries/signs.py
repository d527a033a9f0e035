"""Signs that an attack says more about itself than about the network.

References: Athalye, Carlini and Wagner, Obfuscated Gradients Give a False Sense of Security (arXiv
1802.00420), section 3.1; Carlini et al., On Evaluating Adversarial Robustness (arXiv 1902.06705),
section 3.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustssm.attacks.adversaries.base import Adversary, Target
from robustssm.attacks.budget import Budget
from robustssm.errors import require_one_of

# Gradient norm, per unit of the input's standard deviation and logit, that is as good as zero.
_TINY = 1e-10
# Strengths at which an attack without a limit has to succeed.
_UNLIMITED = {"std": 100.0, "rms": 100.0, "l2": 1e4, "linf": 100.0, "snr-db": -60.0}


@dataclass(frozen=True)
class Signs:
    """Counts over `samples`, and accuracies in [0, 1].

    zero, tiny, nonfinite: gradients of the margin at the clean samples that are exactly zero,
    below 1e-10 in norm but not zero, NaN or infinite. unrepeatable: samples whose logits differ
    between two equal passes; draws: whether a pass moved torch's random generator. white, black:
    accuracy under the attack with gradients and the one without (of an ensemble: with all of its
    parts); black_only: samples that the latter breaks and the former does not, black_lower: whose
    margin is lower by it. unlimited: accuracy under an attack at strength `limit`; chance: that of
    the best constant answer here, NaN if targets are no classes.
    """

    samples: int
    zero: int
    tiny: int
    nonfinite: int
    unrepeatable: int
    draws: bool
    white: float
    black: float
    black_only: int
    limit: float
    unit: str
    unlimited: float
    chance: float
    was_training: bool
    clean: float
    black_lower: int

    @classmethod
    def of(
        cls, target: Target, white: Tensor, black: Tensor, free: Adversary
    ) -> tuple["Signs", Tensor]:
        """Return the signs of a target, and which of its samples have one, (batch,).

        white, black: margins (batch,) under the attack with gradients and the one without; free:
        makes its way at a strength far beyond the data, without a clip range, on the samples that
        neither breaks. Raises UsageError if the budget's unit has no such strength.
        """
        victim, x, unit = target.victim, target.x, target.budget.unit
        require_one_of("diagnose: unit", unit, _UNLIMITED)
        before = _generators(x)
        first, again = target.logits(x), target.logits(x)
        draws = not all(map(torch.equal, before, _generators(x)))
        margins, _, slope = target.slopes(x)
        scale = target.site.scale
        sizes = slope * (1.0 if scale is None else scale.to(x.device))
        sizes = torch.linalg.vector_norm(sizes.flatten(1), dim=1)
        finite, largest = torch.isfinite(sizes), slope.abs().flatten(1).amax(1)
        limit = _UNLIMITED[unit]
        # Balls are nested: a sample that is broken within one is broken within a larger one.
        left = ~((white <= 0.0) | (black <= 0.0))
        if bool(left.any()) and victim.kind.judges:
            part = replace(target.select(left), budget=Budget(limit, unit))
            left[left.clone()] = ~free.attack(part).success
        classes = not target.labels.is_floating_point() and target.labels.ndim == 1
        unrepeatable = (first != again).flatten(1).any(1)
        black_only = (black <= 0.0) & (white > 0.0)
        small = ~finite | (sizes < _TINY)
        signs = cls(
            samples=len(x),
            zero=int((finite & (largest == 0.0)).sum()),
            tiny=int((finite & (largest > 0.0) & (sizes < _TINY)).sum()),
            nonfinite=int((~finite).sum()),
            unrepeatable=int(unrepeatable.sum()),
            draws=draws,
            white=float((white > 0.0).double().mean()),
            black=float((black > 0.0).double().mean()),
            black_only=int(black_only.sum()),
            limit=limit,
            unit=unit,
            unlimited=int(left.sum()) / len(x),
            chance=int(torch.bincount(target.labels).max()) / len(x) if classes else torch.nan,
            was_training=victim.was_training,
            clean=float((margins >= 0.0).double().mean()),
            black_lower=int((black < white).sum()),
        )
        return signs, small | unrepeatable | black_only | left | draws

    def warnings(self) -> list[str]:
        """Return a line for each sign of masked or broken gradients; none if there is none."""
        n = self.samples
        lines = []
        if self.nonfinite:
            lines.append(f"gradients are NaN or infinite for {self.nonfinite} of {n} samples")
        if self.zero:
            lines.append(f"gradients are exactly zero for {self.zero} of {n} samples")
        if self.tiny:
            lines.append(f"gradients are below {_TINY:g} for {self.tiny} of {n} samples")
        if self.unrepeatable:
            lines.append(
                f"two equal passes differ for {self.unrepeatable} of {n} samples: the network "
                "draws random numbers in evaluation"
            )
        elif self.draws:
            lines.append("a part of the network draws random numbers in evaluation")
        if self.black < self.white:
            lines.append(
                f"accuracy is {self.black:.3f} under the search without gradients, below "
                f"{self.white:.3f} under the one with them: gradients are masked, or it needs more "
                "steps"
            )
        elif self.black_only:
            lines.append(
                f"{self.black_only} of {n} samples are broken without gradients only; report the "
                "worst of both"
            )
        if self.unlimited > self.chance:
            lines.append(
                f"accuracy is {self.unlimited:.3f} at {self.limit:g} {self.unit}, above chance "
                f"{self.chance:.3f}: an attack without limit has to succeed"
            )
        return lines


def _generators(x: Tensor) -> list[Tensor]:
    """Return the states of torch's generators that a pass of x may move."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(x.device)] if x.is_cuda else states
