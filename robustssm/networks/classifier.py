"""What evaluation asks of any network: raw inputs in, logits out, and its SSM layers."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from robustssm.errors import ShapeError
from robustssm.layers.base import SSMLayer

# What a module of a user's own code needs for tokens; docs/own-modules.md.
TAKES_TOKENS = (
    "; a module of your own takes tokens by an attribute tokens, the size of its vocabulary, and a "
    "method embed(tokens) that returns what its forward takes"
)
# Weights of a decoder that are multiplied at a time, whatever the number of samples.
_WEIGHTS = 1 << 18


class Classifier(nn.Module, ABC):
    """A network on raw inputs (batch, length, channels), normalised inside by mean and std.

    Parameters
    ----------
    d_input, d_output : int, optional
        Channels and classes; None if a module of somebody else does not say.
    tokens : int, optional
        Size of the vocabulary if the raw inputs are embedded tokens.
    """

    mean: Tensor
    std: Tensor
    # Whether it answers at every step, and whether it can do either.
    every_step = either = False

    def __init__(self, d_input: int | None, d_output: int | None, tokens: int | None) -> None:
        super().__init__()
        self.d_input, self.d_output, self.tokens = d_input, d_output, tokens
        self.register_buffer("mean", torch.zeros(d_input or 1))
        self.register_buffer("std", torch.ones(d_input or 1))

    def check_input(self, x: Tensor) -> None:
        """Raise ShapeError unless x is (batch, length, d_input)."""
        if x.ndim != 3 or x.shape[2] != self.d_input:
            raise ShapeError(
                f"network: input has shape {tuple(x.shape)}, expected (batch, length, "
                f"{self.d_input})"
            )

    @property
    def state_size(self) -> int | None:
        """Order of the systems, every conjugate counted; None if layers differ or have no state."""
        orders = {layer.order for layer in self.ssm_layers()}
        return (orders.pop() or None) if len(orders) == 1 else None

    def answering(self, every_step: bool) -> Self:
        """Return a network of the same weights that answers at every step, or once, if it can."""
        other = copy.copy(self) if self.either else self
        other.every_step = every_step if self.either else self.every_step
        return other

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embedding of each token (batch, length): (batch, length, channels)."""
        raise NotImplementedError

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """Return what fixes the function apart from the weights, as on a checkpoint's card."""

    @abstractmethod
    def ssm_layers(self) -> Sequence[SSMLayer]:
        """Return the layers that have a step size, in order: resonance acts at their inputs."""


class BlockClassifier(Classifier):
    """A network of blocks with one SSM layer each, between an encoder and a decoder."""

    d_input: int
    d_output: int
    embedding: nn.Embedding
    blocks: nn.ModuleList

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings (batch, length, d_model) of tokens (batch, length)."""
        result: Tensor = self.embedding(tokens)
        return result

    def ssm_layers(self) -> list[SSMLayer]:
        """Return the layers that have a step size, in order; selective ones have none."""
        return [block.ssm for block in self.blocks if isinstance(block.ssm, SSMLayer)]


def steps_before(lengths: Tensor | None, x: Tensor) -> Tensor | None:
    """Return which steps are before the samples' ends, (batch, length); None for all.

    Parameters
    ----------
    lengths : int tensor (batch,), optional
        Valid steps of each sample.
    x : tensor (batch, length, ...)
        The samples.
    """
    if lengths is None:
        return None
    return torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]


def pooled(x: Tensor, lengths: Tensor | None, pooling: str) -> Tensor:
    """Return one vector per sample, (batch, channels), over its valid steps; x itself for `none`.

    Parameters
    ----------
    x : tensor (batch, length, channels)
        The features.
    lengths : int tensor (batch,), optional
        Valid steps of each sample.
    pooling : str
        ``mean``, ``sum``, ``last``, ``first`` or ``none``.
    """
    if pooling == "none":
        return x
    if pooling == "first":
        return x[:, 0]
    if lengths is None:
        if pooling == "last":
            return x[:, -1]
        return x.mean(1) if pooling == "mean" else x.sum(1)
    ends = lengths.to(x.device)
    if pooling == "last":
        return x[torch.arange(len(x), device=x.device), ends - 1]
    valid = steps_before(lengths, x)
    assert valid is not None
    total = (x * valid[..., None]).sum(1)
    return total if pooling == "sum" else total / ends[:, None]


def decoded(weight: Tensor, bias: Tensor | None, pooled: Tensor) -> Tensor:
    """Return the logits of pooled features (batch, d_model), or of those of every step.

    A sum over products instead of a matrix product, whose rounding would depend on the number of
    samples in the batch; of so many classes at a time that the products take little memory.

    Parameters
    ----------
    weight, bias : tensor (classes, d_model), tensor (classes,), optional
        Of the last map.
    pooled : tensor (batch, d_model)
        One vector per sample.
    """
    if pooled.ndim == 3:
        return nn.functional.linear(pooled, weight, bias)
    size = max(1, _WEIGHTS // weight.shape[1])
    parts = [(pooled[..., None, :] * part).sum(-1) for part in weight.split(size)]
    logits = torch.cat(parts, -1)
    return logits if bias is None else logits + bias
