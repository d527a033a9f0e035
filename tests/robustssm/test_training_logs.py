"""Logs of a training: a line an epoch, none twice, whole lines whatever happens."""

import csv
import json
import math
import sys
import types
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pytest

from robustssm.errors import RejectedInputError, UsageError
from robustssm.networks.network import Architecture
from robustssm.training.logs import COLUMNS, EpochLog, TensorBoardLog
from robustssm.training.loop import EpochRecord, TrainingConfig, train

SMALL = Architecture("s4d", n=4, d_model=4, layers=1)
TASK = "digits:side=8"


def record(epoch: int, accuracy: float = 0.5) -> EpochRecord:
    return EpochRecord(epoch, 10 * epoch, 1.0 / epoch, accuracy, 0.01, 0.001, 2.5, 0.25)


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_every_number_is_read_back_as_it_was(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"log{suffix}"
    take = EpochLog(path).open(0)
    for epoch in (1, 2, 3):
        take(record(epoch))
    for epoch, row in zip((1, 2, 3), rows(path), strict=True):
        assert tuple(row) == COLUMNS
        assert {key: float(value) for key, value in row.items()} == asdict(record(epoch))


@pytest.mark.parametrize(("suffix", "nothing"), [(".csv", ""), (".jsonl", None)])
def test_what_is_no_number_is_left_out(suffix: str, nothing: Any, tmp_path: Path) -> None:
    path = tmp_path / f"log{suffix}"
    EpochLog(path).open(0)(record(1, math.nan))
    assert rows(path)[0]["validation_accuracy"] == nothing


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("done", [1, 2])
def test_an_epoch_that_is_done_again_has_one_line(suffix: str, done: int, tmp_path: Path) -> None:
    path = tmp_path / f"log{suffix}"
    take = EpochLog(path).open(0)
    take(record(1))
    take(record(2))
    # The state was saved after epoch 2, or the run was stopped before that.
    again = EpochLog(path).open(done)
    for epoch in range(done + 1, 4):
        again(record(epoch, 0.75))
    assert [int(row["epoch"]) for row in rows(path)] == [1, 2, 3]
    assert float(rows(path)[1]["validation_accuracy"]) == (0.75 if done == 1 else 0.5)


def test_a_log_of_another_run_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    take = EpochLog(path).open(0)
    for epoch in (1, 2, 3):
        take(record(epoch))
    before = path.read_bytes()
    for done in (0, 1, 5):
        with pytest.raises(UsageError, match=r"holds epochs 1 to 3, this run goes on after epoch"):
            EpochLog(path).open(done)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.csv", "a,b\n1,2\n"),
        ("log.csv", ",".join(COLUMNS) + "\n1,2\n"),
        ("log.csv", ",".join(COLUMNS) + "\nx,1,1,1,1,1,1\n"),
        ("log.jsonl", '{"epoch": 1}\n'),
        ("log.jsonl", "[1]\n"),
        ("log.jsonl", '{"epoch": 1, "st'),
        ("log.jsonl", "\xff"),
    ],
)
def test_a_file_that_is_no_log_is_rejected(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RejectedInputError, match="is no log of robustssm train"):
        EpochLog(path).open(0)
    assert path.read_text(encoding="latin-1") == text


def test_a_suffix_says_the_format(tmp_path: Path) -> None:
    for name in ("log", "log.txt"):
        with pytest.raises(UsageError, match=r"expected \.csv or \.jsonl"):
            EpochLog(tmp_path / name)
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        EpochLog(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_equal_runs_differ_in_seconds_alone(suffix: str, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        path, log = tmp_path / f"{name}.safetensors", tmp_path / f"{name}{suffix}"
        config = TrainingConfig(epochs=3, batch_size=256)
        if name == "b":  # in three parts
            for stop in (1, 2):
                train(SMALL, TASK, config, path, command="c", stop_after=stop,
                      logs=[EpochLog(log).open])  # fmt: skip
        train(SMALL, TASK, config, path, command="c", logs=[EpochLog(log).open])
        found.append(rows(log))
    assert [float(row.pop("seconds")) > 0 for row in found[0] + found[1]] == [True] * 6
    assert found[0] == found[1] and [int(row["steps"]) for row in found[0]] == [5, 10, 15]


def test_every_version_of_the_file_ends_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    take = EpochLog(path).open(0)
    assert path.read_text() == ",".join(COLUMNS) + "\n"
    for epoch in range(1, 4):
        take(record(epoch))
        text = path.read_text()
        assert text.endswith("\n") and text.count("\n") == epoch + 1
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


class Writer:
    """Stands in for TensorBoard's."""

    made: ClassVar[list["Writer"]] = []

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        Writer.made.append(self)

    def add_scalar(self, key: str, value: float, step: int) -> None:
        self.scalars.append((key, value, step))

    def flush(self) -> None:
        pass


def test_tensorboard_is_told_everything_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "made", [])
    csv_log = EpochLog(tmp_path / "a.csv")
    for log in (csv_log, TensorBoardLog(tmp_path / "board")):
        log.open(0)(record(1, math.nan))
        log.open(1)(record(2))
    first, second = Writer.made
    assert (first.purge_step, second.purge_step) == (1, 2)
    assert ("train/validation_accuracy", 0.5, 2) in second.scalars
    assert {key for key, _, _ in first.scalars} == {
        f"train/{name}" for name in COLUMNS if name not in ("epoch", "validation_accuracy")
    }
    assert len(rows(tmp_path / "a.csv")) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        TensorBoardLog(tmp_path / "file")


def test_tensorboard_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'robustssm\[tensorboard\]'"):
        TensorBoardLog(tmp_path)
