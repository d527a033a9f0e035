"""The worst mode of trained checkpoints, found by the guided ranking, against a full sweep's.

A sweep of every mode says which is worst; `rank_modes` finds it with a small part of the passes.
Modes that tie for the lowest accuracy of the sweep are all its worst mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from robustssm.attacks import Budget
from robustssm.attacks.adversaries.base import Victim
from robustssm.attacks.injection import input_site
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError
from robustssm.evaluations.searches.mode_ranking import rank_modes
from robustssm.evaluations.sweep.plan import Model
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.trained_layers.input_response import input_response
from robustssm.execution import one_thread
from robustssm.networks.network import own_network
from robustssm.tasks import Task

# How many of the first modes are shown, and counted as found.
FIRST = 3


@dataclass(frozen=True)
class Search:
    """How worst modes are looked for: modes, strength (std), noise seed, share of the passes.

    prior: whether the layers' response takes part; linearise: whether gradients do.
    """

    modes: tuple[int, ...]
    eps: float
    seed: int = 0
    part: int = 20
    prior: bool = True
    linearise: bool = True


def worst_modes(ref: ModelRef, task: Task, search: Search) -> dict[str, object]:
    """Return the first modes of a checkpoint's ranking, and what it took to find them.

    passes: forward passes of samples; strict_passes: each pass back counted as two more;
    accuracy: of the first mode over the first `samples` test samples in the ranking's order, those
    that it was tried on; with all modes and part 20 every one.
    """
    task.values(f"worst-mode {ref}")
    checkpoint = ref.load()
    split = task.splits["test"]
    prior = None
    modes = np.asarray(search.modes)
    if search.prior:
        own = own_network(checkpoint.network, f"worst-mode {ref}")
        prior = input_response(own, task.length, modes.astype(np.float64))
    with one_thread(), Victim(checkpoint.network) as victim:
        ranking = rank_modes(
            victim,
            torch.from_numpy(split.inputs),
            torch.from_numpy(split.labels),
            split.sample_id,
            search.seed,
            budget=Budget(search.eps, "std"),
            site=input_site(task),
            modes=search.modes,
            prior=prior,
            passes=len(modes) * len(split) // search.part,
            linearise=search.linearise,
        )
    exhaustive = len(modes) * len(split)
    return {
        "model": ref.label,
        "train_seed": checkpoint.card.train_seed,
        "eps": search.eps,
        **{f"mode_{k + 1}": int(ranking.modes[k]) for k in range(min(FIRST, len(modes)))},
        "accuracy": float(ranking.accuracy[0]),
        "samples": int(ranking.samples[0]),
        "passes": ranking.forwards,
        "strict_passes": ranking.passes,
        "exhaustive_passes": exhaustive,
        "times_fewer": exhaustive / ranking.forwards,
        "times_fewer_strict": exhaustive / ranking.passes,
    }


def swept(run: RunDirectory, task: Task, search: Search, model: Model) -> pd.DataFrame:
    """Return the sweep's accuracies of a checkpoint at a strength, columns mode and accuracy.

    Raises UsageError where the sweep is not the one to compare with: other data or a part of them,
    another seed, or modes of this checkpoint that it lacks. Its perturbations have to be those of
    the ranking (random phases, no clipping), whatever the noise was called.
    """
    manifest = run.manifest()
    if manifest.get("task_hash") != task.content_hash or manifest.get("partial"):
        raise UsageError(f"{run.path}: is a sweep of other data, or of a part of them (--limit)")
    try:
        plan = pd.read_parquet(run.path / "plan.parquet")
        summary = pd.read_csv(run.path / "summary.csv")
        plan["mode"] = plan["perturbation"].map({repr(Fourier(k)): k for k in search.modes})
        own = plan[
            plan["mode"].notna()
            & (plan["checkpoint"] == model.content_hash)
            & (plan["inject"] == "input")
            & (plan["eps"] == search.eps)
            & (plan["eps_unit"] == "std")
            & plan["clip"].isin(["none", ""])
        ].drop_duplicates("cell")
        own = own[["cell", "mode"]].astype({"mode": int})
        found = own.merge(summary[["cell", "accuracy"]].drop_duplicates("cell"), on="cell")
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(
            f"{run.path}: holds no plan.parquet and summary.csv of a finished sweep ({error}); "
            "run that sweep again"
        ) from None
    if set(plan["seed"]) != {search.seed}:
        raise UsageError(f"{run.path}: has noise seed {plan['seed'].iloc[0]}, not {search.seed}")
    if len(found) != len(search.modes):
        raise UsageError(
            f"{run.path}: has {len(found)} of {len(search.modes)} modes of {model.ref.label}/"
            f"{model.train_seed} at eps {search.eps:g}; sweep them with --noise fourier"
        )
    return found[["mode", "accuracy"]]


def against(
    table: pd.DataFrame,
    run: RunDirectory,
    task: Task,
    searches: Sequence[Search],
    models: Sequence[Model],
) -> pd.DataFrame:
    """Return the table with the sweep's worst mode beside each row, and whether it was found.

    The rows are those of `worst_modes`, all models for the first search, then for the next.
    true_modes: all that share the lowest accuracy, as text; place: of the first of them among the
    first three, 0 where none is there. Raises as `swept`.
    """
    rows = []
    pairs = [(search, model) for search in searches for model in models]
    for row, (search, model) in zip(table.to_dict("records"), pairs, strict=True):
        own = swept(run, task, search, model)
        lowest = own["accuracy"].min()
        worst = sorted(int(m) for m in own.loc[own["accuracy"] == lowest, "mode"])
        shown = [row[f"mode_{k + 1}"] for k in range(min(FIRST, len(search.modes)))]
        places = [shown.index(mode) + 1 for mode in worst if mode in shown]
        accuracy = float(own.set_index("mode")["accuracy"][shown[0]])
        rows.append(
            {
                **row,
                "true_modes": " ".join(map(str, worst)),
                "true_accuracy": float(lowest),
                "sweep_accuracy_of_first": accuracy,
                "place": min(places, default=0),
            }
        )
    return pd.DataFrame(rows)


def verdicts(table: pd.DataFrame) -> list[str]:
    """Return a line a strength: how often the sweep's worst mode came first, and in the first 3."""
    lines = []
    for eps, part in table.groupby("eps"):
        first, within = int((part["place"] == 1).sum()), int((part["place"] > 0).sum())
        missed = part["sweep_accuracy_of_first"] - part["true_accuracy"]
        lines.append(
            f"eps {eps:g}: the sweep's worst mode is first for {first} and in the first {FIRST} "
            f"for {within} of {len(part)} checkpoints, with {part['times_fewer'].min():.1f} times "
            f"fewer forward passes ({part['times_fewer_strict'].min():.1f} with passes back "
            f"counted double); the first mode's accuracy is at most {missed.max():.4f} above the "
            "worst"
        )
    return lines
