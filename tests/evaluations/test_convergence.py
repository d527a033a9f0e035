"""Rates of convergence against the theorems, and the command that prints them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.evaluations.initializations.convergence import converge, parse_sizes, slope

SIZES = [2**k for k in range(4, 13)]
INPUTS = ("impulse", "exp", "box", "decay:0.75", "decay:0.25", "mode:10", "spike")


@pytest.mark.parametrize("readout", ["e0", "e1", "1,-0.3,0.2", "1.7320508075688772,-1"])
def test_rates_and_constants_are_those_of_the_theorems(readout: str) -> None:
    result = converge(["s4d", "s4ptd-rank1", "s4ptd-rank1:tau=0.5"], SIZES, INPUTS, readout)
    fits = result.fits
    assert len(fits) == 3 * (1 + len(INPUTS)) and not result.unavailable
    for row in fits.to_dict("records"):
        # The next term of an error at n = 4096 is below 1.5% (n^-1/2 for decay:0.75, tau < 1).
        np.testing.assert_allclose(row["rate"], row["predicted_rate"], atol=0.03)
        if row["bound"]:
            assert row["ratio"] <= 1.0
        else:
            assert row["ratio"] == pytest.approx(1.0, rel=0.02)


def test_strong_convergence_of_the_normal_part_is_a_matter_of_the_jump() -> None:
    jump = converge(["s4d"], SIZES, [], "1,-0.3,0.2").fits.iloc[0]
    # (2/pi) |CB|, CB = 1 - 0.3 sqrt 3 + 0.2 sqrt 5.
    limit = 2.0 / np.pi * (1.0 - 0.3 * 3.0**0.5 + 0.2 * 5.0**0.5)
    # Theorem A; the remainder is O(1 / n^2), 1e-5 with its constant at n = 4096.
    assert jump["error"] == pytest.approx(limit, rel=1e-5)


def test_no_prediction_for_growing_readouts_and_dense_systems() -> None:
    result = converge(["s4d"], [8, 16, 32], ["exp"], "ones")
    assert (result.fits["status"] == "").all()
    result = converge(["s4ptd", "s4d-lin"], [8, 16, 32], ["exp"], "e0")
    assert (result.fits["status"] == "").all() and (result.errors["error"] > 0.0).all()


def test_what_does_not_exist_is_named() -> None:
    result = converge(["s4ptd", "s4d", "s4"], [256, 512, 1024], ["exp"])
    assert set(result.unavailable) == {"s4ptd", "s4"}
    assert "512, 1024" in result.unavailable["s4ptd"] and "itself" in result.unavailable["s4"]
    with pytest.raises(UsageError, match="nothing to compare"):
        converge(["s4"], [8, 16], ["exp"])


def test_slope_of_an_exact_power() -> None:
    n = np.array([4.0, 8.0, 16.0, 32.0, 64.0])
    rate, low, high, points = slope(n, 3.0 * n**-1.5)
    # Rounding of five logarithms.
    assert rate == pytest.approx(-1.5, abs=1e-13) and low <= rate <= high and points == 3
    rate, low, _, points = slope(n[:2], n[:2] ** -1.0)
    assert rate == pytest.approx(-1.0) and np.isnan(low) and points == 2
    assert np.isnan(slope(n, np.full(5, 1e-16), 1e-13)[0])


def test_sizes() -> None:
    assert parse_sizes("4-64") == (4, 8, 16, 32, 64)
    assert parse_sizes("5-20") == (5, 8, 16, 20)
    assert parse_sizes("9,4,6") == (4, 6, 9)


@pytest.mark.parametrize("text", ["0", "1", "0-4", "64-4", "x", "4-8-16", "", "1.5", "4-10000000"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="state size"):
        parse_sizes(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "8"], "at least two"),
        (["--n", "8,16", "--input", "step"], "expected one of impulse"),
        (["--n", "8,16", "--init", "s4e"], "unknown"),
        (["--n", "8,16", "--readout", "1,nan"], "finite"),
        (["--n", "8,16", "--readout", "e9"], "nothing to compare"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    if arguments[-1] == "e9":
        arguments = ["--n", "4,8", "--readout", "e9"]
    found = CliRunner().invoke(main, ["theory", "converge", "--no-figures", *arguments])
    assert found.exit_code == 2 and message in found.stderr
    assert "Traceback" not in found.stderr and found.stdout == ""


@pytest.mark.usefixtures("pdf_only")
def test_command(tmp_path: object) -> None:
    arguments = ["theory", "converge", "--init", "s4d,s4ptd-rank1:tau=0.5", "--n", "4-32"]
    found = CliRunner().invoke(main, [*arguments, "--format", "json", "-o", str(tmp_path)])
    assert found.exit_code == 0, found.stderr
    result = json.loads(found.stdout)
    assert len(result["fits"]) == 16 and len(result["errors"]) == 16 * 4
    from pathlib import Path

    names = {path.name for path in Path(str(tmp_path)).iterdir()}
    assert names == {"convergence.pdf", "convergence.png", "convergence.svg", "convergence.csv"}
    table = CliRunner().invoke(main, [*arguments, "--no-figures", "--format", "md"])
    assert "(proved)" in table.stdout and "sup over omega" in table.stdout
