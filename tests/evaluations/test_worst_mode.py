"""The guided search for the worst mode against the sweep that it replaces."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints.model_names import resolve
from robustssm.cli import main
from robustssm.evaluations.searches.mode_ranking import Search, worst_modes
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory

MODES = tuple(range(1, 17))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["search", "worst-mode", *arguments])


def test_the_ranking_measures_what_the_sweep_measures(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """With passes to spare every mode is tried on every sample: the accuracies are the sweep's."""
    plan = make_plan(resolve(f"m={checkpoints['s4d']}"), Noise("fourier", MODES, eps=(1.0,)))
    run = RunDirectory(tmp_path / "run")
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    swept = {
        int(cell.mode): float(run.rows(str(cell.cell), ["correct"])["correct"].mean())
        for cell in run.plan().itertuples()
        if cell.noise != "clean"
    }
    assert set(swept) == set(MODES)
    row = worst_modes(plan.models[0].ref, plan.task, Search(MODES, 1.0, part=1))
    # Its first mode is tried on all samples: no rounding between the two.
    assert row["accuracy"] == swept[int(str(row["mode_1"]))] == min(swept.values())
    assert row["samples"] == len(plan.task.splits["test"])
    assert row["exhaustive_passes"] == 16 * len(plan.task.splits["test"])


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


def test_the_command(checkpoints: dict[str, Path]) -> None:
    model = f"m={checkpoints['s4d']}"
    common = ("--model", model, "--modes", "1-16", "--eps", "1", "--part", "4", "-j", "1")
    result = call(*common, "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    ref = resolve(model)[0]
    task = make_plan([ref], Noise("fourier", "1")).task
    assert row == json.loads(json.dumps(worst_modes(ref, task, Search(MODES, 1.0, part=4))))
    table = call(*common)
    modes = " ".join(str(row[f"mode_{k}"]) for k in (1, 2, 3))
    assert table.exit_code == 0 and modes in table.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--eps", "0"), "give a strength"),
        (("--eps", "nan"), "expected a finite number"),
        (("--modes", "40"), "Nyquist bin 32"),
        (("--modes", "1-16", "--eps", "1", "--part", "400"), "a smaller --part"),
    ],
)
def test_refusals(checkpoints: dict[str, Path], arguments: tuple[str, ...], words: str) -> None:
    result = call("--model", f"m={checkpoints['s4d']}", "-j", "1", "--part", "4", *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr and "Traceback" not in result.output
