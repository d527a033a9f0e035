"""`robustssm search minimal` and `robustssm search diagnose` on small checkpoints."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import resolve
from robustssm.cli import main
from robustssm.evaluations.searches.minimal_strength import strengths_summary
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_smallest_strength_breaks_and_the_rung_below_does_not(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    path, output = checkpoints["s4d"], tmp_path / "eps.csv"
    result = call("search", "minimal", "Fourier(2)", "--model", f"m={path}", "--limit", "40",
                  "-j", "1", "--from", "0.1", "--to", "6.4", "--rungs", "7", "--bisections", "4",
                  "-o", str(output), "--format", "json")  # fmt: skip
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    frame = pd.read_csv(output)
    assert row["n"] == len(frame) == 40
    assert row["right"] == (frame["eps"] > 0).sum()
    found = frame[(frame["eps"] > 0) & np.isfinite(frame["eps"])].iloc[0]
    # The sweep at that strength breaks the sample.
    plan = make_plan(
        resolve(f"m={path}"), Noise("fourier", "2", eps=(float(found["eps"]),)), limit=40
    )
    rows = pd.DataFrame(cell_columns(load_checkpoint(path).network, plan.cells[1], plan.task, 64))
    assert not rows.set_index("sample_id")["correct"][found["sample_id"]]


def test_the_median_and_its_interval_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "model": "m",
            "right": [False, *[True] * 41],
            "eps": [0.0, *np.arange(1.0, 41.0), np.inf],
            "not_monotone": False,
            "not_found": [*[False] * 41, True],
        }
    )
    row = strengths_summary(frame, 3.0)
    assert row["right"] == 41 and row["median_eps"] == 21.0 and row["not_found"] == 1
    # Binomial(41, 1/2): P(X <= 13) = 0.0138, P(X <= 14) = 0.0298: order statistics 14 and 28.
    assert (row["ci_low"], row["ci_high"]) == (14.0, 28.0)
    # In dB the signs turn round.
    turned = strengths_summary(frame.assign(eps=-frame["eps"]), 3.0, "snr-db")
    assert turned["right"] == 41 and turned["median_eps"] == -21.0 and turned["smallest"] == -1.0
    assert (turned["ci_low"], turned["ci_high"]) == (-28.0, -14.0)


@pytest.mark.parametrize(
    ("arguments", "study"),
    [
        (("search", "minimal", "Fourier(2)"), "searches.minimal_strength.smallest_strengths"),
        (
            ("search", "diagnose", "--modes", "1-8"),
            "searches.gradient_diagnostics.masked_gradients",
        ),
        (("search", "worst-mode", "--modes", "1-16"), "searches.mode_ranking.worst_modes"),
    ],
)
def test_what_an_interruption_keeps(
    checkpoints: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    study: str,
) -> None:
    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"robustssm.evaluations.{study}", interrupt)
    result = call(*arguments, "--model", f"m={checkpoints['s4d']}", "-j", "1")
    assert result.exit_code == 130 and result.stderr.endswith("interrupted; nothing is kept\n")


def test_diagnose(checkpoints: dict[str, Path]) -> None:
    result = call("search", "diagnose", "--model", f"m={checkpoints['s4d']}", "--modes", "1-8",
                  "--limit", "12", "-j", "1", "--format", "json")  # fmt: skip
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert row["samples"] == 12 and row["zero"] == row["nonfinite"] == row["unrepeatable"] == 0
    two = ",".join(f"{name}={checkpoints['s4d']}" for name in ("m", "again"))
    beside = call("search", "diagnose", "--model", two, "--modes", "1-8", "--limit", "12",
                  "-j", "2", "--format", "json")  # fmt: skip
    assert beside.exit_code == 0, beside.output
    assert json.loads(beside.stdout)["rows"] == [row, row | {"model": "again"}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "minimal", "Fourier(2, eps=1)"), "which is looked for here"),
        (("search", "minimal", "Fourier(99)"), "Nyquist bin 32"),
        (("search", "minimal", "Fourier(2)", "--from", "2"), "from weak to strong"),
        (("search", "minimal", "Fourier(2)", "--rungs", "0"), "rungs"),
        (("search", "minimal", "Universal(1, 8)"), "all samples together"),
        (("search", "diagnose", "--modes", "1,5"), "is no range"),
        (("search", "diagnose", "--eps", "0"), "changes nothing"),
        (("search", "diagnose", "--eps-unit", "mix"), "mix"),
    ],
)
def test_refusals(checkpoints: dict[str, Path], arguments: tuple[str, ...], words: str) -> None:
    result = call(*arguments, "--model", f"m={checkpoints['s4d']}", "--limit", "4", "-j", "1")
    assert result.exit_code == 2, result.output
    assert words in result.stderr and "Traceback" not in result.output
