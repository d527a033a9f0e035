"""The smallest strength that breaks each sample, without assuming that more strength harms more."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from robustssm.attacks.adversaries.base import Adversary, Victim, check_count, margin
from robustssm.attacks.base import Perturbation, Site
from robustssm.attacks.budget import Budget, check_eps
from robustssm.attacks.injection import input_site, perturbed_logits
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError
from robustssm.evaluations.statistics.intervals import CONFIDENCE
from robustssm.execution import one_thread
from robustssm.tasks import Task
from robustssm.typing import IntArray


@dataclass(frozen=True)
class Minimal:
    """The end of a search: eps (batch,), not_monotone (batch,), forwards and backwards.

    eps: 0 where the sample is misclassified as it is; inf where no rung succeeded (for snr-db:
    inf and -inf, as strength there grows downwards). wrong: whether it is misclassified as it is.
    not_monotone: whether a larger rung fails after a smaller one, or nothing at all, succeeded.
    success: (rungs, batch).
    """

    eps: Tensor
    wrong: Tensor
    not_monotone: Tensor
    success: Tensor
    rungs: tuple[float, ...]
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
    bracket where success does not alternate within one. A sample's draws stay the same at all
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
        check_count("MinimalEps", "rungs", self.rungs)
        check_count("MinimalEps", "bisections", self.bisections + 1)
        for eps in (self.first, self.last):
            check_eps(eps, self.unit)
        grows = self.last > self.first > 0.0
        if not (self.last < self.first < math.inf if self.unit == "snr-db" else grows):
            raise UsageError(
                f"MinimalEps: the ladder runs from {self.first:g} to {self.last:g} {self.unit}, "
                "expected from weak to strong, and not from nothing"
            )

    @property
    def ladder(self) -> tuple[float, ...]:
        """The strengths that are tried, from weak to strong."""
        space = np.linspace if self.unit == "snr-db" else np.geomspace
        return tuple(float(eps) for eps in space(self.first, self.last, self.rungs))

    def find(
        self,
        victim: Victim,
        x: Tensor,
        labels: Tensor,
        sample_id: IntArray,
        seed: int,
        *,
        site: Site,
        inject: str = "input",
    ) -> Minimal:
        """Return the smallest strengths for x (batch, length, channels); inject as at sweeps.

        A change of the model needs inject `model`, and is made for a batch at a time.
        """
        passes = victim.forwards, victim.backwards
        search = _Search(self, victim, x, labels, np.asarray(sample_id), seed, site, inject)
        everyone = torch.arange(len(x), device=x.device)
        ladder = self.ladder
        wrong = victim.margins(x, labels) <= 0.0
        success = torch.stack([search.success(everyone, eps) for eps in ladder])
        so_far = torch.cat([wrong[None], success]).cummax(0).values[:-1]
        not_monotone = (so_far & ~success).any(0)
        strengths = torch.tensor(ladder, dtype=torch.float64, device=x.device)
        first = success.double().argmax(0)
        high = strengths[first]
        nothing = math.inf if self.unit == "snr-db" else 0.0
        low = torch.where(first > 0, strengths[first - 1], nothing)
        rows = everyone[~wrong & success.any(0)]
        for _ in range(self.bisections):
            middle = self._between(low[rows], high[rows])
            broken = search.success_each(rows, middle)
            high[rows[broken]] = middle[broken]
            low[rows[~broken]] = middle[~broken]
        high[~success.any(0)] = -math.inf if self.unit == "snr-db" else math.inf
        high[wrong] = nothing
        return Minimal(
            high,
            wrong,
            not_monotone,
            success,
            ladder,
            victim.forwards - passes[0],
            victim.backwards - passes[1],
        )

    def _between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return strengths between; below the lowest rung, half of it (or 6 dB less)."""
        if self.unit == "snr-db":
            return torch.where(torch.isinf(low), high + 6.0, (low + high) / 2.0)
        return torch.where(low == 0.0, high / 2.0, torch.sqrt(low * high))


@dataclass(frozen=True)
class _Search:
    settings: MinimalEps
    victim: Victim
    x: Tensor
    labels: Tensor
    sample_id: IntArray
    seed: int
    site: Site
    inject: str

    def success_each(self, rows: Tensor, eps: Tensor) -> Tensor:
        """Return success of each of the samples `rows` at its own eps, (rows,).

        Samples of equal eps go together: bisection meets few different values.
        """
        values, group = torch.unique(eps, return_inverse=True)
        found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        for number, value in enumerate(values.tolist()):
            members = group == number
            found[members] = self.success(rows[members], value)
        return found

    def success(self, rows: Tensor, eps: float) -> Tensor:
        """Return whether eps breaks each of the samples `rows`, (rows,)."""
        attacker, budget = self.settings.attacker, Budget(eps, self.settings.unit)
        x, labels, ids = self.x[rows], self.labels[rows], self.sample_id[rows.cpu().numpy()]
        if isinstance(attacker, Adversary):
            if self.inject != "input":
                raise UsageError(f"MinimalEps: {attacker!r} acts at input, not at {self.inject!r}")
            return attacker.attack(
                self.victim, x, labels, ids, self.seed, budget=budget, site=self.site
            ).success
        found = torch.zeros(len(rows), dtype=torch.bool, device=x.device)
        for chunk in torch.arange(len(rows), device=x.device).split(self.victim.batch_size):
            for one in attacker.alternatives():
                logits, _ = perturbed_logits(
                    self.victim.network,
                    x[chunk],
                    one,
                    budget,
                    ids[chunk.cpu().numpy()],
                    self.seed,
                    inject=self.inject,
                    site=self.site,
                )
                self.victim.forwards += len(chunk)
                found[chunk] |= margin(logits, labels[chunk]) <= 0.0
        return found


@dataclass(frozen=True)
class Study:
    """A checkpoint on the first `limit` test samples of a task, with a noise seed."""

    ref: ModelRef
    task: Task
    limit: int | None
    seed: int = 0


def smallest_strengths(study: Study, search: MinimalEps, inject: str) -> pd.DataFrame:
    """Return one row a sample: model, sample_id, label, right, eps, not_monotone, not_found.

    right: whether it is classified as labelled without the attack. eps as `MinimalEps` gives it;
    passes per sample, forwards and backwards together, in attrs.
    """
    split = study.task.splits["test"].first(study.limit)
    with one_thread(), Victim(study.ref.load().network) as victim:
        found = search.find(
            victim,
            torch.from_numpy(split.inputs),
            torch.from_numpy(split.labels),
            split.sample_id,
            study.seed,
            site=input_site(study.task),
            inject=inject,
        )
    frame = pd.DataFrame(
        {
            "model": str(study.ref),
            "sample_id": split.sample_id,
            "label": split.labels,
            "right": ~found.wrong.numpy(),
            "eps": found.eps.numpy(),
            "not_monotone": found.not_monotone.numpy(),
            "not_found": found.not_found.numpy(),
        }
    )
    frame.attrs["passes"] = (found.forwards + found.backwards) / len(split)
    return frame


def strengths_summary(frame: pd.DataFrame, passes: float, unit: str = "std") -> dict[str, object]:
    """Return the row of a checkpoint: median of the smallest strengths of samples it gets right.

    The interval is that of the median by order statistics (scipy `quantile_test`); infinite
    strengths, where nothing succeeded, count as large. For unit snr-db, where strength grows
    downwards, `smallest` is the largest number.
    """
    own = frame[frame["right"]]
    eps = np.sort(own["eps"].to_numpy())
    row: dict[str, object] = {"model": frame["model"].iloc[0], "n": len(frame), "right": len(own)}
    if len(eps):
        most = np.finfo(np.float64).max
        interval = stats.quantile_test(np.clip(eps, -most, most)).confidence_interval(CONFIDENCE)
        ends = [float(v) if abs(v) < most else float(np.copysign(np.inf, v)) for v in interval]
        row |= {
            "median_eps": float(np.quantile(eps, 0.5, method="inverted_cdf")),
            "ci_low": ends[0],
            "ci_high": ends[1],
            "smallest": float(eps[-1] if unit == "snr-db" else eps[0]),
        }
    row |= {
        "not_monotone": int(frame["not_monotone"].sum()),
        "not_found": int(frame["not_found"].sum()),
        "passes_per_sample": passes,
    }
    return row
