"""IDX files: pixels exactly, plain and compressed, damaged ones refused."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import RejectedInputError
from robustssm.tasks import idx, load_task


def encoded(values: Any) -> bytes:
    """Return an array of unsigned bytes as IDX."""
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()


def written(folder: Path, gz: bool = False, dot: str = "-") -> dict[str, Any]:
    rng = np.random.default_rng(1)
    made = {}
    for split, count in (("train", 20), ("t10k", 7)):
        for what, size in (("images", (28, 28)), ("labels", ())):
            top = 256 if size else 10
            values = rng.integers(0, top, (count, *size), dtype=np.uint8)
            content = encoded(values)
            name = f"{split}-{what}{dot}idx{values.ndim}-ubyte" + ".gz" * gz
            (folder / name).write_bytes(gzip.compress(content) if gz else content)
            made[f"{split}-{what}"] = values
    return made


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(("gz", "dot"), [(False, "-"), (True, "-"), (True, ".")])
def test_values(tmp_path: Path, name: str, gz: bool, dot: str) -> None:
    made = written(tmp_path, gz, dot)
    task = load_task(f"{name}:folder={tmp_path}:partial=1")
    assert (task.length, task.channels, task.classes, task.image) == (784, 1, 10, (28, 28))
    test = task.splits["test"]
    np.testing.assert_array_equal(
        test.inputs, made["t10k-images"].reshape(7, 784, 1) / np.float32(255)
    )
    np.testing.assert_array_equal(test.labels, made["t10k-labels"])
    np.testing.assert_array_equal(test.sample_id, 60_000 + np.arange(7))
    kept = [task.splits[split] for split in ("train", "validation")]
    ids = np.concatenate([part.sample_id for part in kept])
    assert sorted(ids) == list(range(20)) and len(kept[1]) == 2
    for part in kept:
        assert (np.diff(part.sample_id) > 0).all()
        np.testing.assert_array_equal(part.labels, made["train-labels"][part.sample_id])
        np.testing.assert_array_equal(
            part.inputs[..., 0],
            made["train-images"].reshape(20, -1)[part.sample_id] / np.float32(255),
        )
    assert load_task(task.spec).content_hash == task.content_hash


def test_published_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    with pytest.raises(RejectedInputError, match="20 samples, expected 60000; partial=1"):
        load_task(f"mnist:folder={tmp_path}")
    monkeypatch.setattr(idx, "_COUNTS", {"train": 20, "t10k": 7})
    assert len(idx.mnist(tmp_path).splits["train"]) == 18


def test_refusals(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(RejectedInputError, match=message) as caught:
            idx.mnist(tmp_path, partial=1)
        assert "\n" not in str(caught.value)

    refused("lacks train-images-idx3-ubyte")
    made = written(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    labels = made["train-labels"]
    for bad, message in (
        (encoded(labels + np.uint8(10)), "expected 0 to 9"),
        (encoded(labels[:-1]), "19 labels for 20 images"),
        (encoded(labels[:0]), r"has sizes \(0,\)"),
        (encoded(labels)[:-1], "19 of the 20 bytes"),
        (encoded(labels) + b"x", "more than the 20 bytes"),
        (b"\0\0\x0d" + encoded(labels)[3:], "starts with 00000d01"),
        (bytes((0, 0, 8, 1)) + struct.pack(">I", 2**32 - 1), "has sizes"),
        (b"\0\0", "cut short"),
    ):
        path.write_bytes(bad)
        refused(message)
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(b"not gzip")
    refused("cannot be read")


@settings(deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), gz=st.booleans())
def test_half_a_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: float, gz: bool
) -> None:
    folder = tmp_path_factory.mktemp("idx")
    written(folder, gz)
    path = folder / ("t10k-images-idx3-ubyte" + ".gz" * gz)
    content = path.read_bytes()
    path.write_bytes(content[: int(at * len(content))])
    with pytest.raises(RejectedInputError):
        idx.mnist(folder, partial=1)
