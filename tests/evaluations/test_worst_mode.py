"""The guided search for the worst mode against the sweep that it replaces."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints.model_names import resolve
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.searches.worst_mode import (
    Search,
    against,
    swept,
    verdicts,
    worst_modes,
)
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan, read_model
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory

MODES = tuple(range(1, 17))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["worst-mode", *arguments])


@pytest.fixture(scope="module")
def sweep(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    plan = make_plan(resolve(f"m={checkpoints['s4d']}"), Noise("fourier", MODES, eps=(1.0,)))
    run = RunDirectory(tmp_path_factory.mktemp("sweep") / "run")
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    finish(run)
    return run


def test_the_ranking_measures_what_the_sweep_measures(
    checkpoints: dict[str, Path], sweep: RunDirectory
) -> None:
    """With passes to spare every mode is tried on every sample: the accuracies are the sweep's."""
    ref = resolve(f"m={checkpoints['s4d']}")[0]
    task = make_plan([ref], Noise("fourier", "1")).task
    search = Search(MODES, 1.0, part=1)
    table = pd.DataFrame([worst_modes(ref, task, search)])
    table = against(table, sweep, task, [search], [read_model(ref)])
    (row,) = table.to_dict("records")
    # Its first mode is tried on all samples: no rounding between the two.
    assert row["accuracy"] == row["sweep_accuracy_of_first"] >= row["true_accuracy"]
    assert row["place"] == 1 and row["samples"] == len(task.splits["test"])
    assert str(row["mode_1"]) in row["true_modes"].split()
    assert row["exhaustive_passes"] == 16 * len(task.splits["test"])
    assert "first for 1 and in the first 3 for 1 of 1" in verdicts(table)[0]


def test_the_passes_stay_within_their_part(checkpoints: dict[str, Path]) -> None:
    ref = resolve(f"m={checkpoints['s4d']}")[0]
    task = make_plan([ref], Noise("fourier", "1")).task
    for part in (3, 10):
        for options in ({}, {"prior": False}, {"linearise": False}):
            row = worst_modes(ref, task, Search(MODES, 0.5, part=part, **options))
            used, strict, exhaustive = (
                int(str(row[key])) for key in ("passes", "strict_passes", "exhaustive_passes")
            )
            assert used <= strict <= exhaustive / part


def test_the_command(checkpoints: dict[str, Path], sweep: RunDirectory, tmp_path: Path) -> None:
    model = f"m={checkpoints['s4d']}"
    common = ("--model", model, "--modes", "1-16", "--eps", "1", "--part", "4", "-j", "1")
    result = call(*common, "--against", str(sweep.path), "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert row["place"] in (0, 1, 2, 3) and "eps 1:" in result.stderr
    again = call(*common, "--against", str(sweep.path), "--format", "json")
    assert again.stdout == result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--eps", "0"), "give a strength"),
        (("--eps", "nan"), "not a strength"),
        (("--modes", "40"), "Nyquist bin 32"),
        (("--modes", "1-16", "--eps", "1", "--part", "400"), "a smaller --part"),
        (("--modes", "1-17", "--eps", "1"), "has 16 of 17 modes"),
        (("--modes", "1-16", "--eps", "0.7"), "has 0 of 16 modes"),
        (("--modes", "1-16", "--seed", "3"), "noise seed 0, not 3"),
    ],
)
def test_refusals(
    checkpoints: dict[str, Path], sweep: RunDirectory, arguments: tuple[str, ...], words: str
) -> None:
    result = call("--model", f"m={checkpoints['s4d']}", "-j", "1", "--part", "4",
                  "--against", str(sweep.path), *arguments)  # fmt: skip
    assert result.exit_code == 2, result.output
    assert words in result.stderr and "Traceback" not in result.output


def test_another_task_is_refused(checkpoints: dict[str, Path], sweep: RunDirectory) -> None:
    task = make_plan(
        resolve(f"m={checkpoints['s4d']}"), Noise("fourier", "1"), task="digits:side=9"
    ).task
    model = read_model(resolve(f"m={checkpoints['s4d']}")[0])
    with pytest.raises(UsageError, match="other data"):
        swept(sweep, task, Search(MODES, 1.0), model)


def run_of(path: Path, checkpoint: Path, *noises: Noise) -> RunDirectory:
    plan = make_plan(resolve(f"m={checkpoint}"), noises)
    run = RunDirectory(path)
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    finish(run)
    return run


def test_a_sweep_is_known_by_its_perturbations(
    checkpoints: dict[str, Path], sweep: RunDirectory, tmp_path: Path
) -> None:
    model = read_model(resolve(f"m={checkpoints['s4d']}")[0])
    task = make_plan([model.ref], Noise("fourier", "1")).task
    search = Search((1, 2), 1.0)
    named = run_of(tmp_path / "a", checkpoints["s4d"], Noise("Fourier(mode)", (1, 2), eps=(1.0,)))
    expected = swept(sweep, task, search, model)
    assert list(expected["mode"]) == [1, 2]
    pd.testing.assert_frame_equal(swept(named, task, search, model), expected)
    clipped = Noise("fourier", (1, 2), eps=(1.0,), clip="hard", limits=(0.0, 16.0))
    for number, other in enumerate((clipped, Noise("fourier", (1, 2), eps=(1.0,), phase="sine"))):
        run = run_of(tmp_path / str(number), checkpoints["s4d"], other)
        with pytest.raises(UsageError, match="has 0 of 2 modes"):
            swept(run, task, search, model)


def test_the_sweep_is_looked_at_before_any_work(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("robustssm.evaluations.searches.worst_mode.worst_modes", None)
    result = call("--model", f"m={checkpoints['s4d']}", "-j", "1", "--against", str(tmp_path))
    assert result.exit_code == 2 and "no readable manifest" in result.stderr
