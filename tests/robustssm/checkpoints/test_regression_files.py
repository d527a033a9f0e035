"""Networks of state-spaces/s4 that answer values: read, held against a loop over time, swept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from robustssm.checkpoints.importers import open_checkpoint
from robustssm.cli import main
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.tasks import load_task
from robustssm.typing import FloatArray
from tests.robustssm.checkpoints.foreign import D, Draw, L, f64
from tests.robustssm.checkpoints.networks import config, naive, network_tensors, pooled

GIVEN = np.random.default_rng(5).normal(size=(12, L, 2)).astype(np.float32)


def run(*argv: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in argv])
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def written(
    path: Path, outputs: int, mode: str, loss: str = "mse", **more: Any
) -> dict[str, Tensor]:
    """Write the file that its trainer writes for BIDMC, prenorm; return its tensors."""
    t, draw = network_tensors("layer", "R", True), Draw(3)
    for key, shape in (("weight", (outputs, D)), ("bias", (outputs,))):
        t[f"decoder.0.output_transform.{key}"] = draw(*shape)
    options = config("layer", "R", True, mode)
    options["dataset"] = {"_name_": "bidmc", "target": "HR", "prediction": False, "reshuffle": True}
    options["task"] = {"_name_": "base", "loss": loss, "metrics": ["mae", "rmse"]}
    torch.save({"state_dict": t, "hyper_parameters": {**options, **more}}, path)
    return t


def by_time(t: dict[str, Tensor], mode: str) -> FloatArray:
    """Answers (N, outputs), float64: states multiplied out step by step."""
    features = naive(t, "layer", "R", True, GIVEN.astype(np.float64))
    head = "decoder.0.output_transform."
    x = features if mode == "none" else pooled(features, mode)
    return np.asarray(x @ f64(t[f"{head}weight"]).T + f64(t[f"{head}bias"]))


@pytest.mark.parametrize(("outputs", "mode"), [(1, "pool"), (1, "last"), (2, "last"), (3, "pool")])
def test_errors_of_a_sweep_are_those_of_a_loop_over_time(
    outputs: int, mode: str, tmp_path: Path
) -> None:
    expected = by_time(written(tmp_path / "net.ckpt", outputs, mode), mode)
    targets = expected + np.random.default_rng(1).normal(size=expected.shape)
    # One output may have targets (N,).
    np.savez(tmp_path / "d.npz", x=GIVEN, y=targets[:, 0] if outputs == 1 else targets)
    where = ("-m", f"net={tmp_path / 'net.ckpt'}", "-d", f"file:{tmp_path / 'd.npz'}")
    noise = ("--noise", "fourier", "--modes", 3, "--eps", 0.5)
    run("sweep", *where, *noise, "-o", tmp_path / "run", "--no-figures")
    directory = RunDirectory(tmp_path / "run")
    plan = directory.plan()
    rows = directory.rows(plan.loc[plan["noise"] == "clean", "cell"].iloc[0])
    # The network is evaluated in float32: answers are of order 1.
    squares = ((expected - targets) ** 2).mean(1)
    np.testing.assert_allclose(rows["squared_error"], squares, rtol=1e-4, atol=1e-5)
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    assert summary["mse"].iloc[0] == pytest.approx(squares.mean(), rel=1e-4)
    found = open_checkpoint(tmp_path / "net.ckpt")
    assert found.card.target == "values"
    assert any("answers with values" in note for note in found.notes)
    exact = found.network.double()(torch.from_numpy(GIVEN).double()).detach().numpy()
    # float64 rounding over two blocks.
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_one_value_at_every_step(tmp_path: Path) -> None:
    dataset = {"_name_": "bidmc", "prediction": True}
    decoder = {"_name_": "sequence", "mode": "last", "l_output": None}
    t = written(tmp_path / "net.ckpt", 2, "last", dataset=dataset, decoder=decoder)
    found = open_checkpoint(tmp_path / "net.ckpt")
    assert found.card.target == "values at every step"
    exact = found.network.double()(torch.from_numpy(GIVEN).double()).detach().numpy()
    expected = by_time(t, "none")
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_kinds_that_do_not_meet_are_refused_in_one_line(tmp_path: Path) -> None:
    """Also where the numbers of outputs and of classes are the same."""
    written(tmp_path / "values.ckpt", 3, "pool")
    written(tmp_path / "classes.ckpt", 3, "pool", "cross_entropy")
    np.savez(tmp_path / "classes.npz", x=GIVEN, y=np.arange(12) % 3)
    np.savez(tmp_path / "values.npz", x=GIVEN, y=np.random.default_rng(0).normal(size=(12, 3)))
    fourier = ("--noise", "fourier", "--modes", 3, "--eps", 0.5)
    for net, data in (("values", "classes"), ("classes", "values")):
        where = ("-m", tmp_path / f"{net}.ckpt", "-d", f"file:{tmp_path / data}.npz")
        said = run("sweep", *where, *fourier, "-o", tmp_path / net, code=4)
        assert f"answers with {net}, task file:" in said and f"has {data}; name data of" in said
    where = ("-m", tmp_path / "classes.ckpt", "-d", f"file:{tmp_path / 'classes.npz'}")
    run("sweep", *where, *fourier, "--no-figures", "-o", tmp_path / "fits")
    np.savez(tmp_path / "two.npz", x=GIVEN, y=np.random.default_rng(0).normal(size=(12, 2)))
    where = ("-m", tmp_path / "values.ckpt", "-d", f"file:{tmp_path / 'two.npz'}")
    said = run("sweep", *where, *fourier, "-o", tmp_path / "two", code=4)
    assert "maps 2 channels to 3 outputs" in said and "has 2 and 2" in said


def test_an_imported_file_keeps_its_kind_and_its_r2(tmp_path: Path) -> None:
    expected = by_time(written(tmp_path / "net.ckpt", 2, "pool"), "pool")
    targets = expected + np.random.default_rng(1).normal(size=expected.shape)
    np.savez(tmp_path / "d.npz", x=GIVEN, y=targets)
    data = f"file:{tmp_path / 'd.npz'}"
    run("models", "import", tmp_path / "net.ckpt", "-o", tmp_path / "n.safetensors", "--data", data)
    card = open_checkpoint(tmp_path / "n.safetensors").card
    r2 = 1.0 - ((expected - targets) ** 2).mean() / targets.var(0).mean()
    assert card.target == "values" and card.clean_accuracy is None
    # float32, as above.
    assert card.training["clean_r2"] == pytest.approx(r2, rel=1e-4)


def test_answers_become_data(tmp_path: Path) -> None:
    written(tmp_path / "net.ckpt", 2, "pool")
    np.savez(tmp_path / "x.npz", x=GIVEN)
    own = ("models", "predict", tmp_path / "net.ckpt", "--input", tmp_path / "x.npz")
    run(*own, "--as-data", "-o", tmp_path / "own.npz")
    card = json.loads(run("ls", "tasks", f"file:{tmp_path / 'own.npz'}", "--format", "json"))[
        "task"
    ]
    assert (card["target"], card["outputs"]) == ("values", 2)
    task = load_task(f"file:{tmp_path / 'own.npz'}")
    answers = open_checkpoint(tmp_path / "net.ckpt").network(torch.from_numpy(GIVEN)).detach()
    np.testing.assert_allclose(task.splits["test"].labels, answers, rtol=1e-5, atol=1e-6)
