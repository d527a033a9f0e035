"""Gains and responses from Python by a second route: dense grids, kernels, closed forms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustssm as rs
from robustssm.hippo import legs
from robustssm.networks.network import build_network
from tests.conftest import small_architecture

GRID = np.linspace(-np.pi, np.pi, 20_001)


def random_system(
    seed: int, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a random system of two inputs and three outputs, its spectral radius given."""
    rng = np.random.default_rng(seed)
    A, B, C, D = (rng.standard_normal(shape) for shape in ((5, 5), (5, 2), (3, 5), (3, 2)))
    return A * radius / np.abs(np.linalg.eigvals(A)).max(), B, C, D


def largest(A: Any, B: Any, C: Any, D: Any, points: np.ndarray) -> float:
    """Return the largest singular value of the transfer function over the points."""
    resolvents = np.linalg.inv(points[:, None, None] * np.eye(len(A)) - A)
    return float(np.linalg.norm(D + C @ resolvents @ B, ord=2, axis=(1, 2)).max())


@pytest.mark.parametrize("seed", range(4))
def test_peak_gains_against_a_grid(seed: int) -> None:
    """A grid of frequencies finds nothing above the bracket, and comes near to it from below."""
    A, B, C, D = random_system(seed, 0.9)
    peak = rs.peak_gain(A, B, C, D, dt=0.5, rtol=1e-6)
    found = largest(A, B, C, D, np.exp(1j * GRID))
    assert 0.999 * peak.low <= found <= peak.high * (1 + 1e-9)
    at = largest(A, B, C, D, np.exp(1j * 0.5 * np.array([peak.omega])))
    assert at == pytest.approx(peak.low, rel=1e-6)
    # The same matrix, moved to the left half-plane, in continuous time.
    A = A - np.eye(5)
    peak = rs.peak_gain(A, B, C, D, rtol=1e-6)
    found = largest(A, B, C, D, 1j * np.tan(GRID / 2.001))
    assert 0.999 * peak.low <= found <= peak.high * (1 + 1e-9)


@pytest.mark.parametrize("dt", [None, 0.1])
def test_poles_and_matrices_are_one_system(dt: float | None) -> None:
    A, B, C, _ = random_system(7, 0.8)
    A, b, c = A - (np.eye(5) if dt is None else 0.0), B[:, 0], C[0]
    poles, V = np.linalg.eig(A)
    residues = (c @ V) * np.linalg.solve(V, b)
    one = rs.peak_gain(A, b, c, 0.3, dt=dt)
    other = rs.peak_gain(poles=poles, residues=residues, D=0.3, dt=dt)
    assert one.low <= other.high * (1 + 1e-12) and other.low <= one.high * (1 + 1e-12)


def test_gains_that_are_known() -> None:
    peak = rs.peak_gain(-2.0, 3.0, 5.0)  # 15 / (s + 2), at s = 0
    assert peak.low <= 7.5 <= peak.high
    zeta = 0.05  # 1 / (s^2 + 2 zeta s + 1): 1 / (2 zeta sqrt(1 - zeta^2))
    A = np.array([[0.0, 1.0], [-1.0, -2 * zeta]])
    peak = rs.peak_gain(torch.tensor(A), [0, 1], [1, 0])
    assert peak.low <= 1 / (2 * zeta * np.sqrt(1 - zeta**2)) <= peak.high
    assert peak.omega == pytest.approx(np.sqrt(1 - 2 * zeta**2), rel=0.05)


@pytest.mark.parametrize("init", ["s4d", "s4ptd-rank1", "s4", "s5", "dss"])
def test_responses_are_the_transform_of_the_kernel(init: str, tmp_path: Path) -> None:
    """H(e^{i theta}) is the series of what a layer answers to an impulse, in float64."""
    model = rs.wrap(nn.Sequential(build_network(small_architecture(init), seed=1)))
    steps, theta = 1 << 15, np.array([0.0, 0.2, 1.0, 3.0])
    for layer in model.layers:
        module = layer.module
        impulse = torch.zeros(module.d, steps, module.d, dtype=torch.float64)
        impulse[range(module.d), 0, range(module.d)] = 1.0
        with torch.no_grad():
            answers = module(impulse).numpy()  # (input, time, output)
        series = np.einsum("ito,kt->oik", answers, np.exp(-1j * np.outer(theta, range(steps))))
        found = layer.frequency_response(theta, length=steps)
        if found.ndim == 2:
            series = series[range(module.d), range(module.d)]
        np.testing.assert_allclose(found, series, atol=1e-6 * np.abs(series).max())
        peaks = layer.peak_gain(length=steps)
        norms = np.abs(series) if found.ndim == 2 else np.linalg.norm(series, 2, axis=(0, 1))[None]
        assert (norms.max(-1) <= peaks["high"] * (1 + 1e-6)).all()
        assert (layer.poles.real < 0).all() and (layer.step_size > 0).all()


class Own(nn.Module):
    """An SSM layer of one's own that says what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.tensor([[-0.5, -1.0], [-0.2, -3.0]]))

    def state_space(self) -> tuple[Tensor, Tensor, Tensor, None, Tensor]:
        one = torch.ones(2, 2)
        return self.A, one[..., None], one[:, None], None, torch.tensor([0.1, 0.2])

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_layer_of_ones_own() -> None:
    (layer,) = rs.wrap(nn.Sequential(nn.Linear(1, 2), Own()), "own").layers
    np.testing.assert_allclose(np.sort(layer.poles.real), [[-1.0, -0.5], [-3.0, -0.2]], rtol=1e-6)
    np.testing.assert_allclose(layer.step_size, [0.1, 0.2], rtol=1e-6)
    # Zero-order hold keeps the gain at frequency 0: sum of 1 / -lambda.
    gain = layer.frequency_response(0.0)[:, 0]
    np.testing.assert_allclose(gain, [3.0, 5.0 + 1.0 / 3.0], rtol=1e-6)
    assert (layer.peak_gain()["low"] >= 0.999 * gain.real).all()


def test_values_of_transfer_are_hippos_own() -> None:
    omega = [0.5, 20.0, 300.0]
    values = rs.transfer(32, "s4d", omega=omega).values
    assert [*values.index] == omega and [*values] == ["hippo", "s4d"]
    expected = legs.transfer(np.eye(32)[0], 1j * np.array(omega))
    np.testing.assert_allclose(values["hippo"], expected, rtol=1e-10)


def test_wrapping_is_by_content() -> None:
    """The identity follows weights, plain attributes and code, not the name or the object."""

    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale, self.linear = scale, nn.Linear(1, 3)
            nn.init.ones_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * self.linear(x).mean(1)

    first = Scaled(1.0)
    first.train()
    model = rs.wrap(first, "a")
    assert model.content_hash == rs.wrap(Scaled(1.0), "b").content_hash
    assert model.content_hash != rs.wrap(Scaled(2.0)).content_hash
    assert model.content_hash != rs.wrap(Scaled(1.0), input_std=2.0).content_hash
    assert first.training and first.linear.weight.requires_grad  # left as it was
    with torch.no_grad():
        first.linear.weight.mul_(2.0)
    assert model.content_hash != rs.wrap(first).content_hash
    x = np.ones((2, 4), np.float32)
    assert np.array_equal(model.predict(x), np.ones((2, 3)))  # a copy: what came later is not in it
    assert np.array_equal(rs.wrap(first).predict(x[:, ::-1]), 2 * np.ones((2, 3)))
    assert np.array_equal(rs.wrap(Scaled(1.0), input_mean=1.0).predict(x), np.zeros((2, 3)))
