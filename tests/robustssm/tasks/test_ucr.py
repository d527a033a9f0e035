"""Archives of time series: values exactly, headers honoured, damaged files refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import load_task
from robustssm.tasks.ucr import ucr

HEADER = """# a comment
@problemName Small
@timeStamps false
@univariate {univariate}
@dimensions {channels}
@equalLength {equal}
{length}@classLabel true 10 9 b
@data
"""


def series(count: int, channels: int, seed: int, equal: bool) -> list[Any]:
    rng = np.random.default_rng(seed)
    lengths = [5] * count if equal else rng.integers(2, 8, count).tolist()
    return [rng.normal(size=(length, channels)) for length in lengths]


def ts(path: Path, values: list[Any], labels: list[str], equal: bool) -> None:
    channels = values[0].shape[1]
    text = HEADER.format(
        univariate=str(channels == 1).lower(),
        channels=channels,
        equal=str(equal).lower(),
        length="@seriesLength 5\n" if equal else "",
    )
    for one, label in zip(values, labels, strict=True):
        dimensions = [",".join(map(repr, column.tolist())) for column in one.T]
        text += ":".join([*dimensions, label]) + "\n"
    path.write_text(text)


def tsv(path: Path, values: list[Any], labels: list[str]) -> None:
    longest = 9
    lines = []
    for one, label in zip(values, labels, strict=True):
        words = [*map(repr, one[:, 0].tolist()), *["NaN"] * (longest - len(one))]
        lines.append("\t".join([label, *words]) + "\n")
    path.write_text("".join(lines))


TRAIN_LABELS = ["9", "10", "b", "9", "10"] * 2
TEST_LABELS = ["10", "b", "9"]


@pytest.mark.parametrize(("channels", "equal"), [(1, True), (1, False), (3, True), (3, False)])
def test_ts(tmp_path: Path, channels: int, equal: bool) -> None:
    train, test = series(10, channels, 1, equal), series(3, channels, 2, equal)
    ts(tmp_path / "S_TRAIN.ts", train, TRAIN_LABELS, equal)
    ts(tmp_path / "S_TEST.ts", test, TEST_LABELS, equal)
    task = load_task(f"ucr:path={tmp_path / 'S_TRAIN.ts'}")
    # Not all labels are numbers: they are in the order of their characters.
    check(task, train, test, ["10", "9", "b"])
    assert load_task(task.spec).content_hash == task.content_hash
    assert ucr(tmp_path / "S_TEST.ts").content_hash == task.content_hash


def test_tsv(tmp_path: Path) -> None:
    train, test = series(10, 1, 1, False), series(3, 1, 2, False)
    numbers = {"9": "9", "10": "10", "b": "-1"}
    for split, values, labels in (("TRAIN", train, TRAIN_LABELS), ("TEST", test, TEST_LABELS)):
        tsv(tmp_path / f"S_{split}.tsv", values, [numbers[label] for label in labels])
    # Numbers are in the order of their values: -1 is b.
    check(load_task(f"ucr:path={tmp_path / 'S_TRAIN.tsv'}"), train, test, ["b", "9", "10"])


def check(task: Any, train: list[Any], test: list[Any], order: list[str]) -> None:
    longest = max(map(len, [*train, *test]))
    assert (task.length, task.channels, task.classes) == (longest, train[0].shape[1], 3)
    whole, labels = [*train, *test], [*TRAIN_LABELS, *TEST_LABELS]
    ids = np.concatenate([part.sample_id for part in task.splits.values()])
    assert sorted(ids) == list(range(13))
    assert task.splits["test"].sample_id.tolist() == [10, 11, 12]
    unequal = len({len(one) for one in whole}) > 1
    for part in task.splits.values():
        assert (part.lengths is not None) == unequal
        for row, number in enumerate(part.sample_id):
            values = whole[number].astype(np.float32)
            np.testing.assert_array_equal(part.inputs[row, : len(values)], values)
            assert not part.inputs[row, len(values) :].any()
            assert order[part.labels[row]] == labels[number]
            assert part.lengths is None or part.lengths[row] == len(values)


def test_no_validation_leaves_the_published_split(tmp_path: Path) -> None:
    ts(tmp_path / "S_TRAIN.ts", series(10, 1, 1, True), TRAIN_LABELS, True)
    ts(tmp_path / "S_TEST.ts", series(3, 1, 2, True), TEST_LABELS, True)
    task = load_task(f"ucr:path={tmp_path / 'S_TRAIN.ts'}:validation=0")
    assert [len(part) for part in task.splits.values()] == [10, 0, 3]
    with pytest.raises(UsageError, match=r"validation is 0\.9"):
        load_task(f"ucr:path={tmp_path / 'S_TRAIN.ts'}:validation=0.9")


@pytest.mark.parametrize("mark", ["\ufeff", "% of .arff\n%\n", "# comment\n", "\n\n"])
def test_what_stands_before_a_ts_file(tmp_path: Path, mark: str) -> None:
    values = [np.arange(1.5, 6.0)[:, None]] * 10
    for split in ("TRAIN", "TEST"):
        ts(tmp_path / f"S_{split}.ts", values, TRAIN_LABELS, True)
    path = tmp_path / "S_TRAIN.ts"
    before = ucr(path)
    path.write_text(mark + path.read_text().replace("@classLabel ", "@classLabel\t"))
    assert ucr(path).content_hash == before.content_hash


def test_a_byte_order_mark_is_no_label(tmp_path: Path) -> None:
    for split in ("TRAIN", "TEST"):
        rows = [f"{label}\t0.5\t{label}.25\n" for label in (2, 10, 1, 2)]
        (tmp_path / f"S_{split}.tsv").write_text("".join(rows))
    path = tmp_path / "S_TRAIN.tsv"
    before = ucr(path, validation=0)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert ucr(path, validation=0).content_hash == before.content_hash and before.classes == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@timeStamps false", "@timeStamps true", "time stamps"),
        ("@classLabel true 10 9 b", "@classLabel false", "no class labels"),
        ("@classLabel true 10 9 b", "@classLabel true 10 9", "does not name"),
        ("@dimensions 1", "@dimensions 2", "1 dimensions, expected 2"),
        ("@dimensions 1", "@dimensions x", "@dimensions is 'x'"),
        ("@seriesLength 5", "@seriesLength 6", "its header says 6"),
        ("1.5,", "1.5,2.5,", "its header says equal"),
        ("1.5,", "?,", "series 1 lacks values"),
        ("1.5,", "NaN,", "series 1 lacks values"),
        ("1.5,", ",", "series 1 lacks values"),
        ("1.5,", "x,", "no number"),
        ("1.5,", "1e300,", "beyond single precision"),
        ("@data\n", "", "line 9 is '1.5,2.5,3.5.*expected @name, @data, or a comment"),
        ("@data\n", "data\n", "line 9 is 'data', expected @name"),
        ("3.5,4.5,5.5:9\n", "", "1 dimensions|its header says|no series|does not name"),
    ],
)
def test_malformed_ts(tmp_path: Path, old: str, new: str, message: str) -> None:
    values = [np.arange(1.5, 6.0)[:, None]] * 10
    for split in ("TRAIN", "TEST"):
        ts(tmp_path / f"S_{split}.ts", values, TRAIN_LABELS, True)
    path = tmp_path / "S_TRAIN.ts"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RejectedInputError, match=message) as caught:
        ucr(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t2\t3\n1\t2\n", "line 2 has 1 values, expected 2"),
        ("1\t2\tx\n", "no number"),
        ("1\tNaN\t3\n", "lacks values"),
        ("1\tNaN\tNaN\n", "a label and values"),
        ("1\n", "a label and values"),
        ("1\t2\tinf\n", "beyond single precision"),
        ("1\t2\t3", "has no end"),
        ("", "has no series"),
    ],
)
def test_malformed_tsv(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "S_TRAIN.tsv").write_text(text)
    (tmp_path / "S_TEST.tsv").write_text("1\t2\t3\n")
    with pytest.raises(RejectedInputError, match=message):
        ucr(tmp_path / "S_TRAIN.tsv")


def test_the_two_files_fit(tmp_path: Path) -> None:
    with pytest.raises(RejectedInputError, match="NAME_TRAIN"):
        ucr(tmp_path / "S.ts")
    train, test = tmp_path / "S_TRAIN.tsv", tmp_path / "S_TEST.tsv"
    train.write_text("1\t2\t3\n2\t3\t4\n")
    with pytest.raises(RejectedInputError, match=r"S_TEST\.tsv: no such file"):
        ucr(train)
    test.write_text("3\t2\t3\n")
    with pytest.raises(RejectedInputError, match="label '3', which the training file lacks"):
        ucr(train)
    ts(tmp_path / "S_TRAIN.ts", series(10, 2, 1, True), TRAIN_LABELS, True)
    ts(tmp_path / "S_TEST.ts", series(10, 3, 1, True), TRAIN_LABELS, True)
    with pytest.raises(RejectedInputError, match="has 3 channels, the training file 2"):
        ucr(tmp_path / "S_TRAIN.ts")


@settings(deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["ts", "tsv"]))
def test_half_a_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: float, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("ucr")
    for split in ("TRAIN", "TEST"):
        ts(folder / f"S_{split}.ts", series(10, 2, 1, True), TRAIN_LABELS, True)
        tsv(folder / f"S_{split}.tsv", series(10, 1, 1, False), TRAIN_LABELS)
    path = folder / f"S_TEST.{kind}"
    content = path.read_bytes()
    kept = content[: int(at * len(content))]
    path.write_bytes(kept)
    try:
        task = ucr(path)
    except RejectedInputError:
        return
    # Whole lines are a whole file of fewer series: the format does not count them.
    assert kept.endswith(b"\n") and len(task.splits["test"]) < 10
