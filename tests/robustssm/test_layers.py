"""Every layer: convolution = recurrence = dense system, cached = fresh, one sample = a batch."""

import numpy as np
import pytest
import torch
from scipy.signal import cont2discrete
from torch import nn

from robustssm.errors import UsageError
from robustssm.hippo import legs
from robustssm.hippo.initializations import EVERY, initialization
from robustssm.layers import LAYERS, S4, S4D, SSMLayer, convolution
from robustssm.layers.diagonal import exponential_sums
from tests.reference import normal_part

CASES = [(name, "default") for name in (*EVERY, "dss:kernel=exp")]
CASES += [(name, "bilinear") for name in ("s4d", "s4d-real", "s4ptd", "s5")]


def make(name: str, discretization: str = "default", d: int = 4, n: int = 8) -> SSMLayer:
    torch.manual_seed(0)
    init = initialization(name, n)
    options = {} if discretization == "default" else {"discretization": discretization}
    return LAYERS[init.name.family](init, d, **options).double().eval()


@pytest.mark.parametrize(("name", "discretization"), CASES)
@torch.no_grad()
def test_convolution_is_recurrence(name: str, discretization: str) -> None:
    layer = make(name, discretization)
    u = torch.randn(2, 75, 4, dtype=torch.float64)
    stepwise = layer.recurrence(u)
    # float64 rounding, 75 steps and 8 modes; the random perturbation's kappa is 74.
    atol = 1e-11 * float(stepwise.abs().max())
    torch.testing.assert_close(layer(u), stepwise, rtol=0, atol=atol)
    layer.train()
    torch.testing.assert_close(layer(u), stepwise, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["s4", "s4d", "s4ptd-rank1"])
@torch.no_grad()
def test_fresh_layers_are_the_discretised_hippo_systems(name: str) -> None:
    """Kernel = C Abar^l Bbar of the dense real system, discretised by scipy."""
    n, L = 8, 40
    layer = make(name, n=n)
    assert isinstance(layer, S4 | S4D)
    init = initialization(name, n)
    A, B = legs.matrices(n)
    if name == "s4d":
        A, B = normal_part(n), B / 2
    elif name == "s4ptd-rank1":
        P, t = legs.low_rank(n), 0.2 / 1.1
        A, B = A + t * np.outer(P, P), (1 - t / 2) * B
    assert init.V is not None
    stored = torch.view_as_complex(layer.C).numpy() * 2 / init.weight
    # V holds one of each conjugate pair: C = Re of a solve with both.
    V = np.concatenate([init.V, init.V.conj()], axis=1)
    C = np.linalg.lstsq(V.T, np.concatenate([stored, stored.conj()], axis=1).T, rcond=None)[0].T
    np.testing.assert_allclose(C.imag, 0, atol=1e-5)  # C is stored in float32
    method = "bilinear" if name == "s4" else "zoh"
    kernel = layer.impulse(L).numpy()
    for h, dt in enumerate(layer.step_size().numpy()):
        system = (A, B[:, None], C[h].real[None], np.zeros((1, 1)))
        Abar, Bbar, Cd, _, _ = cont2discrete(system, dt, method)
        if method == "bilinear":
            # scipy's bilinear shifts the state by half a step and leaves a feedthrough; the
            # convention here is x_t = Abar x_{t-1} + Bbar u_t with Bbar = (I - dt A / 2)^-1 dt B.
            half = np.eye(n) - 0.5 * dt * A
            Bbar, Cd = np.linalg.solve(half, dt * B)[:, None], C[h].real[None]
        dense = [(Cd @ np.linalg.matrix_power(Abar, step) @ Bbar).item() for step in range(L)]
        # Parameters are float32: 1e-7 relative, times the sum of |C_k B_k| over the kernel.
        np.testing.assert_allclose(kernel[h], dense, atol=2e-6 * np.abs(stored).sum() * n)


def test_exponential_sums_are_the_plain_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 5, dtype=torch.complex128, generator=generator)
    rates = torch.randn(3, 5, dtype=torch.complex128, generator=generator)
    rates = torch.complex(-rates.real.abs() / 10, rates.imag)
    for L in (1, 2, 15, 16, 17, 100):
        plain = (weights[..., None] * torch.exp(rates[..., None] * torch.arange(L))).sum(1)
        # Two factors instead of one: a few roundings each.
        torch.testing.assert_close(exponential_sums(weights, rates, L), plain, rtol=0, atol=1e-13)


@torch.no_grad()
def test_the_operator_is_built_once_and_again_after_a_change() -> None:
    layer = make("s4d")
    calls = 0
    assert isinstance(layer, S4D)
    kernels = layer.kernels

    def counted(L: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return kernels(L)

    layer.kernels = counted  # type: ignore[method-assign]
    u = torch.randn(2, 20, 4, dtype=torch.float64)
    before = layer(u)
    layer(2 * u)
    assert calls == 1
    assert layer.D is not None
    layer.C.mul_(2)
    layer.D.mul_(2)
    torch.testing.assert_close(layer(u), 2 * before)
    assert calls == 2


@pytest.mark.parametrize("name", EVERY)
@torch.no_grad()
def test_evaluation_changes_no_parameter(name: str) -> None:
    layer = make(name)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    short = layer(torch.ones(1, 10, 4, dtype=torch.float64))
    layer(torch.ones(1, 200, 4, dtype=torch.float64))
    if name != "dss":  # its kernel is normalised over the length by definition
        torch.testing.assert_close(layer(torch.ones(1, 10, 4, dtype=torch.float64)), short)
    for key, value in layer.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", EVERY)
def test_gradients_reach_every_trained_parameter(name: str) -> None:
    layer = make(name).train()
    layer(torch.randn(2, 30, 4, dtype=torch.float64)).square().sum().backward()
    for key, parameter in layer.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", ["s4d", "s4ptd-random", "s4", "s5"])
def test_stable_by_parametrisation(name: str) -> None:
    """Whatever the parameters become, the kernel decays."""
    layer = make(name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.requires_grad:
                parameter.add_(3 * torch.randn(parameter.shape, generator=generator))
        tail = layer.impulse(4000)[:, -1].abs()
        start = layer.impulse(4000).abs().amax(1)
    assert (tail <= start).all() and start.isfinite().all()


def test_gradient_of_the_kernel_is_its_difference_quotient() -> None:
    layer = make("s4", d=2)
    assert isinstance(layer, S4)

    def kernel(imag: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(
            layer, {"imag": imag}, (torch.eye(16).double()[None, :, :2],)
        )

    assert torch.autograd.gradcheck(kernel, (layer.imag.detach().requires_grad_(),), atol=1e-5)


def test_impossible_layers() -> None:
    with pytest.raises(UsageError, match="even n"):
        make("s4", n=9)
    with pytest.raises(UsageError, match="expected bilinear"):
        make("s4", "zoh")


@pytest.mark.parametrize(("n", "L"), [(16, 8), (15, 8), (21, 5)])
def test_the_written_gradient_of_the_convolution(
    n: int, L: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By difference quotients, in parts of which the last is smaller; and the sum as it stands."""
    monkeypatch.setattr(convolution, "_VALUES", 2 * 3 * L)
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(5, L, 3, dtype=torch.float64, generator=generator)
    k = torch.randn(3, n - L, dtype=torch.float64, generator=generator)

    def result(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return convolution.convolved(u, torch.fft.rfft(k, n=n), n)

    u.requires_grad_(), k.requires_grad_()
    assert torch.autograd.gradcheck(result, (u, k))
    shifted = [nn.functional.pad(u, (0, 0, j, 0))[:, :L] * k[:, j] for j in range(n - L)]
    torch.testing.assert_close(result(u, k), torch.stack(shifted).sum(0), rtol=0, atol=1e-13)
