"""Which models of which runs may be compared: the same samples, the same noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.results import cell_reader
from robustssm.evaluations.results.cell_reader import Outcomes
from robustssm.evaluations.sweep.condition_names import CONDITION
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.targets import Kind


@dataclass(frozen=True)
class Comparable:
    """Models whose outcomes are paired: sample i is the same, with the same noise, in all of them.

    members: models of one training seed each, in the order they were named; missing: planned
    conditions of theirs without results; partial: whether only the first samples were used;
    notes: what the reader must know of the runs; damaged: files of theirs that were left out.
    """

    members: tuple[Outcomes, ...]
    chance: float
    task: str
    partial: bool
    missing: int
    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def models(self) -> list[str]:
        """Names of the models, each once."""
        return list(dict.fromkeys(member.model for member in self.members))

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.members[0].sample_id)

    @property
    def kind(self) -> Kind:
        """The kind of target."""
        return self.members[0].kind


def gather(runs: Sequence[RunDirectory], names: Sequence[str] = ()) -> Comparable:
    """Return the models of one or more runs to compare; all of them if none is named.

    names: `s4d` (all its training seeds in the runs), `s4d/2` (one of them). Raises UsageError
    if a name is in no run, runs differ in data, split, noise seed or schema, a name means two
    checkpoints, or one condition two perturbations.
    """
    if not runs:
        raise UsageError("compare: no run is named; give the directory of a sweep")
    _check_runs(runs)
    wanted = _choose(runs, names)
    parts: dict[tuple[str, int], list[Outcomes]] = {key: [] for key in wanted}
    checkpoints: dict[tuple[str, int], str] = {}
    with_results: set[tuple[object, ...]] = set()
    planned: set[tuple[object, ...]] = set()
    damaged: list[str] = []
    for run in runs:
        plan = run.plan()
        state = run.state(plan["cell"])
        damaged += [str(run.path / name) for name in sorted(state.damaged)]
        for model, seed in dict.fromkeys(cell_reader.models(run)):
            if (model, seed) not in parts:
                continue
            cells = plan[(plan["model"] == model) & (plan["train_seed"] == seed)]
            checkpoint = str(cells["checkpoint"].iloc[0])
            if checkpoints.setdefault((model, seed), checkpoint) != checkpoint:
                raise UsageError(
                    f"run {run.path}: {model}/{seed} is another checkpoint there "
                    f"({checkpoint[:12]}, before {checkpoints[model, seed][:12]}); sweep it under "
                    "a name of its own"
                )
            outcomes = cell_reader.outcomes(run, model, seed, state)
            parts[model, seed].append(outcomes)
            noisy = cells[cells["noise"] != "clean"]
            planned.update((model, seed, *row) for row in _rows(noisy))
            with_results.update((model, seed, *row) for row in _rows(outcomes.conditions))
    members = tuple(_merge(several) for several in parts.values())
    for member in members[1:]:
        if not np.array_equal(member.sample_id, members[0].sample_id):
            raise UsageError(
                f"compare: {member.name} has {len(member.sample_id)} samples, others than the "
                f"{len(members[0].sample_id)} of {members[0].name}; sweep both with one --limit"
            )
    _check_perturbations(members)
    manifest = runs[0].manifest()
    if "chance" not in manifest:
        raise UsageError(f"run {runs[0].path}: its manifest.json lacks chance; sweep it anew")
    devices = sorted({str(run.manifest().get("device", "cpu")) for run in runs})
    ties = "predictions near a tie may differ by that alone"
    notes = (f"computed on {' and '.join(devices)}: {ties}",) if len(devices) > 1 else ()
    return Comparable(
        members,
        float(manifest["chance"]),
        str(manifest["task"]),
        runs[0].limit is not None,
        len(planned - with_results),
        notes,
        tuple(damaged),
    )


def _rows(conditions: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(conditions[[*CONDITION]].itertuples(index=False, name=None))


def _check_runs(runs: Sequence[RunDirectory]) -> None:
    first = _fingerprint(runs[0])
    for run in runs[1:]:
        other = _fingerprint(run)
        differs = [f"{name} ({first[name]}, {other[name]})" for name in first
                   if first[name] != other[name]]  # fmt: skip
        if differs:
            raise UsageError(
                f"compare: {runs[0].path} and {run.path} differ in {', '.join(differs)}, so their "
                "outcomes are not paired; sweep the models with the same data, --seed and --limit"
            )


def _fingerprint(run: RunDirectory) -> dict[str, str]:
    """Return what fixes a run's samples and noise, besides the perturbations themselves."""
    manifest, plan = run.manifest(), run.plan()
    return {
        "task": str(manifest.get("task")),
        "data": str(manifest.get("task_hash"))[:12],
        "noise seed": ", ".join(map(str, plan["seed"].unique())) or "none",
        "limit": "all samples" if run.limit is None else f"first {run.limit}",
        "schema of cells": str(manifest.get("schema")),
    }


def _choose(runs: Sequence[RunDirectory], names: Sequence[str]) -> list[tuple[str, int]]:
    """Return (model, training seed) of the names, in their order; UsageError for an unknown one."""
    known = list(dict.fromkeys(key for run in runs for key in cell_reader.models(run)))
    if not names:
        return known
    chosen: list[tuple[str, int]] = []
    for name in names:
        named = [(m, s) for m, s in known if name in (m, f"{m}/*", f"{m}/{s}")]
        if not named:
            expected = ", ".join(dict.fromkeys(model for model, _ in known))
            raise UsageError(
                f"model: {name!r} is in none of the runs, expected {expected}, or one of their "
                "training seeds, as in s4d/2"
            )
        chosen.extend(key for key in named if key not in chosen)
    return chosen


def _merge(parts: Sequence[Outcomes]) -> Outcomes:
    """Return one model's outcomes in several runs as one; a condition in two of them counts once.

    Its rows are the same in both, as weights, data, noise and seed are. Raises UsageError if
    one condition of the model is two perturbations.
    """
    first = parts[0]
    conditions = pd.concat([part.conditions for part in parts], ignore_index=True)
    kept = ~conditions.duplicated([*CONDITION, "perturbation"])
    twice = conditions[kept & conditions.duplicated([*CONDITION])]
    if len(twice):
        row = twice.iloc[0]
        same = (conditions[[*CONDITION]] == row[[*CONDITION]]).all(axis=1)
        one, other = conditions.loc[same, "perturbation"].unique()[:2]
        mode = f" at {row['mode_unit']} {row['mode']:g}" if row["mode_unit"] else ""
        raise UsageError(
            f"compare: noise {row['noise']}{mode}, eps {row['eps']:g} {row['eps_unit']}, of "
            f"{first.name} is {one} and {other}; compare runs of one set of noise options at a time"
        )
    correct, draws = (
        np.concatenate([getattr(part, name) for part in parts])[kept.to_numpy()]
        for name in ("correct", "draws")
    )
    return Outcomes(
        first.model, first.train_seed, conditions[kept].reset_index(drop=True), first.sample_id,
        correct, draws, first.clean, first.kind,
    )  # fmt: skip


def _check_perturbations(members: Sequence[Outcomes]) -> None:
    """Raise UsageError if a condition is one perturbation for one model, another for the next.

    The spikes of resonance lie elsewhere for each state size: there the number is what is compared.
    """
    table = pd.concat([member.conditions for member in members], ignore_index=True)
    table = table[table["mode_unit"] != "spike"]
    kinds = table.groupby([*CONDITION], sort=False)["perturbation"].unique()
    several = kinds[kinds.map(len) > 1]
    if len(several):
        one, other = several.iloc[0][:2]
        raise UsageError(
            f"compare: noise {several.index[0][0]} is {one} in one run and {other} in another; "
            "sweep the models with the same noise options"
        )
