"""Quantised values lie on the levels, within half a step, and stay there."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import Budget, Quantise, Site
from robustssm.errors import UsageError
from robustssm.tasks import load_task
from tests.attacks.cases import signal

WHOLE = Budget(1.0, "mix")


def quantised(p: Quantise, x: torch.Tensor) -> torch.Tensor:
    return p.perturb(x, None, np.arange(len(x)), 0, budget=WHOLE, site=Site())


@given(bits=st.integers(1, 16), low=st.floats(-3.0, 0.4), width=st.floats(0.01, 4.0))
@settings(max_examples=60, deadline=None)
def test_errors_levels_and_ends(bits: int, low: float, width: float) -> None:
    p = Quantise(bits, low, low + width)
    x = signal(2, 64)
    y = quantised(p, x)
    step = (p.high - p.low) / (2**bits - 1)
    clipped = x.clamp(p.low, p.high)
    # Values of order 3 are rounded a few times to 4e-16.
    assert (y - clipped).abs().max() <= 0.5 * step + 1e-14
    number = (y - p.low) / step
    # The same rounding, over the step.
    assert (number - number.round()).abs().max() <= 1e-14 / step
    torch.testing.assert_close(quantised(p, y), y, rtol=0.0, atol=1e-14)


def test_one_bit_leaves_the_two_ends() -> None:
    x = torch.tensor([[[-7.0], [-1.0], [0.4], [0.6], [2.0], [9.0]]], dtype=torch.float64)
    wanted = torch.tensor([-1.0, -1.0, -1.0, 2.0, 2.0, 2.0], dtype=torch.float64)
    # x + (T(x) - x) rounds values below 10.
    torch.testing.assert_close(
        quantised(Quantise(1, -1.0, 2.0), x)[0, :, 0], wanted, rtol=0.0, atol=4e-15
    )


def test_numpys_rounding_of_pixels_is_met() -> None:
    x = signal(2, 64).clamp(0.0, 1.0)
    wanted = np.round(x.numpy() * 255.0) / 255.0
    np.testing.assert_allclose(quantised(Quantise(8), x).numpy(), wanted, rtol=0.0, atol=1e-15)


def test_digits_have_pixels_of_few_levels() -> None:
    x = torch.from_numpy(load_task("digits").splits["test"].inputs)
    error = (quantised(Quantise(8), x) - x).abs().max()
    # The result is rounded to float32, by 6e-8 at most.
    assert 0.0 < error <= 1.0 / 510.0 + 6e-8


def test_fields_are_checked() -> None:
    for bits in (0, 33, 2.5, True):
        with pytest.raises(UsageError, match="whole number"):
            Quantise(bits)  # type: ignore[arg-type]
    for low, high in ((1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(UsageError, match="expected finite and below high"):
            Quantise(8, low, high)
