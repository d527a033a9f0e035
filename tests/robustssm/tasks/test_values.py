"""Tasks whose targets are values: what they hold, how they are split, what they refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robustssm.errors import RejectedInputError, UsageError
from robustssm.targets import CLASSES, STEPS, VALUES
from robustssm.tasks import Split, Task, load_task
from robustssm.tasks.sinusoids import Signals

ROWS = 200


def table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> Path:
    """Write a table in the layout of the ETT files: hourly, two loads and an oil temperature."""
    t = np.arange(ROWS)
    frame = pd.DataFrame({"date": pd.date_range("2016-07-01", periods=ROWS, freq="h")})
    frame = frame.assign(HUFL=np.sin(t), HULL=3.0 + np.cos(0.1 * t), OT=20.0 + 0.1 * t)
    change(frame).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["ar", "denoise", "sinusoids"])
def test_generated_values_are_the_same_whatever_the_sizes_of_other_splits(name: str) -> None:
    small, large = (load_task(f"{name}:length=32:train=8:validation={k}:test=6") for k in (2, 9))
    assert small.kind is (STEPS if name == "denoise" else VALUES)
    for split in ("train", "test"):
        np.testing.assert_array_equal(small.splits[split].inputs, large.splits[split].inputs)
        np.testing.assert_array_equal(small.splits[split].labels, large.splits[split].labels)
    assert small.content_hash != large.content_hash
    assert load_task(small.spec).content_hash == small.content_hash
    ids = np.concatenate([split.sample_id for split in small.splits.values()])
    assert len(set(ids)) == len(ids)


def test_denoising_is_the_process_that_ar_predicts() -> None:
    """Targets obey the recursion, and inputs differ from them by noise of the given size."""
    split = load_task("denoise:length=400:train=200:noise=0.7:validation=1:test=1").splits["train"]
    z = split.labels[:, :, 0]
    driven = z[:, 2:] - 1.2 * z[:, 1:-1] + 0.8 * z[:, :-2]
    # 80,000 numbers: the standard error of a variance is 0.005 of it.
    assert driven.var() == pytest.approx(1.0, rel=0.025)
    assert (split.inputs[:, :, 0] - z).std() == pytest.approx(0.7, rel=0.02)


def test_sinusoids_are_those_of_the_paper_and_reach_beyond_its_range() -> None:
    signals = Signals(0.01, 100, 80.0, 0.5, 2.0)
    task = load_task("sinusoids:length=100:step=0.01:train=20:validation=2:test=300:seed=3")
    s, A = signals.draw(20, 3)
    np.testing.assert_array_equal(task.splits["train"].labels, signals.scaled(s, A))
    inputs = task.splits["train"].inputs[:, :, 0]
    np.testing.assert_array_equal(inputs, signals.samples(s, A).astype(np.float32))
    assert np.abs(task.splits["train"].labels).max() <= 1.0
    assert 1.3 < task.splits["test"].labels[:, 0].max() <= 1.5  # 2 s / 80 - 1 for s up to 100


def test_forecasts_are_windows_of_the_table(tmp_path: Path) -> None:
    path = table(tmp_path / "ett.csv")
    frame = pd.read_csv(path)
    task = load_task(f"forecast:file={path}:length=8:horizon=3")
    assert (task.channels, task.classes, task.kind) == (3, 3, VALUES)
    learnt = frame.iloc[:120]
    values = frame.drop(columns="date").to_numpy()
    scaled = (values - learnt.drop(columns="date").mean().to_numpy()) / values[:120].std(0)
    ends = {"train": (0, 120), "validation": (120, 160), "test": (160, 200)}
    for name, (first, last) in ends.items():
        split = task.splits[name]
        starts = split.sample_id % 1_000_000_000
        for k in (0, len(split) - 1):
            start = int(starts[k])
            np.testing.assert_allclose(split.inputs[k], scaled[start : start + 8], atol=1e-6)
            np.testing.assert_allclose(split.labels[k], scaled[start + 8 : start + 11, 2])
            assert max(first, 8) <= start + 8 and start + 11 <= last
        assert len(split) == last - max(first, 8) - 2
    of_all = load_task(f"forecast:file={path}:length=8:horizon=3:target=*:stride=5")
    np.testing.assert_allclose(of_all.splits["test"].labels[1, 3:6], scaled[166])
    assert of_all.classes == 9 and load_task(of_all.spec).content_hash == of_all.content_hash


def disordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[[*range(50), 51, 50, *range(52, ROWS)]]


def gap(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(OT=frame["OT"].where(frame.index != 17))


BAD = {
    "dates": (disordered, "", "its dates do not rise: row 52 has 2016-07-03 02:00:00 after"),
    "NaN": (gap, "", "column OT has NaN or infinite values, the first in row 18"),
    "constant": (lambda f: f.assign(HULL=1.0), "", "column HULL is constant in the training rows"),
    "horizon": (lambda f: f, ":horizon=500", "too few for windows of 96 and a horizon of 500"),
    "short": (lambda f: f.head(20), "", "has 20 rows, 12 of them for train, too few"),
    "no date": (lambda f: f.drop(columns="date"), "", "expected one called date"),
    "no dates": (lambda f: f.assign(date="soon"), "", "column date holds what is no date"),
    "words": (lambda f: f.assign(OT="hot"), "", "column OT has words"),
    "target": (lambda f: f, ":target=XX", "target is XX, "),
    "shares": (lambda f: f, ":train=0.9:validation=0.2", "both is 1.1, expected 0.01 to 0.99"),
}


@pytest.mark.parametrize("case", BAD)
def test_tables_that_are_no_forecast_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    change, more, expected = BAD[case]
    path = table(tmp_path / "bad.csv", change)
    with pytest.raises((RejectedInputError, UsageError)) as caught:
        load_task(f"forecast:file={path}{more}")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_targets_that_are_no_numbers_or_constant_are_refused() -> None:
    def task(train: float, test: float) -> Task:
        splits = {
            name: Split(np.zeros((3, 4, 1), np.float32), values, np.arange(3))
            for name, values in (
                ("train", np.array([[0.0], [1.0], [train]])),
                ("validation", np.zeros((3, 1))),
                ("test", np.array([[0.0], [1.0], [test]])),
            )
        }
        return Task("mine", 1, splits, kind=VALUES)

    assert task(0.0, 1.0).chance == pytest.approx(2.0 / 9.0)
    with pytest.raises(UsageError, match="mine: targets of 1 in 3 samples are NaN or infinite"):
        task(0.0, np.nan)
    splits = dict(task(0.0, 1.0).splits)
    splits["train"] = Split(splits["train"].inputs, np.full((3, 1), 2.0), np.arange(3))
    with pytest.raises(UsageError, match="target 0 is 2 in every training sample"):
        Task("mine", 1, splits, kind=VALUES)
    with pytest.raises(UsageError, match="diagnose: mine has values, expected a task of classes"):
        task(0.0, 1.0).of_classes("diagnose")
    assert load_task("digits").kind is CLASSES


def written(folder: Path, target: str = "0.5", header: str = "@targetLabel true") -> Path:
    """Write a regression in the format of the TSER archive."""
    for split in ("TRAIN", "TEST"):
        rows = [f"{k}.0,1.0,2.0:{target if k == 3 else k / 7}" for k in range(12)]
        head = ["@problemName Tiny", "@timestamps false", "@univariate true", header, "@data"]
        (folder / f"Tiny_{split}.ts").write_text("\n".join([*head, *rows]) + "\n")
    return folder / "Tiny_TRAIN.ts"


def test_ts_files_with_a_target_are_regressions(tmp_path: Path) -> None:
    task = load_task(f"ucr:path={written(tmp_path)}:validation=0")
    assert (task.kind, task.classes, task.names) == (VALUES, 1, ())
    expected = [0.5 if k == 3 else k / 7 for k in range(12)]
    np.testing.assert_array_equal(task.splits["test"].labels[:, 0], expected)


@pytest.mark.parametrize("target", ["?", "much", "NaN"])
def test_ts_files_with_a_target_that_is_no_number_are_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(
        RejectedInputError, match=r"series 4 (lacks values|holds what is no number)"
    ):
        load_task(f"ucr:path={written(tmp_path, target)}")


X = np.random.default_rng(0).normal(size=(9, 6, 2)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(9, 6, 3))


def own(folder: Path, **arrays: Any) -> Task:
    np.savez(folder / "own.npz", **{"x": X, **arrays})
    return load_task(f"file:{folder / 'own.npz'}")


@pytest.mark.parametrize(
    ("y", "kind", "expected"),
    [
        (Y[:, 0, 0], VALUES, Y[:, 0, :1]),
        (Y[:, 0], VALUES, Y[:, 0]),
        (Y, STEPS, Y),
        (Y[:, 0, 0].astype(np.float32), VALUES, Y[:, 0, :1].astype(np.float32)),
    ],
)
def test_labels_with_a_point_are_values(
    y: np.ndarray, kind: object, expected: np.ndarray, tmp_path: Path
) -> None:
    task = own(tmp_path, y=y)
    assert task.kind is kind and task.classes == expected.shape[-1]
    np.testing.assert_array_equal(task.splits["test"].labels, expected)
    assert task.splits["test"].labels.dtype == np.float64
    words = np.array(["train", "test", "validation"])[np.arange(9) % 3]
    split = own(tmp_path, y=y, split=words)
    np.testing.assert_array_equal(split.splits["train"].labels, expected[::3])
    both = own(tmp_path, y=y, train_inputs=X[:4], train_labels=y[:4])
    np.testing.assert_array_equal(both.splits["train"].labels, expected[:4])
    unlabelled = own(tmp_path, y=y, train_inputs=2 * X)
    assert not unlabelled.splits["train"].labels.any() and unlabelled.std[0] > task.std[0]


def test_whole_numbers_are_classes_as_ever(tmp_path: Path) -> None:
    assert own(tmp_path, y=np.arange(9) % 3).kind is CLASSES
    assert own(tmp_path, y=(np.arange(9) % 3).astype(float)).kind is VALUES


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"y": np.where(np.arange(9) == 4, np.nan, 1.0 * np.arange(9))},
            "of 1 in 9 samples are NaN",
        ),
        ({"y": np.full(9, 0.5)}, "target 0 is 0.5 in every training sample"),
        ({"y": np.zeros((9, 2))}, "target 0 is 0 in every test sample"),
        ({"y": Y[:8, 0]}, r"labels is float64 \(8, 3\), expected values \(9,\), \(9, outputs\)"),
        ({"y": Y[:, :5]}, r"or \(9, 6, 'outputs'\)"),
        ({"y": Y[:, 0, :0]}, "expected values"),
        (
            {"y": Y[:, 0], "train_inputs": X, "train_labels": Y[:, 0, 0]},
            r"train_labels is float64 \(1,\) per sample, labels float64 \(3,\)",
        ),
        (
            {"y": Y[:, 0], "train_inputs": X, "train_labels": np.arange(9)},
            r"train_labels is int64 \(\) per sample, labels float64 \(3,\)",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(
    arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if "split" not in arrays and message.endswith("training sample"):
        arrays = {**arrays, "split": np.array(["train", "test", "test"] * 3)}
    with pytest.raises((RejectedInputError, UsageError), match=message) as caught:
        own(tmp_path, **arrays)
    assert "\n" not in str(caught.value)
