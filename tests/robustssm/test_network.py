"""The network: options, masking, and a sample's logits whatever its batch."""

import pytest
import torch
from torch import nn

from robustssm.errors import ShapeError, UsageError
from robustssm.hippo.initializations import EVERY
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, Block, build_network


@pytest.mark.parametrize("name", EVERY)
def test_logits_do_not_depend_on_the_batch(name: str) -> None:
    network = build_network(Architecture(name, n=8, d_model=16)).eval()
    x = torch.rand(70, 64, 1, generator=torch.Generator().manual_seed(0))
    whole = logits(network, x, batch_size=70)
    for size in (1, 7, 33):
        assert torch.equal(logits(network, x, batch_size=size), whole)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(1))
    assert torch.equal(logits(network, x[order], batch_size=16), whole[order])


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_does_not_reach_a_logit(pooling: str) -> None:
    network = build_network(Architecture("s4d", n=8, d_model=8, pooling=pooling)).eval()
    x = torch.rand(3, 40, 1)
    lengths = torch.tensor([40, 25, 10])
    noise = x.clone()
    noise[1, 25:], noise[2, 10:] = 7.0, -7.0
    with torch.no_grad():
        torch.testing.assert_close(network(noise, lengths), network(x, lengths))


@pytest.mark.parametrize(
    "options",
    [
        {"prenorm": True},
        {"norm": "batch"},
        {"residual": True, "feedthrough": True},
        {"pooling": "last", "discretization": "bilinear"},
    ],
)
def test_every_option_runs_and_learns(options: dict[str, object]) -> None:
    network = build_network(Architecture("s4d", n=8, d_model=8, **options))  # type: ignore[arg-type]
    loss = network(torch.rand(5, 30, 1)).square().mean()
    loss.backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["s4d", "s4ptd-rank1", "s4", "s5", "dss"])
@pytest.mark.parametrize("both", [False, True])
def test_gradients_of_training_are_those_of_the_plain_module(name: str, both: bool) -> None:
    """In evaluation autograd differentiates each operation, in training they are written out."""
    architecture = Architecture(name, n=8, d_model=6, bidirectional=both, dropout=0.0)
    network = build_network(architecture).double()
    x = torch.rand(5, 33, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for training in (True, False):
        leaf = x.clone().requires_grad_()
        network.train(training).zero_grad()
        network(leaf)[:, 0].square().sum().backward()
        parameters = dict(network.named_parameters(), x=leaf)
        found.append({k: p.grad for k, p in parameters.items() if p.requires_grad})
    for key, gradient in found[1].items():
        assert gradient is not None and gradient.abs().max() > 0.0
        torch.testing.assert_close(found[0][key], gradient, rtol=1e-9, atol=1e-12)


def test_dropout_draws_for_the_steps_of_a_channel_first() -> None:
    """As when the bundled checkpoints were trained: of the layer's output, then of the block's."""
    network = build_network(Architecture("s4d", n=8, d_model=6, layers=1, dropout=0.5)).train()
    block, x = network.blocks[0], torch.rand(3, 20, 6)
    assert isinstance(block, Block)
    torch.manual_seed(7)
    y = nn.functional.dropout(nn.functional.gelu(block.ssm(x)).mT.contiguous(), 0.5)
    y = nn.functional.dropout(nn.functional.glu(block.output(y.mT)), 0.5)
    torch.manual_seed(7)
    torch.testing.assert_close(block(x), block.norm(y))


def test_seeds_fix_the_weights_and_leave_the_global_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = build_network(Architecture("s5", n=8), seed=1).state_dict()
    assert torch.equal(torch.rand(1), expected)
    second = build_network(Architecture("s5", n=8), seed=1).state_dict()
    other = build_network(Architecture("s5", n=8), seed=2).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_bad_shapes_and_options() -> None:
    network = build_network(Architecture("s4d", n=8))
    with pytest.raises(ShapeError, match="expected \\(batch, length, 1\\)"):
        network(torch.rand(2, 10, 3))
    with pytest.raises(UsageError, match="pooling"):
        Architecture("s4d", pooling="max")
    with pytest.raises(UsageError, match="layers is 0"):
        Architecture("s4d", layers=0)
    with pytest.raises(UsageError, match="unknown"):
        Architecture("s7")
