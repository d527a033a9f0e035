"""Every perturbation keeps the contract: budget, purity, band, padding, its own randomness."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import FAMILIES, Delivered, Fourier, Perturbation, Resonance, Site
from robustssm.errors import UsageError

SCALE = np.array([0.3, 2.0])
SITES = {
    "input": Site(scale=SCALE),
    "layers": Site(layer=1, dt=np.array([0.01, 0.05])),
}
CASES: list[Perturbation] = [Fourier(0), Fourier(5), Fourier(32), Resonance(325.4), Resonance(0.0)]


def perturbed(
    p: Perturbation, x: torch.Tensor, ids: np.ndarray, eps: float = 0.5, seed: int = 0
) -> torch.Tensor:
    return p.perturb(x, None, ids, seed, eps=eps, site=SITES[p.injection])


@pytest.mark.parametrize("p", CASES, ids=repr)
def test_contract(p: Perturbation) -> None:
    x, ids = torch.rand(6, 64, 2), np.array([9, 3, 5, 0, 1, 77])
    assert perturbed(p, x, ids, eps=0.0) is x
    before = x.clone()
    result = perturbed(p, x, ids)
    assert torch.equal(x, before) and not torch.equal(result, x)
    assert torch.equal(perturbed(p, x, ids), result)
    for row in range(6):  # whatever the order and the batch
        assert torch.equal(perturbed(p, x[row : row + 1], ids[row : row + 1])[0], result[row])
    assert not torch.equal(perturbed(p, x, ids, seed=1), result)
    assert eval(repr(p), {"Fourier": Fourier, "Resonance": Resonance}) == p
    assert FAMILIES[type(p).__name__.lower()] is type(p)


@pytest.mark.parametrize("p", CASES, ids=repr)
def test_all_energy_is_in_the_band(p: Perturbation) -> None:
    x, site = torch.rand(4, 64, 2, dtype=torch.float64), SITES[p.injection]
    delivered = Delivered.nothing(4)
    delivered.add(x, perturbed(p, x, np.arange(4)), p, site)
    # x + delta - x loses eps |x|: 1e-16 against amplitudes of 0.1 and more.
    np.testing.assert_allclose(delivered.share, 1.0, atol=1e-12)


@given(L=st.integers(2, 65), data=st.data(), eps=st.floats(1e-3, 10))
@settings(max_examples=60, deadline=None)
def test_fourier_delivers_its_root_mean_square(L: int, data: st.DataObject, eps: float) -> None:
    mode = data.draw(st.integers(0, L // 2))
    x = torch.zeros(3, L, 2, dtype=torch.float64)
    delta = perturbed(Fourier(mode), x, np.arange(3), eps).numpy()
    rms = np.sqrt((delta**2).mean(axis=1))
    # Scaled by the actual norm, special bins included: rounding only.
    np.testing.assert_allclose(rms, eps * SCALE * np.ones((3, 1)), rtol=1e-12)
    spectrum = abs(np.fft.rfft(delta, axis=1)) ** 2
    assert np.delete(spectrum, mode, axis=1).sum() <= 1e-20 * spectrum.sum() * L


def test_fourier_phases_are_uniform() -> None:
    x = torch.zeros(4000, 16, 1, dtype=torch.float64)
    site = Site(scale=np.ones(1))
    delta = Fourier(3).perturb(x, None, np.arange(4000), 0, eps=1.0, site=site).numpy()
    angle = np.angle(np.fft.rfft(delta[:, :, 0], axis=1)[:, 3])
    # Mean of 4000 unit vectors: standard error 0.016.
    assert abs(np.exp(1j * angle).mean()) < 0.08


def test_padding_stays_untouched_and_the_budget_is_that_of_the_valid_part() -> None:
    x, lengths = torch.zeros(2, 64, 2, dtype=torch.float64), torch.tensor([64, 40])
    result = Fourier(5).perturb(x, lengths, np.arange(2), 0, eps=0.5, site=SITES["input"])
    assert torch.equal(result[1, 40:], x[1, 40:])
    rms = result[1, :40].square().mean(0).sqrt().numpy()
    np.testing.assert_allclose(rms, 0.5 * SCALE, rtol=1e-12)


def test_resonance_is_the_released_formula() -> None:
    """0.1 r cos(omega dt_h t), r in [0, 1) per sample and channel, drawn anew at each layer."""
    dt, t = np.array([0.003, 0.02]), np.arange(50)
    x = torch.zeros(300, 50, 2, dtype=torch.float64)
    deltas = [
        Resonance(325.4)
        .perturb(x, None, np.arange(300), 0, eps=0.1, site=Site(layer=k, dt=dt))
        .numpy()
        for k in (0, 1)
    ]
    r = deltas[0][:, 0] / 0.1
    assert r.min() >= 0.0 and r.max() < 1.0 and abs(r.mean() - 0.5) < 0.06
    np.testing.assert_allclose(
        deltas[0], 0.1 * r[:, None] * np.cos(325.4 * np.outer(t, dt)), atol=1e-15
    )
    assert not np.allclose(deltas[0], deltas[1])


@pytest.mark.parametrize("eps", [-1.0, float("nan"), float("inf")])
def test_impossible_strengths(eps: float) -> None:
    with pytest.raises(UsageError, match="not a strength"):
        perturbed(Fourier(1), torch.zeros(1, 8, 2), np.arange(1), eps)


def test_the_last_digits_of_a_frequency_change_no_draw() -> None:
    omega = 325.42631553940873
    assert Resonance(omega) == Resonance(np.nextafter(omega, 400.0)) == Resonance(325.426315539)
    assert Resonance(omega) != Resonance(325.426315)


def test_impossible_modes() -> None:
    with pytest.raises(UsageError, match=r"Nyquist bin 32.*use --modes 1-32"):
        perturbed(Fourier(33), torch.zeros(1, 64, 2), np.arange(1))
    with pytest.raises(UsageError, match="finite frequency"):
        Resonance(float("inf"))
