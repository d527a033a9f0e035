"""The plan of a sweep: a frozen list of cells, each identified by the content of what it uses."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from robustssm.attacks import FAMILIES, Fourier, Perturbation, Resonance, check_eps
from robustssm.checkpoints import read_card
from robustssm.checkpoints.native import Card, content_hash
from robustssm.errors import RejectedInputError, UsageError
from robustssm.spectrum import spikes
from robustssm.tasks import Task, load_task
from robustssm.zoo import ModelRef

# Raised when the meaning of a stored row changes: old cells are then not taken for new ones.
SCHEMA = 1
DEFAULT_EPS = (0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Model:
    """A model of a sweep: its reference, card and content hash."""

    ref: ModelRef
    card: Card
    content_hash: str

    @property
    def train_seed(self) -> int:
        """The training seed on the card."""
        return self.card.train_seed

    @property
    def state_size(self) -> int:
        """Order n of the checkpoint's SSM layers."""
        return int(str(self.card.architecture["n"]))


@dataclass(frozen=True)
class Cell:
    """One perturbation at one strength on one model; None and 0 for the clean evaluation.

    mode is what the user counted (a DFT bin, a spike's number, or omega itself) in mode_unit.
    """

    model: Model
    task: Task = field(repr=False)
    perturbation: Perturbation | None
    eps: float
    seed: int
    limit: int | None
    mode: float = 0.0
    mode_unit: str = ""

    @property
    def id(self) -> str:
        """Hash of everything that fixes the cell's rows, 16 hexadecimal digits."""
        content = [
            SCHEMA,
            self.model.content_hash,
            self.task.content_hash,
            "test",
            self.limit,
            repr(self.perturbation),
            self.eps,
            self.unit,
            self.inject,
            self.seed if self.perturbation else None,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def unit(self) -> str:
        """Unit of eps; empty for the clean evaluation."""
        return self.perturbation.unit if self.perturbation else ""

    @property
    def inject(self) -> str:
        """`input` or `layers`; empty for the clean evaluation."""
        return self.perturbation.injection if self.perturbation else ""


@dataclass(frozen=True)
class Plan:
    """All cells of a sweep; the first cells are the clean evaluation of each model."""

    noise: str
    models: tuple[Model, ...]
    cells: tuple[Cell, ...]

    @property
    def id(self) -> str:
        """Hash of the cells and of who is who, 8 digits: the sweep's identity."""
        content = [(str(m.ref), m.content_hash) for m in self.models], [c.id for c in self.cells]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]

    @property
    def task(self) -> Task:
        """The task that all cells share."""
        return self.cells[0].task

    def frame(self) -> pd.DataFrame:
        """Return one row a cell."""
        return pd.DataFrame(
            {
                "cell": cell.id,
                "model": cell.model.ref.label,
                "train_seed": cell.model.train_seed,
                "checkpoint": cell.model.content_hash,
                "task": cell.task.spec,
                "noise": self.noise if cell.perturbation else "clean",
                "perturbation": repr(cell.perturbation),
                "inject": cell.inject,
                "mode": cell.mode,
                "mode_unit": cell.mode_unit,
                "eps": cell.eps,
                "eps_unit": cell.unit,
                "seed": cell.seed,
                "limit": -1 if cell.limit is None else cell.limit,
            }
            for cell in self.cells
        )


def parse_modes(text: str, what: str = "modes") -> tuple[int, ...]:
    """Return the integers that `1-64`, `1,2,4` or `1-9,12` names, ascending; UsageError else."""
    modes: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(
                f"{what}: {part.strip()!r} is not a number, expected as in 1-64 or 1,2,4"
            )
        low, high = int(first), int(last or first)
        if high < low:
            raise UsageError(f"{what}: {part.strip()!r} runs backwards, expected {high}-{low}")
        if high > 10**7:
            raise UsageError(f"{what}: {part.strip()!r} is too large, expected below 10^7")
        modes.update(range(low, high + 1))
    return tuple(sorted(modes))


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
    """Return the model behind a reference, from its card alone (weights are read by workers)."""
    card = read_card(ref.path)
    return Model(ref, card, content_hash(card.weights_sha256, card.architecture))


def perturbations(
    noise: str, model: Model, L: int, modes: Sequence[int], omega: Sequence[float]
) -> list[tuple[Perturbation, float, str]]:
    """Return (perturbation, mode, unit of mode) for one model; UsageError for impossible ones."""
    if noise == "fourier":
        if omega:
            raise UsageError("fourier: --omega belongs to resonance; name DFT bins by --modes")
        listed: list[tuple[Perturbation, float, str]] = [
            (Fourier(mode), float(mode), "bin") for mode in modes
        ]
    elif omega:
        listed = [(Resonance(value), value, "omega") for value in omega]
    else:
        n = model.state_size
        wrong = [m for m in modes if not 1 <= m <= n // 2]
        if wrong:
            raise UsageError(
                f"resonance: spike {wrong[0]} does not exist at state size {n} of {model.ref}, "
                f"expected 1-{n // 2}"
            )
        frequencies = spikes(n)
        listed = [(Resonance(float(frequencies[m - 1])), float(m), "spike") for m in modes]
    for perturbation, _, _ in listed:
        perturbation.check_length(L)
    return listed


def make_plan(
    refs: Sequence[ModelRef],
    *,
    noise: str,
    modes: Sequence[int] = (1,),
    omega: Sequence[float] = (),
    eps: Sequence[float] = DEFAULT_EPS,
    inject: str | None = None,
    eps_unit: str | None = None,
    task: str | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> Plan:
    """Return the plan of a sweep over models, modes and strengths.

    task: None takes the task on the models' cards, which must agree. Everything is checked
    here, before anything is computed: raises UsageError or RejectedInputError.
    """
    if noise not in FAMILIES:
        raise UsageError(f"noise: {noise!r} is unknown, expected one of {', '.join(FAMILIES)}")
    if inject not in (None, FAMILIES[noise].injection):
        raise UsageError(
            f"{noise}: acts at {FAMILIES[noise].injection!r}, not at {inject!r}; leave out --inject"
        )
    if eps_unit not in (None, FAMILIES[noise].unit):
        raise UsageError(
            f"{noise}: eps is in {FAMILIES[noise].unit!r}, not in {eps_unit!r}; leave out "
            "--eps-unit"
        )
    if limit is not None and limit < 1:
        raise UsageError(f"limit: {limit} samples, expected at least 1")
    strengths = [check_eps(value) for value in eps if check_eps(value) > 0.0]
    models = tuple(read_model(ref) for ref in refs)
    specs = sorted({model.card.task for model in models}) if task is None else [task]
    if len(specs) > 1:
        raise UsageError(f"task: the models were trained on {', '.join(specs)}; name one by --task")
    data = load_task(specs[0])
    for model in models:
        _check_fit(model, data, task is None)
    # Different labels of one checkpoint share its cells; each cell is planned once a label.
    cells = [Cell(model, data, None, 0.0, seed, limit) for model in models]
    for model in models:
        for perturbation, mode, unit in perturbations(noise, model, data.length, modes, omega):
            cells.extend(
                Cell(model, data, perturbation, value, seed, limit, mode, unit)
                for value in strengths
            )
    return Plan(noise, models, tuple(cells))


def _check_fit(model: Model, task: Task, trained_on: bool) -> None:
    """Raise RejectedInputError where a model cannot be evaluated on the task."""
    shape = (model.card.architecture["d_input"], model.card.architecture["d_output"])
    if shape != (task.channels, task.classes):
        raise RejectedInputError(
            f"checkpoint {model.ref}: maps {shape[0]} channels to {shape[1]} classes, task "
            f"{task.spec} has {task.channels} and {task.classes}"
        )
    if trained_on and model.card.task_hash != task.content_hash:
        raise RejectedInputError(
            f"checkpoint {model.ref}: was trained on {task.spec} with data hash "
            f"{model.card.task_hash[:12]}, here it is {task.content_hash[:12]}"
        )


def default_output(plan: Plan, root: Path = Path("runs")) -> Path:
    """Return `runs/<task>-<noise>-<id>`: another sweep gets another directory."""
    return root / f"{plan.task.spec.partition(':')[0]}-{plan.noise}-{plan.id}"
