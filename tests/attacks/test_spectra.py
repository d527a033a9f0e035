"""Transforms along the steps: numpy's, with the same bits whatever the batch and the threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from robustssm.attacks.bands import above_rounding, signal, spectrum
from tests.attacks import cases


@pytest.mark.parametrize("L", [1, 2, 63, 64])
def test_numpy_agrees(L: int) -> None:
    x = cases.signal(2, L)
    X = np.fft.rfft(x.numpy(), axis=1).transpose(0, 2, 1)
    # Sums of up to 64 values of order 1.
    np.testing.assert_allclose(spectrum(x).numpy(), X, atol=1e-13)
    torch.testing.assert_close(signal(spectrum(x), L), x, rtol=0.0, atol=1e-15)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("L", [3, 8, 16, 31, 64, 256])
def test_a_sample_alone_has_the_bits_that_it_has_among_others(L: int) -> None:
    """With two threads a lone transform would take another path."""
    x = torch.sin(torch.arange(9.0 * L, dtype=torch.float64) ** 1.5).view(9, L, 1)
    whole = signal(spectrum(x), L)
    for row in range(9):
        alone = x[row : row + 1]
        assert torch.equal(spectrum(alone), spectrum(x)[row : row + 1])
        assert torch.equal(signal(spectrum(alone), L), whole[row : row + 1])


def test_rounding_is_told_from_signal() -> None:
    x = torch.ones(3, 4, 1, dtype=torch.float64)
    part = torch.full((3, 4, 1), 1e-15, dtype=torch.float64)
    part[1] = 1e-9
    assert torch.equal(above_rounding(part, x).any(1)[:, 0], torch.tensor([False, True, False]))
    assert not above_rounding(part, 1e9 * x).any()
