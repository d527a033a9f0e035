"""Signs that gradients mislead, so that an attack says more about itself than about the network.

References: Athalye, Carlini and Wagner, Obfuscated Gradients Give a False Sense of Security (arXiv
1802.00420), section 3.1; Carlini et al., On Evaluating Adversarial Robustness (arXiv 1902.06705),
section 3.
"""

from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from robustssm.attacks import Budget
from robustssm.attacks.adversaries import Adversary, BandPGD, RandomSearch, Target, Victim
from robustssm.errors import require, require_one_of
from robustssm.evaluations.searches.minimal_strength import Study
from robustssm.execution import one_thread

# Gradient norm, per unit of the input's standard deviation and logit, that is as good as zero.
_TINY = 1e-10
# Strengths at which an attack without a limit has to succeed.
_UNLIMITED = {"std": 100.0, "rms": 100.0, "l2": 1e4, "linf": 100.0, "snr-db": -60.0}


@dataclass(frozen=True)
class Diagnostics:
    """Counts over `samples`, and accuracies in [0, 1].

    zero, tiny, nonfinite: gradients of the margin at the clean samples that are exactly zero,
    below 1e-10 in norm but not zero, NaN or infinite. unrepeatable: samples whose logits differ
    between two equal passes. black_only: samples that the search without gradients breaks and the
    one with gradients does not; black_lower: samples whose margin is lower. unlimited: accuracy
    under the gradient attack at strength `limit`; chance: that of the best constant answer here.
    """

    samples: int
    zero: int
    tiny: int
    nonfinite: int
    unrepeatable: int
    was_training: bool
    clean: float
    white: float
    black: float
    black_only: int
    black_lower: int
    limit: float
    unit: str
    unlimited: float
    chance: float

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


def diagnose(target: Target, white: Adversary, black: Adversary) -> Diagnostics:
    """Return the signs that gradients mislead, for the samples of a target.

    white uses gradients, black does not, both at the target's budget; white again at a strength
    far beyond the data, without a clip range. A network that came in training mode is in
    evaluation mode here; that is on record. Raises UsageError if the target has no samples or its
    budget's unit has no such strength.
    """
    victim, x, labels, budget = target.victim, target.x, target.labels, target.budget
    require(len(x) > 0, "diagnose: samples", len(x), "one or more")
    require_one_of("diagnose: unit", budget.unit, _UNLIMITED)
    first, again = victim.logits(x), victim.logits(x)
    margins, _, slope = target.slopes(x)
    scale = target.site.scale
    sizes = slope * (1.0 if scale is None else scale.to(x.device))
    sizes = torch.linalg.vector_norm(sizes.flatten(1), dim=1)
    finite = torch.isfinite(sizes)
    largest = slope.abs().flatten(1).amax(1)
    strength = _UNLIMITED[budget.unit]
    by_white, by_black = white.attack(target), black.attack(target)
    free = white.attack(replace(target, budget=Budget(strength, budget.unit)))
    counts = torch.bincount(labels)

    def share(right: Tensor) -> float:
        return float(right.double().mean())

    return Diagnostics(
        samples=len(x),
        zero=int((finite & (largest == 0.0)).sum()),
        tiny=int((finite & (largest > 0.0) & (sizes < _TINY)).sum()),
        nonfinite=int((~finite).sum()),
        unrepeatable=int((first != again).any(1).sum()),
        was_training=victim.was_training,
        clean=share(margins >= 0.0),
        white=share(~by_white.success),
        black=share(~by_black.success),
        black_only=int((by_black.success & ~by_white.success).sum()),
        black_lower=int((by_black.margin < by_white.margin).sum()),
        limit=strength,
        unit=budget.unit,
        unlimited=share(~free.success),
        chance=float(counts.max()) / len(x),
    )


def masked_gradients(
    study: Study, low: int, high: int, budget: Budget
) -> tuple[dict[str, object], list[str]]:
    """Return the diagnostics of a checkpoint within DFT bins low..high, and their warnings."""
    study.task.of_classes("diagnose")
    with one_thread(), Victim(study.ref.load().network) as victim:
        target = Target.of(victim, study.task, budget, study.seed, study.limit)
        diagnostics = diagnose(target, BandPGD(low, high), RandomSearch(low, high))
    return {"model": str(study.ref), **asdict(diagnostics)}, diagnostics.warnings()
