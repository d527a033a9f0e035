"""`robustssm radius`: kept in pieces, resumed, and never above a successful attack."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import resolve
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.certificates.certified_radius import certified_radii
from robustssm.evaluations.certificates.radii import (
    Radii,
    certify,
    check_sweeps,
    comparable,
    compare,
    inside,
    read,
    successful,
)
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["radius", *arguments])


@pytest.fixture(scope="module")
def sweep(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    noises = [
        Noise("BandPGD(0, 32, steps=5)", eps=(0.05, 0.2)),
        Noise("Fourier(mode)", modes="1,2,3", eps=(0.5,)),
        Noise("Resonance(30.0)", eps=(2.0,)),
    ]
    plan = make_plan(resolve(f"m={checkpoints['s4d']}"), noises, limit=24)
    run = RunDirectory(tmp_path_factory.mktemp("sweep") / "run")
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    finish(run)
    return run


def test_radii_stand_below_every_successful_attack(
    checkpoints: dict[str, Path], sweep: RunDirectory, tmp_path: Path
) -> None:
    output = tmp_path / "radii"
    common = ("--model", f"m={checkpoints['s4d']}", "--limit", "20", "-j", "1", "-o", str(output))
    result = call(*common, "--against", str(sweep.path), "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert row["n"] == 20 and row["violated"] == 0 and row["attacked"] > 1
    assert 0.0 < row["median_ratio"] <= row["largest_ratio"] < 1.0
    files = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert len(files) == 2
    assert call(*common, "--against", str(sweep.path), "--format", "json").stdout == result.stdout
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == files

    plan = make_plan(resolve(f"m={checkpoints['s4d']}"), Noise("fourier", "all"))
    radii = Radii(plan.models[0], plan.task, tuple(range(33)), limit=20)
    rows = read(radii, output)
    part = plan.task.splits["test"].first(20)
    expected = certified_radii(
        load_checkpoint(checkpoints["s4d"]).own,
        torch.from_numpy(part.inputs),
        torch.from_numpy(part.labels),
        range(33),
        tolerance=0.1,
    )
    assert np.array_equal(rows["radius"], expected)
    assert ((rows["radius"] > 0) == (rows["margin"] > 0)).all()
    # A radius said to be larger than an attack is counted, and ends the command with code 4.
    attacks = successful(radii, [sweep])
    rows["radius"] *= 1e4
    assert int(str(compare(radii, rows, attacks)["violated"])) == row["attacked"]


def test_a_violation_ends_with_code_4(
    checkpoints: dict[str, Path], sweep: RunDirectory, tmp_path: Path
) -> None:
    common = ("--model", f"m={checkpoints['s4d']}", "--limit", "16", "-j", "1",
              "-o", str(tmp_path))  # fmt: skip
    assert call(*common).exit_code == 0
    (path,) = tmp_path.iterdir()
    frame = pd.read_parquet(path)
    frame.assign(radius=100.0).to_parquet(path)
    result = call(*common, "--against", str(sweep.path))
    assert result.exit_code == 4 and "not below a successful attack" in result.stderr


def test_only_attacks_within_the_modes_count() -> None:
    everything = range(33)
    assert inside("Guided(low=1, high=9)", everything, 64)
    assert inside("Impulses()", everything, 64)
    # What is appended is no perturbation of the input.
    assert not inside("NoisePadding(steps=4)", everything, 64)
    assert inside("Fourier(mode=3)", (1, 2, 3), 64)
    assert not inside("Fourier(mode=4)", (1, 2, 3), 64)
    assert not inside("Fourier(mode=0.05, frequency_unit='cycles')", (1, 2, 3), 64)
    assert inside("BandPGD(low=1, high=3)", (1, 2, 3), 64)
    assert not inside("BandPGD(low=1, high=4)", (1, 2, 3), 64)
    assert not inside("Guided(low=1, high=3)", (1, 2, 3), 64)
    assert not inside("ColouredNoise(alpha=1)", (1, 2, 3), 64)


def test_clipped_attacks_leave_their_band(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    noise = Noise("Fourier(mode)", modes="1,2", eps=(2.0,), clip="hard", limits=(0.0, 16.0))
    plan = make_plan(resolve(f"m={checkpoints['s4d']}"), noise, limit=8)
    run = RunDirectory(tmp_path / "run")
    run.open(plan, [])
    model = plan.models[0]
    assert len(comparable(Radii(model, plan.task, tuple(range(33))), run)) == 2
    band = Radii(model, plan.task, (1, 2))
    assert len(comparable(band, run)) == 0
    with pytest.raises(UsageError, match="holds no attack on these checkpoints"):
        check_sweeps([band], [run])


def test_a_wrong_answer_in_float32_has_radius_zero(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(resolve(f"m={checkpoints['s4d']}"), Noise("fourier", "1"), limit=4)
    monkeypatch.setattr(
        "robustssm.evaluations.certificates.radii.certified_radii",
        lambda network, x, *rest, **more: np.ones(len(x)),
    )
    certify(Radii(plan.models[0], plan.task, (1,)), 0, tmp_path / "piece")
    rows = pd.read_parquet(tmp_path / "piece")
    assert set(rows["margin"] > 0.0) == {True, False}
    assert ((rows["margin"] > 0.0) == (rows["radius"] == 1.0)).all()


def test_what_is_refused_is_refused_before_any_work(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    common = ("--model", f"m={checkpoints['s4d']}", "-j", "1", "-o", str(tmp_path / "new"))
    result = call(*common, "--against", str(tmp_path))
    assert result.exit_code == 2 and "no readable manifest" in result.stderr
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    for output, words in (("file", "is a file, expected"), ("file/under", "cannot be written")):
        result = call(*common[:-1], str(tmp_path / output))
        assert result.exit_code == 2 and words in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_blocks_without_a_constant_are_named(checkpoints: dict[str, Path]) -> None:
    model = ("--model", f"m={checkpoints['s4d']}")
    result = call(*model, "--notes")
    assert result.exit_code == 0 and "glu: no global constant" in result.stdout
    rows = json.loads(call(*model, "--notes", "--format", "json").stdout)["rows"]
    assert [f"{row['model']}: {row['note']}" for row in rows] == result.stdout.splitlines()
    result = call(*model, "--bound", "global", "-j", "1")
    assert result.exit_code == 2 and "block 0 glu has no global Lipschitz constant" in result.stderr
