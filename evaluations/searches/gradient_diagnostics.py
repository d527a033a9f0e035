"""Whether gradients mislead: an attack with them beside one without, and the signs of both."""

from dataclasses import asdict

from robustssm.attacks import Budget
from robustssm.attacks.adversaries import Adversary, RandomSearch, Target, Victim
from robustssm.attacks.adversaries.signs import Signs
from robustssm.errors import require
from robustssm.evaluations.searches.minimal_strength import Study
from robustssm.execution import one_thread


def diagnose(target: Target, white: Adversary, black: Adversary) -> Signs:
    """Return the signs that gradients mislead, for the samples of a target.

    white uses gradients, black does not, both at the target's budget; an ensemble that has both
    brings its own signs. Raises UsageError if the target has no samples or as `Signs.of` does.
    """
    require(len(target) > 0, "diagnose: samples", len(target), "one or more")
    found = white.attack(target)
    known = found.flags.get("signs")
    if isinstance(known, Signs):
        return known
    return Signs.of(target, found.margin, black.attack(target).margin, white)[0]


def masked_gradients(
    study: Study, white: Adversary, budget: Budget
) -> tuple[dict[str, object], list[str]]:
    """Return the diagnostics of a checkpoint in the band of an attack, and their warnings."""
    study.task.of_classes("diagnose")
    with one_thread(), Victim(study.ref.load().network) as victim:
        target = Target.of(victim, study.task, budget, study.seed, study.limit)
        signs = diagnose(target, white, RandomSearch(white.low, white.high))
    return {"model": str(study.ref), **asdict(signs)}, signs.warnings()
