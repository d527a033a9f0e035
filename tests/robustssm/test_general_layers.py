"""Layers of other code bases: kernels by two routes, for any sizes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import UsageError
from robustssm.layers.base import KernelLayer
from robustssm.layers.diagonal import GeneralDiagonal
from robustssm.layers.dplr import GeneralDPLR
from robustssm.networks.foreign import Blueprint, SequenceModel, mixer

SIZES = st.fixed_dictionaries(
    {
        "n": st.integers(1, 4),
        "channels": st.integers(1, 2),
        "l_max": st.none() | st.integers(1, 40),
        "bidirectional": st.booleans(),
    }
)
KINDS: list[tuple[str, dict[str, object]]] = [
    ("diagonal", {"discretization": one}) for one in GeneralDiagonal.rules
]
KINDS += [("dplr", {"rank": 1}), ("dplr", {"rank": 2})]


def random_layer(kind: str, d: int, seed: int, **options: object) -> KernelLayer:
    """A stable layer: Re of every pole at most -0.1, and Q the conjugate of P."""
    layer = mixer(d, {"kind": kind, **options})
    assert isinstance(layer, GeneralDiagonal | GeneralDPLR)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        layer.dt.copy_(0.01 + 0.3 * layer.dt.abs())
        poles = layer.A if isinstance(layer, GeneralDiagonal) else layer.Lambda
        poles[..., 0] = -0.1 - poles[..., 0].abs()
        if isinstance(layer, GeneralDPLR):
            layer.Q.copy_(layer.P * torch.tensor([1.0, -1.0]))
        if isinstance(layer, GeneralDiagonal) and layer.discretization == "dss":
            layer.divisor.copy_(poles)
    return layer.eval().requires_grad_(False)


def by_sums(layer: KernelLayer, u: torch.Tensor) -> torch.Tensor:
    """The sums over time that define the layer."""
    k = layer.kernels(u.shape[1])
    y = torch.zeros(len(u), u.shape[1], layer.channels, layer.d, dtype=u.dtype)
    L, K = u.shape[1], k.shape[-1]
    for t in range(L):
        for j in range(min(t + 1, K)):
            y[:, t] += k[: layer.channels, :, j] * u[:, t - j, None]
        if layer.bidirectional:
            for j in range(min(L - 1 - t, K)):
                y[:, t] += k[layer.channels :, :, j] * u[:, t + 1 + j, None]
    assert layer.D is not None
    return (y + layer.D * u[:, :, None]).flatten(2)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@given(sizes=SIZES, d=st.integers(1, 3), L=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_forward_is_the_sum_and_the_recurrence(
    kind: str, options: dict[str, object], sizes: dict[str, int], d: int, L: int, seed: int
) -> None:
    layer = random_layer(kind, d, seed, **options, **sizes)
    u = torch.randn(2, L, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y = layer(u)
    assert y.shape == (2, L, layer.d_out)
    # float64 rounding over 30 steps of kernels up to about 1e3.
    atol = 1e-11 * (1.0 + float(layer.kernels(L).abs().sum()) * float(u.abs().max()))
    torch.testing.assert_close(y, by_sums(layer, u), rtol=0, atol=atol)
    if layer.kernel_length(L) == L:
        torch.testing.assert_close(y, layer.recurrence(u), rtol=0, atol=atol)
        if layer.channels == 1 and not layer.bidirectional:
            assert torch.equal(layer.impulse(L), layer.kernels(L)[0])


def test_a_longer_kernel_begins_with_the_shorter() -> None:
    """The kernel is that of the system: no length is built into it (unlike DSS)."""
    for kind, options in KINDS:
        if options.get("discretization") != "dss":
            layer = random_layer(kind, 2, 0, n=3, **options)
            long = layer.kernels(50)
            # float64 rounding of both.
            torch.testing.assert_close(long[..., :17], layer.kernels(17), rtol=0, atol=1e-11)


def test_blocks_of_frequencies_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = random_layer("dplr", 3, 1, n=4, rank=2, channels=2)
    whole = layer.kernels(33)
    monkeypatch.setattr("robustssm.layers.dplr._BLOCK", 40)
    # The same sums in other matrix products.
    torch.testing.assert_close(layer.kernels(33), whole, rtol=0, atol=1e-12)


def test_step_size_is_the_geometric_mean_over_states() -> None:
    layer = random_layer("diagonal", 2, 3, n=3, steps="state")
    assert isinstance(layer, GeneralDiagonal)
    torch.testing.assert_close(layer.step_size(), layer.dt.prod(-1) ** (1 / 3))


def test_mistakes_are_named() -> None:
    layer = random_layer("diagonal", 2, 0, n=2, channels=2, l_max=5)
    with pytest.raises(UsageError, match="the number of channels is 2, expected 1"):
        layer.impulse(4)
    with pytest.raises(UsageError, match="l_max = 5 steps and the input has 6"):
        layer.recurrence(torch.zeros(1, 6, 2))
    with pytest.raises(UsageError, match="discretization 'euler' is unknown, expected one of zoh"):
        mixer(2, {"kind": "diagonal", "n": 2, "discretization": "euler"})
    with pytest.raises(UsageError, match="mixer 'conv' is unknown"):
        mixer(2, {"kind": "conv"})
    with pytest.raises(UsageError, match="norm 'power' is unknown"):
        Blueprint("here", 1, 2, 3, (), norm="power")


def test_a_blueprint_is_that_of_its_card() -> None:
    mixers: tuple[dict[str, object], ...] = (
        {"kind": "diagonal", "n": 2, "channels": 2},
        {"kind": "dplr", "n": 2, "rank": 2, "channels": 2},
    )
    blueprint = Blueprint("here", 1, 4, 3, mixers, residual="affine", final_norm=True)
    assert Blueprint.from_dict(blueprint.to_dict()) == blueprint
    network = SequenceModel(blueprint)
    assert len(network.ssm_layers()) == 2
    # Dynamics stay in float64 beside float32 maps.
    assert network.ssm_layers()[0].C.dtype == torch.float64
    assert network.decoder.weight.dtype == torch.float32


def test_a_norm_may_stand_behind_the_encoder() -> None:
    plain = Blueprint("here", 2, 4, 3, ())
    assert "encoder_norm" not in plain.to_dict()  # as on cards of earlier versions
    blueprint = replace(plain, encoder_norm=True)
    assert Blueprint.from_dict(blueprint.to_dict()) == blueprint
    network, x = SequenceModel(blueprint).eval(), torch.randn(2, 5, 2)
    norm = network.encoder_norm.norm
    assert isinstance(norm, torch.nn.LayerNorm)
    norm.weight.data, norm.bias.data = torch.rand(4), torch.rand(4)
    u = network.encoder(x)
    centred = u - u.mean(-1, keepdim=True)
    z = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    expected = network.decoder((z * norm.weight + norm.bias).mean(1))
    torch.testing.assert_close(network(x), expected)
