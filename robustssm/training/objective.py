"""What a training makes small, of a batch and of the layers, and by what else it is judged."""

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


def crest(network: Network, L: int) -> Tensor:
    """Return how far the peak gain of SSM layers is above their mean gain, over length L.

    The logarithm of the largest |H|^2 over its mean, at the frequencies of a DFT of 2 L samples of
    the impulse response, averaged over layers and their systems; of a system of all channels |H| is
    Frobenius's norm. A factor on a layer's output, which maps behind it undo, does not change it.
    """
    found = []
    for layer in network.ssm_layers():
        k, mixing = layer.impulse(L), layer.mixing()
        if mixing is not None:
            B, C = mixing
            k = 2.0 * torch.einsum("hm,ml,mj->hjl", C, k, B).real
        power = torch.fft.rfft(k, n=2 * L).abs().square()
        power = power if mixing is None else power.sum((0, 1))[None]
        found.append(torch.log(power.amax(1) / power.mean(1)).mean())
    return torch.stack(found).mean()
