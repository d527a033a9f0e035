"""CIFAR-10: pickles of Python 2 and 3 as data, pixels exactly, damaged files refused."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import Task, cifar, load_task

SIZES = dict.fromkeys(cifar.MD5, 4)


def text(value: bytes) -> bytes:
    """Return the opcode of a Python 2 string."""
    return b"T" + struct.pack("<I", len(value)) + value


def python2(pixels: Any, labels: list[int]) -> bytes:
    """Return the pickle that Python 2 wrote of a batch, opcode by opcode (protocol 2)."""
    rows, columns = pixels.shape
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", columns) + b"\x86"
    data = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    data += b"(K\x01" + shape + dtype + b"\x89" + text(pixels.tobytes()) + b"tb"
    listed = b"](" + b"".join(b"K" + bytes((label,)) for label in labels) + b"e"
    names = [text(name) for name in (b"batch_label", b"labels", b"data", b"filenames")]
    values = [text(b"batch 1"), listed, data, b"](" + text(b"a.png") + b"e"]
    items = b"".join(a + b for a, b in zip(names, values, strict=True))
    return b"\x80\x02}(" + items + b"u."


def contents(protocol: int) -> dict[str, tuple[Any, list[int], bytes]]:
    rng = np.random.default_rng(5)
    found = {}
    for name, count in SIZES.items():
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = rng.integers(0, 10, count).tolist()
        if protocol == 0:
            content = python2(pixels, labels)
        else:
            content = pickle.dumps({b"data": pixels, b"labels": labels}, protocol)
        found[name] = (pixels, labels, content)
    return found


def written(folder: Path, protocol: int = 0) -> dict[str, tuple[Any, list[int], bytes]]:
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True, exist_ok=True)
    made = contents(protocol)
    for name, (_, _, content) in made.items():
        (place / name).write_bytes(content)
    return made


def by_id(task: Task) -> tuple[Any, Any, Any]:
    """Return ids, inputs and labels of all splits, by ascending id."""
    parts = list(task.splits.values())
    ids = np.concatenate([part.sample_id for part in parts])
    order = np.argsort(ids)
    inputs = np.concatenate([part.inputs for part in parts])[order]
    return ids[order], inputs, np.concatenate([part.labels for part in parts])[order]


def test_the_pickle_written_here_is_what_python_reads() -> None:
    pixels, labels, content = contents(0)["data_batch_1"]
    table = pickle.loads(content, encoding="latin1")
    np.testing.assert_array_equal(table["data"], pixels)
    assert table["labels"] == labels


# 0: as Python 2 wrote it; the others as Python 3 does.
@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_values(tmp_path: Path, protocol: int) -> None:
    made = written(tmp_path, protocol)
    task = load_task(f"cifar10:folder={tmp_path}:partial=1")
    assert (task.length, task.channels, task.classes, task.image) == (1024, 3, 10, (32, 32))
    assert [len(task.splits[name]) for name in ("train", "validation", "test")] == [18, 2, 4]
    ids, inputs, labels = by_id(task)
    assert ids.tolist() == [*range(20), *range(50_000, 50_004)]
    pixels = np.concatenate([found for found, _, _ in made.values()])
    expected = pixels.reshape(-1, 3, 1024).transpose(0, 2, 1).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(inputs, expected)
    assert labels.tolist() == [label for _, listed, _ in made.values() for label in listed]
    assert load_task(task.spec).content_hash == task.content_hash


def test_grey_is_that_of_pillow(tmp_path: Path) -> None:
    made = written(tmp_path)
    place = tmp_path / "cifar-10-batches-py"
    task = load_task(f"cifar10:folder={place}:gray=1:partial=1")
    assert task.channels == 1
    pixels = made["test_batch"][0].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for image, sequence in zip(pixels, task.splits["test"].inputs, strict=True):
        grey = np.asarray(Image.fromarray(image).convert("L"))
        np.testing.assert_array_equal(sequence[:, 0], grey.ravel() / np.float32(255))


def test_a_limit_takes_the_first_of_each_split(tmp_path: Path) -> None:
    written(tmp_path)
    whole = load_task(f"cifar10:folder={tmp_path}:partial=1")
    some = load_task(f"cifar10:folder={tmp_path}:partial=1:limit=3")
    for name, split in some.splits.items():
        np.testing.assert_array_equal(split.inputs, whole.splits[name].first(3).inputs)
        np.testing.assert_array_equal(split.sample_id, whole.splits[name].first(3).sample_id)


def test_full_batches_with_other_sums_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    monkeypatch.setattr(cifar, "_ROWS", 4)
    with pytest.warns(UserWarning, match="MD5 sum is not that"):
        load_task(f"cifar10:folder={tmp_path}")


def test_refusals(tmp_path: Path) -> None:
    def refused(message: str, spec: str = f"cifar10:folder={tmp_path}:partial=1") -> None:
        with pytest.raises(RejectedInputError, match=message) as caught:
            load_task(spec)
        assert "\n" not in str(caught.value)

    refused("no such folder", f"cifar10:folder={tmp_path / 'none'}")
    refused("lacks data_batch_1")
    made = written(tmp_path)
    refused("4 images, expected 10000", f"cifar10:folder={tmp_path}")
    pixels, labels, content = made["data_batch_3"]
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    for bad, message in (
        (python2(pixels, [*labels[:-1], 10]), "expected 0 to 9"),
        (python2(pixels, labels[:-1]), r"pixels \(4, 3072\), 3 labels"),
        (python2(pixels[:, :3000], labels), r"pixels \(4, 3000\)"),
        (python2(pixels[:0], []), "has no samples"),
        (pickle.dumps({"data": pixels.astype(float), "labels": labels}, 2), "unsigned bytes"),
        (pickle.dumps({"data": pixels}, 2), "no list of integers"),
        (pickle.dumps([1], 2), "no table"),
        (pickle.dumps(print, 2), "builtins.print"),
        (content.replace(b"M\x04\x00", b"M\x05\x00"), "bytes"),
        (b"", "damaged"),
    ):
        path.write_bytes(bad)
        refused(message)


def test_parameters() -> None:
    with pytest.raises(UsageError, match="gray is 2"):
        load_task("cifar10:folder=x:gray=2")
    with pytest.raises(UsageError, match="limit is -1"):
        load_task("cifar10:folder=x:limit=-1")


@settings(deadline=None)
@given(protocol=st.sampled_from([0, 2, 4]), at=st.floats(0, 1, exclude_max=True))
def test_half_a_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, protocol: int, at: float
) -> None:
    folder = tmp_path_factory.mktemp("cifar")
    written(folder, protocol)
    path = folder / "cifar-10-batches-py" / "data_batch_2"
    content = path.read_bytes()
    path.write_bytes(content[: int(at * len(content))])
    with pytest.raises(RejectedInputError):
        cifar.cifar10(folder, partial=1)
