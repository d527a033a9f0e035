"""Mamba step by step in float64, and its layers frozen at one step.

A mixer with E inner channels and N states, at step t of one sample,

    dt = softplus(W_dt x_dt + b),  h = exp(dt A) h + dt B u,  y = C h + D u,

with B, C and x_dt linear maps of u. Frozen at a step, dt, B and C are constants, and channel e has
the transfer function

    H_e(z) = D_e + sum_n C_n dt_e B_n / (1 - exp(dt_e A_en) / z),  z = e^{i theta}.

That is a description of one place in one input. It is not a property of the model: another step
has another one, and a perturbation of the input moves dt, B and C as well.

Reference: arXiv 2312.00752, section 3.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robustssm.networks.mamba import MambaModel


@dataclass(frozen=True)
class Frozen:
    """A layer at one step of one sample.

    poles (E, N): discrete, in (0, 1); weights (E, N): C_n dt_e B_n; D, dt (E,); all float64.
    """

    poles: Tensor
    weights: Tensor
    D: Tensor
    dt: Tensor

    def transfer(self, theta: Tensor) -> Tensor:
        """Return H (E, g), complex128, at theta (g,) in rad per sample."""
        back = torch.polar(torch.ones_like(theta.double()), -theta.double())
        H = torch.empty((len(self.D), len(theta)), dtype=torch.complex128)
        for start in range(0, len(theta), 64):  # frequencies at a time: memory stays bounded
            part = back[start : start + 64]
            terms = self.weights[..., None] / (1.0 - self.poles[..., None] * part)
            H[:, start : start + 64] = terms.sum(1) + self.D[:, None]
        return H


def _norm(norm: Any, x: Tensor) -> Tensor:
    scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon)
    result: Tensor = norm.weight.double() * x * scale
    return result


def _linear(layer: Any, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.double()
    return functional.linear(x, layer.weight.double(), bias)


def _selective(mixer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return u, gate (batch, L, E), dt (batch, L, E), B and C (batch, L, N) of normed input x."""
    u, gate = _linear(mixer.in_proj, x).chunk(2, dim=-1)
    k = mixer.conv1d.weight.shape[-1]
    bias = None if mixer.conv1d.bias is None else mixer.conv1d.bias.double()
    weight = mixer.conv1d.weight.double()
    padded = functional.pad(u.transpose(1, 2), (k - 1, 0))
    u = functional.conv1d(padded, weight, bias, groups=len(weight)).transpose(1, 2)
    u = mixer.act(u)
    n, rank = mixer.A_log.shape[1], mixer.dt_proj.weight.shape[1]
    steps, B, C = _linear(mixer.x_proj, u).split([rank, n, n], dim=-1)
    return u, gate, functional.softplus(_linear(mixer.dt_proj, steps)), B, C


def _mixed(mixer: Any, x: Tensor) -> Tensor:
    """Return a mixer's output (batch, L, hidden) of its normed input, step by step."""
    u, gate, dt, B, C = _selective(mixer, x)
    A = -torch.exp(mixer.A_log.double())
    h = torch.zeros(len(u), *A.shape, dtype=torch.float64)
    outputs = []
    for t in range(u.shape[1]):
        step = dt[:, t, :, None]
        h = torch.exp(step * A) * h + step * B[:, t, None, :] * u[:, t, :, None]
        outputs.append((h * C[:, t, None, :]).sum(-1))
    y = torch.stack(outputs, dim=1) + mixer.D.double() * u
    return _linear(mixer.out_proj, y * mixer.act(gate))


@torch.no_grad()
def recurrence(model: MambaModel, x: Tensor) -> Tensor:
    """Return the logits (batch, vocabulary) of embeddings x, step by step in float64."""
    x = (x.double() - model.mean.double()) / model.std.double()
    for block in model.blocks:
        x = x + _mixed(block.mixer, _norm(block.norm, x))
    return _linear(model.lm.lm_head, _norm(model.lm.backbone.norm_f, x)[:, -1])


@torch.no_grad()
def parity(model: MambaModel, x: Tensor) -> float:
    """Return the largest difference of scan and recurrence, relative to the largest logit."""
    expected = recurrence(model, x)
    return float((model(x).double() - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def local_system(model: MambaModel, x: Tensor, layer: int, step: int) -> Frozen:
    """Return a layer frozen at a step of embeddings x (length, hidden size); both count from 0."""
    values = (x.double()[None] - model.mean.double()) / model.std.double()
    for before in model.blocks[:layer]:
        values = values + _mixed(before.mixer, _norm(before.norm, values))
    block: Any = model.blocks[layer]
    _, _, dt, B, C = _selective(block.mixer, _norm(block.norm, values))
    A = -torch.exp(block.mixer.A_log.double())
    dt_e = dt[0, step]
    weights = dt_e[:, None] * (B[0, step] * C[0, step])
    return Frozen(torch.exp(dt_e[:, None] * A), weights, block.mixer.D.double(), dt_e)
