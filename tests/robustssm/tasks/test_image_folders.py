"""Pathfinder's folders: pixels exactly, the splits of state-spaces/s4, damaged files refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import load_task
from robustssm.tasks.image_folders import LEVELS, lra_pathfinder
from robustssm.tasks.reading import shuffled

COUNT = 20


def written(folder: Path, side: int = 32, level: str = LEVELS[0]) -> tuple[Any, list[int]]:
    """Write two lists of ten images; list 10 comes after list 9."""
    rng = np.random.default_rng(3)
    place = folder / f"pathfinder{side}" / level
    (place / "metadata").mkdir(parents=True)
    images = rng.integers(0, 256, (COUNT, side, side), dtype=np.uint8)
    labels = rng.integers(0, 2, COUNT).tolist()
    for start, name in ((0, "9"), (COUNT // 2, "10")):
        (place / "imgs" / name).mkdir(parents=True)
        lines = []
        for k in range(start, start + COUNT // 2):
            image = f"sample_{k - start}.png"
            Image.fromarray(images[k]).save(place / "imgs" / name / image)
            lines.append(f"imgs/{name} {image} {k} {labels[k]} 1.8 6 2.0 5 3 0 0\n")
        (place / "metadata" / f"{name}.npy").write_text("".join(lines))
    return images, labels


def test_values_and_splits(tmp_path: Path) -> None:
    images, labels = written(tmp_path)
    task = load_task(f"lra-pathfinder:folder={tmp_path}:side=32")
    assert (task.length, task.channels, task.classes, task.image) == (1024, 1, 2, (32, 32))
    parts = list(task.splits.values())
    assert [len(part) for part in parts] == [16, 2, 2]
    # The other route: what torch itself splits, as the reference does.
    generator = torch.Generator().manual_seed(42)
    numbered = torch.utils.data.TensorDataset(torch.arange(COUNT))
    expected = torch.utils.data.random_split(numbered, [16, 2, 2], generator=generator)
    for part, subset in zip(parts, expected, strict=True):
        assert part.sample_id.tolist() == sorted(subset.indices)
        sequences = images[part.sample_id].reshape(-1, 1024, 1) / np.float32(255)
        np.testing.assert_array_equal(part.inputs, sequences)
        assert part.labels.tolist() == [labels[i] for i in part.sample_id]
    assert load_task(task.spec).content_hash == task.content_hash


def test_the_order_of_the_splits_is_for_ever() -> None:
    assert shuffled(10).tolist() == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]


def test_a_limit_opens_no_other_image(tmp_path: Path) -> None:
    written(tmp_path)
    whole = lra_pathfinder(tmp_path)
    kept = {int(part.sample_id[0]) for part in whole.splits.values()}
    place = tmp_path / "pathfinder32" / LEVELS[0] / "imgs"
    for k in set(range(COUNT)) - kept:
        (place / ("9" if k < 10 else "10") / f"sample_{k % 10}.png").unlink()
    some = lra_pathfinder(tmp_path, limit=1)
    assert {int(part.sample_id[0]) for part in some.splits.values()} == kept


def test_other_sides_and_levels(tmp_path: Path) -> None:
    written(tmp_path, 64, "curv_baseline")
    task = lra_pathfinder(tmp_path / "pathfinder64", side=64, level="curv_baseline")
    assert task.length == 4096
    for keywords, message in (
        ({"side": 48}, "side is 48"),
        ({"level": "x"}, "level 'x' is unknown"),
    ):
        with pytest.raises(UsageError, match=message):
            lra_pathfinder(tmp_path, **keywords)


def test_the_empty_image_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, 32, "curv_baseline")
    place = tmp_path / "pathfinder32" / "curv_baseline"
    (place / "imgs" / "0").mkdir()
    (place / "imgs" / "0" / "sample_172.png").touch()
    (place / "metadata" / "0.npy").write_text("imgs/0 sample_172.png 0 1\n")
    task = lra_pathfinder(tmp_path, level="curv_baseline")
    assert sum(map(len, task.splits.values())) == COUNT


def test_refusals(tmp_path: Path) -> None:
    def refused(message: str, **keywords: Any) -> None:
        with pytest.raises(RejectedInputError, match=message) as caught:
            lra_pathfinder(tmp_path, **keywords)
        assert "\n" not in str(caught.value)

    refused("no such folder")
    written(tmp_path)
    place = tmp_path / "pathfinder32" / LEVELS[0]
    first = place / "imgs" / "9" / "sample_0.png"
    Image.new("L", (16, 32)).save(first)
    refused("16 x 32 pixels")
    first.write_bytes(b"")
    refused("no whole PNG")
    first.unlink()
    refused("no such file")
    path = place / "metadata" / "9.npy"
    for bad, message in (
        ("imgs/9 sample_0.png 0 2\n", "label 0 or 1"),
        ("imgs/9 sample_0.png\n", "label 0 or 1"),
        ("../../x y.png 0 1\n", "label 0 or 1"),
        ("imgs/9 sample_0.png 0 1", "has no end"),
    ):
        path.write_text(bad)
        refused(message)
    path.write_text("")
    (place / "metadata" / "10.npy").write_text("imgs/9 sample_0.png 0 1\n")
    refused("lists 1 images, expected 10")
    (place / "metadata" / "x.npy").write_text("")
    refused("expected lists 1.npy")


@settings(deadline=None)
@given(at=st.floats(0, 1, exclude_max=True))
def test_half_an_image_is_refused(tmp_path_factory: pytest.TempPathFactory, at: float) -> None:
    folder = tmp_path_factory.mktemp("paths")
    written(folder)
    path = folder / "pathfinder32" / LEVELS[0] / "imgs" / "10" / "sample_3.png"
    content = path.read_bytes()
    path.write_bytes(content[: int(at * len(content))])
    with pytest.raises(RejectedInputError):
        lra_pathfinder(folder)
