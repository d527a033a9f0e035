"""Signs that gradients mislead, so that an attack says more about itself than about the network.

References: Athalye, Carlini and Wagner, Obfuscated Gradients Give a False Sense of Security (arXiv
1802.00420), section 3.1; Carlini et al., On Evaluating Adversarial Robustness (arXiv 1902.06705),
section 3.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from robustssm.attacks.adversaries import BandPGD, RandomSearch
from robustssm.attacks.adversaries.base import Adversary, Victim
from robustssm.attacks.base import Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.injection import input_site
from robustssm.errors import UsageError
from robustssm.evaluations.searches.minimal_strength import Study
from robustssm.execution import one_thread
from robustssm.typing import IntArray

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
    one with gradients does not; black_lower: where its margin is lower. unlimited: accuracy under
    the gradient attack at strength `limit`; chance: that of the best constant answer here.
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
        """Return a line for each sign of masked or broken gradients; none where there is none."""
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


def diagnose(
    victim: Victim,
    x: Tensor,
    labels: Tensor,
    sample_id: IntArray,
    seed: int,
    *,
    budget: Budget,
    site: Site,
    white: Adversary,
    black: Adversary,
    limit: float | None = None,
) -> Diagnostics:
    """Return the signs for samples x (batch, length, channels), attacked by two adversaries.

    white uses gradients, black does not, both at `budget`; white again at strength `limit` in the
    budget's unit (None: far beyond the data), without a clip range. A network that came in
    training mode is in evaluation mode here; that is on record.
    """
    if not len(x):
        raise UsageError("diagnose: got no samples, expected one or more")
    if budget.unit not in _UNLIMITED:
        raise UsageError(f"diagnose: unit {budget.unit!r} has no limit, expected a norm")
    first, again = victim.logits(x), victim.logits(x)
    margins, slope = victim.gradients(x, labels)
    sizes = slope * (1.0 if site.scale is None else site.scale.to(x.device))
    sizes = torch.linalg.vector_norm(sizes.flatten(1), dim=1)
    finite = torch.isfinite(sizes)
    largest = slope.abs().flatten(1).amax(1)
    strength = _UNLIMITED[budget.unit] if limit is None else limit
    arguments = (victim, x, labels, sample_id, seed)
    by_white = white.attack(*arguments, budget=budget, site=site)
    by_black = black.attack(*arguments, budget=budget, site=site)
    free = white.attack(*arguments, budget=Budget(strength, budget.unit), site=site)
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
    split = study.task.splits["test"].first(study.limit)
    with one_thread(), Victim(study.ref.load().network) as victim:
        found = diagnose(
            victim,
            torch.from_numpy(split.inputs),
            torch.from_numpy(split.labels),
            split.sample_id,
            study.seed,
            budget=budget,
            site=input_site(study.task),
            white=BandPGD(low, high),
            black=RandomSearch(low, high),
        )
    return {"model": str(study.ref), **asdict(found)}, found.warnings()
