"""Images in columns: pixels exactly, one size, colours or not, nothing damaged."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import load_task
from robustssm.tasks.hub import hub
from robustssm.tasks.pictures import PictureError, decoded

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (6, 3, 5, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 3, 5), dtype=np.uint8)
PLACES = ["train", "test", "train", "validation", "test", "train"]


def encoded(levels: Any, kind: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(levels)
    (image if mode is None else image.convert(mode)).save(stream, kind)
    return stream.getvalue()


def written(folder: Path, contents: list[Any], bare: bool = False) -> Path:
    path = folder / "images.parquet"
    # As the package of the hub stores images.
    rows = contents if bare else [{"bytes": one, "path": None} for one in contents]
    columns = {"img": rows, "label": [0, 1, 0, 1, 0, 1][: len(rows)]}
    pq.write_table(pa.table(columns | {"split": PLACES[: len(rows)]}), path)
    return path


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("levels", [COLOUR, GREY])
def test_pixels_are_read_row_by_row(tmp_path: Path, levels: Any, bare: bool) -> None:
    path = written(tmp_path, [encoded(one) for one in levels], bare)
    task = load_task(f"hub:path={path}:inputs=img:split=split")
    assert task.image == (3, 5) and task.channels == (3 if levels is COLOUR else 1)
    for name, part in task.splits.items():
        rows = [k for k, place in enumerate(PLACES) if place == name]
        assert part.sample_id.tolist() == rows and part.lengths is None
        expected = levels[rows].reshape(len(rows), 15, -1).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(part.inputs, expected)
        assert part.inputs.dtype == np.float32
    assert load_task(task.spec).content_hash == task.content_hash


def test_without_colours_and_cut(tmp_path: Path) -> None:
    path = written(tmp_path, [encoded(one) for one in COLOUR])
    task = load_task(f"hub:path={path}:inputs=img:split=split:gray=1")
    # ITU-R 601-2, to one level: Pillow rounds in fixed point.
    luma = (COLOUR[[1, 4]] @ np.array([0.299, 0.587, 0.114])).reshape(2, 15)
    assert np.abs(task.splits["test"].inputs[..., 0] * 255 - luma).max() <= 1.0
    assert load_task(task.spec).content_hash == task.content_hash
    short = hub("img", path=str(path), split="split", max_length=4)
    assert short.image is None and short.length == 4
    whole = hub("img", path=str(path), split="split")
    np.testing.assert_array_equal(short.splits["test"].inputs, whole.splits["test"].inputs[:, :4])


def test_grey_images_among_coloured_ones(tmp_path: Path) -> None:
    contents = [encoded(GREY[k]) if k % 2 else encoded(COLOUR[k]) for k in range(6)]
    task = hub("img", path=str(written(tmp_path, contents)), split="split")
    grey = task.splits["test"].inputs[0] * 255  # row 1
    np.testing.assert_allclose(grey, np.repeat(GREY[1].reshape(15, 1), 3, 1), atol=1e-4)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1"])
def test_other_modes(kind: str, mode: str) -> None:
    if kind == "WEBP" and mode in ("1", "LA"):
        mode = "RGB"
    found = decoded(encoded(COLOUR[0], kind, mode))
    assert found.shape == (3, 5, 1 if mode in ("LA", "1") else 3)
    assert decoded(encoded(COLOUR[0], kind, mode), gray=True).shape == (3, 5, 1)


def test_a_limit_decodes_no_other_image(tmp_path: Path) -> None:
    contents = [encoded(one) for one in GREY]
    contents[2] = contents[4] = contents[5] = b"no image"
    task = hub("img", path=str(written(tmp_path, contents)), split="split", limit=1)
    assert [part.sample_id.tolist() for part in task.splits.values()] == [[0], [3], [1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no whole image"),
        (b"no image", "no whole image"),
        (encoded(GREY[0])[:-8], "it has no end"),
        (encoded(GREY[0], "JPEG")[:-20], "no whole image"),
        (encoded(GREY[0], "GIF"), "no whole image"),
        (encoded(GREY[0].astype(np.uint16)), "its mode is I"),
        (encoded(GREY[0][:2]), "images of 5 x 2 and of 5 x 3 pixels"),
        (encoded(np.zeros((1025, 1024), np.uint8)), "1024 x 1025 pixels, at most 1048576"),
        (None, "lacks the content of 1 images"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = written(tmp_path, [encoded(GREY[0]), content])
    with pytest.raises(RejectedInputError, match=message) as caught:
        hub("img", path=str(path))
    assert "\n" not in str(caught.value)


def test_colours_of_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    pq.write_table(pa.table({"x": [[1.0], [2.0]], "label": [0, 1]}), path)
    with pytest.raises(UsageError, match="gray=1 is for images"):
        hub("x", path=str(path), gray=1)
    with pytest.raises(UsageError, match="gray is 2"):
        hub("x", path=str(path), gray=2)


@settings(deadline=None)
@given(at=st.integers(0, 10**6), level=st.integers(0, 255), kind=st.sampled_from(["PNG", "JPEG"]))
def test_damaged_bytes_are_refused_or_are_an_image(at: int, level: int, kind: str) -> None:
    content = bytearray(encoded(COLOUR[0], kind))
    content[at % len(content)] = level
    try:
        found = decoded(bytes(content))
    except PictureError:
        return
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] in (1, 3)
