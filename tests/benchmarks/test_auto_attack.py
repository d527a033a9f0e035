"""The authors' AutoAttack, where it is installed, breaks what the ensemble breaks."""

from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from robustssm.attacks import Budget
from robustssm.attacks.adversaries import Target, Victim
from robustssm.checkpoints import load_checkpoint
from robustssm.tasks import load_task
from tests.benchmarks.test_smoke import load
from tests.source_tree import ROOT

DATA = ROOT / "docs" / "data"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("auto_attack", monkeypatch)


def summary(module: ModuleType, kind: str, path: Path) -> str:
    options = ["--summary", kind, "--output", str(path)]
    result = CliRunner().invoke(module.main, options, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("data", ["mnist1d", "digits:side=8"])
def test_signals_as_images_are_the_same_signals(
    data: str, module: ModuleType, checkpoints: dict[str, Path]
) -> None:
    """Images have room for ten times eps on both sides, and what is seen is counted."""
    task = load_task(data)
    with Victim(load_checkpoint(checkpoints["s4d"]).network) as victim:
        target = Target.of(victim, task, Budget(0.3, "linf"), 0, 6)
        model = module.Images(target, module.folded(task))
        images = model.images(target.x)
        assert images.shape[2] * images.shape[3] == task.length
        # Two roundings of numbers below 20 in single precision.
        torch.testing.assert_close(model.signals(images), target.x, rtol=0, atol=1e-5)
        # One rounding of numbers below 1, ten times over.
        room = module.ROOM * 0.3 / model.width
        assert images.min() >= room - 1e-6 and images.max() <= 1 - room + 1e-6
        model.network = torch.nn.Identity()
        model(images), model(images.requires_grad_())
        assert model.passes == [12, 6]


def test_the_authors_parts_break_the_same_samples(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("autoattack", reason="pip install '.[reference]'")
    monkeypatch.setattr(module, "PARTS", ("apgd-ce", "apgd-t"))  # square takes minutes
    path = tmp_path / "rows.csv"
    common = ["--data", "mnist1d", "--model", "s4ptd/0", "--samples", "32"]
    common += ["--strengths", "l2=0.5,linf=0.1", "--output", str(path)]
    for option in ([], ["--authors"]):
        result = CliRunner().invoke(module.main, [*common, *option], catch_exceptions=False)
        assert result.exit_code == 0
    found = pd.read_csv(path, comment="#", dtype={"ids": str}).fillna({"ids": ""})
    found = module.strengths_of(found)
    assert len(found) == 2 and (found["ours"] <= found[["pgd", "best_part"]].min(axis=1)).all()
    assert found["ours"].between(4, 28).all()
    for _, row in found.iterrows():
        assert len((row["only_ours"] + " " + row["only_authors"]).split()) <= 1


def test_what_one_ensemble_alone_breaks_is_listed(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "PARTS", ("apgd-ce", "square"))
    path, rows = tmp_path / "rows.csv", []
    for attack, left, ids in (
        ("apgd-ce", 4, ""), ("square", 3, "8 9 10"), ("BandPGD", 4, "7 8 9 10"),
        ("authors' apgd-ce", 3, ""), ("authors' square", 2, "9 11"),
    ):  # fmt: skip
        alone = None if "'" in attack else left
        rows.append(["digits", "s4/0", "l2", 0.5, 8, attack, left, alone, 10.0 * left, 2, 0.5, ids])
    frame = pd.DataFrame(rows, columns=module.COLUMNS.split(","))
    half = frame[~frame["attack"].str.startswith("authors'")].assign(eps=0.6)
    path.write_text("# command\n" + pd.concat([frame, half]).to_csv(index=False))
    assert summary(module, "strengths", path).splitlines() == [
        "data,model,norm,eps,samples,pgd,ours,authors,best_part,only_ours,only_authors",
        "digits,s4/0,l2,0.5,8,4,3,2,3,11,8 10",
    ]
    costs = summary(module, "costs", path).splitlines()
    assert costs[0] == "data,norm,attack,forwards,backwards,seconds"
    assert "digits,l2,square,30,2,0.5" in costs and "digits,l2,authors' square,20,2,0.5" in costs


@pytest.mark.parametrize("options", [[], ["--output", "absent.csv"]])
def test_a_summary_of_no_rows_is_refused(options: list[str], module: ModuleType) -> None:
    result = CliRunner().invoke(module.main, ["--summary", "costs", *options])
    assert result.exit_code == 2 and "expected --output FILE" in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("kind", ["strengths", "costs"])
def test_stored_summaries_are_those_of_the_stored_rows(kind: str, module: ModuleType) -> None:
    stored = (DATA / f"autoattack-{kind}.csv").read_text().partition("\n")[2]
    assert stored == summary(module, kind, DATA / "autoattack.csv")


def test_stored_ensembles_break_what_all_others_break() -> None:
    found = pd.read_csv(DATA / "autoattack-strengths.csv", comment="#", dtype={"only_ours": str})
    assert (found["ours"] <= found[["pgd", "authors", "best_part"]].min(axis=1)).all()
    assert found["only_authors"].isna().all()
    assert (found["only_ours"].dropna().str.split().str.len() == 1).all()
    half = found[found["data"] == "mnist1d"]
    assert half.groupby("model")["norm"].value_counts().eq(3).all()
    # Strengths at which networks differ: not all right, not all broken.
    assert (half["ours"] / half["samples"]).between(0.1, 0.9).all()
