"""A whole study of values: training, sweeps, tables, searches and refusals, by commands."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from robustssm.checkpoints.native import load_checkpoint
from robustssm.cli import main
from robustssm.evaluations.results.inspection import inspect
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, build_network
from robustssm.targets import STEPS, VALUES
from robustssm.tasks import load_task

SIZES = "length=24:train=48:validation=8:test=20"
TASKS = {"values": f"ar:{SIZES}", "steps": f"denoise:{SIZES}"}


def run(*argv: object, code: int = 0) -> str:
    """Return the output of a command, which has to end with an exit code."""
    result = CliRunner().invoke(main, [str(word) for word in argv])
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


@pytest.fixture(scope="module", params=TASKS)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two models of two training seeds each, trained for an epoch and swept."""
    folder = tmp_path_factory.mktemp(request.param)
    models = []
    for init in ("s4d", "s5"):
        for seed in (0, 1):
            path = folder / f"{init}-{seed}.safetensors"
            sizes = ("--d-model", 4, "-n", 4, "--layers", 1, "--epochs", 1, "-b", 16)
            train = ("train", "--init", init, "--data", TASKS[request.param], *sizes)
            assert "clean test R2" in run(*train, "--pooling", "last", "--seed", seed, "-o", path)
            models.append(f"{init}/{seed}={path}")
    sweep = ("sweep", "-m", ",".join(models), "--noise", "fourier", "--modes", "1-3")
    run(*sweep, "--eps", "0.3,1", "-o", folder / "run")
    return request.param, folder, models


def test_cells_hold_the_errors_of_the_network(study: Any) -> None:
    kind, folder, _ = study
    task = load_task(TASKS[kind])
    split = task.splits["test"]
    network = load_checkpoint(folder / "s4d-0.safetensors").network
    answers = logits(network, torch.from_numpy(split.inputs)).double().numpy()
    apart = (answers - split.labels).reshape(len(split), -1)
    directory = RunDirectory(folder / "run")
    plan = directory.plan()
    own = plan[(plan["model"] == "s4d") & (plan["train_seed"] == 0)]
    rows = directory.rows(own.loc[own["noise"] == "clean", "cell"].iloc[0])
    np.testing.assert_allclose(rows["squared_error"], (apart**2).mean(1), rtol=1e-12)
    np.testing.assert_allclose(rows["absolute_error"], np.abs(apart).mean(1), rtol=1e-12)
    summary = pd.read_csv(folder / "run" / "summary.csv")
    first = summary[(summary["model"] == "s4d") & (summary["train_seed"] == 0)].iloc[0]
    flat = split.labels.reshape(-1, split.labels.shape[-1])
    assert first["mse"] == pytest.approx((apart**2).mean())
    assert first["mae"] == pytest.approx(np.abs(apart).mean())
    assert first["r2"] == pytest.approx(1.0 - (apart**2).mean() / flat.var())
    card = load_checkpoint(folder / "s4d-0.safetensors").card
    assert card.training["clean_r2"] == pytest.approx(first["r2"])


def test_tables_name_the_worst_and_test_differences_by_sign_flips(study: Any) -> None:
    _, folder, _ = study
    shown = json.loads(run("show", folder / "run", "--verify", "--format", "json"))
    summary = pd.read_csv(folder / "run" / "summary.csv")
    for row in shown["overview"]:
        own = summary[(summary["model"] == row["model"]) & (summary["eps"] == row["eps"])]
        own = own[own["noise"] != "clean"]
        assert row["mse_mean_over_modes"] == pytest.approx(own["mse"].mean())
        worst = own.groupby("train_seed")["mse"].max().mean()
        assert row["mse_worst_over_modes"] == pytest.approx(worst)
    tests = pd.read_csv(folder / "run" / "tests.csv")
    directory = RunDirectory(folder / "run")
    plan = directory.plan()
    for row in tests.to_dict("records")[:6]:
        same = (plan["mode"] == row["mode"]) & (plan["eps"] == row["eps"])
        a, b = (
            directory.rows(
                plan[same & (plan["model"] == name) & (plan["train_seed"] == seed)]["cell"].iloc[0]
            )["squared_error"].to_numpy()
            for name, seed in ((row["model_a"], row["seed_a"]), (row["model_b"], row["seed_b"]))
        )
        assert row["difference"] == pytest.approx((a - b).mean())
        assert row["a_closer"] == (a < b).sum() and row["b_closer"] == (a > b).sum()
        assert row["p"] == sign_flip((a - b)[None])[0]
    compared = json.loads(run("compare", folder / "run", "--format", "json"))
    quantities = {row["quantity"] for row in compared["models"]}
    assert {"mse_clean", "mse_mean_over_modes", "mse_worst_crossfit"} <= quantities
    assert not any(name.startswith("acc_") for name in quantities)
    clean = [
        r for r in compared["models"] if r["quantity"] == "mse_clean" and r["train_seed"] == "0"
    ]
    for row in clean:
        of_model = summary[(summary["model"] == row["model"]) & (summary["train_seed"] == 0)]
        assert row["value"] == pytest.approx(of_model["clean_mse"].iloc[0])
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
    run("compare", folder / "run", "--fail-if", "clean < 0", "--full")
    run("compare", folder / "run", "--fail-if", "clean > 0", code=5)


def test_reports_and_figures_speak_of_errors(study: Any) -> None:
    _, folder, _ = study
    for name in ("report.md", "report.html"):
        run("report", folder / "run", "-o", folder / name)
    text = (folder / "report.md").read_text()
    assert "mean squared error" in text and "sign flips" in text.lower()
    assert "ccurac" not in text and "McNemar" not in text
    drawn = {path.stem for path in (folder / "run" / "figures").glob("*.png")}
    assert {"robustness", "worst-case", "heat-map"} <= drawn


def test_cells_that_contradict_themselves_are_found(study: Any) -> None:
    _, folder, _ = study
    assert inspect(folder / "run", verify=True).word == "complete"


def test_searches_work_on_errors(study: Any) -> None:
    kind, folder, models = study
    data = ("--data", TASKS[kind])
    found = json.loads(
        run("search", "worst-mode", "-m", models[0], *data, "--modes", "1-8", "--part", 1,
            "--eps", 1, "--no-prior", "--format", "json")
    )["rows"][0]  # fmt: skip
    sweep = ("sweep", "-m", models[0], *data, "--noise", "fourier", "--modes", "1-8", "--eps", 1)
    out = folder / "modes"
    run(*sweep, "-o", out)
    summary = pd.read_csv(out / "summary.csv")
    noisy = summary[summary["noise"] != "clean"].set_index("mode")["mse"]
    assert found["mse"] == pytest.approx(noisy[found["mode_1"]])
    assert found["mode_1"] == noisy.idxmax()
    # A strength breaks a sample where its error exceeds the threshold, and no weaker rung does.
    minimal = ("search", "minimal", "Fourier(2)", "-m", models[0], *data, "--rungs", 5)
    run(*minimal, "--bisections", 0, "--broken", 2.0, "-o", folder / "eps.csv")
    table = pd.read_csv(folder / "eps.csv")
    directory, plan = RunDirectory(out), RunDirectory(out).plan()
    clean = directory.rows(plan.loc[plan["noise"] == "clean", "cell"].iloc[0])
    assert (table["right"].to_numpy() == (clean["squared_error"] < 2.0).to_numpy()).all()
    at_one = directory.rows(plan.loc[plan["mode"] == 2, "cell"].iloc[0])["squared_error"] >= 2.0
    assert (at_one.to_numpy() <= (table["eps"].to_numpy() <= 1.0)).all()
    run("search", "diagnose", "-m", models[0], *data, code=2)


def test_an_adversary_raises_the_error_above_every_mode(study: Any) -> None:
    kind, folder, models = study
    out = folder / "attacked"
    run("sweep", "-m", models[0], "--data", TASKS[kind], "--noise", "BandPGD(1, 8, steps=20)",
        "--noise", "fourier", "--modes", "1-8", "--eps", 1, "-o", out)  # fmt: skip
    summary = pd.read_csv(out / "summary.csv")
    attacked = summary["noise"].str.startswith("BandPGD")
    assert summary.loc[attacked, "mse"].iloc[0] > summary.loc[~attacked, "mse"].max()


def test_models_and_data_of_other_kinds_are_refused(study: Any) -> None:
    kind, folder, models = study
    output = run("sweep", "-m", models[0], "--data", "digits", "--noise", "fourier",
                 "-o", folder / "no", code=4)  # fmt: skip
    assert "answers with values" in output and "has classes; name data of its kind" in output
    output = run("sweep", "-m", "s4d", "--data", TASKS[kind], "--noise", "fourier",
                 "-o", folder / "no", code=4)  # fmt: skip
    assert "answers with classes" in output


@pytest.mark.parametrize("options", [{}, {"prenorm": True, "residual": True}, {"norm": "batch"}])
@pytest.mark.parametrize("target", [VALUES.name, STEPS.name])
def test_programs_answer_as_the_network_does(target: str, options: dict[str, Any]) -> None:
    architecture = Architecture(
        "s4d", n=4, d_model=5, layers=2, d_input=2, d_output=3, target=target, **options
    )
    network = build_network(architecture, 3).double().eval()
    network.output_mean += 2.0
    network.output_std *= 5.0
    x = torch.randn(7, 19, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = logits(network, x)
    with torch.no_grad():
        torch.testing.assert_close(found, network(x), rtol=1e-9, atol=1e-9)
    assert found.shape == ((7, 19, 3) if target == STEPS.name else (7, 3))
    assert torch.equal(logits(network, x[4:5]), found[4:5])


def test_errors_of_samples_that_end_early_are_over_their_steps() -> None:
    answers, targets = torch.zeros(2, 4, 1), torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 4]])[..., None]
    found = STEPS.errors(answers, targets, torch.tensor([4, 2]))
    assert found.tolist() == [7.5, 2.5]
    loss = STEPS.training_loss(answers, targets, torch.tensor([4, 2]), torch.ones(1))
    assert float(loss) == pytest.approx((30.0 + 5.0) / 6.0)


def test_other_commands_take_values_or_say_that_they_do_not(study: Any) -> None:
    kind, folder, models = study
    assert "outputs" in run("ls", "tasks", TASKS[kind], "--show", 2, "-o", folder / "sheet.png")
    for form in ("parquet", "json"):
        run("export", folder / "run", "--to", form, "-o", folder / f"run.{form}")
    assert "squared_error" in pd.read_parquet(folder / "run.parquet")
    data = ("--data", TASKS[kind])
    output = run("search", "radius", "-m", models[0], *data, "--limit", 2, code=2)
    assert "expected a task of classes" in output
    run("ls", "tasks", TASKS[kind], "--label", 0, code=2)
