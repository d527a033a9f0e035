"""Layers as linear systems: the layer's own impulse response is the other route."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustssm.checkpoints.native import weights_hash
from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.trained_layers.linear_systems import cayley, fold
from robustssm.evaluations.trained_layers.operators import finite_gain, hankel_singular_values
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.hippo.initializations import NAMES, initialization
from robustssm.layers import DSS, LAYERS, S4D, SSMLayer
from robustssm.layers.diagonal import exponential_sums
from robustssm.typing import ComplexArray, FloatArray

EPS = np.finfo(np.float64).eps
# Every pole has |a| < exp(-0.25 * 0.02): the kernel's tail is below exp(-0.005 * 8192) = 2e-18.
LONG = 8192
# Of those that are drawn, such as decay so fast.
RINGS = ("lru:r_max=0.99", "dlinoss:r_max=0.99")
CASES = [(name, "default", 8) for name in (*NAMES, *RINGS, "dss:kernel=exp")]
CASES += [(name, "bilinear", 8) for name in ("s4d", "s4d-real", "s4ptd-rank1", "s5")]
CASES += [("s4d", "default", 7), ("dss", "default", 7), ("s5", "default", 7)]


def make(name: str, discretization: str = "default", n: int = 8, d: int = 4) -> SSMLayer:
    torch.manual_seed(0)
    init = initialization(name, n)
    options: dict[str, object] = {"dt_min": 0.02, "dt_max": 0.5}
    if discretization != "default":
        options["discretization"] = discretization
    return LAYERS[init.name.family](init, d, **options).double().eval()


@torch.no_grad()
def impulse_responses(layer: SSMLayer, L: int) -> FloatArray:
    """Return y (input, l, output) of a unit impulse into each channel, by the layer itself."""
    u = torch.zeros(layer.d, L, layer.d, dtype=torch.float64)
    u[range(layer.d), 0, range(layer.d)] = 1.0
    return layer(u).numpy()


def measured_gain(layer: SSMLayer, L: int) -> FloatArray:
    """Return |H| at theta = 2 pi k / L by FFT of the impulse responses, (c, L/2 + 1)."""
    H = np.fft.rfft(impulse_responses(layer, L), axis=1)
    if layer.mixing() is not None:
        return np.linalg.norm(H.transpose(1, 2, 0), ord=2, axis=(1, 2))[None]
    return np.abs(np.stack([H[h, :, h] for h in range(layer.d)]))


@pytest.mark.parametrize(("name", "discretization", "n"), CASES)
def test_response_is_the_fourier_transform_of_the_impulse_response(
    name: str, discretization: str, n: int
) -> None:
    layer = make(name, discretization, n)
    system = layer_system(layer, LONG)
    theta = 2.0 * np.pi * np.arange(LONG // 2 + 1) / LONG
    expected = measured_gain(layer, LONG)
    # FFT of 8192 samples; the largest |mu| is below 2 / 0.005 and loses that factor near pi.
    np.testing.assert_allclose(system.gain(theta), expected, atol=1e-11 * expected.max())
    # The same frequencies given a channel at a time.
    own = np.broadcast_to(theta[::64], (len(expected), len(theta[::64])))
    np.testing.assert_allclose(system.gain(own), expected[:, ::64], atol=1e-11 * expected.max())


@torch.no_grad()
def test_softmax_weights_are_those_of_the_length() -> None:
    """The kernel of length 64 continued: the same numbers on l < 64, and a full response."""
    layer = make("dss")
    assert isinstance(layer, DSS)
    log_Abar, weights = layer.modes(64)
    continued = exponential_sums(weights[0], log_Abar, LONG).real.numpy()
    assert layer.D is not None
    continued[:, 0] += layer.D.numpy()
    np.testing.assert_allclose(continued[:, 1:64], layer.impulse(64).numpy()[:, 1:], rtol=1e-10)
    theta = 2.0 * np.pi * np.arange(LONG // 2 + 1) / LONG
    expected = np.abs(np.fft.rfft(continued))
    found = layer_system(layer, 64).gain(theta)
    np.testing.assert_allclose(found, expected, atol=1e-11 * expected.max())


@pytest.mark.parametrize(("name", "discretization", "n"), CASES)
def test_peak_bracket_holds_a_dense_grids_maximum(name: str, discretization: str, n: int) -> None:
    system = layer_system(make(name, discretization, n), 64)
    theta = np.linspace(0.0, np.pi, 20001)
    largest = system.gain(theta).max(axis=1)
    for h, bracket in enumerate(system.peaks(1e-3)):
        assert bracket.low <= bracket.high <= bracket.low * (1.0 + 1.001e-3)
        # Rounding alone may lift a grid value above the certificate.
        assert largest[h] <= bracket.high * (1.0 + 1e-10)
        at = np.full((len(largest), 1), 2.0 * np.arctan(bracket.omega))
        # low is attained there; S4's two routes (Woodbury, dense) agree to about n eps kappa.
        assert system.gain(at)[h, 0] == pytest.approx(bracket.low, rel=1e-9)


poles = st.builds(
    complex,
    st.floats(-40.0, -1e-4),
    st.floats(-60.0, 60.0),
)


@given(poles, st.floats(0.0, 3.1), st.sampled_from(["zoh", "bilinear"]))
def test_cayley_identity(pole: complex, theta: float, method: str) -> None:
    """1 / (1 - a / z) = 1 / (1 + a) + 2 a / (1 + a)^2 / (s - mu) at every point of the circle."""
    lam: ComplexArray = np.array([pole])
    mu, one_plus = cayley(lam, np.ones(1), method)
    z = lam
    a = np.exp(z) if method == "zoh" else (1.0 + 0.5 * z) / (1.0 - 0.5 * z)
    assert mu.real[0] < 0.0
    s = 1j * np.tan(0.5 * theta)
    found = 1.0 / one_plus + (1.0 + mu) / one_plus / (s - mu)
    expected = 1.0 / (1.0 - a * np.exp(-1j * theta))
    # 1 - a / z has relative error 60 eps / |1 - a / z| from rounding the angle, the Cayley form
    # |mu| eps; both as absolute errors of the value.
    slack = 200.0 * EPS * np.abs(expected) * (1.0 + np.abs(expected) + np.abs(mu))
    assert np.abs(found - expected) <= slack


@given(st.floats(-1e-2, -1e-12), st.integers(-5, 5), st.floats(-1e-9, 1e-9))
def test_a_pole_near_minus_one_stays_finite_and_stable(x: float, turns: int, off: float) -> None:
    """mu ~ 2 / (1 + a) there, with Re mu < 0 to the last digit of x where y = pi exactly."""
    y = (2 * turns + 1) * np.pi + off
    mu, one_plus = cayley(np.array([complex(x, y)]), np.ones(1), "zoh")
    assert np.isfinite(mu[0]) and np.isfinite(one_plus[0]) and mu.real[0] < 0.0
    # 1 + a is |x + i off| to first order; the multiple of pi carries (2 turns + 1) pi eps.
    lost = 1e-14 / abs(complex(x, off)) + abs(complex(x, off))
    assert abs(one_plus[0]) == pytest.approx(abs(complex(x, off)), rel=2.0 * lost)


@given(st.floats(-1e3, 1e3))
def test_folding_is_what_samples_see(theta: float) -> None:
    folded = float(fold(np.array(theta)))
    assert 0.0 <= folded <= np.pi
    # cos(theta l) for every l: rounding of theta / (2 pi) is 1e3 eps.
    np.testing.assert_allclose(
        np.cos(folded * np.arange(5)), np.cos(theta * np.arange(5)), atol=1e-11
    )


@torch.no_grad()
def test_an_aliased_pole_is_the_folded_one() -> None:
    """Im lambda and Im lambda - 2 pi / dt give one discrete pole; only the first is aliased."""
    layer = make("s4d", d=1)
    assert isinstance(layer, S4D)
    dt = float(layer.step_size()[0])
    layer.imag.fill_(0.7 * np.pi / dt)
    below = layer_system(layer, 8)
    layer.imag.fill_((0.7 - 2.0) * np.pi / dt)
    above = layer_system(layer, 8)
    assert not below.aliased.any() and above.aliased.all()
    # imag is double here; folding loses eps times the number of turns.
    np.testing.assert_allclose(above.pole_theta, 0.7 * np.pi, rtol=1e-14)
    np.testing.assert_allclose(below.pole_theta, above.pole_theta, rtol=1e-14)
    np.testing.assert_allclose(
        np.sort(above.family().poles), np.sort(below.family().poles), rtol=1e-12
    )
    assert below.omega(below.pole_theta, below.step)[0, 0] == pytest.approx(0.7 * np.pi / dt)


@pytest.mark.parametrize("name", ["s4", "s4d"])
def test_bilinear_folds_nothing(name: str) -> None:
    system = layer_system(make(name, "bilinear" if name != "s4" else "default"), 8)
    assert not system.aliased.any() and (system.pole_theta < np.pi).all()
    theta = np.array([0.0, np.pi / 2, np.pi])
    omega = system.omega(theta[:, None], system.dt)
    np.testing.assert_allclose(omega[1], 2.0 / system.dt)
    assert (omega[0] == 0.0).all() and np.isinf(omega[2]).all()


@pytest.mark.parametrize("name", [*NAMES, *RINGS, "linoss-im"])
def test_layers_are_read_and_never_changed(name: str) -> None:
    layer = make(name)
    before = weights_hash(layer.state_dict())
    requires = [p.requires_grad for p in layer.parameters()]
    system = layer_system(layer, 32)
    system.peaks(1e-2)
    hankel_singular_values(system)
    finite_gain(system, 32, np.zeros(len(system.dt)))
    assert weights_hash(layer.state_dict()) == before
    assert [p.requires_grad for p in layer.parameters()] == requires


@torch.no_grad()
def test_what_cannot_be_a_system_is_rejected() -> None:
    layer = make("s4d")
    with pytest.raises(UsageError, match="length is 0, expected at least 1"):
        layer_system(layer, 0)
    assert isinstance(layer, S4D)
    layer.C[0, 0, 0] = torch.nan
    with pytest.raises(RejectedInputError, match="C has NaN or infinite entries"):
        layer_system(layer, 8)
