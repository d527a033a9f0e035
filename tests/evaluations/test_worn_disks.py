"""Run directories from worn disks and from strangers: what is wrong is found, said, and healed."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from robustssm.cli import Commands
from robustssm.commands.compare import compare
from robustssm.commands.ls import ls
from robustssm.commands.show import report, show
from robustssm.evaluations.sweep import cell_files, records
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import parquet_bytes
from robustssm.targets import CLASSES
from tests.evaluations.test_resume import plan_for, swept
from tests.evaluations.written_runs import flat, write_run


def invoke(*arguments: object) -> Result:
    group = Commands("robustssm")
    for command in (compare, ls, report, show):
        group.add_command(command)
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def one_cell(n: int = 4) -> bytes:
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.standard_normal(n) for name in CLASSES.columns}
    columns["sample_id"], columns["correct"] = np.arange(n), columns["margin"] > 0
    columns["label"], columns["prediction"] = rng.integers(0, 3, (2, n))
    return cell_files.cell_bytes("0123456789abcdef", columns)


def flipped(whole: bytes, bits: range) -> Iterator[tuple[int, bytes]]:
    for bit in bits:
        rotten = bytearray(whole)
        rotten[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(rotten)


def check_flips(bits: range) -> None:
    """Every flipped bit is found, or changes no value, no name and no number of rows."""
    whole, cell = one_cell(), "0123456789abcdef"
    written, digest = cell_files.table(whole, cell), cell_files.digest(whole, cell, {})
    harmless = 0
    for bit, rotten in flipped(whole, bits):
        try:
            found = cell_files.table(rotten, cell)
        except records.UNREADABLE as error:
            assert "\n" not in records.reason(error)
            continue
        assert found.equals(written) and cell_files.digest(rotten, cell, {}) == digest, bit
        harmless += 1
    # Only the name of the seal may change unseen, its length and type included: then the file is
    # read as one of old, by the checksums of its pages.
    assert harmless <= 8 * (len(b"robustssm.sha256") + 2)


def test_counts_are_those_of_the_rows() -> None:
    """A digest by the counts in the file is the digest by its rows, which older files have."""
    whole, cell = one_cell(9), "0123456789abcdef"
    without = whole.replace(b"robustssm.sha256", b"robustssm.sha255")
    without = without.replace(b"robustssm.counts", b"robustssm.count_")
    assert cell_files.digest(whole, cell, {}) == cell_files.digest(without, cell, {})
    with pytest.raises(ValueError, match="it holds cell 0123456789abcdef"):
        cell_files.digest(whole, "other", {})


def test_a_flipped_bit_is_found_wherever_it_is() -> None:
    check_flips(range(0, 8 * len(one_cell()), 17))


@pytest.mark.slow
def test_every_flipped_bit_is_found() -> None:
    check_flips(range(8 * len(one_cell())))


def test_a_sweep_heals_what_a_disk_spoilt(models: str, tmp_path: Path) -> None:
    plan = plan_for(models, 1, 2)
    run = swept(tmp_path / "run", plan)
    before = {path: path.read_bytes() for path in run.path.glob("cells/*")}
    rng = np.random.default_rng(0)
    for path, whole in list(before.items())[::2]:
        # The footer: its names have no checksum of Parquet.
        bit = 8 * (len(whole) - int(rng.integers(20, 900)))
        path.write_bytes(next(flipped(whole, range(bit, bit + 1)))[1])
    spoilt = len(list(before)[::2])
    for command in ("show", "report"):
        result = invoke(command, run.path)
        assert result.exit_code == 4 and f"{spoilt} damaged" not in result.stdout
        assert len(result.stderr.strip().splitlines()) <= 3 and "digest" in result.stderr
    assert len(RunDirectory(run.path).state(plan.unique).damaged) == spoilt
    assert run_sweep(plan, RunDirectory(run.path)).computed == spoilt
    assert {path: path.read_bytes() for path in run.path.glob("cells/*")} == before


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return write_run(
        tmp_path / "run", {("a", 0): flat(0.9, 0.5, 0.2), ("b", 0): flat(0.8, 0.4, 0.2)}
    )


def last(run: RunDirectory) -> Path:
    return run.cell_path(run.plan()["cell"].iloc[-1])


def rewritten(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(parquet_bytes(change(pd.read_parquet(path))))


def claims_rows(path: Path) -> None:
    """A million equal rows in a few hundred bytes."""
    n = 1_000_000
    columns = {"sample_id": np.zeros(n, int), "correct": np.ones(n, bool),
               "delivered_rms": np.zeros(n), "in_band_share": np.zeros(n)}  # fmt: skip
    pq.write_table(pa.table(columns), path)
    assert path.stat().st_size < n


def two_rows(**columns: object) -> Callable[[Path], object]:
    whole = {"sample_id": [1, 2], "correct": [True, True], "delivered_rms": [0.0, 0.0],
             "in_band_share": [1.0, 1.0]}  # fmt: skip
    return lambda path: pq.write_table(pa.table(whole | columns), path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil",
    [
        rewritten(lambda rows: rows.drop(columns="correct")),
        rewritten(lambda rows: rows.rename(columns={"in_band_share": "in_band_shar\x00"})),
        rewritten(lambda rows: rows.assign(correct=rows["correct"].astype(str))),
        rewritten(lambda rows: rows.assign(sample_id=rows["sample_id"].astype(float))),
        rewritten(lambda rows: rows.assign(delivered_rms="x")),
        rewritten(lambda rows: rows[:0]),
        rewritten(lambda rows: rows[:-2]),
        rewritten(lambda rows: rows.assign(sample_id=rows["sample_id"] + 1)),
        claims_rows,
        two_rows(sample_id=[[1], [2]]),
        two_rows(correct=[True, None]),
        two_rows(sample_id=[1, None]),
        pipe,
    ],
)
def test_a_cell_that_is_none_is_left_out_and_said(
    run: RunDirectory, spoil: Callable[[Path], object]
) -> None:
    spoil(last(run))
    for command in (["show"], ["report"], ["compare"], ["compare", "--format", "json"]):
        result = invoke(*command, run.path)
        assert (result.exit_code == 4 and result.stdout) or command == ["report"]
        assert last(run).name in result.stderr.splitlines()[-1]
    found = json.loads(invoke("compare", run.path, "--format", "json").stdout)
    assert found["damaged"] == [str(last(run))] and found["missing"] == 1
    assert "damaged" in invoke("ls", "runs", run.path).stdout


def test_many_damaged_cells_are_counted(run: RunDirectory) -> None:
    noisy = run.plan().query("noise != 'clean'")["cell"]
    for cell in noisy:
        run.cell_path(cell).write_bytes(b"")
    line = invoke("show", run.path).stderr.splitlines()[-1]
    assert f"and {len(noisy) - 5} more" in line and len(line) < 1500


def test_a_damaged_clean_evaluation_ends_a_comparison(run: RunDirectory) -> None:
    run.cell_path(run.plan()["cell"].iloc[0]).write_bytes(b"PAR1")
    result = invoke("compare", run.path)
    assert result.exit_code == 4 and len(result.stderr.strip().splitlines()) == 1
    assert "clean evaluation of a/0 is damaged" in result.stderr


def test_cells_of_older_versions_are_read(run: RunDirectory, tmp_path: Path) -> None:
    """They have no seal; the checksums of their pages are compared."""
    written = {cell: run.rows(cell) for cell in run.plan()["cell"]}
    for cell, rows in written.items():
        pq.write_table(pa.Table.from_pandas(rows), run.cell_path(cell), write_page_checksum=True)
    old = RunDirectory(run.path)
    assert old.state(written).complete and invoke("show", run.path).exit_code == 0
    for cell, rows in written.items():
        pd.testing.assert_frame_equal(old.rows(cell), rows)


def replace_in(name: str, **change: object) -> Callable[[Path], object]:
    def spoil(run: Path) -> None:
        content = json.loads((run / name).read_text()) | change
        (run / name).write_text(json.dumps(content))

    return spoil


def written(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(content)


def replanned(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    return lambda run: rewritten(change)(run / "plan.parquet")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (replace_in("manifest.json", chance="x"), "its chance is 'x', expected a number"),
        (replace_in("manifest.json", chance=10**400), "its chance is 1000"),
        (replace_in("manifest.json", chance=float("nan")), "its chance is nan"),
        (replace_in("manifest.json", models=[3]), "its models is"),
        (replace_in("manifest.json", argv={"a": 1}), "its argv is"),
        (replace_in("manifest.json", versions=["torch"]), "its versions is"),
        (replace_in("manifest.json", task="digits\x1b[2J"), r"its task is 'digits\x1b[2J'"),
        (replace_in("manifest.json", limit=2**70), "its limit is"),
        (written("manifest.json", b"[" * 100_000), "nested too deeply"),
        (written("manifest.json", b'{"schema": ' + b"9" * 5000 + b"}"), "not readable as JSON"),
        (written("manifest.json", b"\xff\xfe"), "not readable as JSON"),
        (written("plan.parquet", b"PAR1PAR1"), "plan.parquet: "),
        (replanned(lambda p: p.drop(columns="eps")), "lacks the columns eps"),
        (replanned(lambda p: p.assign(eps="much")), "its eps is of type"),
        (replanned(lambda p: p.assign(train_seed=0.5)), "its train_seed is of type"),
        (replanned(lambda p: p.assign(mode=np.inf)), "its mode is not always finite"),
        (replanned(lambda p: p.assign(model=None)), "its model is"),
        (replanned(lambda p: p.assign(cell=1)), "its cell is of type"),
        (replanned(lambda p: p.assign(cell="../" + p["cell"])), "has no name of a file"),
        (replanned(lambda p: p.assign(model="a\nb")), "expected text of one line"),
        (replanned(lambda p: pd.concat([p, p.assign(noise="n")])), "names a cell of a model twice"),
    ],
)  # fmt: skip
def test_manifests_and_plans_are_typed(
    run: RunDirectory, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(run.path)
    for command in (["show"], ["show", "--format", "json"], ["report"]):
        result = invoke(*command, run.path)
        assert result.exit_code == 4, result.output
        last_line = result.stderr.splitlines()[-1]
        assert said in last_line
    result = invoke("compare", run.path)
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"error": 3}', b"[" * 100_000, b'{"error": "e", "traceback": [1]}']
)
def test_a_record_of_a_failure_is_typed(run: RunDirectory, content: bytes) -> None:
    path = last(run)
    path.unlink()
    record = run.error_path(path.stem)
    record.parent.mkdir()
    record.write_bytes(content)
    result = invoke("show", run.path, "--errors")
    assert result.exit_code == 4 and record.name in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(("length", "said"), [(60_000, "without end"), (70_000, "of one line")])
def test_a_small_file_of_much_text_is_none(tmp_path: Path, length: int, said: str) -> None:
    table = pa.table({"cell": [f"c{k}" for k in range(5_000)], "model": ["m" * length] * 5_000,
                      "train_seed": [0] * 5_000, "noise": ["n"] * 5_000,
                      "eps": [1.0] * 5_000})  # fmt: skip
    pq.write_table(table, tmp_path / "plan.parquet")
    assert (tmp_path / "plan.parquet").stat().st_size < 1_000_000
    with pytest.raises(ValueError, match=said):
        records.read_plan(tmp_path / "plan.parquet")
