"""`robustssm theory ptd` on the command line: make, save, inspect, study, refuse."""

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robustssm.commands.ptd import ptd
from robustssm.errors import RejectedInputError, StabilityError, UsageError
from robustssm.hippo import legs, optimized
from robustssm.hippo.diagonalize import perturb
from robustssm.hippo.matrix_files import load_initialization, save_initialization


def call(*arguments: str) -> Result:
    return CliRunner().invoke(ptd, [*arguments, "--progress", "none"])


def numbers(*arguments: str) -> dict[str, object]:
    result = call(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    content: dict[str, object] = json.loads(result.stdout)
    return content


@pytest.mark.parametrize(
    "arguments",
    [
        ("--method", "rank1", "--tau", "0.2"),
        ("--method", "clipped", "--tau", "0.2"),
        ("--method", "random", "--seed", "3"),
        ("--method", "random", "--relative-norm", "1e-3"),
        ("--method", "corner", "--size", "0.5"),
        ("--method", "optimized"),
    ],
)
def test_saved_and_inspected_are_the_same(arguments: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "made.npz"
    readouts = ("--readout", "e0,ones,random:0")
    made = numbers(*arguments, "-n", "16", "-o", str(path), *readouts)
    again = numbers(str(path), *readouts)
    assert set(made["errors"]) == {"worst", "e0", "ones", "random:0"}  # type: ignore[call-overload]
    for key in ("kappa", "norm", "relative_norm", "max_real", "input_change"):
        # The closed form of rank1 and the dense eigensolver differ by kappa n eps.
        assert again[key] == pytest.approx(made[key], rel=1e-9), key
    assert again["method"] == made["method"] and again["stable"] is True
    for name, error in made["errors"].items():  # type: ignore[attr-defined]
        # Brackets 1e-6 wide, cut where rounding tells.
        assert again["errors"][name]["low"] == pytest.approx(error["low"], rel=2e-6)  # type: ignore[index]


@pytest.mark.parametrize("style", ["table", "csv", "md"])
def test_report_in_words(style: str, tmp_path: Path) -> None:
    result = call("--method", "corner", "--size", "0.01", "-n", "8", "--format", style)
    assert result.exit_code == 0
    for word in ("kappa(V)", "max Re lambda", "worst unit readout", "(2 ln n + 4) |E|"):
        assert word in result.stdout.replace("\\|", "|")
    path = tmp_path / "a.npz"
    result = call("--method", "rank1", "-n", "8", "-o", str(path), "--format", style)
    assert "does not apply" in result.stdout and "vacuous" in result.stdout
    assert "sha256" in result.stderr and "sha256" not in result.stdout


def test_an_unstable_file_is_reported_without_an_error(tmp_path: Path) -> None:
    A, _ = legs.matrices(8)
    save_initialization(tmp_path / "bad.npz", perturb(-1.5 * A, stable=False))
    content = numbers(str(tmp_path / "bad.npz"))
    assert content["stable"] is False and content["errors"] == {}
    assert "unstable" in call(str(tmp_path / "bad.npz")).stdout


def test_table_over_methods() -> None:
    rows = numbers("-n", "16,32")["rows"]
    assert isinstance(rows, list) and len(rows) == 8
    assert "s4ptd-rank1" in call("-n", "16", "--format", "md").stdout


@pytest.mark.usefixtures("pdf_only")
def test_study(tmp_path: Path) -> None:
    A, _ = legs.matrices(8)
    save_initialization(tmp_path / "bad.npz", perturb(-1.5 * A, stable=False))
    folder = tmp_path / "study"
    matrix = f"theirs={tmp_path / 'bad.npz'}"
    content = numbers("--study", "-n", "8", "--matrix", matrix, "-o", str(folder))
    assert {row["method"] for row in content["rows"]} >= {"rank1", "given"}  # type: ignore[attr-defined]
    assert content["slopes"]
    names = {path.name for path in folder.iterdir()}
    figure = {f"ptd-trade-off.{kind}" for kind in ("pdf", "png", "svg", "csv")}
    assert names == {*figure, "study.csv", "slopes.csv"}
    assert "| n |" in call("--study", "-n", "8", "-o", str(folder), "--format", "md").stdout


def test_optimised_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimized, "optimize", partial(optimized.optimize, steps=30))
    path = tmp_path / "n4.npz"
    result = call("--method", "optimized", "-n", "4", "--restarts", "1", "-o", str(path))
    assert result.exit_code == 0, result.output
    stored = load_initialization(path)
    assert stored.E.shape == (4, 4)
    made_with = {"method": "optimized", "restarts": 1, "seed": 0, "steps": 30}
    assert made_with.items() <= stored.meta.items()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("-n", "0"), UsageError),
        (("-n", "1", "--method", "rank1"), UsageError),
        (("-n", "1.5"), UsageError),
        (("--method", "rank1"), UsageError),
        (("--method", "rank1", "-n", "8", "-o", "folder"), UsageError),
        (("--method", "rank1", "-n", "8", "--restarts", "2"), UsageError),
        (("--method", "optimized", "-n", "8", "--restarts", "2", "-o", "folder"), UsageError),
        (("--method", "rank1", "-n", "8", "--readout", "nothing"), UsageError),
        (("-n", "8", "--tau", "0.1"), UsageError),
        (("-n", "8", "-o", "a.npz"), UsageError),
        (("--matrix", "a=b.mat"), UsageError),
        (("--study", "--method", "rank1"), UsageError),
        (("--study", "-o", "a.npz"), UsageError),
        (("--method", "random", "-n", "16", "--relative-norm", "0.1"), StabilityError),
        (("--method", "rank1", "-n", "16", "--tau", "1e-9"), StabilityError),
        (("missing.npz",), RejectedInputError),
        (("--study", "--matrix", "a=missing.mat"), RejectedInputError),
    ],
)
def test_refusals(arguments: tuple[str, ...], error: type[Exception]) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, error), result.output
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    "arguments", [("--study", "--tau", "0.1", "-n", "4"), ("made.npz", "--size", "1")]
)
def test_settings_of_another_mode_are_refused(arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, UsageError)
    assert "does not belong to" in str(result.exception)
