"""Numbers of docs/data come from what commands have stored, row by row."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from docs import data_files, paper_findings, sweep_findings
from docs.claims import measured
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
    for module in ("docs.data_files", "docs.recompute"):
        monkeypatch.setattr(f"{module}.DATA", folder)
    return folder


def read(data: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(data / f"{name}.csv", skiprows=1)


def test_rows_get_new_numbers_where_they_are(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Order and comment stay, a new row is the last; told is what the page had otherwise."""
    data_files.measured("d", {"b": 1.04, "c": (0.5, 0.4, 0.6), "a": 0.2549})
    text = (data / "measured.csv").read_text()
    assert text.startswith("# robustssm sweep\n")
    found = read(data, "measured").set_index("quantity")
    assert list(found.index) == ["a", "b", "c"]
    assert found["value"].tolist() == [0.2549, 1.04, 0.5]
    assert set(found["source"]) == {data_files.AGAIN} and set(found["command"]) == {"d"}
    # 1.04 is 1 in the one digit that the page had; 0.2549 would have been 0.25 as well.
    assert capsys.readouterr().out == ""
    data_files.measured("d", {"b": 2.0})
    assert capsys.readouterr().out == ""  # no number of a page any more
    assert read(data, "measured").set_index("quantity").loc["b", "value"] == 2.0


def test_another_number_than_the_page_is_told(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_files.measured("d", {"a": 0.261})
    assert capsys.readouterr().out == "measured: a: value: page 0.25, now 0.261\n"


def test_sweeps_are_read_by_seed_and_sample(data: Path, tmp_path: Path) -> None:
    """Mean and worst mode of each seed, and both adversaries that a sweep of modes stands for."""
    key = "perturbation,eps,model,accuracy,low,high,source"
    names = ("mean over Fourier modes 0 to 128", "worst Fourier mode of each seed")
    rows = "".join(f"{name},0.3,s4d,0.1,0.0,0.2,page\n" for name in names)
    (data / "perturbations.csv").write_text(f"# robustssm sweep\n{key}\n{rows}")
    searches = ("worst mode, one for all samples", "worst mode of each sample, random phase")
    rows = "".join(f'"{name}",129,s4d,0.1,page\n' for name in searches)
    head = "search,passes,model,accuracy,source"
    (data / "adversaries.csv").write_text(f"# robustssm sweep\n{head}\n{rows}")
    (data / "resonance.csv").write_text("# robustssm sweep\nwhere,eps,model,accuracy,low,high\n")
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
    assert set(adversaries["source"]) == {data_files.AGAIN}
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
    found = sweep_findings.resonance(summary).set_index(["where", "model"])
    assert found.loc[("clean", "s4d"), "accuracy"] == pytest.approx(0.55)
    spike = found.loc[("spike", "s4ptd"), ["accuracy", "low", "high"]]
    assert tuple(spike) == pytest.approx((0.925, *seed_interval([0.9, 0.95])))
    (gap,) = sweep_findings.differences(summary[summary["noise"] != "clean"]).values()
    assert gap == pytest.approx((0.775, *student([0.7, 0.85])))


def test_a_run_that_is_not_finished_leaves_the_numbers(data: Path, tmp_path: Path) -> None:
    before = (data / "measured.csv").read_bytes()
    result = CliRunner().invoke(main, ["paper", str(tmp_path)], catch_exceptions=False)
    assert result.output.count("not finished") == len(paper_findings.RECIPES)
    assert (data / "measured.csv").read_bytes() == before


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


def test_the_sinusoid_regression_in_numbers() -> None:
    ratio = [-0.2, 0.1, -0.4]
    rows = [
        ("s4d", "fixed", seed, "outside", 0.5 + seed, 20.0 + seed, low)
        for seed, low in enumerate(ratio)
    ]
    rows += [("s4d", "spread", 0, "outside", 9.0, 9.0, -9.0), ("s4d", "fixed", 0, "inside", 9.0, 9.0, -9.0)]  # fmt: skip  # noqa: E501
    names = ["model", "steps", "seed", "band", "rms_ratio", "rms_s", "lowest_ratio"]
    facts = pd.DataFrame([{"s_max": 80.0, "s_test": 100.0}])
    found = paper_findings.fig2({"errors": pd.DataFrame(rows, columns=names), "settings": facts})
    assert found["fig2 seeds with a negative amplitude"] == 2
    assert found["fig2 lowest amplitude"] == pytest.approx((np.mean(ratio), *student(ratio)))
    assert found["fig2 frequency error s4d"] == 21.0
    # The RMS of s - 80 over (80, 100], by quadrature.
    s = np.linspace(80.0, 100.0, 20001)
    rms = float(np.sqrt(np.trapezoid((s - 80.0) ** 2, s) / 20.0))
    assert found["fig2 frequency error of always saying 80"] == pytest.approx(rms, rel=1e-6)


def test_contaminated_accuracies_in_numbers() -> None:
    """A gap that closes again counts from where it stays; only last epochs make gaps."""
    gaps = {0: 0.0, 1: 0.9, 2: 0.1, 3: 0.8, 4: 0.7}
    rows = [
        (init, seed, epoch, eps, 0.1 + (gap * eps + 0.01 * seed if init == "s4ptd" else 0.0))
        for epoch, gap in gaps.items()
        for eps in (0.1, 1.0)
        for seed in (0, 1)
        for init in ("s4d", "s4ptd", "s5", "s5ptd-rank1")
    ]
    frame = pd.DataFrame(rows, columns=["init", "seed", "epoch", "eps", "accuracy"]).assign(n=9)
    found = paper_findings.contaminated({"accuracies": frame})
    assert found["fig3ab eps 1 epoch of the gap"] == 3
    assert found["fig3ab eps 1 gap"] == pytest.approx((0.705, *student([0.7, 0.71])))
    assert (found["fig3ab n"], found["fig3ab seeds"]) == (9, 2)


def test_claims_take_the_numbers_of_their_quantity() -> None:
    claims = pd.DataFrame({"estimate": [0.0, 3.0], "quantity": ["a", "b"]})
    rows = {"b": (9.0, 8.0, 10.0), "c": (0.0, 0.0, 0.0), "a": (1 / 3, 0.25, 0.5)}
    numbers = pd.DataFrame.from_dict(rows, "index", columns=["value", "low", "high"])
    found = measured(claims, numbers.rename_axis("quantity").reset_index())
    expected = [[0.333333, 0.25, 0.5], [9.0, 8.0, 10.0]]  # six digits, as the file has them
    np.testing.assert_array_equal(found[["estimate", "low", "high"]], expected)


def test_what_stands_in_brackets_is_not_broken() -> None:
    words = "word " * 40
    text = f"- {words}`robustssm sweep --model s4d` {words}[0.123, 0.456] {words}".rstrip()
    lines = broken(text).splitlines()
    assert max(map(len, lines)) <= WIDTH and all(line.startswith("  ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == text
    assert all(line.count("`") % 2 == 0 and line.count("[") == line.count("]") for line in lines)
    assert broken(f"    {words}") == f"    {words}"
