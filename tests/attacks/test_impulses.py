"""Impulses and lost values: how many, where, and what stands there instead."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from robustssm.attacks import Budget, Dropout, Impulses, Site
from robustssm.errors import UsageError

SITE = Site(length=64)
CHANNELS = st.sampled_from(["independent", "same", "one"])


@settings(deadline=None)
@given(st.integers(1, 64), CHANNELS)
def test_there_are_as_many_impulses_as_asked_for(count: int, channels: str) -> None:
    x = torch.zeros(7, 64, 3, dtype=torch.float64)
    delta = Impulses(count, channels).direction(x, np.arange(7), 0, SITE).expand_as(x)
    found = delta.abs().sum(1).sort(dim=1).values
    expected = [0.0, 0.0, count] if channels == "one" else [count] * 3
    assert found.tolist() == [expected] * 7
    assert set(delta.unique().tolist()) <= {-1.0, 0.0, 1.0}
    if channels == "same":
        assert torch.equal(delta[:, :, 0], delta[:, :, 2])


def test_steps_and_signs_are_uniform_and_independent() -> None:
    N = 16000
    x = torch.zeros(N, 16, 1, dtype=torch.float64)
    delta = Impulses(3).direction(x, np.arange(N), 0, Site(length=16)).numpy()[:, :, 0]
    # Each step has an impulse with probability 3/16: standard error 0.0031, of signs 0.0034.
    np.testing.assert_allclose((delta**2).mean(0), 3.0 / 16.0, atol=0.0031 * 4.5)
    np.testing.assert_allclose(delta.mean(0), 0.0, atol=0.0034 * 4.5)
    # Two given steps both have one with probability 3/16 * 2/15 = 1/40: standard error 0.0012.
    pairs = (delta**2).T @ delta**2 / N
    np.testing.assert_allclose(pairs[~np.eye(16, dtype=bool)], 0.025, atol=0.0012 * 4.5)
    signs = delta.T @ delta / N
    np.testing.assert_allclose(signs[~np.eye(16, dtype=bool)], 0.0, atol=0.00125 * 4.5)


def test_one_impulse_has_the_height_that_linf_says() -> None:
    x = torch.zeros(4, 64, 1, dtype=torch.float64)
    after = Impulses().perturb(x, None, np.arange(4), 0, budget=Budget(0.7, "linf"), site=SITE)
    assert after.abs().sum((1, 2)).tolist() == [0.7] * 4


def lost_steps(p: Dropout, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return T(x), and which values of a signal of distinct values it replaced."""
    after = p.transform(x, np.arange(len(x)), 0, Site(length=x.shape[1]))
    return after, after != x


def distinct(batch: int, valid: int, channels: int) -> torch.Tensor:
    count = batch * valid * channels
    order = torch.arange(count, dtype=torch.float64) * 7919.0 % count
    return order.reshape(batch, valid, channels) + 0.25


@settings(deadline=None)
@given(st.floats(0.001, 1.0), st.integers(1, 64), CHANNELS)
def test_the_share_of_steps_is_lost_and_no_other(share: float, valid: int, channels: str) -> None:
    x = distinct(5, valid, 3)
    after, lost = lost_steps(Dropout(share, fill=-1.0, channels=channels), x)
    assert bool((after[lost] == -1.0).all())
    m = max(1, round(share * valid))
    expected = [0, 0, m] if channels == "one" else [m] * 3
    assert lost.sum(1).sort(dim=1).values.tolist() == [expected] * 5
    if channels == "same":
        assert torch.equal(lost[:, :, 0], lost[:, :, 2])


@settings(deadline=None)
@given(st.floats(0.05, 0.9), st.integers(4, 40), CHANNELS)
def test_hold_repeats_the_last_value_that_was_kept(share: float, valid: int, channels: str) -> None:
    assume(round(share * valid) < valid)
    p = Dropout(share, "hold", channels)
    x = distinct(3, valid, 2)
    after, lost = lost_steps(p, x)
    for row in range(3):
        for c in range(2):
            kept = [t for t in range(valid) if not lost[row, t, c]]
            for t in range(valid):
                source = max((s for s in kept if s <= t), default=kept[0])
                assert after[row, t, c] == x[row, source, c]


def test_the_mean_is_that_of_the_valid_part() -> None:
    x = distinct(3, 64, 2)
    other, lengths = x.clone(), torch.tensor([40, 64, 40])
    other[0, 40:] = 1e6
    p, budget = Dropout(0.25, "mean"), Budget(1.0, "mix")
    after = p.perturb(other, lengths, np.arange(3), 0, budget=budget, site=Site())
    lost = after[0, :40] != x[0, :40]
    assert lost.sum(0).tolist() == [10, 10]
    mean = x[0, :40].mean(0).expand(40, 2)
    # x + (T(x) - x) rounds once or twice, values below 400.
    torch.testing.assert_close(after[0, :40][lost], mean[lost], rtol=1e-14, atol=1e-12)


def test_half_of_a_loss_is_half_of_the_way() -> None:
    x = distinct(2, 64, 1)
    whole, half = (
        Dropout().perturb(x, None, np.arange(2), 0, budget=Budget(eps, "mix"), site=SITE)
        for eps in (1.0, 0.5)
    )
    torch.testing.assert_close(half, 0.5 * (x + whole), rtol=1e-14, atol=1e-12)
    assert int((whole == 0.0).sum()) == 2 * round(6.4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Impulses(0), "count is 0, expected a whole number, 1 or more"),
        (lambda: Impulses(1.5), "count is 1.5"),  # type: ignore[arg-type]
        (lambda: Impulses(65).check_length(64, SITE), "count is 65, expected 1-64"),
        (
            lambda: Impulses(10).perturb(
                torch.ones(2, 64, 1),
                torch.tensor([64, 9]),
                np.arange(2),
                0,
                budget=Budget(1.0, "l2"),
                site=SITE,
            ),
            "count is 10, expected 1-9",
        ),
        (lambda: Dropout(0.0), "share is 0.0, expected above 0 and up to 1"),
        (lambda: Dropout(math.nan), "share is nan"),
        (lambda: Dropout(0.1, "zero"), "fill is 'zero', expected a finite number, mean"),
        (lambda: Dropout(0.1, math.inf), "fill is inf, expected"),
        (lambda: Dropout(0.1, channels="all"), "channels 'all' is unknown"),
        (lambda: Dropout(1.0, "hold").check_length(64, SITE), "no value is left to hold"),
        (lambda: Dropout(0.6, "hold").check_length(1, SITE), "all of 1 valid steps are lost"),
    ],
)
def test_what_does_not_exist_is_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
