"""Counter-based randomness: published vectors, uniformity, independence of the batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robustssm.philox import normal_tensor, random_word_tensors, random_words, uniform_tensor

# Known answers of Random123 1.09, kat_vectors, philox4x32 10 rounds.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_published_vectors(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    assert tuple(random_word_tensors(torch.tensor(counter), key).tolist()) == words
    assert tuple(random_words(np.array(counter, np.uint64), key).tolist()) == words


@given(
    counter=st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 4), min_size=1, max_size=9),
    key=st.tuples(*[st.integers(0, 2**32 - 1)] * 2),
)
@settings(max_examples=50, deadline=None)
def test_signed_and_unsigned_arithmetic_agree(
    counter: list[tuple[int, ...]], key: tuple[int, int]
) -> None:
    """What runs on a GPU and what runs here, for all words."""
    counters = torch.tensor(counter).T
    words = random_words(counters.numpy().astype(np.uint64), key)
    assert np.array_equal(random_word_tensors(counters, key).numpy(), words)


@given(ids=st.lists(st.integers(0, 2**62), min_size=1, max_size=20, unique=True))
@settings(max_examples=30, deadline=None)
def test_a_draw_depends_on_its_sample_alone(ids: list[int]) -> None:
    together = uniform_tensor("key", np.array(ids), 3)
    for row, sample in zip(together, ids, strict=True):
        assert np.array_equal(uniform_tensor("key", np.array([sample]), 3)[0], row)
    # More draws of a sample extend the earlier ones.
    assert np.array_equal(uniform_tensor("key", np.array(ids), 7)[:, :3], together)


def test_draws_are_uniform_and_uncorrelated() -> None:
    draws = uniform_tensor("key", np.arange(20_000), 4).numpy()
    assert draws.min() >= 0.0 and draws.max() < 1.0
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    correlation = np.corrcoef(np.column_stack([draws, np.roll(draws[:, 0], 1)]).T)
    # 10 coefficients of standard error 1 / sqrt(20000) = 0.007: 5 of them.
    assert abs(correlation - np.eye(5)).max() < 0.036
    assert not np.array_equal(uniform_tensor("other", np.arange(20_000), 4).numpy(), draws)


def test_normal_draws() -> None:
    draws = normal_tensor("key", np.arange(20_000), 3)
    for column in draws.T.numpy():
        assert stats.kstest(column, "norm").pvalue > 1e-4
    assert bool(torch.isfinite(draws).all())
    assert torch.equal(normal_tensor("key", np.arange(7, 20), 3), draws[7:20])


def test_long_sequences_of_draws_are_those_of_short_ones() -> None:
    """Counters are worked on in pieces: 50,000 blocks a sample cross several of them."""
    assert torch.equal(
        uniform_tensor("key", np.array([5, 6]), 100_000)[1, :9],
        uniform_tensor("key", np.array([6]), 9)[0],
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_devices_draw_the_same_bits() -> None:
    ids = np.arange(1000)
    assert torch.equal(
        uniform_tensor("key", ids, 1001, "cuda").cpu(), uniform_tensor("key", ids, 1001)
    )
