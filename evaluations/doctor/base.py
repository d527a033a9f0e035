"""What a check is given, and what it finds."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustssm.checkpoints import Checkpoint
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError
from robustssm.networks.classifier import Classifier
from robustssm.tasks import Split, Task, load_task, recorded_task

PASS, FAIL, NOT_AVAILABLE = "pass", "fail", "not available"
# Samples of a check that sends them through a network several times, unless all are asked for.
_QUICK_SAMPLES = 96


@dataclass(frozen=True)
class Finding:
    """What a check found.

    compared: the two sides; measure: what value is; tolerance: what it may be at most, and
    reason why; verdict: `pass`, `fail` or `not available`; facts: what else a reader may want;
    check and model ("" if it belongs to none) are filled in by `examine`.
    """

    compared: str
    measure: str
    value: float | None
    tolerance: float | None
    reason: str
    verdict: str
    facts: dict[str, object] = field(default_factory=dict)
    check: str = ""
    model: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON and CSV have it."""
        return {"check": self.check, "model": self.model, "verdict": self.verdict} | asdict(self)


def judge(
    compared: str,
    measure: str,
    value: float,
    reason: str,
    facts: Mapping[str, object],
    *,
    tolerance: float = 0.0,
    holds: bool = True,
) -> Finding:
    """Return a finding that passes if value <= tolerance and `holds`; NaN fails. No empty facts."""
    verdict = PASS if value <= tolerance and holds else FAIL
    said = {name: fact for name, fact in facts.items() if fact not in ("", {})}
    return Finding(compared, measure, float(value), float(tolerance), reason, verdict, said)


@dataclass(frozen=True)
class Subject:
    """A model under test and its task; network: on the CPU, copied to be changed.

    data: the name of the task, None for that on the model's card.
    """

    ref: ModelRef
    checkpoint: Checkpoint
    network: Classifier
    task: Task
    data: str | None = None

    @torch.no_grad()
    def inputs(self, split: Split) -> Tensor:
        """Return inputs of the network, (N, L, channels): of tokens their embeddings."""
        x = torch.from_numpy(split.inputs)
        return x if self.task.tokens is None else self.network.embed(x)

    def copy(self) -> Classifier:
        """Return a copy of the network that shares nothing with it, kernels built anew."""
        return copy.deepcopy(self.network)


@dataclass(frozen=True)
class Setting:
    """How a self-test is run.

    device: the processor that is compared with the CPU; full: all samples and the sweep in two
    processes; folder: where results would go; threads: of torch, before the test took one.
    """

    subjects: tuple[Subject, ...]
    device: torch.device
    full: bool = False
    folder: Path = Path("runs")
    threads: int = 1

    def split(self, subject: Subject) -> Split:
        """Return the test samples of checks that need several passes."""
        return subject.task.splits["test"].first(None if self.full else _QUICK_SAMPLES)

    def inputs(self, subject: Subject) -> Tensor:
        """Return the inputs of `split`, (N, L, channels), float32 on the CPU."""
        return subject.inputs(self.split(subject))


@dataclass(frozen=True)
class Check:
    """A check by its name; each: `find` takes every model as well; full: only if all is tested."""

    name: str
    find: Callable[..., Finding]
    each: bool = False
    full: bool = False


def read_subject(ref: ModelRef, data: str | None = None) -> Subject:
    """Return the model behind a reference with its task, or `data`; RejectedInputError."""
    checkpoint = ref.load()
    network, card = checkpoint.network, checkpoint.card
    if data is None and not card.task:
        raise UsageError(f"doctor {ref}: does not say its data; name them by --data")
    task = load_task(data) if data is not None else recorded_task(card.task, f"doctor {ref}")
    return Subject(ref, checkpoint, network.answering(task.kind.every_step), task, data)


def different_rows(a: Tensor, b: Tensor) -> int:
    """Return how many rows of two arrays of one shape differ in any bit; NaN differs from all."""
    return int((a != b).flatten(1).any(1).sum())
