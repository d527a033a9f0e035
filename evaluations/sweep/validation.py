"""Everything that is wrong with a sweep before it is computed, not only the first of it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from robustssm.checkpoints.model_names import ModelRef, resolve
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.sweep.conditions import Noise, check_options, conditions
from robustssm.evaluations.sweep.plan import Model, Plan, make_plan, read_model
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.tasks import load_task

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Problems:
    """What is wrong so far, each once; usage and rejected: one line each."""

    usage: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    def attempt(self, make: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
        """Return what `make` returns; None, and the problem kept, where it raises one."""
        try:
            return make(*args, **options)
        except UsageError as error:
            self.add(str(error))
        except RejectedInputError as error:
            if str(error) not in self.rejected:
                self.rejected.append(str(error))
        return None

    def add(self, problem: str) -> None:
        """Keep a mistake in what was asked for."""
        if problem not in self.usage:
            self.usage.append(problem)

    @property
    def all(self) -> list[str]:
        """Every problem, mistakes of usage first."""
        return [*self.usage, *self.rejected]

    @property
    def exit_code(self) -> int:
        """0 where there is none, 2 for a mistake of usage, 4 where only inputs are rejected."""
        return 2 if self.usage else 4 if self.rejected else 0


def find_models(
    text: str, checkpoints: Sequence[Path], problems: Problems, settings: Sequence[str] = ()
) -> list[Model]:
    """Return the models that can be read of those that `resolve` would find in `text`."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    good = [item for item in items if problems.attempt(resolve, item)]
    refs: list[ModelRef] | None = []
    if good or checkpoints or not items:
        refs = problems.attempt(resolve, ",".join(good), checkpoints, settings)
    if refs is None:  # a name given twice: look at each by itself
        refs = [ref for item in good for ref in resolve(item)]
    found = (problems.attempt(read_model, ref) for ref in dict.fromkeys(refs))
    return [model for model in found if model is not None]


def validated_plan(
    models: Sequence[Model],
    noises: Sequence[Noise],
    problems: Problems,
    *,
    task: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> Plan | None:
    """Return the plan of a sweep as `make_plan` makes it; None, and every problem kept, else.

    Each noise is tried by itself on each state size, then each model, then all together.
    """
    if noises:
        problems.attempt(check_options, noises)
    if not models or not noises:
        if task is not None:
            problems.attempt(load_task, task)
        return None
    options: dict[str, Any] = {"task": task, "seed": seed, "limit": limit, "device": device}
    specs = {model.card.task for model in models} if task is None else {task}
    data = problems.attempt(load_task, next(iter(specs))) if len(specs) == 1 else None
    if data is not None:
        sizes = {model.state_size: str(model.ref) for model in reversed(models)}
        fine = [
            noise
            for noise in noises
            if None
            not in [problems.attempt(conditions, noise, data, *size) for size in sizes.items()]
        ]
        # Options that no noise can use were found above, where all noises were there.
        alone = Problems()
        alone.attempt(check_options, fine)
        if fine and not alone.all:
            for model in models:
                problems.attempt(make_plan, [model.ref], fine, **options)
    plan = problems.attempt(make_plan, [model.ref for model in models], noises, **options)
    return None if problems.all else plan


def directory_state(run: RunDirectory, plan: Plan, overwrite: bool = False) -> str:
    """Return what a run directory holds, for the plan, in words; nothing there is touched.

    Raises UsageError where `RunDirectory.open` would refuse it, or nothing can be written.
    """
    path = run.path
    if path.is_file():
        raise UsageError(f"output {path}: is a file, expected a directory")
    present = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        raise UsageError(
            f"output {path}: {present} is not writable; name another directory"
            if present.is_dir()
            else f"output {path}: {present} is a file, expected a directory"
        )
    if not run.check(plan, overwrite):
        return "nothing" if path.is_dir() else "nothing, it is not there yet"
    stored = set(run.plan()["cell"])
    if not stored <= plan.unique.keys():
        return f"another sweep of {len(stored)} cells, discarded by --overwrite"
    return f"{len(plan.unique) - len(run.missing(plan))} of {len(plan.unique)} cells of this sweep"
