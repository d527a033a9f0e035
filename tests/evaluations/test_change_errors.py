"""How far a change of the weights moves transfer functions: bounds against values on a grid."""

import copy
from itertools import cycle, islice

import numpy as np
import pytest
import torch

import robustssm as rs
from robustssm.attacks import Budget, StepSize, WeightNoise
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.errors import UsageError
from robustssm.evaluations.trained_layers.change_errors import change_errors, difference_peaks
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.layers import SSMLayer
from robustssm.layers.base import KernelLayer, complex128
from robustssm.layers.mimo import GeneralMIMO
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.typing import ComplexArray, FloatArray

DRAWS = 1000
# A slow pole of dt |Re lambda| = 5e-4 is seen in steps of 1e-4 near frequency 0.
GRID = np.concatenate([np.geomspace(1e-5, 0.1, 200), np.linspace(0.1, np.pi, 400)])


def small(name: str) -> Network:
    net = build_network(Architecture(name, n=8, d_model=3, layers=1, feedthrough=True), seed=3)
    return net.double().eval()


def solved(pencil: ComplexArray, b: ComplexArray) -> ComplexArray:
    """Return what the matrices (c, g, n, n) map to the vectors (c, n), (c, g, n)."""
    right = np.broadcast_to((b + 0j)[:, None, :, None], (*pencil.shape[:3], 1))
    x: ComplexArray = np.linalg.solve(pencil, right)[..., 0]
    return x


@torch.no_grad()
def response(layer: SSMLayer, theta: FloatArray) -> ComplexArray:
    """Return H (c, g), or (g, d, d), by a linear solve in the states of the recurrence alone."""
    z, both = np.exp(1j * theta), []
    D = layer.feedthroughs()
    for point in (z, z.conj()):
        if isinstance(layer, KernelLayer):
            Abar, B, C = (v.numpy() for v in layer.states(64))
            A = Abar[:, None] * np.eye(Abar.shape[1]) if Abar.ndim == 2 else Abar
            pencil = np.eye(A.shape[1]) - A[:, None] / point[:, None, None]
            x = solved(pencil, B)
            both.append((C[0][:, None] * x).sum(-1))
        else:
            assert isinstance(layer, GeneralMIMO)
            M, F = (v.numpy() for v in layer.step_matrix())
            pencil = np.eye(M.shape[1]) - M[:, None] / point[:, None, None]
            x = solved(pencil, F)
            B, C = layer.inputs().numpy(), layer.factor * complex128(layer.C).numpy()
            both.append(np.einsum("hn,ng,nj->ghj", C, x[..., -1], B))
    H: ComplexArray = 0.5 * (both[0] + both[1].conj())
    return H + (D[:, None] if H.ndim == 2 else np.diag(D))


def size(H: ComplexArray) -> FloatArray:
    """Return |H| (c, g), the largest singular value of matrices (g, p, q)."""
    return np.abs(H) if H.ndim == 2 else np.linalg.norm(H, 2, axis=(1, 2))[None]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s4d", "s4", "s5", "lru"])
def test_no_weight_draw_moves_a_layer_by_more_than_its_bound(name: str) -> None:
    net = small(name)
    layer = net.ssm_layers()[0]
    unchanged = copy.deepcopy(layer)
    clean = layer_system(unchanged, 64)
    groups = ("A", "B", "C", "D", "all") if name == "lru" else ("A", "B", "C", "D", "dt", "all")
    for seed, group in enumerate(islice(cycle(groups), DRAWS // 4)):
        with WeightNoise(group).applied(net, Budget(10.0 ** -(seed % 4), "mix"), seed):
            brackets = difference_peaks(clean, layer_system(layer, 64), 1e-3)
            high, low, omega = np.array([(b.high, b.low, b.omega) for b in brackets]).T
            # The peak is seen where the bracket says, as well as on the grid.
            points = np.concatenate([GRID, 2.0 * np.arctan(omega)])
            before = response(unchanged, points)
            apart = size(response(layer, points) - before).max(axis=1)
        # Rounding of the solves, whose condition is below 1e5 for dt |Re lambda| >= 1e-4.
        slack = 1e-9 * size(before).max(axis=1)
        assert (apart <= high + slack).all(), (group, seed)
        assert (apart >= low - slack).all() and low.any(), (group, seed)


def test_the_bound_is_attained_where_it_says() -> None:
    net = small("s4d")
    layer = net.ssm_layers()[0]
    clean = layer_system(copy.deepcopy(layer), 64)
    with WeightNoise("A").applied(net, Budget(0.01, "mix"), 5):
        brackets = difference_peaks(clean, layer_system(layer, 64), 1e-6)
        theta = 2.0 * np.arctan([bracket.omega for bracket in brackets])
        changed = response(layer, theta)
    apart = np.abs(changed - response(layer, theta)).diagonal()
    np.testing.assert_allclose(apart, [b.low for b in brackets], rtol=1e-6)
    assert all(b.high <= b.low * (1.0 + 2e-6) for b in brackets)


def test_what_does_not_change_has_no_error_and_other_changes_have_one() -> None:
    net = small("s4d")
    for noise in ("WeightNoise('mixing', eps=1)", "WeightQuantise(32)", "BitFlip(0)"):
        assert not change_errors(net, noise, length=64)[["error_low", "error_high"]].any(axis=None)
    for noise in ("StepSize(eps=1)", "Discretization('bilinear')"):
        assert (change_errors(net, noise, length=64)["error_low"] > 0.0).all()
    with StepSize().applied(net, Budget(1.0, "octaves")):
        longer = layer_system(net.ssm_layers()[0], 64)
    brackets = difference_peaks(layer_system(net.ssm_layers()[0], 64), longer, 1e-3)
    found = change_errors(net, "StepSize(eps=1)", length=64)
    assert found["error_high"].tolist() == [bracket.high for bracket in brackets]


@pytest.mark.parametrize("noise", ["Precision('bf16')", "BandNoise(1, 4, eps=1)"])
def test_what_leaves_no_linear_layer_is_refused(noise: str) -> None:
    with pytest.raises(UsageError, match="no linear layers to compare") as caught:
        change_errors(small("s4d"), noise, length=64)
    assert "\n" not in str(caught.value)


def test_both_ways_are_refused() -> None:
    net = build_network(Architecture("s4d", n=8, d_model=2, layers=1, bidirectional=True))
    with pytest.raises(UsageError, match="runs both ways in time, expected a causal one"):
        change_errors(net, "WeightNoise('C', eps=0.1)", length=64)


def test_gains_have_the_errors_beside_them() -> None:
    noise = "WeightQuantise(8, group='C')"
    per_channel = rs.gain("s4d", layers=1, per="channel", noise=noise).frame
    per_layer = rs.gain("s4d", layers=1, noise=noise).frame
    network = load_checkpoint(zoo_path("s4d", 0)).network
    alone = change_errors(network, noise, length=256, layers=(1,))
    assert per_channel["error_high"].tolist() == alone["error_high"].tolist()
    assert per_layer["error_high"].tolist() == [alone["error_high"].max()]
    assert "error_high" not in rs.gain("s4d", layers=1).frame
