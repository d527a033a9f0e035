"""Tokens at every step, by commands: losses of transformers, cells, tables, searches, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from robustssm.attacks.adversaries import Victim
from robustssm.attacks.base import Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.checkpoints.model_names import resolve
from robustssm.checkpoints.native import load_checkpoint, save_checkpoint
from robustssm.cli import main
from robustssm.errors import RejectedInputError
from robustssm.evaluations.results.inspection import inspect
from robustssm.evaluations.statistics.max_statistic import sign_flip
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.networks.foreign import SequenceModel
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, build_network
from robustssm.targets import TOKENS, UNJUDGED, of_table
from robustssm.tasks import load_task

TEXT = Path(__file__).parents[2] / "docs" / "checkpoints.md"
LENGTH = 24


def run(*argv: object, code: int = 0) -> str:
    """Return the output of a command, which has to end with an exit code."""
    result = CliRunner().invoke(main, [str(word) for word in argv])
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def data(path: Path, *settings: str) -> str:
    return ":".join([f"lm:file={path}", f"length={LENGTH}", *settings])


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of a few thousand characters."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(TEXT.read_bytes()[:2400])
    return path


# Where transformers is there, its own models: name -> what makes a small one.
SIZES = {"vocab_size": 256, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 8}
MAMBAS: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("Mamba", SIZES),
    "mamba2": ("Mamba2", {**SIZES, "num_heads": 4, "head_dim": 8, "n_groups": 2, "chunk_size": 8}),
}


@pytest.fixture(scope="module", params=MAMBAS)
def mamba(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of transformers with random weights, and the folder that it was saved in."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    name, sizes = MAMBAS[request.param]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**sizes)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from uniform answers
            parameter.mul_(2.0) if parameter.ndim == 2 else None
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return model, folder


def losses(model: Any, tokens: torch.Tensor, targets: torch.Tensor, **given: Any) -> torch.Tensor:
    """Return the loss that transformers itself gives each sample, (N,).

    Its labels are those of the same place, which it moves by one: the first is asked of nobody.
    """
    found = []
    for k in range(len(tokens)):
        own = {name: value[k : k + 1] for name, value in given.items()}
        following = torch.cat([torch.full((1,), UNJUDGED), targets[k]])[None]
        # One more step behind the last, whose answer has no label.
        if "inputs_embeds" in own:
            own["inputs_embeds"] = torch.cat([own["inputs_embeds"]] * 2, 1)[:, : LENGTH + 1]
        else:
            own["input_ids"] = torch.cat([tokens[k], targets[k, -1:]])[None]
        with torch.no_grad():
            found.append(model(**own, labels=following).loss)
    return torch.stack(found)


def clean_rows(directory: RunDirectory, mode: float, noise: str) -> pd.DataFrame:
    plan = directory.plan()
    own = plan[(plan["noise"] == noise) & (plan["mode"] == mode)]
    return directory.rows(own["cell"].iloc[0])


@pytest.mark.parametrize("settings", [(), ("stride=7",)])
def test_losses_are_those_of_transformers(
    mamba: Any, text: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    """Clean, and with the noise of a sweep added to the embeddings that transformers is given."""
    model, folder = mamba
    spec, out = data(text, *settings), tmp_path / "run"
    sweep = ("sweep", "-m", f"m={folder}", "-d", spec, "--noise", "fourier", "--modes", "1,5")
    run(*sweep, "--eps", 0.5, "-o", out)
    task = load_task(spec)
    split = task.splits["test"]
    tokens, targets = torch.from_numpy(split.inputs), torch.from_numpy(split.labels)
    summary, directory = pd.read_csv(out / "summary.csv").set_index("mode"), RunDirectory(out)
    found = {0.0: losses(model, tokens, targets)}
    with torch.no_grad():
        x = model.get_input_embeddings()(tokens)
        # The deviation of the embeddings over the training tokens, by the definition.
        seen = model.get_input_embeddings()(torch.from_numpy(task.splits["train"].inputs))
    site = Site(scale=seen.double().flatten(0, 1).std(0, correction=0))
    for bin_ in (1, 5):
        noisy = Fourier(bin_).perturb(x, None, split.sample_id, 0, budget=Budget(0.5), site=site)
        found[float(bin_)] = losses(model, tokens, targets, inputs_embeds=noisy)
    for mode, expected in found.items():
        rows = clean_rows(directory, mode, "fourier" if mode else "clean")
        # float32 on both sides: some 1e-6 of losses near 6.
        np.testing.assert_allclose(rows["loss"], expected.numpy(), rtol=0.0, atol=1e-5)
        assert (rows["judged"] == (7 if settings else LENGTH)).all()
        row = summary.loc[mode]
        assert row["loss"] == pytest.approx(float(expected.mean()), abs=1e-5)
        assert row["perplexity"] == pytest.approx(float(expected.mean().exp()), rel=1e-5)
    assert abs(found[5.0] - found[0.0]).max() > 1e-3  # the noise is seen


def test_a_task_of_classes_still_takes_the_last_logit(mamba: Any, text: Path) -> None:
    """One network, asked once or at every step: the last of all answers is the one answer."""
    _, folder = mamba
    network = resolve(f"m={folder}")[0].load().network
    tokens = torch.from_numpy(load_task(data(text)).splits["test"].inputs)
    with torch.no_grad():
        x = network.embed(tokens)
    once, every = logits(network, x), logits(network.answering(True), x)
    assert every.shape == (len(x), LENGTH, 256)
    # Up to the decoder the same operations; it is a sum there, a matrix product here.
    torch.testing.assert_close(every[:, -1], once, rtol=1e-5, atol=1e-5)
    assert torch.equal(logits(network.answering(True).answering(False), x), once)
    # What takes the mean over time has no answer at a step, and its shape is refused.
    assert isinstance(network, SequenceModel)
    pooled = SequenceModel(replace(network.blueprint, pooling="mean")).eval()
    found = logits(pooled.answering(True), x)
    with pytest.raises(RejectedInputError, match=rf"answers \(256,\) .*expected \({LENGTH}, 256"):
        TOKENS.check_answers("network", tuple(found.shape), np.zeros((len(x), LENGTH)), 256)


@pytest.fixture(scope="module")
def study(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two models of two training seeds each, trained for an epoch and swept with two draws."""
    folder, models = tmp_path_factory.mktemp("study"), []
    for init in ("s4d", "s5"):
        for seed in (0, 1):
            path = folder / f"{init}-{seed}.safetensors"
            sizes = ("--d-model", 4, "-n", 4, "--layers", 1, "--epochs", 1, "-b", 16)
            train = ("train", "--init", init, "--data", data(text), *sizes, "--seed", seed)
            assert "clean test token accuracy" in run(*train, "-o", path)
            models.append(f"{init}/{seed}={path}")
    sweep = ("sweep", "-m", ",".join(models), "-d", data(text), "--noise", "fourier")
    run(*sweep, "--modes", "1-3", "--eps", "0.3,1", "--noise-seeds", 2, "-o", folder / "run")
    return folder, models


def test_cells_hold_the_losses_of_the_network(study: Any, text: Path) -> None:
    folder, _ = study
    split = load_task(data(text)).splits["test"]
    network = load_checkpoint(folder / "s4d-0.safetensors").network
    with torch.no_grad():
        x = network.embed(torch.from_numpy(split.inputs))
        answers = network(x).double().numpy()
    shares = np.exp(answers) / np.exp(answers).sum(-1, keepdims=True)
    own = np.take_along_axis(shares, split.labels[..., None], -1)[..., 0]
    directory = RunDirectory(folder / "run")
    plan = directory.plan()
    first = plan[(plan["model"] == "s4d") & (plan["train_seed"] == 0)]
    rows = directory.rows(first.loc[first["noise"] == "clean", "cell"].iloc[0])
    # The forward pass and the program differ by the rounding of float32.
    np.testing.assert_allclose(rows["loss"], -np.log(own).mean(1), rtol=1e-5)
    assert (rows["right"] == (answers.argmax(-1) == split.labels).sum(1)).all()
    summary = pd.read_csv(folder / "run" / "summary.csv")
    clean = summary[(summary["model"] == "s4d") & (summary["train_seed"] == 0)].iloc[0]
    assert clean["perplexity"] == pytest.approx(np.exp(-np.log(own).mean()), rel=1e-5)
    assert clean["token_accuracy"] == pytest.approx(rows["right"].sum() / rows["judged"].sum())
    # Of two draws of the noise: the losses are averaged, and the perplexity is that of the mean.
    noisy = summary[summary["noise"] != "clean"].iloc[0]
    drawn = [directory.rows(cell) for cell in noisy["cell"].split()]
    assert len(drawn) == 2
    assert noisy["loss"] == pytest.approx(np.mean([one["loss"].mean() for one in drawn]))
    assert noisy["perplexity"] == pytest.approx(np.exp(noisy["token_loss"]))
    card = load_checkpoint(folder / "s4d-0.safetensors").card
    assert card.clean_accuracy == pytest.approx(clean["token_accuracy"])


def test_tables_name_the_worst_and_test_differences_by_sign_flips(study: Any) -> None:
    folder, _ = study
    assert inspect(folder / "run", verify=True).word == "complete"
    shown = json.loads(run("show", folder / "run", "--verify", "--format", "json"))
    summary = pd.read_csv(folder / "run" / "summary.csv")
    for row in shown["overview"]:
        own = summary[(summary["model"] == row["model"]) & (summary["eps"] == row["eps"])]
        own = own[own["noise"] != "clean"]
        assert row["loss_mean_over_modes"] == pytest.approx(own["loss"].mean())
        worst = own.groupby("train_seed")["loss"].max().mean()
        assert row["loss_worst_over_modes"] == pytest.approx(worst)
    tests, directory = pd.read_csv(folder / "run" / "tests.csv"), RunDirectory(folder / "run")
    plan = directory.plan()
    clean = plan[plan["noise"] == "clean"].set_index(["model", "train_seed"])["cell"]
    for row in tests[tests["noise"] == "clean"].to_dict("records"):
        a, b = (
            directory.rows(clean[row[f"model_{side}"], row[f"seed_{side}"]])["loss"].to_numpy()
            for side in "ab"
        )
        assert row["difference"] == pytest.approx((a - b).mean())
        assert row["a_likelier"] == (a < b).sum() and row["b_likelier"] == (a > b).sum()
        assert row["p"] == sign_flip((a - b)[None])[0]
    compared = json.loads(run("compare", folder / "run", "--format", "json"))
    quantities = {row["quantity"] for row in compared["models"]}
    assert {"loss_clean", "loss_mean_over_modes", "loss_worst_crossfit"} <= quantities
    assert not any(name.startswith("acc_") for name in quantities)
    run("compare", folder / "run", "--fail-if", "clean > 0", code=5)
    assert "perplexity" in run("show", folder / "run")


def test_reports_figures_and_exports_speak_of_losses(study: Any) -> None:
    folder, _ = study
    for name in ("report.md", "report.html"):
        run("report", folder / "run", "-o", folder / name)
    report = (folder / "report.md").read_text()
    assert "mean cross-entropy in nats per token" in report and "perplexity" in report
    assert "ccurac" not in report and "McNemar" not in report and "MSE" not in report
    drawn = {path.stem for path in (folder / "run" / "figures").glob("*.png")}
    assert {"robustness", "worst-case", "heat-map"} <= drawn
    assert "loss (nats per token)" in (folder / "report.html").read_text()
    for form in ("parquet", "json", "csv", "md"):
        run("export", folder / "run", "--to", form, "-o", folder / f"run.{form}")
    table = pd.read_parquet(folder / "run.parquet")
    assert {"loss", "judged", "right"} <= {*table} and of_table(table) is TOKENS


def test_searches_work_on_losses(study: Any, text: Path) -> None:
    folder, models = study
    given = ("-m", models[0], "-d", data(text))
    found = json.loads(
        run("search", "worst-mode", *given, "--modes", "1-8", "--part", 1, "--eps", 1,
            "--format", "json")
    )["rows"][0]  # fmt: skip
    out = folder / "modes"
    run("sweep", *given, "--noise", "fourier", "--modes", "1-8", "--eps", 1,
        "--noise", "BandPGD(1, 8, steps=10)", "-o", out)  # fmt: skip
    summary = pd.read_csv(out / "summary.csv")
    noisy = summary[summary["noise"] == "fourier"].set_index("mode")["loss"]
    assert found["loss"] == pytest.approx(noisy[found["mode_1"]])
    attacked = summary.loc[summary["noise"].str.startswith("BandPGD"), "loss"].iloc[0]
    assert attacked > noisy.max()
    directory, plan = RunDirectory(out), RunDirectory(out).plan()
    clean = directory.rows(plan.loc[plan["noise"] == "clean", "cell"].iloc[0])["loss"]
    at_one = directory.rows(plan.loc[plan["mode"] == 2, "cell"].iloc[0])["loss"]
    threshold = float(clean.median())
    minimal = ("search", "minimal", "Fourier(2)", *given, "--rungs", 5, "--bisections", 0)
    run(*minimal, "--broken", threshold, "-o", folder / "eps.csv")
    table = pd.read_csv(folder / "eps.csv")
    assert (table["right"].to_numpy() == (clean < threshold).to_numpy()).all()
    assert ((at_one >= threshold).to_numpy() <= (table["eps"].to_numpy() <= 1.0)).all()
    # By default a sample is broken at twice the clean perplexity, which all are below.
    assert "never broken" in run(*minimal)
    out = run("search", "diagnose", *given, "--modes", "1-4", code=2)
    assert "expected a task of classes" in out


def test_a_model_is_held_against_its_own_baseline(study: Any, text: Path, tmp_path: Path) -> None:
    """The same model passes; one whose logits are turned round fails."""
    _, models = study
    sweep = ("sweep", "-m", models[0], "-d", data(text), "--noise", "fourier", "--modes", "1,2")
    run(*sweep, "--eps", 0.3, "-o", tmp_path / "run")
    run("baseline", tmp_path / "run", "-o", tmp_path / "b.json")
    check = ("check", "-d", data(text), "--baseline", tmp_path / "b.json", "-j", 1)
    run(*check, "-m", models[0])
    good = load_checkpoint(Path(models[0].partition("=")[2]))
    with torch.no_grad():
        good.own.decoder.weight.neg_()
        good.own.decoder.bias.neg_()
    save_checkpoint(tmp_path / "bad.safetensors", good.network, good.card)
    assert "fell" in run(*check, "-m", tmp_path / "bad.safetensors", code=5)


def test_models_and_data_of_other_kinds_are_refused(study: Any, text: Path, tmp_path: Path) -> None:
    _, models = study
    tail = ("--noise", "fourier", "--modes", 1, "-o", tmp_path / "no")
    output = run("sweep", "-m", models[0], "-d", "digits", *tail, code=4)
    assert "answers with tokens, task digits:side=16 has classes" in output
    listops = "listops:train=20:validation=4:test=4:min_length=5:max_length=30"
    few = tmp_path / "few.safetensors"
    sizes = ("--d-model", 4, "-n", 4, "--layers", 1, "--epochs", 1, "-b", 16)
    run("train", "--init", "s4d", "--data", listops, *sizes, "-o", few)
    output = run("sweep", "-m", few, "-d", data(text), *tail, code=4)
    assert "takes 16 tokens, task" in output and "has tokens 0 to 255" in output
    output = run("search", "minimal", "Fourier(2)", "-m", few, "-d", listops, code=2)
    assert "lengths of their own, expected one length" in output


@pytest.mark.parametrize("options", [{}, {"prenorm": True, "residual": True}, {"norm": "batch"}])
@pytest.mark.parametrize("vocabulary", [5, 100])
def test_programs_answer_as_the_network_does(vocabulary: int, options: dict[str, Any]) -> None:
    """Of few outputs and of a vocabulary, and their gradients by those of autograd."""
    fields = {"d_input": 6, "d_model": 6, "tokens": vocabulary, "target": TOKENS.name}
    architecture = Architecture(
        "s4d", n=4, layers=2, d_output=vocabulary, **fields, **options  # type: ignore[arg-type]
    )  # fmt: skip
    network = build_network(architecture, 3).double().eval()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, 19, 6, dtype=torch.float64, generator=generator)
    found = logits(network, x)
    with torch.no_grad():
        torch.testing.assert_close(found, network(x), rtol=1e-9, atol=1e-9)
    assert found.shape == (7, 19, vocabulary)
    assert torch.equal(logits(network, x[4:5]), found[4:5])
    targets = torch.randint(0, vocabulary, (7, 19), generator=generator)
    with Victim(network, kind=TOKENS) as victim:
        margins, _, slope = victim.slopes(x, targets, "margin")
    leaf = x.clone().requires_grad_()
    flat = torch.nn.functional.cross_entropy(network(leaf).mT, targets, reduction="none").mean(1)
    torch.testing.assert_close(margins, -flat.detach(), rtol=1e-12, atol=1e-12)
    (expected,) = torch.autograd.grad(-flat.sum(), leaf)
    torch.testing.assert_close(slope, expected, rtol=1e-8, atol=1e-10)
