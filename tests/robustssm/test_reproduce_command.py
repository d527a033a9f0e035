"""`robustssm reproduce`: its list, its resumption, its exit codes."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from robustssm.cli import Commands
from robustssm.commands.reproduce import reproduce
from robustssm.errors import UsageError
from robustssm.evaluations.paper import running
from robustssm.evaluations.paper.reproduction import (
    AGREES,
    DIFFERS,
    OPEN,
    SOURCES,
    Reproduction,
    finding,
)

# Recipes that train nothing, at sizes that take a second: what `all` stands for in these tests.
CHEAP: dict[str, dict[str, object]] = {
    "bound": {"sizes": [8]},
    "fig1": {"sizes": [8, 16], "ptd_size": 16, "points": 500, "decades": 4},
}


def invoke(*arguments: object) -> Result:
    """Run the command inside the group that turns errors into exit codes."""
    group = Commands(commands={"reproduce": reproduce})
    return CliRunner().invoke(group, ["reproduce", *map(str, arguments)])


def test_list_names_every_recipe() -> None:
    result = invoke("--list", "--format", "json")
    assert result.exit_code == 0
    names = {row["name"] for row in json.loads(result.stdout)["rows"]}
    assert {"fig1", "appendix-f", "bound"} <= names


@pytest.mark.usefixtures("pdf_only")
def test_quick_run_stores_draws_and_compares_and_runs_once(tmp_path: Path) -> None:
    arguments = ("fig1", "--quick", "-o", tmp_path, "--format", "json", "--progress", "none")
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert {"recipe", "quantity", "paper", "found", "verdict"} == set(rows[0])
    folder = tmp_path / "fig1"
    assert (folder / "findings.csv").is_file() and (folder / "figures" / "fig1.svg").is_file()
    tables = {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert len(tables) == 2
    (folder / "figures" / "fig1.pdf").unlink()
    again = invoke(*arguments)
    assert again.stdout == result.stdout and (folder / "figures" / "fig1.pdf").is_file()
    assert tables == {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def test_second_hand_claims_carry_their_source(tmp_path: Path) -> None:
    """Each verdict is on a claim with a mark, which the last line explains."""
    arguments = ("bound", "--quick", "--no-figures", "-o", tmp_path, "--progress", "none")
    rows = json.loads(invoke(*arguments, "--format", "json").stdout)["rows"]
    judged = [row["paper"] for row in rows if row["verdict"] in (AGREES, DIFFERS, OPEN)]
    assert judged and all(paper.endswith(" [s]") for paper in judged)
    last = invoke(*arguments, "--format", "md").stdout.splitlines()[-1]
    assert all(f"[{mark}] {where}" in last for mark, where in SOURCES.items())
    with pytest.raises(UsageError, match="'never' has no source"):
        finding("a", "b", ("never", DIFFERS))


def only(monkeypatch: pytest.MonkeyPatch, changed: dict[str, dict[str, object]]) -> None:
    """Leave these recipes alone to be known, their quick settings changed."""
    known = running.reproductions()
    small: dict[str, Reproduction] = {
        name: replace(known[name], quick={**known[name].quick, **settings})
        for name, settings in changed.items()
    }
    monkeypatch.setattr(running, "reproductions", lambda: small)


def test_all_runs_every_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, CHEAP)
    arguments = ("all", "--quick", "--no-figures", "-o", tmp_path, "--format", "json")
    result = invoke(*arguments, "--progress", "none")
    assert result.exit_code == 0, result.output
    assert {row["recipe"] for row in json.loads(result.stdout)["rows"]} == set(CHEAP)
    assert {path.name for path in tmp_path.iterdir()} == set(CHEAP)


def test_other_data_reach_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {"s4d": {"epochs": 1, "ssm_lr": 1e-3}}
    size = {"n": 8, "d_model": 8, "layers": 1, "seeds": [0], "eps": [1.0]}
    only(monkeypatch, {"fig3ab": {**size, "trainings": trained}, **CHEAP})
    arguments = ("--quick", "-o", tmp_path, "--data", "digits:side=8", "--progress", "none")
    result = invoke("fig3ab", *arguments, "-j", "1")
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "fig3ab").glob("*.parquet")
    assert set(pd.read_parquet(path)["task"]) == {"digits:side=8"}
    refused = invoke("all", *arguments)
    assert refused.exit_code == 2 and "not for bound, fig1, which uses no task" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fig99"], "fig99"),
        (["fig1", "--data", "digits"], "not for fig1"),
        ([], "no NAME"),
        (["fig1", "--list"], "exclude"),
    ],
)
def test_usage_errors_end_in_two(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_a_damaged_table_ends_in_four(tmp_path: Path) -> None:
    arguments = ("bound", "--quick", "--no-figures", "-o", tmp_path, "--progress", "none")
    assert invoke(*arguments).exit_code == 0
    assert not (tmp_path / "bound" / "figures").exists()
    (path,) = (tmp_path / "bound").glob("*.parquet")
    path.write_bytes(b"PAR1 no more")
    result = invoke(*arguments)
    assert result.exit_code == 4 and path.name in result.stderr
