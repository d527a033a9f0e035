"""One Fourier mode: a pure line of the right size, phase and channels; and the resonance."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import Budget, Fourier, Perturbation, Resonance, Site
from robustssm.errors import UsageError

SCALE = torch.tensor([0.3, 2.0], dtype=torch.float64)
SITE = Site(scale=SCALE)


def noise(
    p: Perturbation, batch: int, L: int, site: Site = SITE, channels: int = 2
) -> torch.Tensor:
    x = torch.zeros(batch, L, channels, dtype=torch.float64)
    return p.perturb(x, None, np.arange(batch), 0, budget=Budget(1.0, "std"), site=site)


@given(L=st.integers(2, 65), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_mode_is_a_pure_line_of_equal_size_in_every_channel(L: int, data: st.DataObject) -> None:
    mode = data.draw(st.integers(0, L // 2))
    delta = noise(Fourier(mode), 3, L).numpy()
    rms = np.sqrt((delta**2).mean(axis=1))
    # Scaled by the actual norm, special bins included: rounding only.
    np.testing.assert_allclose(rms, SCALE.numpy() * np.ones((3, 1)), rtol=1e-12)
    spectrum = abs(np.fft.rfft(delta, axis=1)) ** 2
    assert np.delete(spectrum, mode, axis=1).sum() <= 1e-20 * spectrum.sum() * L


def test_random_phases_are_uniform() -> None:
    site = Site(scale=torch.ones(1, dtype=torch.float64))
    delta = noise(Fourier(3), 4000, 16, site, 1).numpy()
    angle = np.angle(np.fft.rfft(delta[:, :, 0], axis=1)[:, 3])
    # Mean of 4000 unit vectors: standard error 0.016.
    assert abs(np.exp(1j * angle).mean()) < 0.08


@pytest.mark.parametrize(
    ("phase", "radians"), [("cosine", 0.0), ("sine", -math.pi / 2), (0.7, 0.7), (-2.0, -2.0)]
)
def test_phases_by_name(phase: str | float, radians: float) -> None:
    t = np.arange(40)
    expected = np.sqrt(2.0) * np.cos(2 * np.pi * 3 * t / 40 + radians)
    delta = noise(Fourier(3, phase), 2, 40).numpy()
    # 40 terms of size 1 in the scale: a few roundings.
    np.testing.assert_allclose(delta[0, :, 0], 0.3 * expected, atol=1e-14)


def test_worst_of_p_stands_for_p_fixed_phases() -> None:
    phases = Fourier(3, "worst:4").alternatives()
    assert [p.phase for p in phases if isinstance(p, Fourier)] == [
        0.0,
        math.pi / 2,
        math.pi,
        1.5 * math.pi,
    ]
    assert Fourier(3).alternatives() == (Fourier(3),)
    with pytest.raises(UsageError, match="needs a model"):
        noise(Fourier(3, "worst:4"), 1, 16)


def test_channels() -> None:
    same = noise(Fourier(3, channels="same"), 50, 32) / SCALE
    # Scaled and divided by the scale again: two roundings.
    torch.testing.assert_close(same[..., 0], same[..., 1], rtol=1e-15, atol=0.0)
    one = noise(Fourier(3, channels="one"), 200, 32)
    carriers = (one.abs().amax(1) > 0).numpy()
    assert (carriers.sum(1) == 1).all()
    # 200 fair coins: 100 +- 7.
    assert 65 < carriers[:, 0].sum() < 135
    independent = noise(Fourier(3), 50, 32) / SCALE
    assert not torch.allclose(independent[..., 0], independent[..., 1])


def test_all_phases_of_one_channel_are_on_the_same_channel() -> None:
    x = torch.zeros(40, 16, 3, dtype=torch.float64)
    site = Site(scale=torch.ones(3, dtype=torch.float64))
    carriers = [
        p.perturb(x, None, np.arange(40), 0, budget=Budget(1.0), site=site).abs().amax(1) > 0
        for p in Fourier(3, "worst:4", channels="one").alternatives()
    ]
    assert all(torch.equal(carrier, carriers[0]) for carrier in carriers)


def test_a_frequency_between_bins_and_a_shorter_sequence() -> None:
    f = 0.1234
    x = torch.zeros(2, 64, 2, dtype=torch.float64)
    lengths = torch.tensor([64, 41])
    p = Fourier(f, "cosine", frequency_unit="cycles")
    delta = p.perturb(x, lengths, np.arange(2), 0, budget=Budget(1.0, "std"), site=SITE)
    wave = np.cos(2 * np.pi * f * np.arange(41))
    np.testing.assert_allclose(delta[1, :41, 0], 0.3 * wave / np.sqrt((wave**2).mean()), atol=1e-14)
    assert not bool(delta[1, 41:].any())


def test_resonance_is_the_released_formula() -> None:
    """0.1 r cos(omega dt_h t), r in [0, 1) per sample and channel, drawn anew at each layer."""
    dt, t = torch.tensor([0.003, 0.02], dtype=torch.float64), np.arange(50)
    x = torch.zeros(300, 50, 2, dtype=torch.float64)
    deltas = [
        Resonance(325.4)
        .perturb(x, None, np.arange(300), 0, budget=Budget(0.1, "linf"), site=Site(layer=k, dt=dt))
        .numpy()
        for k in (0, 1)
    ]
    r = deltas[0][:, 0] / 0.1
    assert r.min() >= 0.0 and r.max() < 1.0 and abs(r.mean() - 0.5) < 0.06
    np.testing.assert_allclose(
        deltas[0], 0.1 * r[:, None] * np.cos(325.4 * np.outer(t, dt)), atol=1e-15
    )
    assert not np.allclose(deltas[0], deltas[1])


def test_the_last_digits_of_a_frequency_change_no_draw() -> None:
    omega = 325.42631553940873
    assert Resonance(omega) == Resonance(np.nextafter(omega, 400.0)) == Resonance(325.426315539)
    assert Resonance(omega) != Resonance(325.426315)
    assert repr(Fourier(3.0)) == repr(Fourier(3)) == "Fourier(mode=3)"


def test_what_does_not_exist() -> None:
    with pytest.raises(UsageError, match=r"Nyquist bin 32.*use --modes 1-32"):
        noise(Fourier(33), 1, 64)
    for mode in (0, 32):
        for phase in ("sine", math.pi / 2, -1.5 * math.pi):
            with pytest.raises(UsageError, match="zero at every sample"):
                noise(Fourier(mode, phase), 1, 64)
        with pytest.raises(UsageError, match="one of the phases of worst:8"):
            Fourier(mode, "worst:8").check_length(64, SITE)
        Fourier(mode, "worst:2").check_length(64, SITE)
    with pytest.raises(UsageError, match="phase 'tangent' is unknown"):
        Fourier(3, "tangent")
    with pytest.raises(UsageError, match="channels 'two' is unknown"):
        Fourier(3, channels="two")
    with pytest.raises(UsageError, match="finite frequency"):
        Resonance(float("inf"))
    with pytest.raises(UsageError, match="acts at layers, not at 'input'"):
        noise(Resonance(1.0), 1, 64)
