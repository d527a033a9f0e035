"""The smallest strength that breaks each sample, without assuming that more strength harms more."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from robustssm.attacks import Budget, Perturbation, check_eps, perturbed_logits
from robustssm.attacks.adversaries import Adversary, Target, Victim
from robustssm.attacks.units import UNITS
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError, require_count
from robustssm.evaluations.statistics.intervals import CONFIDENCE
from robustssm.execution import one_thread
from robustssm.targets import CLASSES, Errors
from robustssm.tasks import Task


@dataclass(frozen=True)
class Minimal:
    """The end of a search: eps (batch,), not_monotone (batch,), forwards and backwards.

    eps: 0 if the sample is broken as it is, misclassified or of too large an error; inf if no rung
    succeeded (for snr-db: inf and -inf, as strength there grows downwards). wrong: whether it is
    broken as it is.
    not_monotone: whether a larger rung fails after a smaller one, or nothing at all, succeeded.
    success: (rungs, batch).
    """

    eps: Tensor
    wrong: Tensor
    not_monotone: Tensor
    success: Tensor
    forwards: int
    backwards: int

    @property
    def not_found(self) -> Tensor:
        """Whether no strength of the ladder breaks the sample, (batch,)."""
        return ~self.success.any(0) & ~self.wrong


@dataclass(frozen=True)
class MinimalEps:
    """Smallest successful eps per sample, for an adversary or any perturbation.

    Every rung of the ladder from `first` to `last` is tried: geometric, or in equal steps of dB
    for snr-db, from weak to strong. Between the first success and the rung below it `bisections`
    steps follow. So eps is an upper bound of the smallest successful strength, tight to the last
    bracket if success does not alternate within one. A sample's draws stay the same at all
    strengths.
    """

    attacker: Adversary | Perturbation
    first: float = 0.01
    last: float = 1.0
    rungs: int = 9
    bisections: int = 5
    unit: str = "std"

    def __post_init__(self) -> None:
        if isinstance(self.attacker, Adversary) and self.attacker.joint:
            raise UsageError(
                f"MinimalEps: {self.attacker!r} has one strength for all samples together; sweep "
                "its eps instead"
            )
        if self.attacker.strengths is not None:
            raise UsageError(
                f"MinimalEps: {self.attacker!r} has no strengths between, only "
                f"{', '.join(f'{eps:g}' for eps in self.attacker.strengths)}; sweep it instead"
            )
        require_count("MinimalEps: rungs", self.rungs)
        require_count("MinimalEps: bisections + 1", self.bisections + 1)
        for eps in (self.first, self.last):
            check_eps(eps, self.unit)
        if not UNITS[self.unit].grows(self.first, self.last):
            raise UsageError(
                f"MinimalEps: the ladder runs from {self.first:g} to {self.last:g} {self.unit}, "
                "expected from weak to strong, and not from nothing"
            )

    @property
    def ladder(self) -> tuple[float, ...]:
        """The strengths that are tried, from weak to strong."""
        return UNITS[self.unit].ladder(self.first, self.last, self.rungs)

    def find(self, target: Target, inject: str = "input") -> Minimal:
        """Return the smallest strengths for a target, whose own budget plays no part.

        inject: `input`, `layers`, or `model` for a change of the model, made per batch.
        """
        victim, x, unit = target.victim, target.x, UNITS[self.unit]
        passes = victim.forwards, victim.backwards
        everyone = torch.arange(len(x), device=x.device)
        ladder = self.ladder
        wrong = target.margins(x) <= 0.0
        success = torch.stack([self._success(target, inject, everyone, eps) for eps in ladder])
        so_far = torch.cat([wrong[None], success]).cummax(0).values[:-1]
        not_monotone = (so_far & ~success).any(0)
        strengths = torch.tensor(ladder, dtype=torch.float64, device=x.device)
        first = success.double().argmax(0)
        high = strengths[first]
        low = torch.where(first > 0, strengths[first - 1], unit.nothing)
        rows = everyone[~wrong & success.any(0)]
        for _ in range(self.bisections):
            middle = unit.between(low[rows], high[rows])
            broken = torch.zeros(len(rows), dtype=torch.bool, device=x.device)
            # Bisection meets few different strengths: samples of equal ones go together.
            for eps in torch.unique(middle).tolist():
                members = middle == eps
                broken[members] = self._success(target, inject, rows[members], eps)
            high[rows[broken]] = middle[broken]
            low[rows[~broken]] = middle[~broken]
        high[~success.any(0)] = unit.endless
        high[wrong] = unit.nothing
        return Minimal(
            high,
            wrong,
            not_monotone,
            success,
            victim.forwards - passes[0],
            victim.backwards - passes[1],
        )

    def _success(self, target: Target, inject: str, rows: Tensor, eps: float) -> Tensor:
        target = replace(target.select(rows), budget=Budget(eps, self.unit))
        attacker, victim = self.attacker, target.victim
        if isinstance(attacker, Adversary):
            if inject != "input":
                raise UsageError(f"MinimalEps: {attacker!r} acts at input, not at {inject!r}")
            return attacker.attack(target).success
        broken = torch.zeros(len(target), dtype=torch.bool, device=rows.device)
        for chunk in torch.arange(len(target), device=rows.device).split(victim.size(target.x)):
            part = target.select(chunk)
            for one in attacker.alternatives():
                logits, _ = perturbed_logits(
                    victim.network,
                    part.x,
                    one,
                    part.budget,
                    part.sample_id,
                    part.seed,
                    inject=inject,
                    site=part.site,
                )
                victim.forwards += len(part)
                broken[chunk] |= victim.kind.margins(logits, part.labels) <= 0.0
        return broken


@dataclass(frozen=True)
class Study:
    """A checkpoint on the first `limit` test samples of a task, with a noise seed.

    broken: the error above which a sample is broken, where scores are errors; None for what the
    kind says of the mean one of these samples, clean.
    """

    ref: ModelRef
    task: Task
    limit: int | None
    seed: int = 0
    broken: float | None = None

    def victim(self) -> Victim:
        """Return the network as a victim, which knows what a broken sample is."""
        network, kind = self.ref.load().network, self.task.kind
        if not isinstance(kind, Errors):
            return Victim(network)
        threshold = self.broken
        if threshold is None:
            with Victim(network, kind=kind) as victim:
                target = Target.of(victim, self.task, Budget(0.0), self.seed, self.limit)
                clean = float(kind.level(target.margins(target.x).numpy()))
            threshold = kind.broken[0] * clean + kind.broken[1]
        return Victim(network, kind=type(kind)(kind.name, kind.every_step, threshold))


def smallest_strengths(study: Study, search: MinimalEps, inject: str) -> pd.DataFrame:
    """Return one row per sample: model, sample_id, label, right, eps, not_monotone, not_found.

    right: whether it is classified as labelled without the attack. eps as `MinimalEps` gives it;
    passes per sample, forwards and backwards together, in attrs.
    """
    with one_thread(), study.victim() as victim:
        budget = Budget(search.first, search.unit)
        target = Target.of(victim, study.task, budget, study.seed, study.limit)
        minimal = search.find(target, inject)
    frame = pd.DataFrame(
        {
            "model": str(study.ref),
            "sample_id": target.sample_id,
            **({} if study.task.kind is not CLASSES else {"label": target.labels.numpy()}),
            "right": ~minimal.wrong.numpy(),
            "eps": minimal.eps.numpy(),
            "not_monotone": minimal.not_monotone.numpy(),
            "not_found": minimal.not_found.numpy(),
        }
    )
    frame.attrs["passes"] = (minimal.forwards + minimal.backwards) / len(target)
    return frame


def strengths_summary(frame: pd.DataFrame, passes: float, unit: str = "std") -> dict[str, object]:
    """Return the row of a checkpoint: median of the smallest strengths of samples it gets right.

    The interval is that of the median by order statistics (scipy `quantile_test`); infinite
    strengths, if nothing succeeded, count as large. For unit snr-db, where strength grows
    downwards, `smallest` is the largest number.
    """
    eps = np.sort(frame.loc[frame["right"], "eps"].to_numpy())
    row: dict[str, object] = {"model": frame["model"].iloc[0], "n": len(frame), "right": len(eps)}
    if len(eps):
        most = np.finfo(np.float64).max
        interval = stats.quantile_test(np.clip(eps, -most, most)).confidence_interval(CONFIDENCE)
        ends = [float(v) if abs(v) < most else float(np.copysign(np.inf, v)) for v in interval]
        row |= {
            "median_eps": float(np.quantile(eps, 0.5, method="inverted_cdf")),
            "ci_low": ends[0],
            "ci_high": ends[1],
            "smallest": float(eps[-1] if UNITS[unit].endless < 0.0 else eps[0]),
        }
    row |= {
        "not_monotone": int(frame["not_monotone"].sum()),
        "not_found": int(frame["not_found"].sum()),
        "passes_per_sample": passes,
    }
    return row
