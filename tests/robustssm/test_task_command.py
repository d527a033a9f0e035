"""`robustssm ls tasks`: the card, the samples, the picture, and mistakes in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from robustssm.cli import Commands
from robustssm.commands.tasks import tasks
from robustssm.tasks import load_task


def run(*arguments: str) -> Result:
    group = Commands("robustssm")
    group.add_command(tasks)
    return CliRunner().invoke(group, ["tasks", *arguments])


def saved(folder: Path, **arrays: Any) -> str:
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return f"file:{path}"


def test_samples_of_one_class(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = run("digits:side=8", "--show", "40", "--label", "7", "--format", "json",
                 "-o", str(sheet))  # fmt: skip
    assert result.exit_code == 0, result.output
    split = load_task("digits:side=8").splits["test"]
    shown = json.loads(result.stdout)["samples"]
    assert [row["sample_id"] for row in shown] == split.sample_id[split.labels == 7][:40].tolist()
    with Image.open(sheet) as image:
        # Two rows of twenty squares, without titles.
        assert 6.0 < image.width / image.height < 12.0
    nobody = run("digits:side=8", "--label", "10")
    assert nobody.exit_code == 2 and "no sample of label 10, expected 0 to 9" in nobody.stderr


def test_the_card_is_the_task() -> None:
    result = run("digits:side=8", "--show", "3", "--format", "json")
    assert result.exit_code == 0, result.output
    found, expected = json.loads(result.stdout), load_task("digits:side=8")
    card = found["task"]
    assert card["hash"] == expected.content_hash and card["layout"] == "image"
    assert (card["length"], card["channels"], card["classes"]) == (64, 1, 10)
    assert card["test"] == len(expected.splits["test"]) and card["chance"] == expected.chance
    assert card["mean"] == expected.mean.tolist() and card["std"] == expected.std.tolist()
    part = expected.splits["test"].first(3)
    assert [row["sample_id"] for row in found["samples"]] == part.sample_id.tolist()
    for row, x in zip(found["samples"], part.inputs.astype(float), strict=True):
        assert (row["lowest"], row["highest"]) == (x.min(), x.max())
        # Two sums of 64 float64 numbers in another order: some units in the last place.
        assert row["rms"] == pytest.approx(np.sqrt((x**2).mean()), rel=1e-14)


def test_statistics_leave_padding_out(tmp_path: Path) -> None:
    x = np.array([[3.0, 5.0, 0.0], [-1.0, 0.0, 0.0]])
    name = saved(tmp_path, inputs=x, labels=np.array([0, 1]), lengths=np.array([2, 1]))
    rows = json.loads(run(name, "--format", "json").stdout)["samples"]
    assert [row["steps"] for row in rows] == [2, 1]
    assert [row["lowest"] for row in rows] == [3.0, -1.0]
    assert [row["mean"] for row in rows] == [4.0, -1.0]


def test_tokens_are_shown_as_text(tmp_path: Path) -> None:
    tokens = np.full((2, 8), 0)
    tokens[0, :5] = np.frombuffer("né $".encode(), np.uint8)[:5].astype(int) + 1
    tokens[1, :1] = 256
    name = saved(tmp_path, inputs=tokens, labels=np.array([0, 1]), lengths=np.array([5, 1]))
    result = run(name, "-o", str(tmp_path / "a.png"))
    assert result.exit_code == 0, result.output
    # The largest token here is 256, so that there are 257: bytes plus one, and padding.
    assert "né $" in result.stdout


@pytest.mark.parametrize("kind", ["image", "series", "two", "tokens"])
def test_pictures(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(3)
    names = {
        "image": "digits:side=8",
        "series": saved(tmp_path, inputs=rng.normal(size=(3, 20)), labels=labels),
    }
    if kind == "two":
        names["two"] = saved(tmp_path, inputs=rng.normal(size=(3, 20, 2)), labels=labels)
    if kind == "tokens":
        names["tokens"] = saved(tmp_path, inputs=rng.integers(0, 9, (3, 20)), labels=labels)
    path = tmp_path / "out" / "samples.png"
    result = run(names[kind], "--show", "3", "-o", str(path))
    assert result.exit_code == 0, result.output
    with Image.open(path) as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 2
    first = path.read_bytes()
    assert run(names[kind], "--show", "3", "-o", str(path)).exit_code == 0
    assert path.read_bytes() == first


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    name = saved(tmp_path, inputs=np.zeros((2, 3)), labels=np.array([0, 1]))
    for arguments, code, message in (
        (["cats"], 2, "'cats' is unknown"),
        ([name, "--split", "validation"], 2, "the validation split is empty"),
        (["digits", "-o", str(tmp_path / "a.pdf")], 2, "ends in .png"),
        (["cifar10"], 2, "folder is not given"),
        ([f"cifar10:folder={tmp_path / 'none'}"], 4, "no such folder"),
    ):
        result = run(*arguments)
        assert result.exit_code == code, result.output
        assert message in result.stderr and result.stdout == ""
    assert run(name, "--split", "validation", "--show", "0").exit_code == 0
