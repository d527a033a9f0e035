"""Selective layers frozen at one step of one sample.

There dt, B and C are constants, and channel e has the transfer function

    H_e(z) = D_e + sum_n C_n dt_e B_n / (1 - exp(dt_e A_en) / z),  z = e^{i theta}.

That is a description of one place in one input. It is not a property of the model: another step
has another one, and a perturbation of the input moves dt, B and C as well.

Reference: arXiv 2312.00752, section 3.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.layers.selective import Selective
from robustssm.networks.foreign import SequenceBlock, SequenceModel


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
        H = self.D[:, None].to(torch.complex128)
        for pole, weight in zip(self.poles.T, self.weights.T, strict=True):
            H = H + weight[:, None] / (1.0 - pole[:, None] * back)
        return H


@torch.no_grad()
def local_system(model: SequenceModel, x: Tensor, layer: int, step: int) -> Frozen:
    """Return a layer frozen at a step of inputs x (length, d_input), such as embeddings.

    layer, step: count from 0. Raises UsageError if the layer is not a selective one.
    """
    model = deepcopy(model).double().eval()
    y = model.encoder_norm(model.encoder((x.double()[None] - model.mean) / model.std))
    for before in model.blocks[:layer]:
        y = before(y)
    block = model.blocks[layer]
    assert isinstance(block, SequenceBlock)
    ssm = block.ssm
    if not isinstance(ssm, Selective):
        raise UsageError(f"layer {layer}: is a {type(ssm).__name__}, expected a selective one")
    s = ssm.select(block.norm(y) if block.prenorm else y)
    of_head, of_group = ssm.o.inner // ssm.heads, ssm.o.inner // ssm.o.groups
    dt = s.dt[0, step].repeat_interleave(of_head)[:, None]
    A = ssm.A.repeat_interleave(of_head, 0)
    BC = (s.B[0, step] * s.C[0, step]).repeat_interleave(of_group, 0)
    return Frozen(torch.exp(dt * A).expand_as(BC), dt * BC, ssm.D, dt[:, 0])
