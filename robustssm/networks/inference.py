"""Logits in evaluation: a sample's bits do not depend on its batch."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.errors import ShapeError
from robustssm.layers.kept import kept
from robustssm.networks.classifier import Classifier
from robustssm.networks.network import Network
from robustssm.networks.program import Program
from robustssm.targets import CLASSES, Answered, Kind
from robustssm.tasks import Split, Task

# For arithmetic on batches elsewhere: whole blocks of this many rows, empty ones added, give a
# sample the same bits whatever the batch size (matrix products treat their last rows differently).
ROW_BLOCK = 16

# Samples that a module without a program is given at a time, always so many.
BATCH = 64
# Samples of a split that are worked on at a time where their embeddings would need much memory.
_PART = 256
# Answers at every step that are held at a time: 64 MiB in float32, twice that in float64.
_ANSWERS = 1 << 24


def at_a_time(network: nn.Module, L: int, most: int) -> int:
    """Return how many samples of length L a network is given: `most`, or what its answers allow."""
    if not getattr(network, "every_step", False):
        return most
    return max(1, min(most, _ANSWERS // (L * (getattr(network, "d_output", None) or 1))))


@torch.no_grad()
def input_std(network: Classifier, task: Task) -> Tensor:
    """Return the deviation of a task's training inputs, (channels,), up to the samples' ends.

    Of tokens as they are embedded, each by itself: it counts as often as it occurs.
    """
    split = task.splits["train"]
    if task.tokens is None:
        return torch.from_numpy(task.std)
    tokens = split.inputs
    if split.lengths is not None:
        tokens = tokens[np.arange(tokens.shape[1]) < split.lengths[:, None]]
    present, counts = np.unique(tokens, return_counts=True)
    values = network.embed(torch.from_numpy(present)[None].to(network.mean.device))[0].double()
    weight = torch.from_numpy(counts / counts.sum()).to(values.device)[:, None]
    centred = values - (weight * values).sum(0)
    return (weight * centred.square()).sum(0).sqrt()


def padded(x: Tensor, block: int = ROW_BLOCK) -> Tensor:
    """Return x (batch, ...) with empty rows added up to a multiple of a block."""
    missing = -len(x) % block
    return torch.cat([x, x.new_zeros((missing, *x.shape[1:]))]) if missing else x


def programmed(network: nn.Module) -> TypeGuard[Network]:
    """Return whether a network has a program: one of ours, causal, nothing stored otherwise."""
    if not isinstance(network, Network) or network.architecture.bidirectional:
        return False
    layers = network.ssm_layers()
    return all(layer.readable and not (layer.storage or layer.stepwise) for layer in layers)


def program(network: Network, x: Tensor, changing: bool = False) -> Program:
    """Return the network's program for inputs such as x (N, L, channels).

    It is built once, and again after any change of the network. changing: whether inputs of its
    SSM layers will be changed. Raises ShapeError if x is no input of the network.
    """
    channels = network.architecture.d_input
    if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != channels:
        raise ShapeError(
            f"network: input has shape {tuple(x.shape)}, expected (batch, length, {channels}), "
            "length at least 1"
        )
    L = x.shape[1]
    key = (L, network.architecture)
    return kept(network, changing, key, lambda: Program(network, L, changing))


@torch.no_grad()
def logits(
    network: nn.Module,
    inputs: Tensor,
    batch_size: int | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """Return the network's logits (N, classes) on inputs (N, L, channels), in eval mode.

    lengths: (N,) valid steps, or None for all. batch_size: samples that are sent at a time, None
    for all; it changes no bit of the logits, and memory is bounded without it. Raises ShapeError
    or UsageError for what is no input of a Network.
    """
    if not programmed(network):
        return called(network, inputs, lengths)
    size = batch_size or len(inputs) or 1
    parts = inputs.split(size)
    ends = [None] * len(parts) if lengths is None else lengths.split(size)
    whole = program(network, inputs)
    return torch.cat([whole.logits(*each) for each in zip(parts, ends, strict=True)])


@torch.no_grad()
def called(
    network: nn.Module,
    x: Tensor,
    lengths: Tensor | None = None,
    around: Callable[[slice], AbstractContextManager[None]] = lambda part: nullcontext(),
) -> Tensor:
    """Return the logits (N, classes) of any module, called on batches of constant shape.

    around: entered for the samples of each call. The module is in evaluation mode meanwhile, and
    its parameters and buffers are the same bits afterwards, whatever it does to them: reference
    code of S4 rewrites C when it first sees a length.
    """
    modes = {name: part.training for name, part in network.named_modules()}
    before = {name: value.clone() for name, value in network.state_dict(keep_vars=False).items()}
    network.eval()
    outputs = []
    size = at_a_time(network, x.shape[1], BATCH)
    try:
        for start in range(0, max(len(x), 1), size):
            part = slice(start, start + size)
            rows, missing = x[part], size - len(x[part])
            whole = torch.cat([rows, rows.new_zeros((missing, *rows.shape[1:]))])
            ends: tuple[Tensor, ...] = ()
            if lengths is not None:
                ends = (torch.cat([lengths[part], lengths.new_full((missing,), x.shape[1])]),)
            with around(part):
                outputs.append(network(whole, *ends)[: len(rows)])
            _restore(network, before)
    finally:
        _restore(network, before)
        for name, part_of_it in network.named_modules():
            part_of_it.training = modes[name]
    return torch.cat(outputs)


def _restore(network: nn.Module, before: dict[str, Tensor]) -> None:
    """Write back what a module changed of itself."""
    for name, value in network.state_dict().items():
        if not torch.equal(value, before[name]):
            value.copy_(before[name])


def accuracy(network: Classifier, split: Split, kind: Kind = CLASSES) -> float:
    """Return the share of samples, or tokens, of `split` that are right; of values, R2.

    NaN of no samples.
    """
    network = network.answering(kind.every_step)
    device, most = network.mean.device, len(split) if network.tokens is None else _PART
    size = at_a_time(network, split.inputs.shape[1], most)

    def answers(part: Split) -> Answered:
        lengths = None if part.lengths is None else torch.from_numpy(part.lengths)
        x = torch.from_numpy(part.inputs).to(device)
        if network.tokens is not None:
            with torch.no_grad():
                x = network.embed(x)
        return logits(network, x, lengths=lengths).cpu(), part.labels, part.lengths

    parts = (split.rows(slice(k, k + size)) for k in range(0, len(split), size or 1))
    return kind.quality(map(answers, parts)) if len(split) else math.nan
