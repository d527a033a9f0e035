"""`robustssm reproduce`: its list, its resumption, its exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robustssm.cli import Commands
from robustssm.commands.reproduce import reproduce


def invoke(*arguments: object) -> Result:
    """Run the command inside the group that turns errors into exit codes."""
    group = Commands(commands={"reproduce": reproduce})
    return CliRunner().invoke(group, ["reproduce", *map(str, arguments)])


def test_list_names_every_recipe() -> None:
    result = invoke("--list", "--format", "json")
    assert result.exit_code == 0
    names = {row["name"] for row in json.loads(result.stdout)["rows"]}
    assert {"fig1", "appendix-f", "appendix-i", "bound"} <= names


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fig99"], "fig99"),
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
