"""`predict` and `inspect`: any model on arrays, and what it is."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from robustssm.checkpoints import load_checkpoint
from robustssm.cli import main
from robustssm.networks.inference import logits


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_same_logits_as_in_a_sweep(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 64, 1)).astype(np.float32)
    np.savez(tmp_path / "x.npz", input=x, label=np.zeros(5))  # others are left unread
    for precision in ("float32", "float64"):
        arguments = ("--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz")
        result = call("models", "predict", checkpoints["s4d"], *arguments, "--precision", precision)
        assert result.exit_code == 0, result.output
        network = load_checkpoint(checkpoints["s4d"]).network.to(getattr(torch, precision))
        expected = logits(network, torch.from_numpy(x).to(getattr(torch, precision)))
        found = np.load(tmp_path / "y.npz")["output"]
        assert found.dtype == np.dtype(precision)
        np.testing.assert_array_equal(found, expected.numpy())


def test_its_own_answers_are_data_for_a_sweep(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """A model answers as it answers: without noise all of its samples are right."""
    x = np.random.default_rng(0).normal(size=(6, 64, 1)).cumsum(1).astype(np.float32)
    np.savez(tmp_path / "x.npz", input=x, lengths=np.array([64, 64, 30, 64, 9, 64]))
    own = tmp_path / "own.npz"
    result = call(
        *("models", "predict", checkpoints["s4d"], "--input", tmp_path / "x.npz"),
        *("--as-data", "-o", own),
    )
    assert result.exit_code == 0, result.output
    assert "inputs (6, 64, 1) float32" in result.output and "labels (6,) int64" in result.output
    arguments = ("--noise", "fourier", "--modes", "1", "--eps", "0.3", "-j", "1", "--no-figures")
    result = call("sweep", "-m", checkpoints["s4d"], "-d", f"file:{own}", *arguments,
                  "-o", tmp_path / "run")  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = pd.read_csv(tmp_path / "run" / "summary.csv").query("noise == 'clean'")
    assert summary["accuracy"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 64, 3), np.float32), "expects (samples, length, 1)"),
        (np.zeros(4, np.float32), "expected numbers (samples, length, channels)"),
        (np.full((2, 64, 1), np.nan, np.float32), "NaN or infinite entries"),
        (np.array(["a"]), "expected an array of numbers"),
    ],
)
def test_bad_input_is_one_line(
    checkpoints: dict[str, Path], tmp_path: Path, array: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "x.npz", input=array)
    output = tmp_path / "y.npz"
    result = call(
        "models", "predict", checkpoints["s4d"], "--input", tmp_path / "x.npz", "--output", output
    )
    assert result.exit_code == 4, result.output
    assert message in " ".join(result.output.split())
    assert not output.exists()


def test_inspect_says_what_it_is(checkpoints: dict[str, Path]) -> None:
    result = call("inspect", checkpoints["s4d"], "--format", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["content_hash"] == load_checkpoint(checkpoints["s4d"]).content_hash
    assert len(found["layers"]) == 2
    for layer in found["layers"]:
        assert "s4d" in layer["nearest"].split(", ")
        assert layer["largest_real"] < 0.0
        # Rounding 2e-16 over 128 steps, in state bases of condition up to 1e2.
        assert layer["parity"] < 1e-11
    for style in ("table", "md", "csv"):
        shown = call("inspect", checkpoints["s4d"], "--format", style)
        assert shown.exit_code == 0, shown.output
