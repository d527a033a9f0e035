"""Logits in evaluation: a sample's bits do not depend on its batch."""

import torch
from torch import Tensor

from robustssm.network import Network
from robustssm.tasks import Split

# Samples come in whole blocks of this many rows, empty ones added: then a sample's logits are the
# same bits whatever the batch size (matrix products treat their last few rows differently).
ROW_BLOCK = 16


def padded(x: Tensor) -> Tensor:
    """Return x (batch, ...) with empty rows added up to a multiple of ROW_BLOCK."""
    missing = -len(x) % ROW_BLOCK
    return torch.cat([x, x.new_zeros((missing, *x.shape[1:]))]) if missing else x


@torch.no_grad()
def logits(network: Network, inputs: Tensor, batch_size: int = 64) -> Tensor:
    """Return the network's logits (N, classes) on inputs (N, L, channels), in eval mode."""
    was_training = network.training
    network.eval()
    parts = [
        network(padded(chunk))[: len(chunk)] for chunk in inputs.split(max(1, batch_size), dim=0)
    ]
    network.train(was_training)
    return torch.cat(parts)


def accuracy(network: Network, split: Split) -> float:
    """Return the share of samples of `split` that the network gets right."""
    predicted = logits(network, torch.from_numpy(split.inputs)).argmax(1)
    return float((predicted == torch.from_numpy(split.labels)).double().mean())
