"""Mixers of Mamba: memory, gradients, frozen steps, padding, bits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.checkpoints.native import weights_hash
from tests.robustssm.checkpoints.foreign import Draw
from tests.robustssm.checkpoints.selective import (
    D,
    E,
    Net,
    built,
    tensors,
    transformers_config,
)


@pytest.mark.parametrize("net", [Net(), Net(two=True, groups=2, norm_groups=2)], ids=["1", "2"])
def test_long_inputs_in_bounded_memory(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """No array of all steps' states; parts of any length give the same, and the same gradients."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from robustssm.layers import selective

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                self.numbers = max(self.numbers, result.untyped_storage().nbytes() // 8)
            return result

    network = built(tensors(net), transformers_config(net)).network.double()
    L = 600
    x = Draw(1)(2, L, D).double()
    found = []
    for held, block in ((1 << 9, 8), (1 << 18, 32), (1 << 30, L)):
        monkeypatch.setattr(selective, "_HELD", held)
        monkeypatch.setattr(selective, "_BLOCK", block)
        with Largest() as largest, torch.no_grad():
            found.append(network(x))
        if held < 1 << 18:
            assert largest.numbers < 2 * L * 4 * E  # the states of all steps: 2 L E N
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(leaf).square().sum(), leaf)
        found.append(gradient)
    for one in found[2:]:
        torch.testing.assert_close(one, found[0 if one.shape == found[0].shape else 1])


def test_gradients_are_those_of_differences() -> None:
    for net in (Net(falcon=1e-2), Net(two=True, groups=3, norm_groups=3)):
        network = built(tensors(net), transformers_config(net)).network.double()
        x = Draw(4)(1, 9, D).double()
        assert torch.autograd.gradcheck(network, x.requires_grad_())


@pytest.mark.parametrize("net", [Net(), Net(two=True)], ids=["1", "2"])
def test_a_frozen_step_is_the_response_to_an_impulse(net: Net) -> None:
    from robustssm.networks.mamba_steps import local_system

    network = built(tensors(net), transformers_config(net)).network
    x = network.embed(torch.tensor([3, 1, 4, 1, 5]))
    frozen = local_system(network, x, layer=1, step=2)
    slow = frozen.poles.amax(1) < 0.995  # channels that forget: 0.995^4000 is 2e-9
    assert int(slow.sum()) >= 3
    steps = torch.arange(4000)
    # sum over n of weight pole^l, plus D at l = 0
    kernel = (frozen.weights[..., None] * frozen.poles[..., None] ** steps).sum(1)
    kernel[:, 0] += frozen.D
    theta = torch.linspace(0.0, np.pi, 7, dtype=torch.float64)
    series = (kernel[:, None] * torch.exp(-1j * theta[:, None] * steps)).sum(-1)
    torch.testing.assert_close(frozen.transfer(theta)[slow], series[slow], rtol=0, atol=1e-6)


@pytest.mark.parametrize("net", [Net(), Net(two=True)], ids=["1", "2"])
def test_a_constant_input_has_the_output_of_the_frozen_step(net: Net) -> None:
    """Far inside a constant input all steps are one: the output there is H(1) u of that step."""
    from robustssm.networks.mamba_steps import local_system

    network = built(tensors(net), transformers_config(net)).network.double()
    x = Draw(2)(1, D).double().expand(4000, D)
    frozen = local_system(network, x, layer=0, step=3999)
    block: Any = network.blocks[0]
    s = block.ssm.select(block.norm(x[None]))
    settled = frozen.poles.amax(1) < 0.99
    assert settled.any()
    u, y = s.u[0, -1], block.ssm.scan(s)[0, -1] + block.ssm.D * s.u[0, -1]
    response = frozen.transfer(torch.zeros(1))[:, 0].real
    torch.testing.assert_close(y[settled], (response * u)[settled])


def test_padding_never_reaches_a_logit() -> None:
    for net in (Net(), Net(two=True)):
        network = built(tensors(net), transformers_config(net)).network
        x = network.embed(torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]]))
        lengths = torch.tensor([6, 4])
        found = network(x, lengths)
        other = x.clone()
        other[1, 4:] = 100.0
        assert torch.equal(network(other, lengths), found)
        torch.testing.assert_close(network(x[1:, :4]), found[1:], rtol=0, atol=1e-5)  # float32


@pytest.mark.parametrize("net", [Net(), Net(two=True)], ids=["1", "2"])
def test_a_sample_has_its_bits_in_any_batch(net: Net) -> None:
    from robustssm.networks.inference import logits as evaluated

    network = built(tensors(net), transformers_config(net)).network
    before = weights_hash(network.state_dict())
    x = Draw(5)(70, 33, D)
    found = evaluated(network, x)
    assert torch.equal(evaluated(network, x.flip(0)).flip(0), found)
    assert torch.equal(evaluated(network, x[65:66]), found[65:66])
    assert weights_hash(network.state_dict()) == before


def test_many_classes_are_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from robustssm.networks import classifier

    decoder, x = torch.nn.Linear(D, 50), Draw(6)(7, D)
    whole = classifier.decoded(decoder.weight, decoder.bias, x)
    monkeypatch.setattr(classifier, "_WEIGHTS", 4 * D)
    # float32 sums of D products of order 1
    torch.testing.assert_close(
        classifier.decoded(decoder.weight, decoder.bias, x), whole, rtol=0, atol=1e-6
    )
