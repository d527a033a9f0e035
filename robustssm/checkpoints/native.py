"""The native checkpoint: one safetensors file, its card (JSON) in the file's metadata.

The content hash covers every tensor's name, dtype, shape and bytes and the architecture, not
the file's name or the rest of the card: a renamed file is the same checkpoint, a changed weight
is another one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from robustssm.errors import RejectedInputError, RobustssmError
from robustssm.files import write_atomically
from robustssm.networks.classifier import Classifier
from robustssm.networks.foreign import KIND as SEQUENCE_MODEL
from robustssm.networks.foreign import Blueprint, SequenceModel
from robustssm.networks.network import Architecture, Network, build_network, own_network

FORMAT = "robustssm-1"
# Bytes of a header that are searched for a card.
_HEADER = 1 << 20


@dataclass(frozen=True)
class Card:
    """What is known of a checkpoint besides its weights.

    Parameters
    ----------
    architecture : dict
        What the network is built from.
    init_diagnostics : dict
        kappa(V), |E|/|A|, max Re lambda and backward error of the initialisation.
    task, task_hash : str
        Name and content hash of the training's task; empty if unknown.
    train_seed : int
        Training seed.
    training : dict
        Settings of the training, or the source of an imported network.
    clean_accuracy : float or None
        Accuracy on the whole test split of `task`; None if unknown.
    n_test : int
        Samples of that split.
    command : str
        What made the file.
    weights_sha256 : str
        Hash of the weights (`weights_hash`).
    versions : dict
        Versions of the packages that made the file.
    """

    architecture: dict[str, object]
    init_diagnostics: dict[str, float]
    task: str
    task_hash: str
    train_seed: int
    training: dict[str, object]
    clean_accuracy: float | None
    n_test: int
    command: str
    weights_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as JSON, keys sorted."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with what is known of it.

    Parameters
    ----------
    network : Classifier
        In evaluation mode.
    card : Card
        What is known besides the weights.
    content_hash : str
        SHA-256 of weights and architecture.
    notes : tuple of str
        What a user should know about how a file of another code base was read.
    """

    network: Classifier
    card: Card
    content_hash: str
    notes: tuple[str, ...] = ()

    @property
    def own(self) -> Network:
        """The network; raises UsageError if it is not one of this project's."""
        return own_network(self.network, "checkpoint")


def weights_hash(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def content_hash(weights: str, architecture: dict[str, object]) -> str:
    """Return the hash that identifies a checkpoint: of its weights and architecture."""
    return hashlib.sha256((weights + json.dumps(architecture, sort_keys=True)).encode()).hexdigest()


def unknown_checkpoint(
    network: Classifier, training: Mapping[str, object], notes: tuple[str, ...]
) -> Checkpoint:
    """Return a network from elsewhere as a checkpoint whose card knows no task or accuracy."""
    network.eval().requires_grad_(False)
    architecture, weights = network.to_dict(), weights_hash(network.state_dict())
    card = Card(architecture, {}, "", "", 0, dict(training), None, 0, "", weights_sha256=weights)
    return Checkpoint(network, card, content_hash(weights, architecture), notes)


def save_checkpoint(path: Path, network: Classifier, card: Card) -> Card:
    """Write a network and its card to a file; return the card with the hash of the weights.

    Parameters
    ----------
    path : Path
        Replaced if it exists.
    network : Classifier
        Its state is written.
    card : Card
        Written into the file's metadata.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    card = Card(**{**asdict(card), "weights_sha256": weights_hash(tensors)})
    write_atomically(path, save_tensors(tensors, metadata={"card": card.to_json()}))
    return card


def is_native(path: Path) -> bool:
    """Return whether a file is a safetensors file with a card of ours, damaged or not."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return f'"format\\": \\"{FORMAT}'.encode() in file.read(min(size, _HEADER))
    except OSError:
        return False


def read_card(path: Path) -> Card:
    """Return the card of a native checkpoint as it is in the file; the weights are not checked.

    Raises RejectedInputError if the file is missing, damaged or holds no card.

    Parameters
    ----------
    path : Path
        A file that `save_checkpoint` wrote.
    """
    if not path.is_file():
        raise RejectedInputError(f"checkpoint {path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        content = json.loads(metadata["card"])
        if content.pop("format") != FORMAT:
            raise KeyError("format")
        return Card(**content)
    except (safetensors.SafetensorError, OSError) as error:
        raise RejectedInputError(
            f"checkpoint {path}: truncated or not a safetensors file ({error}); copy it again"
        ) from None
    except (KeyError, TypeError, json.JSONDecodeError):
        raise RejectedInputError(
            f"checkpoint {path}: its metadata hold no {FORMAT} card; expected a file written by "
            "robustssm train"
        ) from None


def _built(architecture: dict[str, object]) -> Classifier:
    """Return the network that a card's architecture describes, weights still to be loaded."""
    kind = architecture.get("kind")
    if kind == SEQUENCE_MODEL:
        return SequenceModel(Blueprint.from_dict(architecture))
    if kind == "mamba":
        from robustssm.networks.mamba import MambaModel

        return MambaModel(architecture["config"])  # type: ignore[arg-type]
    return build_network(Architecture(**architecture))  # type: ignore[arg-type]


def load_checkpoint(path: Path) -> Checkpoint:
    """Return a native checkpoint, its weights checked against the card's hash.

    The network is in evaluation mode, on the CPU. Nothing in the file is ever executed:
    safetensors holds numbers and text only. Raises RejectedInputError if the file is damaged,
    altered or not of this project.

    Parameters
    ----------
    path : Path
        A file that `save_checkpoint` wrote.
    """
    card = read_card(path)
    try:
        tensors = load_tensors(path.read_bytes())
        network = _built(card.architecture)
        network.load_state_dict(tensors, strict=True)
    except (safetensors.SafetensorError, RuntimeError, TypeError, RobustssmError) as error:
        reason = " ".join(str(error).split())
        raise RejectedInputError(f"checkpoint {path}: cannot be read ({reason})") from None
    weights = weights_hash(tensors)
    if weights != card.weights_sha256:
        raise RejectedInputError(
            f"checkpoint {path}: weights have hash {weights[:12]}, the card says "
            f"{card.weights_sha256[:12]}; the file was altered, take the original"
        )
    network.eval().requires_grad_(False)
    return Checkpoint(network, card, content_hash(weights, card.architecture))
