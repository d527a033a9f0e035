"""Budgets: units, exact scaling, clipping; and what is no strength."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import Budget, Delivered, Fourier, Resonance, Site, check_eps
from robustssm.errors import UsageError

SCALE = torch.tensor([0.3, 2.0], dtype=torch.float64)


def test_sizes_by_hand() -> None:
    delta = torch.tensor([[[3.0, -4.0], [0.0, 0.0]]], dtype=torch.float64)
    expected = {"l2": 5.0, "linf": 4.0, "rms": 2.5, "snr-db": 2.5}
    expected["std"] = math.sqrt(((3 / 0.3) ** 2 + (4 / 2.0) ** 2) / 4)
    for unit, size in expected.items():
        # A handful of roundings.
        assert abs(float(Budget(1.0, unit).norm.size(delta, SCALE)) - size) <= 1e-14 * size


def test_decibels_count_the_mean_of_the_signal() -> None:
    x = torch.full((1, 50, 1), 2.0, dtype=torch.float64)
    site, delivered = Site(scale=SCALE[:1]), Delivered(1)
    p = Fourier(3)
    y = p.perturb(x, None, np.arange(1), 0, budget=Budget(20.0, "snr-db"), site=site)
    delivered.add(x, y, p, site)
    assert abs(delivered.rms[0] - 0.2) < 1e-14
    assert abs(delivered.snr_db[0] - 20.0) < 1e-12


@given(
    eps=st.floats(1e-3, 3.0),
    unit=st.sampled_from(["std", "rms", "l2", "linf"]),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_rescale_delivers_eps_inside_the_range_or_all_that_fits(
    eps: float, unit: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 31, 2, generator=generator, dtype=torch.float64)
    site = Site(scale=torch.tensor([0.3, 0.5], dtype=torch.float64))
    budget = Budget(eps, unit, "rescale", 0.0, 1.0)
    y = Fourier(3).perturb(x, None, np.arange(4), seed, budget=budget, site=site)
    assert bool((y >= 0.0).all()) and bool((y <= 1.0).all())
    size = budget.norm.size(y - x, site.scale)
    ends = torch.where(y - x > 0, y == 1.0, y == 0.0)
    # Where eps cannot be had, every value that moves by more than 1e-5 stands at an end.
    full = (ends | ((y - x).abs() < 1e-5)).all(2).all(1)
    # Bisection ends at the last bits of the factor.
    assert bool(((size - eps).abs() <= 1e-9 * eps)[~full].all())
    assert bool((size <= eps * (1.0 + 1e-9)).all())


def test_hard_clipping_weakens_and_leaves_the_band_and_says_so() -> None:
    x = torch.full((1, 64, 1), 0.9, dtype=torch.float64)
    site, delivered, p = Site(scale=SCALE[:1]), Delivered(1), Fourier(5)
    budget = Budget(0.3, "rms", "hard", 0.0, 1.0)
    delivered.add(x, p.perturb(x, None, np.arange(1), 0, budget=budget, site=site), p, site)
    assert delivered.rms[0] < 0.29 and delivered.share[0] < 0.95


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((-1.0, "std"), "expected a finite number >= 0"),
        ((math.nan, "std"), "expected a finite number"),
        ((math.inf, "l2"), "expected a finite number"),
        ((math.nan, "snr-db"), "expected a ratio"),
        ((-math.inf, "snr-db"), "expected a ratio"),
        ((-7000.0, "snr-db"), "from -1000 to 1000"),
        ((1.5, "mix"), "0 to 1"),
        ((1.0, "phon"), "expected one of std"),
        ((1.0, "std", "soft"), "expected one of none"),
        ((1.0, "std", "none", 0.0, 1.0), "clip is none"),
        ((1.0, "std", "hard", 1.0, 0.0), "expected low < high"),
        ((1.0, "std", "hard"), "needs a range"),
    ],
)
def test_no_budgets(settings: tuple[object, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Budget(*settings)  # type: ignore[arg-type]


def test_a_perturbation_that_stays_below_eps_is_not_rescaled_beyond_itself() -> None:
    x = torch.zeros(6, 40, 2, dtype=torch.float64)
    site, ids = Site(layer=0, dt=torch.tensor([0.01, 0.03], dtype=torch.float64)), np.arange(6)
    plain = Resonance(30.0).perturb(x, None, ids, 0, budget=Budget(0.1, "linf"), site=site)
    wide = Budget(0.1, "linf", "rescale", -5.0, 5.0)
    # The factor found is one, to the last bits of a bisection that has nothing to find.
    torch.testing.assert_close(
        Resonance(30.0).perturb(x, None, ids, 0, budget=wide, site=site), plain
    )


def test_float32_data_reach_their_own_limits_and_no_float32_holds_everything() -> None:
    x = torch.full((1, 16, 1), 0.1, dtype=torch.float32)
    site = Site(scale=SCALE[:1])
    budget = Budget(0.01, "rms", "hard", 0.0, 0.1)
    y = Fourier(3).perturb(x, None, np.arange(1), 0, budget=budget, site=site)
    assert Fourier(3).perturb(y, None, np.arange(1), 0, budget=budget, site=site).shape == y.shape
    with pytest.raises(UsageError, match="float32 cannot hold"):
        Fourier(3).perturb(x, None, np.arange(1), 0, budget=Budget(1e39, "rms"), site=site)


def test_silence_and_values_beyond_the_range() -> None:
    silent = torch.zeros(2, 16, 1, dtype=torch.float64)
    silent[0] = 1.0
    site = Site(scale=SCALE[:1])
    with pytest.raises(UsageError, match="sample 12 is silent"):
        Fourier(3).perturb(
            silent, None, np.array([7, 12]), 0, budget=Budget(10.0, "snr-db"), site=site
        )
    with pytest.raises(UsageError, match=r"outside 0 to 0\.5"):
        Fourier(3).perturb(
            silent, None, np.arange(2), 0, budget=Budget(1.0, "rms", "hard", 0.0, 0.5), site=site
        )
    with pytest.raises(UsageError, match="exists at the input only"):
        layer = Site(layer=0, dt=SCALE[:1])
        Fourier(3).perturb(silent, None, np.arange(2), 0, budget=Budget(1.0, "std"), site=layer)
    assert check_eps(0.0) == 0.0
