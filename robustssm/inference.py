"""Logits in evaluation: a sample's bits do not depend on its batch."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from robustssm.errors import ShapeError
from robustssm.network import Network
from robustssm.program import Program
from robustssm.tasks import Split

# For arithmetic on batches elsewhere: whole blocks of this many rows, empty ones added, give a
# sample the same bits whatever the batch size (matrix products treat their last rows differently).
ROW_BLOCK = 16

# Samples that a module other than a Network is given at a time.
_BATCH = 64
# By whether inputs of layers are changed; what a network was last evaluated with.
_programs: WeakKeyDictionary[Network, dict[bool, Program]] = WeakKeyDictionary()


def padded(x: Tensor) -> Tensor:
    """Return x (batch, ...) with empty rows added up to a multiple of ROW_BLOCK."""
    missing = -len(x) % ROW_BLOCK
    return torch.cat([x, x.new_zeros((missing, *x.shape[1:]))]) if missing else x


def program(network: Network, x: Tensor, changing: bool = False) -> Program:
    """Return the network's program for inputs such as x (N, L, channels).

    It is built once, and again after any change of the network. changing: whether inputs of its
    SSM layers will be changed. Raises ShapeError where x is no input of the network.
    """
    channels = network.architecture.d_input
    if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != channels:
        raise ShapeError(
            f"network: input has shape {tuple(x.shape)}, expected (batch, length, {channels}), "
            "length at least 1"
        )
    kept = _programs.setdefault(network, {})
    if changing not in kept or not kept[changing].matches(network, x.shape[1], changing):
        kept[changing] = Program(network, x.shape[1], changing)
    return kept[changing]


@torch.no_grad()
def logits(
    network: nn.Module,
    inputs: Tensor,
    batch_size: int | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """Return the network's logits (N, classes) on inputs (N, L, channels), in eval mode.

    lengths: (N,) valid steps, or None for all. batch_size: samples that are sent at a time, None
    for all; it changes no bit of a Network's logits, whose memory is bounded without it. Another
    module is called as it is. Raises ShapeError or UsageError for what is no input of a Network.
    """
    size = batch_size or (len(inputs) if isinstance(network, Network) else _BATCH) or 1
    parts = inputs.split(size)
    own = [None] * len(parts) if lengths is None else lengths.split(size)
    if isinstance(network, Network):
        whole = program(network, inputs)
        found = [whole.logits(*each) for each in zip(parts, own, strict=True)]
    else:
        was_training = network.training
        network.eval()
        found = [_called(network, *each) for each in zip(parts, own, strict=True)]
        network.train(was_training)
    return torch.cat(found)


def _called(network: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return network(padded(x))[: len(x)]
    ends = torch.cat([lengths, lengths.new_ones(-len(x) % ROW_BLOCK)])
    return network(padded(x), ends)[: len(x)]


def accuracy(network: Network, split: Split) -> float:
    """Return the share of samples of `split` that the network gets right."""
    predicted = logits(network, torch.from_numpy(split.inputs)).argmax(1)
    return float((predicted.cpu() == torch.from_numpy(split.labels)).double().mean())
