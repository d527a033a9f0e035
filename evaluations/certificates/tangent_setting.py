"""What the tangents at all samples share, and the forward pass that they start from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from robustssm.attacks.bands import fourier_basis
from robustssm.evaluations.certificates.enclosures import Base
from robustssm.evaluations.certificates.lipschitz import check, double_copy
from robustssm.evaluations.certificates.time_operators import time_operator
from robustssm.networks.network import Block, Network


class Setting:
    """What does not depend on the sample: float64 network, operators, first Jacobian.

    For L steps and bins `modes`; UsageError for what has no certificate.
    """

    @torch.no_grad()
    def __init__(self, network: Network, L: int, modes: Sequence[int]) -> None:
        check(network)
        self.basis = fourier_basis(L, modes)
        self.network = double_copy(network)
        layers = self.network.ssm_layers()
        self.operators = tuple(time_operator(layer, L) for layer in layers)
        weight = self.network.input_weight / self.network.std
        J = (self.basis[:, None, None, :] * weight[None, :, :, None]).flatten(2)
        self.encoded = Base(J)
        prenorm = network.architecture.prenorm
        self.first = None if prenorm else Base(through(layers[0], J))


def through(layer: torch.nn.Module, J: Tensor) -> Tensor:
    """Return the SSM layer's image of the columns of J (L, d, m)."""
    result: Tensor = layer(J.permute(2, 0, 1))
    return result.permute(1, 2, 0).contiguous()


def trace(network: Network, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the logits of x (b, L, channels) as the network's own, and what its stages put out.

    The outputs (b, L, d) of the nonlinear stages on the way to the logits, in order: of a block
    GELU, GLU, and the norm after (prenorm: before) them; at the end the final one.
    """
    spots: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        spots.append(output)
        return output

    x = network.encoder((x - network.mean) / network.std)
    for block in network.blocks:
        assert isinstance(block, Block)
        v = keep(block.norm(x)) if block.prenorm else x
        a = keep(torch.nn.functional.gelu(block.ssm(v)))
        y = keep(torch.nn.functional.glu(block.output(a)))
        x = x + y if block.residual else y
        x = x if block.prenorm else keep(block.norm(x))
    if network.architecture.prenorm:
        x = keep(network.final_norm(x))
    pooled = x.mean(1) if network.architecture.pooling == "mean" else x[:, -1]
    return network.decoder(pooled), spots
