"""The suites of the benchmark, each frozen in a file, and their plan for a model."""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustssm.checkpoints.bundled import trained_on, zoo_path
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError, require_one_of
from robustssm.evaluations.sweep.condition_names import CLEAN
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.noises import Noise, conditions
from robustssm.evaluations.sweep.plan import Cell, Model, Plan
from robustssm.evaluations.sweep.planning import check_sites, plan_conditions
from robustssm.tasks import Task

_FOLDER = Path(__file__).parent / "suites"
MODEL, REFERENCE = "model", "reference"
SEVERITIES = 5


@dataclass(frozen=True)
class Suite:
    """A frozen suite, whose file says what its fields are; sha256: of that file."""

    version: str
    sha256: str
    seed: int
    limit: int
    least: float
    families: dict[str, Noise]
    groups: dict[str, str]


@dataclass(frozen=True)
class Bench:
    """A suite planned for a model and, where there is one, its reference.

    cells: those of each by their conditions: `clean`, or a family and its severity, as in
    `chirp 3`; names: of both; left_out: families that cannot act on these models or data, and why.
    """

    suite: Suite
    plan: Plan
    cells: dict[str, dict[str, Cell]]
    names: dict[str, str]
    left_out: dict[str, str]


def read_suite(version: str) -> Suite:
    """Return a suite by its version; UsageError if there is none."""
    require_one_of("suite:", version, sorted(path.stem for path in _FOLDER.glob("*.toml")))
    data = (_FOLDER / f"{version}.toml").read_bytes()
    content = tomllib.loads(data.decode())
    families = content.pop("families")
    groups = {name: family.pop("group") for name, family in families.items()}
    noises = {name: Noise(**family) for name, family in families.items()}
    return Suite(sha256=hashlib.sha256(data).hexdigest(), families=noises, groups=groups, **content)


def plan_suite(
    suite: Suite,
    model: ModelRef,
    reference: ModelRef | None = None,
    task: str | Task | None = None,
    **how: Any,
) -> Bench:
    """Return the plan of a suite; task, how: as of `plan_conditions`, which says what it raises.

    reference: the bundled S4 of the same data, if there is one, where None.
    """
    names, left_out = [CLEAN], {}

    def planned(models: Sequence[Model], data: Task) -> list[Condition]:
        found: list[Condition] = []
        data = replace(data, spec="these data")  # a card is the same whatever its files are called
        for family, noise in suite.families.items():
            try:
                acting = conditions(noise, data, None, family)
                for role, one in zip((MODEL, REFERENCE), models, strict=False):
                    check_sites(f"the {role}", one, data, acting)
            except UsageError as error:
                left_out[family] = str(error)
            else:
                names.extend(f"{family} {k}" for k in range(1, SEVERITIES + 1))
                found += [replace(condition, noise=family) for condition in acting]
        return found

    # The model alone says what the data are, and these which S4 is its reference.
    data = plan_conditions([model], (), task=task).task
    data.of_classes("benchmark")
    bundled = ModelRef("s4", trained_on(zoo_path("s4", 0), data.spec), 0)
    if reference is None and bundled.load().card.task_hash == data.content_hash:
        reference = bundled
    refs = {MODEL: model} | ({REFERENCE: replace(reference, label=REFERENCE)} if reference else {})
    plan = plan_conditions([*refs.values()], planned, task=data, seed=suite.seed, **how)
    cells = {
        role: dict(zip(names, (cell for cell in plan.cells if cell.model is one), strict=True))
        for role, one in zip(refs, plan.models, strict=True)
    }
    called = {role: str(one) for role, one in zip(refs, (model, reference), strict=False)}
    return Bench(suite, plan, cells, called, left_out)
