"""The native checkpoint: one safetensors file, its card (JSON) in the file's metadata.

The content hash covers every tensor's name, dtype, shape and bytes and the architecture, not
the file's name or the rest of the card: a renamed file is the same checkpoint, a changed weight
is another one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from robustssm.checkpoints import mamba
from robustssm.checkpoints.cards import (
    FORMAT,
    Card,
    Shapes,
    card_of,
    check_blocks,
    check_shapes,
    own_architecture,
)
from robustssm.errors import RejectedInputError, RobustssmError
from robustssm.file_formats.contents import ContentsError, Limits, shown
from robustssm.file_formats.safetensors_file import read_header
from robustssm.networks.classifier import Classifier
from robustssm.networks.foreign import KIND as SEQUENCE_MODEL
from robustssm.networks.foreign import Blueprint, SequenceModel
from robustssm.networks.network import Network, build_network, own_network
from robustssm.storage.opening import opened, size_of
from robustssm.storage.writing import write_atomically

# Bytes of a header, and those of it that are searched for a card.
_LIMITS = Limits(header_bytes=16 << 20)
_HEADER = 1 << 20
# Characters of a reason that a message shows.
_SHOWN = 400
# What reading a file, and building a network from what it says, raises.
_WRONG = (
    *(RobustssmError, ContentsError, safetensors.SafetensorError, OSError, RuntimeError),
    *(TypeError, ValueError, LookupError, AttributeError, ArithmeticError, MemoryError),
)


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
        with opened(path) as file:
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
    return _read(path)[0]


def _read(path: Path) -> tuple[Card, Shapes, bytes]:
    """Return the card, the shapes of the tensors, and the bytes of a file."""
    try:
        with opened(path) as file:
            size = size_of(file)
            header = read_header(file, size, _LIMITS)
            file.seek(0)
            content = file.read(size)
    except FileNotFoundError:
        raise RejectedInputError(f"checkpoint {path}: no such file") from None
    except (ContentsError, OSError) as error:
        said = getattr(error, "strerror", None) or error
        raise RejectedInputError(
            f"checkpoint {path}: truncated or not a safetensors file ({said}); copy it again"
        ) from None
    try:
        card = card_of(header.metadata.get("card", ""))
    except ContentsError as error:
        raise RejectedInputError(
            f"checkpoint {path}: {error}; expected a file written by robustssm train"
        ) from None
    return card, header.shapes, content


def _built(architecture: dict[str, object], shapes: Shapes) -> Classifier:
    """Return the network that a card's architecture describes, weights still to be loaded.

    Raises ContentsError, or another one of _WRONG, before memory is taken where its sizes are not
    those of the tensors in the file.
    """
    kind = architecture.get("kind")
    if kind is None:
        return build_network(own_architecture(architecture, shapes))
    if kind != SEQUENCE_MODEL:
        raise ContentsError(f"its architecture is of kind {shown(repr(kind))}")
    blueprint = Blueprint.from_dict(architecture)
    check_blocks(len(blueprint.mixers), shapes)
    with torch.device("meta"):  # shapes without numbers
        expected = SequenceModel(blueprint).state_dict()
    check_shapes({name: tuple(value.shape) for name, value in expected.items()}, shapes)
    with torch.random.fork_rng(devices=[]):
        return SequenceModel(blueprint)


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
    card, shapes, content = _read(path)
    try:
        tensors = load_tensors(content)
        if card.architecture.get("kind") == "mamba":
            network = mamba.of_card(card.architecture.get("config"), tensors)
        else:
            network = _built(card.architecture, shapes)
            network.load_state_dict(tensors, strict=True)
    except _WRONG as error:
        reason = " ".join(f"{error}".split())[:_SHOWN] or type(error).__name__
        raise RejectedInputError(f"checkpoint {path}: cannot be read ({reason})") from None
    weights = weights_hash(tensors)
    if weights != card.weights_sha256:
        raise RejectedInputError(
            f"checkpoint {path}: weights have hash {weights[:12]}, the card says "
            f"{card.weights_sha256[:12]}; the file was altered, take the original"
        )
    network.eval().requires_grad_(False)
    return Checkpoint(network, card, content_hash(weights, card.architecture))
