"""The state of an interrupted training: one safetensors file, from which a run goes on exactly."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from robustssm.errors import UsageError
from robustssm.file_formats.contents import ContentsError
from robustssm.file_formats.safetensors_file import read_header
from robustssm.networks.network import Network
from robustssm.storage.opening import opened, size_of
from robustssm.storage.writing import write_atomically
from robustssm.training.config import TrainingConfig

Average = torch.optim.swa_utils.AveragedModel


@dataclass
class Best:
    """The weights of the highest robust score; facts: scores and number of its epoch, for cards."""

    facts: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def take(self, epoch: int, score: float, sign: float, network: Network) -> None:
        """Note the score of an epoch's network; sign: 1 if more is better. NaN is none."""
        if math.isnan(score):
            return
        if not self.facts or sign * score > sign * self.facts["robust_best"]:
            self.facts = {"best_epoch": epoch, "robust_best": score}
            self.weights = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.facts["robust_last"] = score


def averaged(network: Network, average: Average | None) -> Network:
    """Return the network that is validated and saved: the average if there is one."""
    if average is None:
        return network
    assert isinstance(average.module, Network)
    return average.module


def moving_average(network: Network, config: TrainingConfig) -> Average | None:
    """Return what averages a network's weights, None if `ema` is off.

    Each update is a <- ema a + (1 - ema) w; the first takes the weights w as they are. Buffers (the
    statistics of norm `batch`) are those of the network.
    """
    if not config.ema:
        return None
    average = Average(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema))
    average.eval()
    return average


def save_state(
    path: Path,
    identity: str,
    epoch: int,
    network: Network,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    best: Best | None = None,
) -> None:
    """Write all that the rest of a run depends on; epoch: how many are done."""
    tensors = {f"model.{k}": v.contiguous() for k, v in network.state_dict().items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v.clone() for k, v in slots.items()}
    if average is not None:
        tensors |= {f"average.{k}": v.contiguous() for k, v in average.state_dict().items()}
    metadata = {"identity": identity, "epoch": str(epoch)}
    if best is not None and best.facts:
        tensors |= {f"best.{k}": v.contiguous() for k, v in best.weights.items()}
        metadata["best"] = json.dumps(best.facts)
    write_atomically(path, save_tensors(tensors, metadata=metadata))


def restore(
    path: Path,
    identity: str,
    network: Network,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    best: Best | None = None,
) -> int:
    """Load a saved state into all that are given; return the epoch to go on with, 0 without one.

    Raises UsageError if the file is damaged or belongs to another run.
    """
    if not path.exists():
        return 0
    try:
        with opened(path) as file:
            metadata = read_header(file, size_of(file)).metadata
            file.seek(0)
            tensors = load_tensors(file.read())
    except (safetensors.SafetensorError, ContentsError, OSError, KeyError) as error:
        raise _damaged(path, error) from None
    if metadata.get("identity") != identity:
        raise UsageError(
            f"training: {path} belongs to a run with other settings or data; finish that run "
            "with its own command, or delete the file to start over"
        )
    try:
        network.load_state_dict(_under("model.", tensors))
        if average is not None:
            average.load_state_dict(_under("average.", tensors))
        if best is not None and "best" in metadata:
            best.facts, best.weights = json.loads(metadata["best"]), _under("best.", tensors)
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optimizer.", tensors).items():
            number, slot = key.split(".")
            slots.setdefault(int(number), {})[slot] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        return int(metadata["epoch"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UsageError:
    said = " ".join(str(getattr(error, "strerror", None) or error).split())
    return UsageError(f"training: {path} is damaged ({said}); delete it to start over")


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, without the beginning."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
