"""Reviews: bytes exactly, lengths, and damaged files refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import Split, load_task
from robustssm.tasks.lra_text import lra_text

TRAIN = [f"review {k} " + "é" * (k % 7) for k in range(20)]
TEST = ["good", "bad film, \x00 odd byte", "x" * 40, "so-so"]


def folders(place: Path) -> None:
    """Write aclImdb: the first half of the texts is negative, the rest positive."""
    for split, texts in (("train", TRAIN), ("test", TEST)):
        half = len(texts) // 2
        for name, own in (("neg", texts[:half]), ("pos", texts[half:])):
            folder = place / "aclImdb" / split / name
            folder.mkdir(parents=True)
            for number, text in enumerate(own):
                (folder / f"{number}_{1 + number % 3}.txt").write_bytes(text.encode())
    (place / "aclImdb" / "train" / "unsup").mkdir()


def tables(place: Path, header: str = "Source\tTarget") -> None:
    for split, texts in (("train", TRAIN), ("test", TEST)):
        half = len(texts) // 2
        lines = [f'"{text}"\t{int(k >= half)}' for k, text in enumerate(texts)]
        (place / f"new_{split}.tsv").write_text("\n".join([header, *lines, ""]))


def decoded(split: Split) -> list[bytes]:
    """Return the bytes that tokens stand for, by a loop over them."""
    assert split.lengths is not None
    found = []
    for row, length in zip(split.inputs, split.lengths, strict=True):
        assert (row[length:] == 0).all()
        found.append(bytes(int(token) - 1 for token in row[:length]))
    return found


@pytest.mark.parametrize("write", [folders, tables])
def test_tokens_are_bytes_plus_one(tmp_path: Path, write: object) -> None:
    assert callable(write)
    write(tmp_path)
    task = load_task(f"lra-text:folder={tmp_path}:max_length=32")
    assert (task.tokens, task.length, task.channels, task.classes) == (257, 32, 1, 2)
    test = task.splits["test"]
    assert decoded(test) == [text.encode()[:32] for text in TEST]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert test.sample_id.tolist() == [20, 21, 22, 23]
    ids = np.concatenate([task.splits[name].sample_id for name in ("train", "validation")])
    assert sorted(ids) == list(range(20)) and len(task.splits["validation"]) == 2
    for name in ("train", "validation"):
        split = task.splits[name]
        assert decoded(split) == [TRAIN[i].encode()[:32] for i in split.sample_id]
        np.testing.assert_array_equal(split.labels, split.sample_id >= 10)
    assert load_task(task.spec).content_hash == task.content_hash


def test_both_layouts_are_the_same_task(tmp_path: Path) -> None:
    for name, write in (("a", folders), ("b", tables)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    hashes = {lra_text(tmp_path / name).content_hash for name in "ab"}
    assert len(hashes) == 1


def test_the_length_does_not_depend_on_the_texts(tmp_path: Path) -> None:
    folders(tmp_path)
    task = lra_text(tmp_path, limit=1)
    assert task.length == 4096 and [len(part) for part in task.splits.values()] == [1, 1, 1]


def test_refusals(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(RejectedInputError, match=message) as caught:
            lra_text(tmp_path)
        assert "\n" not in str(caught.value)

    refused("lacks new_train.tsv")
    tables(tmp_path, "a\tb")
    refused("names no columns Source and Target")
    tables(tmp_path)
    path = tmp_path / "new_test.tsv"
    for bad, message in (
        ("Source\tTarget\nx\t2\n", "sample 1: expected 2 columns"),
        ("Source\tTarget\nx\n", "sample 1: expected 2 columns"),
        ("Source\tTarget\n", "has no samples"),
        ("Source\tTarget\nx\t1", "has no end"),
        ("", "names no columns"),
        ('Source\tTarget\n"x\t1\n', "line 2"),
    ):
        path.write_text(bad)
        refused(message)
    path.write_bytes(b"Source\tTarget\n\xff\t1\n")
    refused("not UTF-8")
    folders(tmp_path)
    (tmp_path / "aclImdb" / "test" / "pos" / "notes.txt").write_text("")
    refused("a name of numbers")


def test_parameters() -> None:
    with pytest.raises(UsageError, match="max_length is 0"):
        load_task("lra-text:folder=x:max_length=0")


@settings(deadline=None)
@given(at=st.integers(0, 10_000))
def test_half_a_table_is_refused(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    folder = tmp_path_factory.mktemp("text")
    tables(folder)
    path = folder / "new_train.tsv"
    content = path.read_bytes()
    kept = content[: at % len(content)]
    path.write_bytes(kept)
    # Whole lines are a whole file of fewer reviews: the format does not count them.
    if kept.endswith(b"\n") and kept.count(b"\n") > 1:
        assert len(lra_text(folder).splits["train"]) < 18
        return
    with pytest.raises(RejectedInputError):
        lra_text(folder)
