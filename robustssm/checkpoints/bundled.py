"""The bundled trained checkpoints: their paths, and the check of what their cards say."""

from pathlib import Path

from robustssm.checkpoints.native import Checkpoint
from robustssm.errors import RejectedInputError
from robustssm.hippo.initializations import EVERY
from robustssm.networks.inference import accuracy
from robustssm.tasks import load_task, recorded_task

FOLDER = Path(__file__).parent / "zoo"
SEEDS = (0, 1, 2)


def zoo_path(name: str, seed: int) -> Path:
    """Return the file of a bundled checkpoint."""
    return FOLDER / f"{name}-{seed}.safetensors"


def trained_on(path: Path, task: str) -> Path:
    """Return the bundled checkpoint of the same name and seed trained on a task, `path` if none is.

    task: as `--data` names it; checkpoints of all tasks but the digits lie in a folder of its name.
    """
    other = FOLDER / task.partition(":")[0] / path.name
    return other if path.parent == FOLDER and other.is_file() else path


# The initialisations of which there are some.
BUNDLED = tuple(name for name in EVERY if zoo_path(name, 0).is_file())


def every() -> list[tuple[str, int, Path]]:
    """Return name, training seed and file of every bundled checkpoint, those of digits first."""
    found = [(name, seed, zoo_path(name, seed)) for name in BUNDLED for seed in SEEDS]
    for path in sorted(FOLDER.glob("*/*.safetensors")):
        name, _, seed = path.stem.rpartition("-")
        found.append((name, int(seed), path))
    return found


def verify(checkpoint: Checkpoint, data: str | None = None) -> float:
    """Return the clean test accuracy; raises RejectedInputError if it is not the card's.

    data: the task; None takes the one that the card names, if it is generated here.
    """
    card = checkpoint.card
    task = load_task(data) if data else recorded_task(card.task, "checkpoint")
    if task.content_hash != card.task_hash:
        raise RejectedInputError(
            f"checkpoint: card says data hash {card.task_hash[:12]} for {card.task}, here it is "
            f"{task.content_hash[:12]}; the data differ from those of the training"
        )
    measured = accuracy(checkpoint.network, task.splits["test"])
    if card.clean_accuracy is None:
        raise RejectedInputError(
            f"checkpoint: its card has no clean accuracy to verify; it is {measured:.4f} here"
        )
    # One sample's slack: another machine's rounding may flip a tie.
    if abs(measured - card.clean_accuracy) > 1.5 / card.n_test:
        raise RejectedInputError(
            f"checkpoint: clean accuracy is {measured:.4f}, the card says {card.clean_accuracy:.4f}"
        )
    return measured
