"""Networks whose worst perturbation is known, and signals, for adversaries of one sinusoid."""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.attacks import Site
from robustssm.attacks.adversaries.victim import Victim
from robustssm.attacks.budget import Budget
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.typing import IntArray

L, N, CHANNELS = 32, 40, 2
SCALE = torch.tensor([0.5, 2.0], dtype=torch.float64)
SITE = Site(scale=SCALE)
BUDGET = Budget(0.4)
MODES = range(L // 2 + 1)


class Linear(nn.Module):
    """Logits (w . x, 0): the margin of label 0 is linear in x."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        own = (x * self.weight).sum((1, 2))
        return torch.stack([own, torch.zeros_like(own)], dim=1)


class Energy(nn.Module):
    """Logits (c - E, 0), E the energy of one bin: only that bin can do harm, and it does not
    show in the gradient at a signal that has nothing there."""

    def __init__(self, mode: int, threshold: float) -> None:
        super().__init__()
        angle = 2.0 * math.pi * mode * torch.arange(L, dtype=torch.float64) / L
        self.register_buffer("wave", torch.stack([torch.cos(angle), torch.sin(angle)]))
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        c = torch.einsum("btc,kt->bkc", x, cast(Tensor, self.wave))
        own = self.threshold - c.square().sum((1, 2))
        return torch.stack([own, torch.zeros_like(own)], dim=1)


def victim_of(module: nn.Module, batch_size: int = 64) -> Victim:
    return Victim(cast(Network, module), batch_size)


def network() -> Network:
    architecture = Architecture("s4d", n=8, d_model=8, layers=2, d_input=CHANNELS, d_output=3)
    return build_network(architecture, 1).double()


def signals(count: int = N) -> tuple[Tensor, Tensor, IntArray]:
    t = torch.arange(L, dtype=torch.float64)[:, None]
    row = torch.arange(count, dtype=torch.float64)[:, None, None]
    x = torch.cos(0.3 * row + 0.2 * t * (1.0 + 0.1 * row)) * torch.tensor([0.5, 2.0])
    return x, torch.arange(count) % 3, np.arange(count, dtype=np.int64) * 7 + 3
