"""The plan of a sweep: a frozen list of cells, each identified by the content of what it uses."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from robustssm.checkpoints.model_names import ModelRef
from robustssm.checkpoints.native import Card
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.sweep.compatibility import check_fit, check_sites
from robustssm.evaluations.sweep.conditions import Condition, Noise, check_options, conditions
from robustssm.tasks import Task, load_task

# Raised when the meaning of a stored row changes: old cells are then not taken for new ones.
SCHEMA = 3


@dataclass(frozen=True)
class Model:
    """A model of a sweep: its reference, card and content hash.

    state_size: order n of its SSM layers, None where unknown; layers: how many of them have a
    step size; tokens: size of its vocabulary where it embeds tokens; notes: how it was read.
    """

    ref: ModelRef
    card: Card
    content_hash: str
    state_size: int | None
    layers: int
    tokens: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def train_seed(self) -> int:
        """The training seed on the card."""
        return self.card.train_seed


@dataclass(frozen=True)
class Cell:
    """One condition on one model; None for the clean evaluation.

    task, task_hash: name and content hash of the data. Cells hold no arrays and no weights, so
    that they are cheap to send to a worker. device: `cpu`, or the kind of GPU, whose bits are
    others.
    """

    model: Model
    task: str
    task_hash: str
    condition: Condition | None
    seed: int
    limit: int | None
    device: str = "cpu"

    @cached_property
    def id(self) -> str:
        """Hash of everything that fixes the cell's rows, 16 hexadecimal digits."""
        content = [
            SCHEMA,
            self.model.content_hash,
            self.task_hash,
            "test",
            self.limit,
            *(
                [repr(self.condition.attack), repr(self.condition.budget), self.inject]
                if self.condition
                else [None]
            ),
            self.seed if self.condition else None,
            *([] if self.device == "cpu" else [self.device]),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def inject(self) -> str:
        """`input`, `layers` or `model`; empty for the clean evaluation."""
        return self.condition.inject if self.condition else ""

    def labels(self) -> dict[str, object]:
        """Return what names the cell's condition in tables."""
        c = self.condition
        return {
            "noise": c.noise if c else "clean",
            "inject": self.inject,
            "mode": c.mode if c else 0.0,
            "mode_unit": c.mode_unit if c else "",
            "eps": c.budget.eps if c else 0.0,
            "eps_unit": c.budget.unit if c else "",
        }


@dataclass(frozen=True)
class Plan:
    """All cells of a sweep; the first cells are the clean evaluation of each model."""

    noises: tuple[str, ...]
    models: tuple[Model, ...]
    cells: tuple[Cell, ...]
    task: Task = field(repr=False)

    @property
    def seed(self) -> int:
        """Seed of the noise."""
        return self.cells[0].seed

    @property
    def limit(self) -> int | None:
        """Number of samples where not all are used."""
        return self.cells[0].limit

    @cached_property
    def unique(self) -> dict[str, Cell]:
        """Cells by their id; models that are the same under two names share them."""
        return {cell.id: cell for cell in self.cells}

    @property
    def id(self) -> str:
        """Hash of what is computed, 8 digits: names of files and models play no part."""
        return hashlib.sha256(json.dumps(sorted(self.unique)).encode()).hexdigest()[:8]

    def frame(self) -> pd.DataFrame:
        """Return one row a cell."""
        return pd.DataFrame(
            {
                "cell": cell.id,
                "model": cell.model.ref.label,
                "train_seed": cell.model.train_seed,
                "checkpoint": cell.model.content_hash,
                "task": cell.task,
                **cell.labels(),
                "perturbation": repr(cell.condition.attack if cell.condition else None),
                "clip": cell.condition.budget.range if cell.condition else "",
                "seed": cell.seed,
                "limit": -1 if cell.limit is None else cell.limit,
            }
            for cell in self.cells
        )


def parse_numbers(text: str, what: str) -> tuple[float, ...]:
    """Return the comma-separated numbers of `text`, in order, each once; UsageError else."""
    numbers: list[float] = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            raise UsageError(
                f"{what}: {part.strip()!r} is not a number, expected as in 0.1,0.3,1"
            ) from None
        if value not in numbers:
            numbers.append(value)
    return tuple(numbers)


def read_model(ref: ModelRef) -> Model:
    """Return the model behind a reference, its weights checked against its card.

    Raises RejectedInputError where the file is damaged, altered or in no known layout, UsageError
    where it lacks what `settings` of the reference should say.
    """
    checkpoint = ref.load()
    network = checkpoint.network
    return Model(
        ref.resolved(),
        checkpoint.card,
        checkpoint.content_hash,
        network.state_size,
        len(network.ssm_layers()),
        network.tokens,
        checkpoint.notes,
    )


def make_plan(
    refs: Sequence[ModelRef],
    noises: Noise | Sequence[Noise],
    *,
    task: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> Plan:
    """Return the plan of a sweep over models, modes and strengths.

    task: None takes the task on the models' cards, which must agree; device: kind of processor
    (`cpu`, `cuda`). Everything is checked
    here, before anything is computed: raises UsageError or RejectedInputError.
    """
    noises = (noises,) if isinstance(noises, Noise) else tuple(noises)
    check_options(noises)
    names = [noise.name for noise in noises]
    if len(set(names)) < len(names) or not names:
        raise UsageError(f"noise: {', '.join(names) or 'nothing'} is named; name each once")
    models, data, limit = _fitting(refs, task, limit)
    # Different labels of one checkpoint share its cells; each cell is planned once a label.
    key = (data.spec, data.content_hash)
    cells = [Cell(model, *key, None, seed, limit, device) for model in models]
    for model in models:
        for noise in noises:
            found = conditions(noise, data, model.state_size, str(model.ref))
            architecture = model.card.architecture
            check_sites(str(model.ref), architecture, model.layers, data, found)
            cells.extend(Cell(model, *key, condition, seed, limit, device) for condition in found)
        _check_different([cell for cell in cells if cell.model is model])
    return Plan(tuple(names), models, tuple(cells), data)


def plan_conditions(
    refs: Sequence[ModelRef],
    found: Sequence[Condition],
    *,
    task: str,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> Plan:
    """Return the plan of the same given conditions on every model; errors as of `make_plan`."""
    models, data, limit = _fitting(refs, task, limit)
    key = (data.spec, data.content_hash)
    cells = [
        Cell(model, *key, condition, seed, limit, device)
        for condition in (None, *found)
        for model in models
    ]
    for model in models:
        _check_different([cell for cell in cells if cell.model is model])
    return Plan(tuple(dict.fromkeys(c.noise for c in found)), models, tuple(cells), data)


def _fitting(
    refs: Sequence[ModelRef], task: str | None, limit: int | None
) -> tuple[tuple[Model, ...], Task, int | None]:
    """Return models and the data that they fit, and the limit, None where it leaves nothing out."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit: {limit} samples, expected at least 1")
    models = tuple(read_model(ref) for ref in refs)
    if task is None:
        unknown = [str(model.ref) for model in models if not model.card.task]
        if unknown:
            raise UsageError(
                f"task: {', '.join(unknown)} does not say what it was trained on; name the data by "
                "--data, as in --data digits or --data file:samples.npz"
            )
    specs = sorted({model.card.task for model in models}) if task is None else [task]
    if len(specs) > 1:
        raise UsageError(f"task: the models were trained on {', '.join(specs)}; name one by --task")
    data = load_task(specs[0])
    if limit is not None and limit >= len(data.splits["test"]):
        limit = None
    seen: dict[tuple[str, int], Model] = {}
    for model in models:
        twin = seen.setdefault((model.ref.label, model.train_seed), model)
        if twin is not model:
            raise UsageError(
                f"model: {twin.ref} and {model.ref} are both {model.ref.label!r} of training seed "
                f"{model.train_seed}; name one of them otherwise"
            )
    for model in models:
        check_fit(str(model.ref), model.card.architecture, model.tokens, data)
        if task is None and model.card.task_hash != data.content_hash:
            raise RejectedInputError(
                f"checkpoint {model.ref}: was trained on {data.spec} with data hash "
                f"{model.card.task_hash[:12]}, here it is {data.content_hash[:12]}"
            )
    return models, data, limit


def _check_different(cells: Sequence[Cell]) -> None:
    """Raise UsageError where two noises of a sweep are the same under two names."""
    first: dict[str, Cell] = {}
    for cell in cells:
        other = first.setdefault(cell.id, cell)
        if other is not cell:
            assert cell.condition is not None
            raise UsageError(
                f"noise: {cell.condition.noise} repeats {cell.condition.attack!r} at eps "
                f"{cell.condition.budget.eps:g}; name each noise once"
            )


def default_output(plan: Plan, root: Path = Path("runs")) -> Path:
    """Return `runs/<task>-<noise>-<id>`: another sweep gets another directory.

    Of many noises the first are named, and how many more there are.
    """
    names = [name.partition("(")[0].lower() for name in plan.noises]
    more = [f"and-{len(names) - 3}-more"] if len(names) > 4 else []
    noise = "-".join([*names[:3], *more] if more else names)
    return root / f"{plan.task.spec.partition(':')[0]}-{noise}-{plan.id}"
