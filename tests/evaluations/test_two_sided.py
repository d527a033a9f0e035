"""Layers that run both ways: response, peak, finite gain against the kernel that forward has."""

import json
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import robustssm
from robustssm.checkpoints import s5
from robustssm.cli import main
from robustssm.evaluations.trained_layers.examination import layer_parity
from robustssm.evaluations.trained_layers.gain import channel_gains
from robustssm.evaluations.trained_layers.input_response import input_response
from robustssm.evaluations.trained_layers.reading import layer_spectrum, layer_system
from robustssm.layers import SSMLayer
from robustssm.layers.diagonal import GeneralDiagonal
from robustssm.layers.dplr import GeneralDPLR
from robustssm.layers.mimo import GeneralMIMO
from robustssm.networks.network import Architecture, build_network
from robustssm.typing import ComplexArray, FloatArray
from tests.reference import GOLDEN
from tests.robustssm.checkpoints.foreign import Draw
from tests.robustssm.checkpoints.stored import entry
from tests.robustssm.checkpoints.test_s5 import LAYER, flax

D, N = 3, 4
# Kernels of the layers below have decayed to 1e-13 by then: |a| <= exp(-0.01).
REACH = 3000


def drawn(layer: SSMLayer, seed: int) -> SSMLayer:
    """A layer with random parameters, poles between 1 and 6 samples of the unit circle's edge."""
    draw = Draw(seed)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            value = draw(*parameter.shape).double()
            if name == "dt":
                value = torch.exp(0.3 * value - 2.5)
            if name in ("A", "Lambda"):
                value = torch.stack([-0.2 - value[..., 0].abs(), 4.0 * value[..., 1]], dim=-1)
            if name == "P":
                value = 0.5 * value
            parameter.copy_(value)
        if isinstance(layer, GeneralDPLR):
            layer.Q.copy_(layer.P * torch.tensor([1.0, -1.0]))
    return layer.eval().requires_grad_(False)


def own(name: str) -> SSMLayer:
    """A bidirectional layer of this project, whose directions have poles and D of their own."""
    a = Architecture(name, n=8, d_model=D, layers=1, d_input=1, bidirectional=True,
                     dt_min=0.05, dt_max=0.2)  # fmt: skip
    return build_network(a, seed=4).double().ssm_layers()[0].requires_grad_(False)


LAYERS: dict[str, Callable[[], SSMLayer]] = {
    "zoh": lambda: drawn(GeneralDiagonal(D, n=N, bidirectional=True), 1),
    "bilinear": lambda: drawn(
        GeneralDiagonal(D, n=N, bidirectional=True, discretization="bilinear"), 2
    ),
    "dplr": lambda: drawn(GeneralDPLR(D, n=N, bidirectional=True), 3),
    "mimo": lambda: drawn(GeneralMIMO(D, n=N, bidirectional=True), 4),
    "impulse": lambda: drawn(
        GeneralMIMO(D, n=N, bidirectional=True, discretization="impulse", factor=1), 5
    ),
    **{f"own {name}": partial(own, name) for name in ("s4d", "s4", "s5")},
}


def both_kernels(layer: SSMLayer) -> FloatArray:
    """The outputs, (2 REACH, D outputs, D inputs), of a unit impulse at step REACH."""
    u = torch.zeros(D, 2 * REACH, D, dtype=torch.float64)
    u[torch.arange(D), REACH, torch.arange(D)] = 1.0
    return layer(u).permute(1, 2, 0).numpy()


def symbol(kernel: FloatArray, theta: FloatArray) -> ComplexArray:
    """The response (theta, outputs, inputs) by its sum over all lags, both ways."""
    lags = np.arange(len(kernel)) - REACH
    return np.einsum("tl,lpq->tpq", np.exp(-1j * np.outer(theta, lags)), kernel)


@pytest.mark.parametrize("name", LAYERS)
def test_the_peak_is_that_of_the_kernel(name: str) -> None:
    layer = LAYERS[name]()
    kernel, system = both_kernels(layer), layer_system(layer, 64)
    shared = "mimo" in name or name in ("impulse", "own s5")
    theta = np.linspace(0.0, np.pi, 301)
    exact = symbol(kernel, theta)
    found = system.response(theta)
    expected = np.moveaxis(exact, 0, 2) if shared else np.diagonal(exact, axis1=1, axis2=2).T
    # float64 on both routes; kernels of a few hundred steps.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    gains = np.linalg.norm(exact, 2, axis=(1, 2))[None] if shared else np.abs(expected)
    for row, bracket in enumerate(system.peaks(1e-6)):
        assert bracket.relative_gap <= 2e-6
        assert gains[row].max() <= bracket.high * (1.0 + 1e-9)
        there = symbol(kernel, np.array([2.0 * np.arctan(bracket.omega)]))[0]
        value = np.linalg.norm(there, 2) if shared else abs(there[row, row])
        assert value == pytest.approx(bracket.low, rel=2e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_the_finite_gain_is_the_norm_of_what_forward_does(name: str) -> None:
    layer, L = LAYERS[name](), 24
    table = channel_gains(layer_system(layer, L), layer.order, L)
    unit = torch.eye(L * D, dtype=torch.float64).reshape(L * D, L, D)
    matrix = layer(unit).reshape(L * D, L * D).numpy()
    parts = matrix.reshape(L, D, L, D)
    blocks = [matrix] if len(table) == 1 else [parts[:, c, :, c] for c in range(D)]
    norms = [np.linalg.norm(block, 2) for block in blocks]
    np.testing.assert_allclose(table["finite_gain"], norms, rtol=1e-6)
    assert (table["finite_gain"] <= table["gain_high"] * (1.0 + 1e-9)).all()
    # No direction alone is the layer: its peak is below the sum of theirs.
    system = layer_system(layer, L)
    one, two = (
        np.array([b.high for b in system.directions[key].peaks(1e-3)])
        for key in ("forward", "backward")
    )
    assert (table["gain_low"] <= one + two).all()
    assert (np.abs(table["gain_low"] - one) > 1e-3 * one).any()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_inspected(name: str) -> None:
    layer = LAYERS[name]()
    spectrum = layer_spectrum(layer)
    assert spectrum.poles.real.max() < 0.0
    # Every route is float64.
    assert layer_parity(layer) < 1e-11


@pytest.mark.parametrize("name", ["s4d", "s5"])
def test_the_first_layer_of_a_network_that_runs_both_ways(name: str) -> None:
    a = Architecture(name, n=8, d_model=D, layers=1, d_input=2, bidirectional=True)
    network = build_network(a, seed=5).double()
    layer, W = network.ssm_layers()[0].requires_grad_(False), network.input_weight.detach().numpy()
    L = 16
    H = layer_system(layer, L).response(2.0 * np.pi * np.arange(L // 2 + 1) / L)
    for k, found in enumerate(input_response(network, L)):
        map_ = H[..., k] if H.ndim == 3 else np.diag(H[:, k])
        assert found == pytest.approx(np.linalg.norm(map_ @ W), rel=1e-9)


def golden(name: str) -> str:
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"reference values {name} are not beside this checkout")
    return str(path)


def test_the_command_on_the_network_of_the_original() -> None:
    path = golden("pl_s4_dplr_bidir_postnorm_layer.ckpt")
    arguments = ["gain", f"mine={path}", "--length", "48", "--no-figures"]
    result = CliRunner().invoke(main, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    layers = robustssm.load(path).network.ssm_layers()
    found = {(row["layer"], row["direction"]) for row in rows}
    assert found == set(product(range(len(layers)), ("both", "forward", "backward")))
    for row in (row for row in rows if row["direction"] == "both"):
        layer = layers[row["layer"]]
        n = 1 << 14
        ahead, behind = layer.double().kernels(n).chunk(2)
        whole = torch.cat([ahead[0], behind[0].flip(-1)], dim=-1)
        whole[:, 0] += torch.from_numpy(layer.feedthroughs())
        top = float(torch.fft.rfft(whole).abs().max())
        # Between two bins of the transform a peak may be higher than at them.
        assert top <= row["gain_high"] * (1.0 + 1e-9)
        assert row["gain_low"] <= top * 1.01
    inspected = CliRunner().invoke(main, ["inspect", path, "--format", "json"])
    assert inspected.exit_code == 0, inspected.output
    for row in json.loads(inspected.stdout)["layers"]:
        assert row["parity"] < 1e-11 and not row["refused"]


@torch.no_grad()
def test_the_layer_of_s5() -> None:
    stored = entry("s5_ssm_conjsym_bidir_blocks2.npz")
    layer = s5.build(flax(stored), LAYER).network.double().ssm_layers()[0]
    bracket, n = layer_system(layer, 64).peaks(1e-6)[0], 1 << 13
    u = torch.zeros(layer.d, n, layer.d, dtype=torch.float64)
    u[torch.arange(layer.d), n // 2, torch.arange(layer.d)] = 1.0
    spectrum = np.fft.rfft(layer(u).permute(2, 0, 1).numpy())
    top = np.linalg.norm(np.moveaxis(spectrum, 2, 0), 2, axis=(1, 2)).max()
    # Between two bins of the transform the peak may be higher than at them.
    assert 0.99 * bracket.low <= top <= bracket.high * (1.0 + 1e-9)
