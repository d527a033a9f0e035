"""Numbers of docs/data come from what commands have stored, row by row."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from docs import recompute
from docs.recompute import main
from docs.tables import WIDTH, broken
from robustssm.evaluations.results.cell_reader import digest_cells
from robustssm.evaluations.results.summary import summarise
from robustssm.evaluations.statistics.intervals import seed_interval, student
from tests.evaluations.written_runs import share, write_run

PAGE = "page, not recomputed"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own docs/data: one command each, two rows of a page."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = f"quantity,value,low,high,command,source\na,0.25,,,c,{PAGE!r}\nb,1.0,,,c,{PAGE!r}\n"
    (folder / "measured.csv").write_text("# robustssm sweep\n" + rows.replace("'", '"'))
    monkeypatch.setattr(recompute, "DATA", folder)
    return folder


def read(data: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(data / f"{name}.csv", skiprows=1)


def test_rows_get_new_numbers_where_they_are(data: Path) -> None:
    """Order, comment and other columns stay, a new row is the last."""
    recompute.measured("d", {"b": 1.04, "c": (0.5, 0.4, 0.6), "a": 0.2549})
    text = (data / "measured.csv").read_text()
    assert text.startswith("# robustssm sweep\n")
    found = read(data, "measured").set_index("quantity")
    assert list(found.index) == ["a", "b", "c"]
    assert found["value"].tolist() == [0.2549, 1.04, 0.5]
    assert set(found["source"]) == {recompute.AGAIN} and set(found["command"]) == {"d"}
    text = "# robustssm sweep\nclaim,null,estimate,low,high\nx,0.5,1.0,0.9,1.1\n"
    (data / "claims.csv").write_text(text)
    again = pd.DataFrame({"claim": ["x"], "estimate": [2.0], "low": [np.nan], "high": [3.0]})
    recompute.put("claims", ["claim"], again)
    assert (data / "claims.csv").read_text() == text.replace("1.0,0.9,1.1", "2.0,,3.0")


def test_a_table_is_what_its_commands_printed(data: Path, tmp_path: Path) -> None:
    (data / "gain.csv").write_text("# robustssm gain A, gain B\nold\n1\n")
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"model,gain\n{name},0.1\n")
    files = [str(tmp_path / name) for name in ("a", "b")]
    result = CliRunner().invoke(main, ["rows", "gain", *files], catch_exceptions=False)
    assert result.exit_code == 0
    text = "# robustssm gain A, gain B\nmodel,gain\na,0.1\nb,0.1\n"
    assert (data / "gain.csv").read_text() == text


def test_sweeps_are_read_by_seed_and_sample(data: Path, tmp_path: Path) -> None:
    """Mean and worst mode of each seed, and both adversaries that a sweep of modes stands for."""
    key = "perturbation,eps,model,accuracy,low,high"
    names = ("mean over Fourier modes 0 to 128", "worst Fourier mode of each seed")
    rows = "".join(f"{name},0.3,s4d,0.1,0.0,0.2\n" for name in names)
    (data / "perturbations.csv").write_text(f"# robustssm sweep\n{key}\n{rows}")
    searches = ("worst mode, one for all samples", "worst mode of each sample, random phase")
    rows = "".join(f'"{name}",129,s4d,0.1\n' for name in searches)
    head = "search,passes,model,accuracy"
    (data / "adversaries.csv").write_text(f"# robustssm sweep\n{head}\n{rows}")
    (data / "resonance.csv").write_text("# robustssm sweep\nwhere,eps,model,accuracy,low,high\n")
    (data / "claims.csv").write_text("# robustssm sweep\nclaim,estimate,low,high\n")
    (data / "weights.csv").write_text("# robustssm sweep\ngroup,bits,model,lost,low,high\n")
    last = share(0.25)[::-1]  # wrong where the others are right
    curves = {
        ("s4d", 0): {(1.0, 0.3): share(0.5), (2.0, 0.3): last},
        ("s4d", 1): {(1.0, 0.3): share(0.7), (2.0, 0.3): share(0.9)},
    }
    run = write_run(tmp_path / "run", curves)
    summarise(run, digest_cells(run)).to_csv(run.path / "summary.csv", index=False)
    result = CliRunner().invoke(main, ["sweeps", str(run.path)], catch_exceptions=False)
    assert result.exit_code == 0
    found = read(data, "perturbations").set_index("perturbation")
    for name, seeds in zip(names, ([0.375, 0.8], [0.25, 0.7]), strict=True):
        assert found.loc[name, "accuracy"] == pytest.approx(np.mean(seeds))
        assert tuple(found.loc[name, ["low", "high"]]) == pytest.approx(seed_interval(seeds))
    adversaries = read(data, "adversaries")
    # No sample of the first seed is right under both modes.
    assert adversaries["accuracy"].tolist() == pytest.approx([(0.25 + 0.7) / 2, 0.7 / 2])
    facts = read(data, "measured").set_index("quantity")["value"]
    assert (facts["digits n"], facts["digits seeds"]) == (40, 2)
    # A run of some samples says nothing of all.
    before = (data / "measured.csv").read_bytes()
    manifest = run.path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "partial": True}))
    summary = pd.read_csv(run.path / "summary.csv").assign(n=7)
    summary.to_csv(run.path / "summary.csv", index=False)
    assert CliRunner().invoke(main, ["sweeps", str(run.path)]).exit_code == 0
    assert (data / "measured.csv").read_bytes() == before


def test_resonance_and_differences_are_of_each_seed() -> None:
    rows = [
        ("resonance", "spike", 1.0, 1.0, model, seed, accuracy)
        for model, accuracies in {"s4d": [0.2, 0.1], "s4ptd": [0.9, 0.95]}.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    rows += [("clean", "", 0.0, 0.0, "s4d", seed, 0.5 + seed / 10) for seed in (0, 1)]
    names = ["noise", "mode_unit", "mode", "eps", "model", "train_seed", "accuracy"]
    summary = pd.DataFrame(rows, columns=names)
    found = recompute.resonance(summary).set_index(["where", "model"])
    assert found.loc[("clean", "s4d"), "accuracy"] == pytest.approx(0.55)
    spike = found.loc[("spike", "s4ptd"), ["accuracy", "low", "high"]]
    assert tuple(spike) == pytest.approx((0.925, *seed_interval([0.9, 0.95])))
    (gap,) = recompute.differences(summary[summary["noise"] != "clean"]).to_numpy()
    assert gap[0] == "S4D breaks at its highest spike and PTD does not"
    assert list(gap[1:]) == pytest.approx([0.775, *student([0.7, 0.85])])


def test_checkpoints_are_read_from_the_lines_of_the_tests(data: Path) -> None:
    """Files loaded another way are left out; the largest errors are of whole networks alone."""
    (data / "checkpoints.csv").write_text(
        "# pytest -s\nfile,what,settings,float32,relative32,float64,relative64\n"
    )
    lines = (
        "..v3_a.ckpt [rate=2 disc=zoh] <of v3>: "
        "float32 1.0e-07 (2.0e-07), float64 3.0e-16 (4.0e-16)\n.\n"
        ".v3_a_io.npz: float32 9.0e-07 (9.0e-07)\n"
        ".s4d_layer.npz: float32 5.0e-06 (6.0e-06)\n"
    )
    result = CliRunner().invoke(main, ["checkpoints"], input=lines, catch_exceptions=False)
    assert result.exit_code == 0
    found = read(data, "checkpoints")
    assert found[["file", "what", "settings"]].to_numpy().tolist() == [
        ["v3_a.ckpt", "of v3", "rate=2 disc=zoh"],
        ["s4d_layer.npz", "one layer", "-"],
    ]
    assert found.iloc[0, 3:].tolist() == [1e-7, 2e-7, 3e-16, 4e-16]
    facts = read(data, "measured").set_index("quantity")["value"]
    assert (facts["checkpoint files"], facts["checkpoints float32"]) == (1, 2e-7)


def test_what_stands_in_brackets_is_not_broken() -> None:
    words = "word " * 40
    text = f"- {words}`robustssm sweep --model s4d` {words}[0.123, 0.456] {words}".rstrip()
    lines = broken(text).splitlines()
    assert max(map(len, lines)) <= WIDTH and all(line.startswith("  ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == text
    assert all(line.count("`") % 2 == 0 and line.count("[") == line.count("]") for line in lines)
    assert broken(f"    {words}") == f"    {words}"


def test_losses_are_paired_by_training_seed() -> None:
    names = ["noise", "mode", "model", "train_seed", "clean_accuracy", "accuracy"]
    noise = "WeightQuantise(mode, group='A')"
    rows = [(noise, 8.0, "s4d", k, 0.9 + 0.02 * k, 0.5 + 0.03 * k) for k in range(3)]
    rows += [("WeightQuantise(mode)", 8.0, "s4d", k, 0.9, 0.8) for k in range(3)]
    rows += [("fourier", 8.0, "s4d", 0, 0.9, 0.1)]
    found = recompute.losses(pd.DataFrame(rows, columns=names)).set_index(
        ["group", "bits", "model"]
    )
    assert list(found.index) == [("A", 8, "s4d"), ("all", 8, "s4d")]
    lost = found.loc[("A", 8, "s4d")]
    assert lost["lost"] == pytest.approx(0.39)
    assert (lost["low"], lost["high"]) == pytest.approx(student([0.4, 0.39, 0.38]))
    assert found.loc[("all", 8, "s4d"), "lost"] == pytest.approx(0.1)
