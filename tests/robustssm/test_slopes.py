"""Gradients through the program: those of the module, and the same bits in any batch."""

import pytest
import torch
from torch import Tensor

from robustssm.networks.network import Architecture, Network, build_network
from robustssm.networks.slopes import Slopes

OPTIONS: list[dict[str, object]] = [
    {},
    {"residual": True},
    {"prenorm": True, "pooling": "last"},
    {"prenorm": True, "residual": True, "norm": "batch", "d_input": 3},
    {"norm": "batch", "feedthrough": True},
    {"tokens": 5, "d_input": 8},
]


def trained(init: str, **options: object) -> Network:
    """Return a network in evaluation whose norms do something."""
    fields = {"n": 8, "d_model": 8, **options}
    network = build_network(Architecture(init, **fields)).double().eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        network.mean += 0.3
        network.std *= 1.7
        for name, value in network.state_dict().items():
            if "norm" in name and value.is_floating_point():
                value += 0.2 * torch.rand(value.shape, dtype=value.dtype, generator=generator)
    return network


def inputs(network: Network, samples: int, L: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = samples, L, network.architecture.d_input
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("init", ["s4d", "s4", "s5"])
def test_the_gradient_is_that_of_the_module(init: str, options: dict[str, object]) -> None:
    network = trained(init, **options)
    x = inputs(network, 5, 37)
    leaf = x.clone().requires_grad_()
    logits = network(leaf)
    weights = torch.randn(logits.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))
    (expected,) = torch.autograd.grad((logits.sin() * weights).sum(), leaf)

    def by_logits(logits: Tensor, part: slice) -> Tensor:
        return logits.cos() * weights[part]

    found = Slopes(network, 37).slopes(x, by_logits)
    assert expected.abs().max() > 0.0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_gradient_does_not_depend_on_the_batch() -> None:
    network = build_network(Architecture("s4d", n=8, d_model=16)).eval()
    x = inputs(network, 70, 64).float()
    program = Slopes(network, 64)
    assert program.rows < 70  # more than one block
    whole = program.slopes(x, lambda logits, part: logits)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(1))
    mixed = program.slopes(x[order], lambda logits, part: logits)
    assert torch.equal(mixed, whole[order])
    assert torch.equal(program.slopes(x[3:10], lambda logits, part: logits), whole[3:10])
