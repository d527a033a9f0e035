"""A run in the formats of others: nothing lost, nothing added, equal bytes for equal runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.checkpoints.model_names import resolve
from robustssm.errors import RobustssmError, UsageError
from robustssm.evaluations.exports import samples
from robustssm.evaluations.exports.formats import WRITERS, document
from robustssm.evaluations.results.inspection import Inspection, inspect
from robustssm.evaluations.results.tables import finish, read_csv, read_tables
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import write_csv

CYCLES = "Fourier(mode)"


@pytest.fixture(scope="module")
def run(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three noises: over bins, over cycles per sample, and one without modes; 40 samples."""
    folder = tmp_path_factory.mktemp("run") / "run"
    refs = resolve(",".join(f"{k.replace('-', '_')}={path}" for k, path in checkpoints.items()))
    noises = [
        Noise("fourier", modes=(1, 3), eps=(0.3, 1.0)),
        Noise(CYCLES, modes="0.05,0.11", mode_unit="cycles", eps=(1.0,)),
        Noise("BandNoise(1, 4)", eps=(1.0,)),
    ]
    plan = make_plan(refs, noises, limit=40)
    directory = RunDirectory(folder)
    directory.open(plan, ["sweep", "--limit", "40"])
    assert run_sweep(plan, directory).errors == {}
    finish(directory)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def write(kind: str, state: Inspection, output: Path) -> int:
    return WRITERS[kind][0](state, output)


def content(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {
        str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()
    }


@pytest.mark.parametrize("kind", list(WRITERS))
def test_equal_runs_give_equal_bytes(kind: str, run: Path, copy: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "out", tmp_path / "two" / "out"
    assert write(kind, inspect(run), first) > 0
    # The report names the figures' places relative to itself: here there are none.
    write(kind, inspect(copy), second)
    assert content(first) == content(second)
    write(kind, inspect(run), first)  # an own export is replaced
    assert content(first) == content(second)
    assert [p.name for p in first.parent.iterdir()] == ["out"]


def test_the_samples_are_those_of_the_cells(run: Path, tmp_path: Path) -> None:
    state, path = inspect(run), tmp_path / "samples.parquet"
    assert write("parquet", state, path) == 40 * len(state.planned)
    frame = pd.read_parquet(path)
    assert pyarrow.dataset.dataset(path).count_rows() == len(frame)
    plan = state.run.plan().set_index("cell")
    for cell, rows in frame.groupby("cell", observed=True):
        stored = state.run.rows(str(cell))
        pd.testing.assert_frame_equal(
            rows[list(stored.columns)].reset_index(drop=True), stored, check_exact=True
        )
        for name in ("model", "train_seed", "noise", "mode", "eps", "perturbation", "seed"):
            assert (rows[name] == plan.loc[cell, name]).all()
    keys = ["model", "train_seed", "noise", "mode", "eps", "sample_id"]
    text = frame[keys].astype({"model": str, "noise": str})
    assert text.sort_values(keys, kind="stable").index.equals(text.index)
    assert all(frame[name].dtype == "category" for name in ("model", "noise", "cell"))
    about = json.loads(pq.read_schema(path).metadata[b"robustssm"])
    assert about["run"] == state.run.manifest() and about["done"] == len(state.planned)


def test_row_groups_are_bounded_and_change_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("parquet", inspect(run), tmp_path / "whole")
    monkeypatch.setattr(samples, "_ROWS", 100)
    write("parquet", inspect(run), tmp_path / "parts")
    file = pq.ParquetFile(tmp_path / "parts")
    groups = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    # Cells of 40 rows: the third fills a group.
    assert max(groups) == 120 and len(groups) > 3
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "parts"), pd.read_parquet(tmp_path / "whole")
    )


def test_the_csv_is_the_summary_and_stands_alone(run: Path, tmp_path: Path) -> None:
    write("csv", inspect(run), tmp_path / "summary.csv")
    frame, summary = read_csv(tmp_path / "summary.csv"), read_csv(run / "summary.csv")
    pd.testing.assert_frame_equal(frame[list(summary.columns)], summary, check_exact=True)
    plan = inspect(run).run.plan().set_index("cell")
    for name in ("checkpoint", "perturbation", "clip", "seed", "limit"):
        assert frame[name].tolist() == plan.loc[frame["cell"], name].tolist()


def test_the_json_is_strict_and_says_what_the_tables_say(copy: Path, tmp_path: Path) -> None:
    cell = inspect(copy).planned[-1]
    inspect(copy).run.cell_path(cell).unlink()
    write("json", inspect(copy), tmp_path / "run.json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    assert found["schema"] == 1 and found["missing"] == [cell] and not found["complete"]
    assert found["partial"] and found["run"]["limit"] == 40
    summary = read_tables(inspect(copy)).summary
    assert [row["accuracy"] for row in found["summary"]] == summary["accuracy"].tolist()
    assert cell not in {row["cell"] for row in found["summary"]}
    assert found["tests"] == []  # tests.csv speaks of a cell that is gone
    assert len(document(inspect(copy))["overview"]) == len(found["overview"]) > 0


@pytest.mark.parametrize("kind", list(WRITERS))
def test_what_fails_leaves_nothing(
    kind: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = inspect(copy)

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, fail)
    monkeypatch.setattr(pq, "ParquetWriter", fail)
    with pytest.raises(RobustssmError, match="No space left on device"):
        write(kind, state, tmp_path / "out" / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_with_nothing_finished_is_refused(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "cells")
    for kind in set(WRITERS) - {"md"}:
        with pytest.raises(UsageError, match="no finished cell"):
            write(kind, inspect(copy), tmp_path / kind)
        assert not (tmp_path / kind).exists()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["NA", "nan", "null", "", "s4d", "a,b", 'a"b', "1"]),
            st.floats(allow_infinity=False),
        ),
        min_size=1,
    )
)
@settings(deadline=None)
def test_tables_are_read_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float]]
) -> None:
    frame = pd.DataFrame(rows, columns=["model", "accuracy"]).astype({"model": "str"})
    path = tmp_path_factory.mktemp("table") / "table.csv"
    write_csv(path, frame)
    found = read_csv(path)
    assert found["model"].tolist() == frame["model"].tolist()
    np.testing.assert_array_equal(found["accuracy"].to_numpy(float), frame["accuracy"].to_numpy())
