"""What models did in a finished sweep, kept to hold later models against: a baseline.

It says everything that a check needs: the data's hash, the conditions as they are typed, and which
samples each model of each training seed got right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from robustssm.errors import UsageError
from robustssm.evaluations.comparison.comparable import gather
from robustssm.evaluations.results.cell_reader import Outcomes
from robustssm.evaluations.statistics.seed_bands import ERRORS, SHARES, Seeds
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.plan import SCHEMA
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.targets import CLASSES, KINDS
from robustssm.typing import Array, BoolArray, FloatArray

# Conditions that are named before the rest is only counted.
_NAMED = 3


@dataclass(frozen=True)
class Data:
    """The samples of a baseline: task, hash of its data, how many and which.

    limit: the first so many, None for all; chance: score of the best constant answer; seed: of the
    noise; device: kind of processor that computed it; cells: schema of the rows; target: name of
    the kind of target, empty for classes.
    """

    task: str
    task_hash: str
    samples: int
    limit: int | None
    chance: float
    seed: int
    device: str = "cpu"
    cells: int = SCHEMA
    versions: dict[str, str] = field(default_factory=dict)
    target: str = CLASSES.name

    def seeds(self, scores: FloatArray) -> Seeds:
        """Return what training seeds say, of scores (seeds, conditions), the larger the better."""
        return Seeds.of(scores, self.samples, ERRORS if self.target else SHARES)

    def vacuous(self, low: FloatArray, expected: FloatArray) -> BoolArray:
        """Return at which bounds no score above chance could fall; errors are expected below it."""
        of = KINDS[self.target]
        return (low <= of.sign * self.chance) & (of is CLASSES or expected > -self.chance)


@dataclass(frozen=True)
class Member:
    """A model of one training seed: content hash of its checkpoint, and what it got right.

    ids: of its conditions, ascending as in the baseline; clean: (samples,); correct: (conditions,
    samples), of values minus the squared errors.
    """

    model: str
    train_seed: int
    checkpoint: str
    ids: tuple[str, ...]
    clean: Array
    correct: Array

    @property
    def name(self) -> str:
        """`model/seed`."""
        return f"{self.model}/{self.train_seed}"


@dataclass(frozen=True)
class Baseline:
    """Conditions by their ids, and the models that were measured under them."""

    data: Data
    conditions: dict[str, Condition]
    members: tuple[Member, ...]

    @property
    def models(self) -> list[str]:
        """Names of the models, each once."""
        return list(dict.fromkeys(member.model for member in self.members))

    def against(self, name: str | None, model: str = "") -> tuple[Member, ...]:
        """Return the training seeds that `name` means: `s4d` all, `s4d/2` one.

        None means the model of this name if there is one, else the only one. Raises UsageError for
        a name unknown, or none where there are several, and where seeds have other conditions.
        """
        if name is None:
            name = model if model in self.models else self.models[0]
            if name != model and len(self.models) > 1:
                raise UsageError(
                    f"baseline: holds {', '.join(self.models)}, and {model!r} is none of them; "
                    "name one by --against"
                )
        found = tuple(m for m in self.members if name in (m.model, f"{m.model}/*", m.name))
        if not found:
            raise UsageError(
                f"baseline: {name!r} is not in it, expected {', '.join(self.models)}, or one of "
                "their training seeds, as in s4d/2"
            )
        if len({member.ids for member in found}) > 1:
            raise UsageError(
                f"baseline: the training seeds of {name} were measured under different "
                "conditions; name one of them, as in s4d/2"
            )
        return found


def make_baseline(runs: Sequence[RunDirectory], names: Sequence[str] = ()) -> Baseline:
    """Return the baseline of finished runs on the same samples; of the named models, or all.

    Raises UsageError if cells of theirs have no results, naming them, where the rows of the
    runs are of another version, or runs do not belong together.
    """
    compared = gather(runs, names)
    manifest = runs[0].manifest()
    if manifest["schema"] != SCHEMA:
        raise UsageError(
            f"run {runs[0].path}: its rows are of schema {manifest['schema']}, this version "
            f"writes {SCHEMA}; sweep again into a new directory"
        )
    plan = pd.concat([run.plan() for run in runs], ignore_index=True)
    seeds = len(set(plan["seed"]))
    if seeds > 1:
        raise UsageError(
            f"run {runs[0].path}: draws its noise with {seeds} seeds, expected one, as a check "
            "repeats one draw; sweep again without --noise-seeds, taking the cells over by "
            f"--reuse {runs[0].path}"
        )
    found: dict[str, Condition] = {}
    members = []
    for outcomes in compared.members:
        own = plan[(plan["model"] == outcomes.model) & (plan["train_seed"] == outcomes.train_seed)]
        _check_complete(runs, own, outcomes)
        rows = outcomes.conditions.to_dict("records")
        conditions = [Condition.from_row({str(k): v for k, v in row.items()}) for row in rows]
        known = {condition.id: k for k, condition in enumerate(conditions)}
        if len(known) < len(conditions):
            raise UsageError(
                f"baseline: {outcomes.name} has a condition under two names in the runs; name "
                "the run that has it once"
            )
        ids = tuple(sorted(known, key=lambda one: _order(conditions[known[one]])))
        found.update((one, conditions[known[one]]) for one in ids)
        correct = outcomes.correct[[known[one] for one in ids]]
        checkpoint = str(own["checkpoint"].iloc[0])
        key = (outcomes.model, outcomes.train_seed)
        members.append(Member(*key, checkpoint, ids, outcomes.clean, correct))
    data = Data(
        task=str(manifest["task"]),
        task_hash=str(manifest["task_hash"]),
        samples=compared.n,
        limit=runs[0].limit,
        chance=compared.chance,
        seed=int(plan["seed"].iloc[0]),
        device=str(manifest.get("device", "cpu")),
        versions=dict(manifest.get("versions", {})),
        target=compared.kind.name,
    )
    members.sort(key=lambda member: (member.model, member.train_seed))
    ordered = dict(sorted(found.items(), key=lambda item: _order(item[1])))
    return Baseline(data, ordered, tuple(members))


def _order(condition: Condition) -> tuple[object, ...]:
    budget = condition.budget
    return (condition.noise, condition.inject, condition.mode_unit, condition.mode, budget.unit,
            budget.eps, budget.range, repr(condition.attack))  # fmt: skip


def _check_complete(
    runs: Sequence[RunDirectory], planned: pd.DataFrame, outcomes: Outcomes
) -> None:
    """Raise UsageError, naming the first of them, where planned cells have no results."""
    there = {*outcomes.conditions["cell"]}
    noisy = planned[planned["noise"] != "clean"].drop_duplicates("cell")
    missing = noisy[~noisy["cell"].isin(there)]
    # A condition that two runs planned is there once.
    missing = missing[[not any(run.has(cell) for run in runs) for cell in missing["cell"]]]
    if missing.empty:
        return
    shown = ", ".join(
        f"{row['noise']} mode {row['mode']:g} eps {row['eps']:g}"
        for row in missing.head(_NAMED).to_dict("records")
    )
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    raise UsageError(
        f"run {', '.join(str(run.path) for run in runs)}: {len(missing)} of {len(noisy)} "
        f"conditions of {outcomes.name} have no results ({shown}{more}); finish that sweep first, "
        "with its own command, failed cells by --retry-failed"
    )
