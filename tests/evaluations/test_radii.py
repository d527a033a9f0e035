"""`robustssm search radius`: kept in pieces, resumed, and never above a successful attack."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from robustssm.attacks.expressions import parse_expression
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import resolve
from robustssm.cli import main
from robustssm.evaluations.certificates.certified_radius import certified_radii
from robustssm.evaluations.certificates.radii import Radii, certify, read
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from tests.attacks.cases import named_bins

LENGTH = 64


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["search", "radius", *arguments])


@pytest.fixture(scope="module")
def sweep(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    noises = [
        Noise("BandPGD(0, 32, steps=5)", eps=(0.05, 0.2)),
        Noise("BandPGD(1, 3, steps=5)", eps=(0.5, 2.0)),
        Noise("Fourier(mode)", modes="1,2,3", eps=(0.5, 4.0)),
        Noise("ColouredNoise(0)", eps=(2.0,)),
        Noise("Resonance(30.0)", eps=(2.0,)),
    ]
    plan = make_plan(resolve(f"m={checkpoints['s4d']}"), noises, limit=24)
    run = RunDirectory(tmp_path_factory.mktemp("sweep") / "run")
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    return run


def successful(run: RunDirectory, modes: Sequence[int]) -> pd.DataFrame:
    """Return sample, L2 norm (raw units) and name of every attack at the input that broke it.

    Only attacks whose parameters say that they stay within the bins `modes`.
    """
    parts = []
    plan = run.plan()
    at_input = plan[plan["inject"] == "input"]
    assert set(at_input["clip"]) == {"none"}  # clipping would take an attack out of its band
    for cell in at_input.itertuples():
        attack = parse_expression(str(cell.perturbation))[0]
        if set(named_bins(attack, LENGTH)) <= set(modes):
            rows = run.rows(str(cell.cell), ["sample_id", "correct", "delivered_l2"])
            parts.append(rows[~rows["correct"]].assign(attack=attack.who))
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("modes", "attacks"),
    [("all", {"BandPGD", "Fourier", "ColouredNoise"}), ("1-3", {"BandPGD", "Fourier"})],
)
def test_radii_stand_below_every_successful_attack(
    checkpoints: dict[str, Path],
    sweep: RunDirectory,
    tmp_path: Path,
    modes: str,
    attacks: set[str],
) -> None:
    model = f"m={checkpoints['s4d']}"
    output = tmp_path / "radii"
    common = ("--model", model, "--modes", modes, "--limit", "20", "-j", "1", "-o", str(output))
    result = call(*common, "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    files = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert len(files) == 2
    assert call(*common, "--format", "json").stdout == result.stdout
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == files

    plan = make_plan(resolve(model), Noise("fourier", "all"))
    bins = range(33) if modes == "all" else (1, 2, 3)
    rows = read(Radii(plan.models[0], plan.task, tuple(bins), limit=20), output)
    part = plan.task.splits["test"].first(20)
    expected = certified_radii(
        load_checkpoint(checkpoints["s4d"]).own,
        torch.from_numpy(part.inputs),
        torch.from_numpy(part.labels),
        bins,
        tolerance=0.1,
    )
    assert np.array_equal(rows["radius"], expected)
    assert ((rows["radius"] > 0) == (rows["margin"] > 0)).all()
    right = rows.loc[rows["margin"] > 0, "radius"]
    assert (row["n"], row["correct"]) == (20, len(right))
    assert (row["median_radius"], row["largest_radius"]) == (right.median(), right.max())

    broken = rows[rows["margin"] > 0].merge(successful(sweep, bins), on="sample_id")
    assert set(broken["attack"]) == attacks and len(broken) > 9
    assert (broken["radius"] < broken["delivered_l2"]).all()


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
    result = call(*common, "--tolerance", "2")
    assert result.exit_code == 2 and "tolerance is 2" in result.stderr
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
