"""The native checkpoint: one safetensors file, its card (JSON) in the file's metadata.

The content hash covers every tensor's name, dtype, shape and bytes and the architecture, not
the file's name or the rest of the card: a renamed file is the same checkpoint, a changed weight
is another one.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from robustssm.errors import RejectedInputError, RobustssmError
from robustssm.files import write_atomically
from robustssm.network import Architecture, Network, build_network

FORMAT = "robustssm-1"


@dataclass(frozen=True)
class Card:
    """What is known of a checkpoint besides its weights.

    init_diagnostics: kappa(V), |E|/|A|, max Re lambda, backward error of the initialisation;
    clean_accuracy: on the whole test split of `task`; command: what made the file.
    """

    architecture: dict[str, object]
    init_diagnostics: dict[str, float]
    task: str
    task_hash: str
    train_seed: int
    training: dict[str, object]
    clean_accuracy: float
    n_test: int
    command: str
    weights_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as JSON, keys sorted."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network in evaluation mode, its card and its content hash."""

    network: Network
    card: Card
    content_hash: str


def weights_hash(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def content_hash(weights: str, architecture: dict[str, object]) -> str:
    """Return the hash that identifies a checkpoint: of its weights and architecture."""
    return hashlib.sha256((weights + json.dumps(architecture, sort_keys=True)).encode()).hexdigest()


def save_checkpoint(path: Path, network: Network, card: Card) -> Card:
    """Write the network and its card to `path`; return the card with the weights' hash."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    card = Card(**{**asdict(card), "weights_sha256": weights_hash(tensors)})
    write_atomically(path, save_tensors(tensors, metadata={"card": card.to_json()}))
    return card


def read_card(path: Path) -> Card:
    """Return the card of a native checkpoint; raise RejectedInputError with what is wrong."""
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


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`, its weights checked against the card's hash.

    Raises RejectedInputError where the file is damaged, foreign or altered. Nothing in the file
    is ever executed: safetensors holds numbers and text only.
    """
    card = read_card(path)
    try:
        tensors = load_tensors(path.read_bytes())
        architecture = Architecture(**card.architecture)  # type: ignore[arg-type]
        network = build_network(architecture)
        network.load_state_dict(tensors, strict=True)
    except (safetensors.SafetensorError, RuntimeError, TypeError, RobustssmError) as error:
        reason = " ".join(str(error).split())
        raise RejectedInputError(f"checkpoint {path}: cannot be read ({reason})") from None
    found = weights_hash(tensors)
    if found != card.weights_sha256:
        raise RejectedInputError(
            f"checkpoint {path}: weights have hash {found[:12]}, the card says "
            f"{card.weights_sha256[:12]}; the file was altered, take the original"
        )
    network.eval().requires_grad_(False)
    return Checkpoint(network, card, content_hash(found, card.architecture))
