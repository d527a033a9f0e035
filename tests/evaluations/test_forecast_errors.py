"""MASE, sMAPE and errors per output: of a sweep, against the table in its own units."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from robustssm.checkpoints.native import load_checkpoint
from robustssm.cli import main
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.networks.inference import logits
from robustssm.targets import OUTPUTS, STEPS, VALUES
from robustssm.tasks import load_task
from tests.robustssm.tasks.test_values import table

HORIZON, VARIABLES = 2, 3


def run(*argv: object) -> None:
    result = CliRunner().invoke(main, [str(word) for word in argv])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network that forecasts three variables, swept with two draws of the noise."""
    folder = tmp_path_factory.mktemp("forecast")
    path = table(folder / "ett.csv")
    data = f"forecast:file={path}:length=16:horizon={HORIZON}:target=*"
    sizes = ("--d-model", 4, "-n", 4, "--layers", 1, "--epochs", 2, "-b", 16, "--seed", 0)
    run("train", "--init", "s4d", "--data", data, *sizes, "-o", folder / "net.safetensors")
    noise = ("--noise", "fourier", "--modes", "1,2", "--eps", 1, "--noise-seeds", 2)
    where = ("-m", f"net={folder / 'net.safetensors'}", "-d", data)
    run("sweep", *where, *noise, "-o", folder / "run", "--no-figures")
    return folder, path, load_task(data)


def test_errors_of_a_forecast_are_those_in_the_units_of_the_table(swept: Any) -> None:
    folder, path, task = swept
    frame = pd.read_csv(path).drop(columns="date").to_numpy()
    learnt = frame[:120]
    split = task.splits["test"]
    network = load_checkpoint(folder / "net.safetensors").network
    answers = logits(network, torch.from_numpy(split.inputs)).double().numpy()
    forecast = answers.reshape(-1, HORIZON, VARIABLES) * learnt.std(0) + learnt.mean(0)
    first = split.sample_id % 1_000_000_000 + 16
    truth = frame[first[:, None] + np.arange(HORIZON)]
    naive = np.abs(learnt[1:] - learnt[:-1]).mean(0)
    mase = (np.abs(forecast - truth) / naive).mean((1, 2))
    smape = (200.0 * np.abs(forecast - truth) / (np.abs(forecast) + np.abs(truth))).mean((1, 2))
    directory = RunDirectory(folder / "run")
    plan = directory.plan()
    rows = directory.rows(plan.loc[plan["noise"] == "clean", "cell"].iloc[0])
    # Rounding, of targets that were scaled and back.
    np.testing.assert_allclose(rows["mase"], mase, rtol=1e-9)
    np.testing.assert_allclose(rows["smape"], smape, rtol=1e-9)
    apart = (answers - split.labels) ** 2
    for k in range(HORIZON * VARIABLES):
        np.testing.assert_allclose(rows[f"mse_{k}"], apart[:, k], rtol=1e-9)
    summary = pd.read_csv(folder / "run" / "summary.csv")
    assert summary["mase"].iloc[0] == pytest.approx(mase.mean())
    assert summary["smape"].iloc[0] == pytest.approx(smape.mean())
    whole = summary[[f"mse_{k}" for k in range(HORIZON * VARIABLES)]]
    np.testing.assert_allclose(whole.mean(axis=1), summary["mse"], rtol=1e-12)


def test_over_draws_of_the_noise_they_are_means(swept: Any) -> None:
    folder, _, _ = swept
    summary = pd.read_csv(folder / "run" / "summary.csv")
    directory = RunDirectory(folder / "run")
    noisy = summary[summary["noise"] != "clean"]
    assert len(noisy) == 2
    for row in noisy.to_dict("records"):
        cells = [directory.rows(cell) for cell in row["cell"].split()]
        assert len(cells) == 2
        for name in ("mase", "smape", "mse_5"):
            assert row[name] == pytest.approx(np.mean([cell[name].mean() for cell in cells]))


def test_a_naive_forecast_in_the_training_rows_has_a_mase_of_one(tmp_path: Path) -> None:
    """One step ahead, the last row for an answer: what the scale is the mean of."""
    task = load_task(f"forecast:file={table(tmp_path / 'ett.csv')}:length=2:horizon=1:target=*")
    split = task.splits["train"]
    last = torch.from_numpy(split.inputs[:, -1].astype(np.float64))
    found = VALUES.samples((last, split.labels, None), np.zeros(3), (), task.scaler)
    # Of 119 changes 118 are targets; each variable's has about the same size. float32 inputs.
    assert found["mase"].mean() == pytest.approx(1.0, abs=0.02)


def test_errors_per_output_have_the_outputs_names_and_are_over_valid_steps() -> None:
    answers, targets = torch.zeros(2, 4, 2), np.ones((2, 4, 2))
    targets[:, :, 1], targets[0, 2:] = 2.0, 9.0
    given = answers, targets, np.array([2, 4])
    found = STEPS.samples(given, np.zeros(2), ("HR", "SpO2"), None)
    assert [*found] == [*STEPS.rows, "mse_HR", "mse_SpO2"]
    assert found["mse_HR"].tolist() == [1.0, 1.0] and found["mse_SpO2"].tolist() == [4.0, 4.0]
    for outputs in (1, OUTPUTS + 1):
        many = torch.zeros(2, outputs)
        none = VALUES.samples((many, many.numpy(), None), np.zeros(outputs), (), None)
        assert [*none] == [*VALUES.rows]


def test_smape_of_zeros_is_zero_and_at_most_200() -> None:
    answers = torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64)
    targets = np.array([[0.0, 0.0], [-1.0, 2.0]])
    scaler = np.array([[1.0, 1.0], [0.0, 0.0]])
    found = VALUES.samples((answers, targets, None), np.zeros(2), (), scaler)
    assert found["smape"].tolist() == [0.0, 200.0] and found["mase"].tolist() == [0.0, 2.5]
