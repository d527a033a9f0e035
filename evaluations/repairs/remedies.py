"""The remedies of `robustssm repair`: each makes another checkpoint of a fragile one."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robustssm.attacks.adversarial import objective_of
from robustssm.checkpoints import Card, Checkpoint
from robustssm.checkpoints.native import load_checkpoint, read_card, save_checkpoint
from robustssm.errors import UsageError, require, require_one_of
from robustssm.evaluations.repairs.damping import damp_resonances
from robustssm.hippo.spectrum import spikes
from robustssm.networks.network import Network
from robustssm.tasks import Task
from robustssm.training.config import TrainingConfig
from robustssm.training.loop import train

# Training goes on at this share of its rate. Under a penalty the dynamics go at so many times
# theirs: at their own, poles move by a tenth in five epochs, and gains hardly at all.
_RATE, _DYNAMICS = 0.2, 20.0


@dataclass(frozen=True)
class Settings:
    """How remedies are applied.

    ratio: of `damp_resonances`; epochs: of fine-tuning; eps: amplitude of the sinusoid that it
    adds at the highest spike, at layers; penalty: weight of `training.objective.crest`.
    """

    ratio: float = 2.0
    epochs: int = 5
    eps: float = 1.0
    penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(value > 0, f"repair: {name}", value, "> 0")


@dataclass(frozen=True)
class Case:
    """A checkpoint to repair: where remedies are written, length in samples, task (None: no data).

    command: what stands on the cards.
    """

    checkpoint: Checkpoint
    folder: Path
    length: int
    task: Task | None
    settings: Settings
    command: str

    def path(self, remedy: str) -> Path:
        """Return where a remedy is written."""
        return self.folder / f"{remedy}.safetensors"


def damp(case: Case) -> str:
    """Write the network with its resonances damped; return what was done."""
    network = copy.deepcopy(case.checkpoint.network)
    done = damp_resonances(network, case.length, case.settings.ratio)
    card = replace(case.checkpoint.card, clean_accuracy=None, command=case.command)
    save_checkpoint(case.path("damp"), network, card)
    poles = ", ".join(str(layer.poles) for layer in done)
    return f"poles damped by layer: {poles}; by up to {max(layer.most for layer in done):.3g}"


def damp_tune(case: Case) -> str:
    """Write the damped network trained on for a while."""
    damp(case)
    return _tuned(case, "damp-tune", load_checkpoint(case.path("damp")))


def augment(case: Case) -> str:
    """Write the network trained on with a sinusoid at the highest spike at every layer."""
    omega = float(spikes(case.checkpoint.own.architecture.n, 1)[0])
    text = f"Resonance({omega:.6g}, eps={case.settings.eps:g})"
    return _tuned(case, "augment", case.checkpoint, augment=text)


def penalty(case: Case) -> str:
    """Write the network trained on with a penalty on what peak gains are above mean ones."""
    return _tuned(case, "penalty", case.checkpoint, penalty=case.settings.penalty)


def _tuned(
    case: Case, remedy: str, start: Checkpoint, augment: str = "", penalty: float = 0.0
) -> str:
    """Write a network that training went on with, and return how."""
    network, card, path = start.own, start.card, case.path(remedy)
    assert case.task is not None
    config = TrainingConfig(
        epochs=case.settings.epochs,
        lr=_RATE * _number(card, "lr", TrainingConfig.lr),
        ssm_lr=(_DYNAMICS if penalty else 1.0) * _number(card, "ssm_lr", TrainingConfig.ssm_lr),
        batch_size=int(_number(card, "batch_size", TrainingConfig.batch_size)),
        weight_decay=_number(card, "weight_decay", TrainingConfig.weight_decay),
        seed=card.train_seed,
        augment=augment,
        penalty=penalty,
        start=start.content_hash,
    )
    if path.exists() and read_card(path).training == config.to_dict():
        return "found in the folder"
    train(
        network.architecture,
        case.task.spec,
        config,
        path,
        command=case.command,
        objective=objective_of(config, case.task),
        start=network,
    )
    return f"{config.epochs} epochs at rate {config.lr:g}, dynamics {config.ssm_lr:g}"


def _number(card: Card, name: str, default: float) -> float:
    value = card.training.get(name, default)
    return float(value) if isinstance(value, int | float) else default


# Those that need the training data, and a network of this project, come last.
REMEDIES: dict[str, Callable[[Case], str]] = {
    "damp": damp,
    "damp-tune": damp_tune,
    "augment": augment,
    "penalty": penalty,
}
WITHOUT_DATA = ("damp",)


def chosen(names: Sequence[str], trainable: bool) -> list[str]:
    """Return the remedies to try: those named, or all that can be; else UsageError."""
    for name in names:
        require_one_of("repair: remedy", name, REMEDIES)
        if name not in WITHOUT_DATA and not trainable:
            raise UsageError(
                f"repair: {name} trains on, which needs the training data and a network of this "
                f"project; expected {', '.join(WITHOUT_DATA)}"
            )
    possible = REMEDIES if trainable else WITHOUT_DATA
    return [name for name in REMEDIES if name in (names or possible)]


def trainable(checkpoint: Checkpoint, task: Task | None) -> bool:
    """Return whether training can go on: a network of this project, data with training labels."""
    own = isinstance(checkpoint.network, Network)
    return own and task is not None and task.spec == checkpoint.card.task
