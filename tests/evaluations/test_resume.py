"""What a sweep keeps: identity by content, refusals that say what differs, failures on record."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robustssm.checkpoints import load_checkpoint, save_checkpoint
from robustssm.checkpoints.model_names import resolve
from robustssm.errors import StorageError, UsageError
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep import worker
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.storage.writing import write_atomically
from tests.watching import Listener


def plan_for(models: str, *modes: int, seed: int = 0, eps: tuple[float, ...] = (1.0,)) -> Plan:
    return make_plan(resolve(models), Noise("fourier", modes=modes, eps=eps), limit=20, seed=seed)


def swept(folder: Path, plan: Plan) -> RunDirectory:
    run = RunDirectory(folder)
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    finish(run)
    return run


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return bytes and inode of every file: a file written again has another inode."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_ino)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def one_bit_changed(path: Path, target: Path) -> Path:
    """Write a checkpoint whose decoder has one weight changed in its last bit."""
    checkpoint = load_checkpoint(path)
    weight = checkpoint.own.decoder.weight.data
    weight.view(torch.int32)[0, 0] ^= 1
    save_checkpoint(target, checkpoint.network, checkpoint.card)
    return target


def test_a_changed_bit_reuses_no_cell(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    run = swept(tmp_path / "run", plan_for(f"m={checkpoints['s4d']}", 1, 2))
    before = contents(run.path)
    changed = plan_for(f"m={one_bit_changed(checkpoints['s4d'], tmp_path / 'm')}", 1, 2)
    with pytest.raises(UsageError, match=r"another sweep(.|\n)*weights of m/0: \w{12} -> \w{12}"):
        RunDirectory(run.path).open(changed, [])
    assert contents(run.path) == before
    assert len(run.state(changed.unique).to_compute(True)) == len(changed.unique) == 3
    other = RunDirectory(tmp_path / "other")
    other.open(changed, [])
    assert other.reuse(changed.unique, run) == 0


def test_another_name_reuses_every_cell(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    plan = plan_for(f"m={checkpoints['s4d']}", 1, 2)
    run = swept(tmp_path / "run", plan)
    cells = {k: v for k, v in contents(run.path).items() if k.startswith("cells")}
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(checkpoints["s4d"].read_bytes())
    renamed = plan_for(f"mine={copy}", 1, 2)
    assert (
        renamed.id == plan.id
        and RunDirectory(run.path).state(renamed.unique).to_compute(True) == []
    )
    run = swept(run.path, renamed)
    assert {k: v for k, v in contents(run.path).items() if k.startswith("cells")} == cells
    assert set(finish(run).summary["model"]) == {"mine"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, "seed of the noise: 0 -> 5"),
        ({"eps": (2.0,)}, r"not asked for: Fourier\(mode=1\) at eps 1 std \(input\)(.|\n)*eps 2"),
        ({"modes": (1,)}, r"not asked for: Fourier\(mode=2\)"),
        ({"task": "digits:side=16"}, "task: digits:side=8 -> digits(.|\n)*data: "),
        ({"limit": 19}, "limit of samples: 20 -> 19"),
    ],
)
def test_another_sweep_is_refused_with_what_differs(
    models: str, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    run = swept(tmp_path / "run", plan_for(models, 1, 2))
    before = contents(run.path)
    noise = Noise("fourier", modes=change.get("modes", (1, 2)), eps=change.get("eps", (1.0,)))  # type: ignore[arg-type]
    other = make_plan(
        resolve(models),
        noise,
        seed=int(str(change.get("seed", 0))),
        limit=int(str(change.get("limit", 20))),
        task=change.get("task"),  # type: ignore[arg-type]
    )
    with pytest.raises(UsageError, match=words):
        RunDirectory(run.path).open(other, [])
    assert contents(run.path) == before


def test_more_modes_extend_a_run_and_reuse_takes_from_others(models: str, tmp_path: Path) -> None:
    run = swept(tmp_path / "run", plan_for(models, 1))
    first = {k: v for k, v in contents(run.path).items() if k.startswith("cells")}
    more = plan_for(models, 1, 2, 3)
    run = swept(run.path, more)
    after = {k: v for k, v in contents(run.path).items() if k.startswith("cells")}
    assert first.items() <= after.items() and len(after) == 2 * 4
    less = plan_for(models, 3)
    other = RunDirectory(tmp_path / "other")
    other.open(less, [])
    assert other.reuse(less.unique, run) == 4 and other.state(less.unique).to_compute(True) == []
    straight = swept(tmp_path / "straight", less)
    for cell in less.unique:
        assert other.cell_path(cell).read_bytes() == straight.cell_path(cell).read_bytes()


def test_a_failing_cell_is_stored_and_the_others_go_on(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(f"good={checkpoints['s4d']},doomed={checkpoints['s4ptd-rank1']}", 1, 2)

    def broken(network: object, cell: object, *rest: object) -> object:
        if "doomed" in str(cell):
            raise ZeroDivisionError("one over nothing")
        return cell_columns(network, cell, *rest)  # type: ignore[arg-type]

    run = RunDirectory(tmp_path / "run")
    run.open(plan, [])
    monkeypatch.setattr(worker, "cell_columns", broken)
    errors = run_sweep(plan, run).errors
    assert len(errors) == 3 and all("one over nothing" in e for e in errors.values())
    record = json.loads(run.error_path(next(iter(errors))).read_text())
    assert record["model"] == "doomed" and "ZeroDivisionError" in record["traceback"]
    summary = finish(run).summary
    assert set(summary["model"]) == {"good"} and len(summary) == 3
    monkeypatch.setattr(worker, "cell_columns", cell_columns)
    # Left alone, and still told, until it is asked for.
    assert (
        run_sweep(plan, run).errors == errors and len(run.state(plan.unique).to_compute(True)) == 3
    )
    assert run_sweep(plan, run, Execution(retry_failed=True)).errors == {}
    assert list((run.path / "errors").iterdir()) == []


def test_fail_fast_stops_at_the_first_failure(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run = plan_for(models, 1, 2), RunDirectory(tmp_path / "run")
    run.open(plan, [])

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "cell_columns", broken)
    listener = Listener()
    errors = run_sweep(plan, run, Execution(fail_fast=True), watcher=listener).errors
    assert len(errors) == len(listener.seen) == 1
    assert len(run_sweep(plan, run).errors) == len(plan.unique)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    ],
)
def test_out_of_memory_halves_the_batch_and_changes_nothing(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    plan = plan_for(models, 1)
    whole = swept(tmp_path / "whole", plan)
    sizes: list[int] = []

    def small(network: object, cell: object, task: object, size: int) -> object:
        sizes.append(size)
        if size > 5:
            raise error
        return cell_columns(network, cell, task, size)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "cell_columns", small)
    halved = swept(tmp_path / "halved", plan)
    assert sizes[:9] == [1024, 512, 256, 128, 64, 32, 16, 8, 4]
    for cell in plan.unique:
        assert halved.cell_path(cell).read_bytes() == whole.cell_path(cell).read_bytes()


def test_out_of_memory_at_one_sample_is_a_failed_cell(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run = plan_for(models, 1), RunDirectory(tmp_path / "run")
    run.open(plan, [])

    def never(*_: object) -> None:
        raise MemoryError("none left")

    monkeypatch.setattr(worker, "cell_columns", never)
    errors = run_sweep(plan, run).errors
    assert len(errors) == len(plan.unique) and "none left" in next(iter(errors.values()))


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_finished(
    models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run = plan_for(models, 1, 2), RunDirectory(tmp_path / "run")
    run.open(plan, [])
    written: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        write_atomically(path, data)

    monkeypatch.setattr(worker, "write_atomically", full)
    with pytest.raises(StorageError, match=r"No space left on device.*make room"):
        run_sweep(plan, run)
    assert len(list(run.path.glob("cells/*.parquet"))) == 2
    assert list(run.path.glob("errors/*")) == []
    monkeypatch.setattr(worker, "write_atomically", write_atomically)
    assert run_sweep(plan, run).errors == {} and run.state(plan.unique).to_compute(True) == []


def test_a_damaged_cell_file_or_that_of_another_is_no_cell(models: str, tmp_path: Path) -> None:
    plan = plan_for(models, 1)
    run = swept(tmp_path / "run", plan)
    cell = plan.cells[2]
    whole = run.cell_path(cell.id).read_bytes()
    middle = len(whole) // 3
    other = run.cell_path(plan.cells[3].id).read_bytes()
    rotten = whole[:middle] + bytes(200) + whole[middle + 200 :]
    for damaged in (b"", b"PAR1", whole[: len(whole) // 2], rotten, other):
        run.cell_path(cell.id).write_bytes(damaged)
        assert run.state(plan.unique).to_compute(True) == [cell.id]
        assert run_sweep(plan, run).errors == {} and run.cell_path(cell.id).read_bytes() == whole


def test_a_flipped_bit_never_changes_a_number(models: str, tmp_path: Path) -> None:
    """Pages have checksums; in the footer, which has none, a column can lose its name at most."""
    plan = plan_for(models, 1)
    run = swept(tmp_path / "run", plan)
    cell = plan.cells[2]
    whole, written = run.cell_path(cell.id).read_bytes(), run.rows(cell.id)
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    rng = np.random.default_rng(0)
    # All of the footer, and as many places before it.
    places = {*range(footer, len(whole), 3), *rng.integers(0, footer, 900).tolist()}
    noticed = 0
    for place in places:
        rotten = bytearray(whole)
        rotten[place] ^= 1 << int(rng.integers(8))
        run.cell_path(cell.id).write_bytes(rotten)
        if not run.has(cell.id):
            noticed += 1
            continue
        found = run.rows(cell.id)
        np.testing.assert_array_equal(found.to_numpy(), written.to_numpy())
    assert noticed > len(places) / 2


def test_directories_of_others_are_left_alone(models: str, tmp_path: Path) -> None:
    plan = plan_for(models, 1)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="holds no sweep"):
            RunDirectory(tmp_path / "notes").open(plan, [], overwrite=overwrite)
    run = swept(tmp_path / "run", plan)
    run.open(plan_for(models, 2), [], overwrite=True)
    assert list((run.path / "cells").iterdir()) == [] and not (run.path / "summary.csv").exists()


def test_two_sweeps_do_not_write_into_one_directory(models: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with (
        run.lock(),
        pytest.raises(UsageError, match="another sweep is writing"),
        RunDirectory(tmp_path / "run").lock(),
    ):
        pass
    with run.lock():
        run.open(plan_for(models, 1), [])


def test_cells_of_cpu_and_gpu_are_kept_apart(models: str) -> None:
    cell = plan_for(models, 1).cells[2]
    assert replace(cell, device="cuda").id != cell.id == replace(cell).id
