"""What tasks from files share: padding against a loop, splits, and sizes checked beforehand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import reading
from robustssm.tasks.lra_text import lra_text


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=40),
    channels=st.sampled_from([None, 1, 3]),
)
def test_padding_is_that_of_a_loop(lengths: list[int], channels: int | None) -> None:
    shape = (sum(lengths), *([channels] if channels else []))
    values = 1.0 + np.arange(float(np.prod(shape))).reshape(shape)
    found = reading.ragged(values, np.array(lengths), 6, np.float32)
    start = 0
    for row, length in zip(found, lengths, strict=True):
        np.testing.assert_array_equal(row[:length], values[start : start + length])
        assert not row[length:].any()
        start += length


def test_padding_of_more_samples_than_a_chunk() -> None:
    lengths = np.arange(2500) % 4
    values = np.arange(1, lengths.sum() + 1)
    found = reading.ragged(values, lengths, 3, np.int64)
    np.testing.assert_array_equal(found[found > 0], values)
    np.testing.assert_array_equal((found > 0).sum(1), lengths)


@given(texts=st.lists(st.binary(max_size=9), min_size=1, max_size=20), length=st.integers(1, 8))
def test_bytes_come_back(texts: list[bytes], length: int) -> None:
    tokens, lengths = reading.byte_tokens(texts, length)
    for row, size, text in zip(tokens, lengths, texts, strict=True):
        assert size == max(1, min(len(text), length))
        assert bytes((row[row > 0] - 1).tolist()) == text[:length]
        assert not row[len(text[:length]) :].any()


@given(count=st.integers(1, 500), share=st.sampled_from([0.0, 0.1, 0.5]))
def test_held_out_samples_are_a_partition(count: int, share: float) -> None:
    train, validation = reading.held_out(count, share)
    assert sorted([*train, *validation]) == list(range(count))
    assert len(train) == int(count * (1 - share))
    assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()


def test_published_sizes() -> None:
    # 45,000 and 5,000 of CIFAR-10, as the reference splits it.
    assert [len(part) for part in reading.held_out(50_000)] == [45_000, 5_000]


def test_what_does_not_fit_into_memory_is_refused_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.tsv").write_text("text\tlabel\n" + "a\t0\nb\t1\n" * 5)
    monkeypatch.setattr(reading, "memory", lambda: 20 * 4096 * 8 * 2 - 1)
    with pytest.raises(UsageError, match=r"at most half of this machine's.*give limit=1000"):
        lra_text(tmp_path)
    assert len(lra_text(tmp_path, limit=2).splits["train"]) == 2


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for problem in ("no such file", "Is a directory", "has 3 bytes, expected at most 2"):
        if problem.startswith("Is"):
            path.mkdir()
        elif problem.startswith("has"):
            path.rmdir()
            path.write_bytes(b"abc")
        with pytest.raises(RejectedInputError, match=problem):
            reading.Source("task", path).content(2)
    with pytest.raises(RejectedInputError, match="is a file, expected the folder"):
        reading.Source("task", path).folder()
