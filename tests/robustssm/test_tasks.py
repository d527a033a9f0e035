"""The digits task: the same bytes for ever, disjoint and stratified splits."""

from pathlib import Path

import numpy as np
import pytest

from robustssm.errors import UsageError
from robustssm.tasks import Task, load_task, registry
from robustssm.tasks.digits import interpolation


def test_splits_are_a_stratified_partition() -> None:
    task = load_task("digits")
    ids = np.concatenate([split.sample_id for split in task.splits.values()])
    assert sorted(ids) == list(range(1797))
    assert len(task.splits["test"]) >= 500
    for split in task.splits.values():
        share = np.bincount(split.labels, minlength=10) / len(split)
        # Ten classes of nearly equal size, each split by rounding: within one sample or so.
        assert abs(share - 0.1).max() < 0.02


@pytest.mark.parametrize(
    ("spec", "length"), [("digits:side=8", 64), ("digits", 256), ("digits:side=32", 1024)]
)
def test_content(spec: str, length: int) -> None:
    task = load_task(spec)
    assert (task.length, task.channels, task.classes) == (length, 1, 10)
    assert 0.09 < task.chance < 0.12
    assert len(task.content_hash) == 64 and task.content_hash == load_task(spec).content_hash


def test_the_bundled_hash_is_the_one_on_the_cards() -> None:
    from robustssm.checkpoints import read_card
    from robustssm.checkpoints.bundled import zoo_path

    assert read_card(zoo_path("s4d", 0)).task_hash == load_task("digits").content_hash


def test_interpolation_is_linear_and_exact_at_powers_of_two() -> None:
    assert np.array_equal(interpolation(8, 8), np.eye(8))
    W = interpolation(8, 16)
    assert np.array_equal(W.sum(1), np.ones(16))
    ramp = W @ np.arange(8.0)
    assert np.array_equal(np.diff(ramp)[1:-1], np.full(13, 0.5))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cats", "expected one of digits"),
        ("digits:size=8", "side=INTEGER"),
        ("digits:side=x", "side=INTEGER"),
        ("digits:side=4", "expected 8 to 64"),
        ("digits:side=16:side=32", "is given twice"),
        ("digits:side=٣٢", "expected INTEGER"),
        ("paths", "folder, rate is not given"),
        ("paths:folder=x:rate=fast", "rate is 'fast', expected NUMBER"),
    ],
)
def test_bad_specs(spec: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.TASKS._built_in, "paths", f"{__name__}:needs_files")
    with pytest.raises(UsageError, match=message):
        load_task(spec)


def needs_files(folder: Path, rate: float, side: int = 16) -> Task:
    assert isinstance(folder, Path) and isinstance(rate, float)
    return load_task(f"digits:side={side}")


def test_parameters_are_those_of_the_maker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.TASKS._built_in, "paths", f"{__name__}:needs_files")
    assert registry.spelling("digits") == "digits[:side=INTEGER]"
    assert registry.spelling("paths") == "paths:folder=PATH:rate=NUMBER[:side=INTEGER]"
    assert load_task("paths:rate=0.5:folder=x:side=8").length == 64
