"""What a training makes small, as a function of a batch, and by what else it is judged."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.networks.network import Network
from robustssm.targets import Kind
from robustssm.typing import IntArray


@dataclass(frozen=True)
class Batch:
    """What the loss of a batch is a function of.

    x: (batch, length, channels), tokens embedded; targets, sample_id: of the samples; seed: of the
    epoch; done: share of the run before this batch; lengths: valid steps, (batch,), or None;
    reduced: whether dense maps compute in bfloat16.
    """

    network: Network
    x: Tensor
    targets: Tensor
    sample_id: IntArray
    kind: Kind
    seed: int = 0
    done: float = 0.0
    lengths: Tensor | None = None
    reduced: bool = False

    def answers(self, x: Tensor) -> Tensor:
        """Return what the network answers to inputs of the shape of x."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.reduced):
            return self.network(x, self.lengths)

    def loss(self, answers: Tensor) -> Tensor:
        """Return the mean loss of answers."""
        std = getattr(self.network, "output_std", None)
        with torch.autocast(answers.device.type, torch.bfloat16, enabled=self.reduced):
            return self.kind.training_loss(answers, self.targets, self.lengths, std)


@dataclass(frozen=True)
class Objective:
    """Ordinary training, unless another loss is given.

    loss: of a batch, with its gradient; robust: score of a network on attacked validation samples,
    NaN if none are.
    """

    loss: Callable[[Batch], Tensor] = lambda batch: batch.loss(batch.answers(batch.x))
    robust: Callable[[Network], float] = lambda network: math.nan
