"""LRU and LinOSS as they are trained: laws of their first parameters, and what they compute."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.evaluations.initializations.transfer import transfer
from robustssm.evaluations.trained_layers.input_response import input_response
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.hippo.initializations import DRAWN, initialization
from robustssm.layers import LAYERS, LRU, LinOSS, SSMLayer
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, build_network
from robustssm.typing import FloatArray

RINGS = ("lru:r_min=0.3:r_max=0.95:max_phase=1.5", "dlinoss:r_min=0.5:r_max=0.98:max_phase=2")


def make(name: str, n: int = 8, d: int = 4, seed: int = 0) -> SSMLayer:
    torch.manual_seed(seed)
    init = initialization(name, n)
    return LAYERS[init.name.family](init, d).double().eval()


def step_poles(layer: SSMLayer) -> FloatArray:
    """Return one of each pair of poles of a step, (m, 2): modulus and phase."""
    spectrum = layer.spectrum()
    rates = (spectrum.diagonal * spectrum.step)[0]
    rates = rates if isinstance(layer, LRU) else rates[: len(rates) // 2]
    return np.stack([np.exp(rates.real), rates.imag], axis=1)


def parameter(name: str) -> Callable[[SSMLayer], FloatArray]:
    return lambda layer: getattr(layer, name).detach().double().numpy().ravel()


def squares(low: float, high: float, _: float) -> Callable[[SSMLayer], FloatArray]:
    return lambda layer: (step_poles(layer)[:, 0] ** 2 - low**2) / (high**2 - low**2)


def phases(largest: float) -> Callable[[SSMLayer], FloatArray]:
    return lambda layer: step_poles(layer)[:, 1] / largest


UNIFORM = stats.uniform(0.0, 1.0)
POLES = [("lru", (0.0, 1.0, 6.28)), ("dlinoss", (0.9, 1.0, math.pi)),
         (RINGS[0], (0.3, 0.95, 1.5)), (RINGS[1], (0.5, 0.98, 2.0))]  # fmt: skip
# 4,000 states of 3 channels: B is uniform on +- 1 / sqrt 3, C on +- 1 / sqrt of the number of
# oscillators; of LRU they are normal of deviations 1 / sqrt (2 3) and 1 / sqrt n.
SIDES = stats.uniform(-1.0, 2.0)
LAWS = [
    ("linoss-im", parameter("A_diag"), UNIFORM),
    ("linoss-imex", parameter("step_logit"), UNIFORM),
    ("dlinoss", parameter("step_logit"), stats.norm(0.0, 0.5)),
    ("linoss-im", lambda layer: parameter("B")(layer) * 3**0.5, SIDES),
    ("dlinoss", lambda layer: parameter("C")(layer) * 2000**0.5, SIDES),
    ("lru", lambda layer: parameter("B")(layer) * 6**0.5, stats.norm),
    ("lru", lambda layer: parameter("C")(layer) * 4000**0.5, stats.norm),
    *((name, squares(*limits), UNIFORM) for name, limits in POLES),
    *((name, phases(limits[2]), UNIFORM) for name, limits in POLES),
]  # fmt: skip


@pytest.mark.parametrize(("name", "measured", "law"), LAWS)
def test_first_parameters_follow_their_law(
    name: str, measured: Callable[[SSMLayer], FloatArray], law: stats.rv_continuous
) -> None:
    """Kolmogorov and Smirnov: p of one draw in a thousand; a law 20 % off is seen."""
    found = measured(make(name, n=4000, d=3, seed=1))
    assert len(found) >= 2000
    assert stats.kstest(found, law.cdf).pvalue > 1e-3
    assert stats.kstest(1.2 * found, law.cdf).pvalue < 1e-3


def test_gamma_gives_a_state_of_variance_one() -> None:
    """White inputs of variance 1 give |x|^2 a mean of |b|^2, whatever lambda is."""
    layer = make(RINGS[0], n=16)
    assert isinstance(layer, LRU)
    log_Abar, Bbar = layer.discrete()
    power = Bbar.abs() ** 2 / (1.0 - torch.exp(2.0 * log_Abar.real))[:, None]
    expected = torch.view_as_complex(layer.B).abs() ** 2
    torch.testing.assert_close(power, expected, rtol=1e-6, atol=0.0)  # gamma is stored in float32


@pytest.mark.parametrize("name", [*DRAWN, *RINGS])
@torch.no_grad()
def test_convolution_is_recurrence(name: str) -> None:
    layer, u = make(name, n=12), torch.randn(2, 200, 4, dtype=torch.float64)
    stepwise = layer.recurrence(u)
    assert float((layer(u) - stepwise).abs().max()) < 1e-12 * float(stepwise.abs().max())


@pytest.mark.parametrize("name", ["lru", "linoss-im", "dlinoss", *RINGS])
@torch.no_grad()
def test_the_transfer_function_against_a_dense_solve(name: str) -> None:
    layer, theta = make(name, n=12), np.linspace(0.0, 3.1, 40)
    assert isinstance(layer, LRU | LinOSS) and layer.D is not None
    # x = M x + F B u for each mode or oscillator, of which the last component is read.
    if isinstance(layer, LRU):
        M = torch.exp(layer.eigenvalues()).numpy()[:, None, None]
        F = torch.exp(layer.log_gamma).numpy()[:, None]
    else:
        M, F = (value.numpy() for value in layer.step_matrix())
    k, m, _ = M.shape
    whole = np.zeros((k * m, k * m), complex)
    for i in range(k):
        whole[i * m : (i + 1) * m, i * m : (i + 1) * m] = M[i]
    B, C = (torch.view_as_complex(value).numpy() for value in (layer.B, layer.C))
    inputs = (F[:, :, None] * B[:, None]).reshape(k * m, -1)
    outputs = np.zeros((len(C), k * m), complex)
    outputs[:, m - 1 :: m] = C

    def half(z: complex, real: bool) -> np.ndarray:
        A, b, c = (v if real else v.conj() for v in (whole, inputs, outputs))
        found: np.ndarray = c @ np.linalg.solve(np.eye(k * m) - A / z, b)
        return found

    found = layer_system(layer, 16).response(theta)
    for i, z in enumerate(np.exp(1j * theta)):
        expected = 0.5 * (half(z, True) + half(z, False)) + np.diag(layer.D.numpy())
        assert np.abs(found[:, :, i] - expected).max() < 1e-10 * np.abs(found).max()


@pytest.mark.parametrize("name", [*DRAWN, *RINGS, "s4d:alpha=2:sobolev=0.5"])
def test_gradients_against_central_differences(name: str) -> None:
    layer, u = make(name, n=4, d=2), torch.randn(1, 9, 2, dtype=torch.float64, requires_grad=True)
    names = [key for key, value in layer.named_parameters() if value.requires_grad]
    values = [layer.get_parameter(key).detach().clone().requires_grad_(True) for key in names]

    def output(x: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        found: Tensor = torch.func.functional_call(layer, given, (x,))
        return found

    assert {"B", "C", "D"} < set(names)
    assert torch.autograd.gradcheck(output, (u, *values))


def test_alpha_multiplies_imaginary_parts_and_nothing_else() -> None:
    for base in ("s4d", "s4d-lin", "s4d-inv"):
        plain, scaled = initialization(base, 8), initialization(f"{base}:alpha=2.5", 8)
        assert np.array_equal(scaled.eigenvalues.real, plain.eigenvalues.real)
        np.testing.assert_allclose(scaled.eigenvalues.imag, 2.5 * plain.eigenvalues.imag)
        assert np.array_equal(scaled.B, plain.B)
        assert str(scaled.name) == f"{base}:alpha=2.5"
    found = transfer(8, "e0", names=("s4d:alpha=2.5", "s4d"))
    omega = np.array([0.7, 9.0])
    init = initialization("s4d:alpha=2.5", 8)
    assert init.V is not None
    r = init.V[0] * init.B
    s = 1j * omega[:, None]
    expected = (r / (s - init.eigenvalues) + r.conj() / (s - init.eigenvalues.conj())).sum(1)
    np.testing.assert_allclose(found.systems["s4d:alpha=2.5"].response.transfer(omega), expected)


@torch.no_grad()
def test_the_filter_multiplies_the_spectrum_of_the_output() -> None:
    """The same S4D convolved by numpy, its output of length 2L times (1 + k / 2L)^s, then cut."""
    layer, plain = make("s4d:sobolev=0.7"), make("s4d")
    L = 20
    u = torch.randn(2, L, 4, dtype=torch.float64)
    kernel = plain.impulse(L).numpy()
    y = np.stack([[np.convolve(x[:, h], kernel[h]) for h in range(4)] for x in u.numpy()])
    spectrum = np.fft.rfft(y, n=2 * L, axis=2) * (1.0 + np.arange(L + 1) / (2 * L)) ** 0.7
    filtered = np.fft.irfft(spectrum, n=2 * L, axis=2)[:, :, :L].transpose(0, 2, 1)
    assert layer.D is not None
    expected = filtered + layer.D.numpy() * u.numpy()
    # s is stored in float32.
    np.testing.assert_allclose(layer(u).numpy(), expected, rtol=0, atol=1e-7 * np.abs(y).max())
    with pytest.raises(UsageError, match="depends on the number of steps and looks ahead"):
        layer_system(layer, L)


@pytest.mark.parametrize("name", [*DRAWN, "s4d:alpha=0.5:sobolev=-0.5"])
def test_networks_of_them_learn_and_their_logits_do_not_depend_on_the_batch(name: str) -> None:
    network = build_network(Architecture(name, n=8, d_model=8))
    network(torch.rand(5, 30, 1)).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    x = torch.rand(70, 30, 1)
    whole = logits(network.eval(), x, batch_size=70)
    assert torch.equal(logits(network, x, batch_size=7), whole)
    assert isinstance(network.blocks[0].ssm, SSMLayer) and network.blocks[0].ssm.order == 8


def test_the_command_compares_them_with_hippo() -> None:
    result = transfer(16, "e0", names=(*DRAWN, "s4d:sobolev=1"))
    assert set(result.unavailable) == {"linoss-imex", "s4d:sobolev=1"}
    assert "undamped oscillators" in result.unavailable["linoss-imex"]
    assert "depends on the length" in result.unavailable["s4d:sobolev=1"]
    for name in ("lru", "linoss-im", "dlinoss"):
        assert 0.0 < result.systems[name].h2_error < math.inf


@pytest.mark.parametrize("name", DRAWN)
def test_the_one_draw_has_the_law_of_the_layers(name: str) -> None:
    """Poles per step of `initialization`, and of a layer of as many."""
    init, layer = initialization(name, 4000), make(name, 4000, d=1, seed=2)
    rates = layer.spectrum().diagonal[0]
    rates = rates if isinstance(layer, LRU) else rates[: len(rates) // 2]
    for part in (np.real, np.imag):
        if part(rates).any():
            assert stats.ks_2samp(part(init.eigenvalues), part(rates)).pvalue > 1e-3


@pytest.mark.parametrize("name", DRAWN)
def test_the_first_layer_gives_a_prior_over_modes(name: str) -> None:
    network = build_network(Architecture(name, n=8, d_model=8))
    prior = input_response(network, 32)
    assert prior.shape == (17,) and np.isfinite(prior).all() and (prior > 0.0).all()


@pytest.mark.parametrize("name", DRAWN)
def test_what_they_have_not_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match="discretization"):
        build_network(Architecture(name, n=8, discretization="zoh"))
    if name != "lru":
        with pytest.raises(UsageError, match=rf"{name}: state size is 7, expected an even one"):
            build_network(Architecture(name, n=7))
