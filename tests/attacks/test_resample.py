"""Reading at another rate: exact on cosines, against the sum that defines it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct

from robustssm.attacks import Budget, Resample, Site
from robustssm.errors import UsageError
from tests.attacks.cases import signal

WHOLE = Budget(1.0, "mix")


def resampled(p: Resample, x: torch.Tensor) -> torch.Tensor:
    return p.perturb(x, None, np.arange(len(x)), 0, budget=WHOLE, site=Site())


def by_definition(x: np.ndarray, factor: float) -> np.ndarray:
    """Return the cosine interpolant of x (batch, L, channels) at factor t, without aliases."""
    L = x.shape[1]
    k, t = np.arange(L), np.arange(L)
    c = dct(x, axis=1) / L
    c[:, 0] /= 2.0
    c[:, k * factor > L * (1.0 + 1e-12)] = 0.0
    W = np.cos(np.pi * np.outer(factor * t + 0.5, k) / L)
    y = np.einsum("tk,bkc->btc", W, c)
    last = int((L - 1) / factor * (1.0 + 1e-12))
    return y[:, np.minimum(t, last)]


@given(L=st.integers(1, 80), factor=st.floats(0.05, 8.0))
@settings(max_examples=80, deadline=None)
def test_two_routes_agree(L: int, factor: float) -> None:
    x = signal(2, L)
    # Angles up to pi L^2 factor / L: rounded to 1e-13; sums of 80 values of order 1.
    np.testing.assert_allclose(
        resampled(Resample(factor), x).numpy(), by_definition(x.numpy(), factor), atol=1e-11
    )


def test_a_factor_of_one_is_the_identity() -> None:
    x = signal(3, 63)
    assert torch.equal(resampled(Resample(1), x), x)


def test_samples_are_met_again_at_half_the_rate() -> None:
    x = signal(3, 64)
    torch.testing.assert_close(resampled(Resample(0.5), x)[:, ::2], x[:, :32], rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("factor", [0.3, 0.99, 1.7, 4.0])
def test_cosines_are_read_exactly(factor: float) -> None:
    L, k = 64, 7
    t = torch.arange(L, dtype=torch.float64)
    x = torch.cos(math.pi * k * (t + 0.5) / L)[None, :, None] + 2.0
    wanted = torch.cos(math.pi * k * (factor * t + 0.5) / L)[None, :, None] + 2.0
    there = factor * t <= L - 1
    after = resampled(Resample(factor), x)
    torch.testing.assert_close(after[:, there], wanted[:, there], rtol=0.0, atol=1e-13)
    held = after[:, there][:, -1:]
    assert torch.equal(after[:, ~there], held.expand_as(after[:, ~there]))
    assert not resampled(Resample(factor, fill="zero"), x)[:, ~there].any()


def test_what_would_alias_is_removed() -> None:
    L = 64
    t = torch.arange(L, dtype=torch.float64)
    x = torch.cos(math.pi * 40 * (t + 0.5) / L)[None, :, None]
    # k = 40 would become 80 > 64 = Nyquist.
    assert resampled(Resample(2.0), x).abs().max() < 1e-14


def test_the_last_sample_is_read_where_it_is_met() -> None:
    x = torch.arange(7.0, dtype=torch.float64)[None, :, None]
    # Steps 0, 3, 6 and then nothing more to read.
    after = resampled(Resample(3.0, fill="zero"), x)[0, :, 0]
    assert after[2] != 0.0 and not after[3:].any()


def test_fields_are_checked() -> None:
    for factor in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="expected a number > 0"):
            Resample(factor)
    with pytest.raises(UsageError, match="edge, zero"):
        Resample(2.0, "wrap")
