"""Delayed copy: the label is where it is said to be, and no two splits share a sequence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import UsageError
from robustssm.tasks import load_task


@given(
    symbols=st.integers(2, 9),
    length=st.integers(24, 60),
    back=st.integers(0, 59),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_the_label_is_the_symbol_shown(symbols: int, length: int, back: int, seed: int) -> None:
    delay = back % length
    spec = f"delayed-copy:symbols={symbols}:length={length}:delay={delay}:seed={seed}"
    sizes = ":train=70:validation=20:test=40"
    tokens = load_task(f"{spec}{sizes}:form=tokens")
    values = load_task(f"{spec}{sizes}")
    assert tokens.tokens == symbols and values.channels == symbols
    seen: dict[bytes, str] = {}
    for name, split in tokens.splits.items():
        assert np.array_equal(split.inputs[:, -1 - delay], split.labels)
        assert split.inputs.min() >= 0 and split.inputs.max() < symbols
        one_hot = values.splits[name]
        assert np.array_equal(one_hot.inputs.argmax(2), split.inputs)
        assert np.array_equal(one_hot.inputs.sum(2), np.ones((len(split), length)))
        for row in split.inputs:
            assert seen.setdefault(row.tobytes(), name) == name


def test_other_symbols_say_nothing_of_the_label() -> None:
    task = load_task("delayed-copy:symbols=4:length=16:delay=15:form=tokens:train=8000")
    split = task.splits["train"]
    assert task.chance == 0.25
    for step in range(1, 16):
        counts = np.zeros((4, 4))
        np.add.at(counts, (split.labels, split.inputs[:, step]), 1.0)
        # Cells of 500 on average; five standard deviations of a binomial count.
        assert abs(counts - 500).max() < 5 * np.sqrt(500 * 15 / 16)


def test_samples_are_theirs_whatever_the_sizes() -> None:
    more = load_task("delayed-copy:train=300:validation=30:test=80")
    fewer = load_task("delayed-copy:train=100:validation=10:test=20")
    for name, split in fewer.splits.items():
        part = more.splits[name].first(len(split))
        assert np.array_equal(part.inputs, split.inputs)
        assert np.array_equal(part.sample_id, split.sample_id)


def test_content_is_fixed() -> None:
    """The same bytes on every machine and for ever."""
    assert load_task("delayed-copy").content_hash[:16] == "325d5c2477d0d3b8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbols=1", "symbols is 1"),
        ("delay=64", "delay is 64, expected 0 to 63"),
        ("form=audio", "expected one of one-hot, tokens"),
        ("symbols=2:length=23:delay=3", "too few sequences"),
        ("test=0", "test is 0"),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_task(f"delayed-copy:{text}")
