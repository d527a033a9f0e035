"""Parquet files by columns, and the hub through a stand-in for its package."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import RejectedInputError, UsageError
from robustssm.storage import parquet_files
from robustssm.tasks import load_task
from robustssm.tasks.hub import hub

PLACES = ["train", "test", "train", "validation", "test", "train"]
LABELS = [0, 1, 2, 0, 2, 1]


def written(folder: Path, inputs: Any, **others: Any) -> Path:
    path = folder / "samples.parquet"
    columns = {"x": inputs, "label": LABELS[: len(inputs)]} | others
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def spec(path: Path, more: str = "") -> str:
    return f"hub:path={path}:inputs=x{more}"


RNG = np.random.default_rng(4)
SERIES = [RNG.normal(size=length) for length in (3, 5, 4, 5, 2, 1)]
MANY = [RNG.normal(size=(length, 2)) for length in (3, 5, 4, 5, 2, 1)]
TOKENS = [RNG.integers(0, 9, length) for length in (3, 5, 4, 5, 2, 1)]
TEXTS = ["a b", "héllo", "", "x", "four", "five5"]


@pytest.mark.parametrize("many", [False, True])
def test_series(tmp_path: Path, many: bool) -> None:
    values = MANY if many else SERIES
    path = written(tmp_path, [v.tolist() for v in values], split=PLACES)
    task = load_task(spec(path, ":split=split"))
    assert (task.length, task.channels, task.classes) == (5, 1 + many, 3)
    for name, part in task.splits.items():
        rows = [k for k, place in enumerate(PLACES) if place == name]
        assert part.sample_id.tolist() == rows and part.lengths is not None
        assert part.labels.tolist() == [LABELS[k] for k in rows]
        for row, k in enumerate(rows):
            own = values[k].reshape(len(values[k]), -1).astype(np.float32)
            assert part.lengths[row] == len(own)
            np.testing.assert_array_equal(part.inputs[row, : len(own)], own)
            assert not part.inputs[row, len(own) :].any()
    assert load_task(task.spec).content_hash == task.content_hash


@pytest.mark.parametrize(("texts", "most"), [(False, 0), (False, 2), (True, 0), (True, 3)])
def test_tokens(tmp_path: Path, texts: bool, most: int) -> None:
    rows: list[Any] = TEXTS if texts else [v.tolist() for v in TOKENS]
    expected = [[b + 1 for b in t.encode()] for t in TEXTS] if texts else rows
    task = load_task(spec(written(tmp_path, rows), f":max_length={most}" if most else ""))
    part = task.splits["test"]
    assert task.tokens == (257 if texts else 1 + int(part.inputs.max()))
    assert (part.inputs.dtype == np.int64 and part.lengths is not None) or most
    for row, own in enumerate(expected):
        cut = own[: most or None]
        assert part.inputs[row].tolist() == [*cut, *[0] * (task.length - len(cut))]
        assert part.lengths is None or part.lengths[row] == max(len(cut), 1)
    # All samples are test samples, and stand in for training inputs.
    assert len(part) == len(task.splits["train"]) == 6 and not len(task.splits["validation"])


def test_columns_of_fixed_size_and_names_of_classes(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 4)
    path = written(tmp_path, fixed, label=["dog", "cat", "dog"])
    task = load_task(spec(path, ":limit=2"))
    np.testing.assert_array_equal(task.splits["test"].inputs[..., 0], values[:2])
    assert task.splits["test"].labels.tolist() == [1, 0] and task.splits["test"].lengths is None
    assert task.classes == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [[1.0], None]}, "lacks 1 of 2 values"),
        ({"x": [[1.0], [None]]}, "steps without a value"),
        ({"x": [[1.0], [float("nan")]]}, "NaN, infinite"),
        ({"x": [[1.0], []]}, "without steps"),
        ({"x": [[1], [-1]]}, "tokens from -1 to 1"),
        ({"x": [1.0, 2.0]}, "expected lists of numbers"),
        ({"x": [[[1.0], [2.0, 3.0]], [[1.0]]]}, "unequal numbers of channels"),
        ({"x": [["a"], ["b"]]}, "expected numbers"),
        ({"label": [0, None]}, "lacks 1 labels"),
        ({"label": [0, -1]}, "expected labels 0, 1"),
        ({"label": [0.0, 1.0]}, "expected integers or names"),
        ({"split": ["train", "else"]}, "has the split 'else'"),
        ({"split": ["train", "train"]}, "no test samples"),
        ({"split": ["test", "test"]}, "no training samples"),
    ],
)
def test_refusals(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {"x": [[1.0], [2.0]], "label": [0, 1]} | columns
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table(whole), path)
    with pytest.raises(RejectedInputError, match=message) as caught:
        hub("x", path=str(path), split="split" if "split" in columns else "")
    assert "\n" not in str(caught.value)


def test_no_rows_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(RejectedInputError, match="no such file"):
        hub("x", path=str(tmp_path / "none.parquet"))
    path = tmp_path / "samples.parquet"
    types = pa.schema([("x", pa.list_(pa.float64())), ("label", pa.int64())])
    pq.write_table(types.empty_table(), path)
    with pytest.raises(RejectedInputError, match="has no rows"):
        hub("x", path=str(path))


def test_usage(tmp_path: Path) -> None:
    path = written(tmp_path, [[1.0]] * 6)
    for keywords, message in (
        ({}, "expected path=FILE.parquet"),
        ({"path": str(path), "name": "a/b"}, "expected path=FILE.parquet"),
        ({"path": str(path), "label": "y"}, "has no column 'y', expected one of x, label"),
        ({"path": str(path), "max_length": -1}, "max_length is -1"),
    ):
        with pytest.raises(UsageError, match=message):
            hub("x", **keywords)


@settings(deadline=None)
@given(at=st.floats(0, 1, exclude_max=True))
def test_half_a_file_is_refused(tmp_path_factory: pytest.TempPathFactory, at: float) -> None:
    path = written(tmp_path_factory.mktemp("parquet"), [v.tolist() for v in SERIES])
    content = path.read_bytes()
    path.write_bytes(content[: int(at * len(content))])
    with pytest.raises(RejectedInputError):
        hub("x", path=str(path))


class Part:
    """A split of a data set, as far as the package of the hub shows it here."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.column_names = table.column_names

    def with_format(self, kind: str) -> "Part":
        assert kind == "arrow"
        return self

    def __getitem__(self, rows: slice) -> Any:
        return self._table[rows]


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        "test": pa.table({"x": [[1.0, 2.0]], "label": [1]}),
        "train": pa.table({"x": [[3.0, 4.0], [5.0, 6.0]], "label": [0, 1]}),
        "unsupervised": pa.table({"x": [[0.0, 0.0]], "label": [0]}),
    }

    def load_dataset(name: str) -> dict[str, Part]:
        if name != "org/name":
            raise FileNotFoundError(f"no {name}\nat all")
        return {split: Part(table) for split, table in tables.items()}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    task = load_task("hub:name=org/name:inputs=x")
    np.testing.assert_array_equal(task.splits["train"].inputs[..., 0], [[3, 4], [5, 6]])
    np.testing.assert_array_equal(task.splits["test"].inputs[..., 0], [[1, 2]])
    assert task.splits["test"].sample_id.tolist() == [2]
    with pytest.raises(UsageError, match="has no column 'y'"):
        hub("y", name="org/name")
    with pytest.raises(RejectedInputError, match="cannot be fetched") as caught:
        hub("x", name="org/none")
    assert "\n" not in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'robustssm\[hub\]'"):
        hub("x", name="org/name")


def test_small_files_become_no_gigabytes(tmp_path: Path) -> None:
    """A thousand images of a kilobyte each are gigabytes of pixels, and so is a long text."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (1024, 1024)).save(stream, "PNG")
    labels = [k % 2 for k in range(1200)]
    for inputs in ([stream.getvalue()] * 1200, ["x" * (1 << 19), *["y"] * 1199]):
        path = tmp_path / "samples.parquet"
        pq.write_table(pa.table({"x": inputs, "label": labels}), path)
        assert path.stat().st_size < 1 << 20
        with pytest.raises(UsageError, match=r"the samples take .* GiB, expected at most"):
            load_task(spec(path))
        assert len(load_task(spec(path, ":limit=2")).splits["test"]) == 2


def test_a_footer_that_would_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow aborts on some, instead of raising: it is tried where that costs nothing."""
    path = written(tmp_path, [v.tolist() for v in SERIES])
    monkeypatch.setattr(parquet_files, "_size", lambda metadata, columns: os.abort())
    with pytest.raises(RejectedInputError, match="its footer is damaged"):
        load_task(spec(path))
