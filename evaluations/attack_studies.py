"""Two studies of a checkpoint under attack: smallest strengths per sample, and masked gradients."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from scipy import stats

from robustssm.attacks import Budget
from robustssm.attacks.adversaries import BandPGD, MinimalEps, RandomSearch, Victim, diagnose
from robustssm.attacks.injection import input_site
from robustssm.checkpoints.model_names import ModelRef
from robustssm.evaluations.statistics.intervals import CONFIDENCE
from robustssm.execution import one_thread
from robustssm.tasks import Task


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
