"""fig3ab and fig3c: their numbers by a second route, their verdicts, what they share."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import ModelRef
from robustssm.evaluations.paper import fig3_accuracy, fig3ab, fig3c, running, trainings
from robustssm.evaluations.paper.reproduction import AGREES, DIFFERS, MEASURED, OPEN
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.hippo import legs
from robustssm.networks.inference import accuracy
from robustssm.tasks import load_task

TASK = "digits:side=8"
# Of both studies, so that they share the trainings of s4d and of rank-one at tau = 0.1.
SHAPE = {"task": TASK, "seeds": [0, 1], "n": 32, "d_model": 8, "layers": 1}
AB = {
    **fig3ab.REPRODUCTION.quick,
    **SHAPE,
    "trainings": {init: {"epochs": 2, "ssm_lr": 1e-3} for init in ("s4d", "s4ptd-rank1")},
}
C = {**fig3c.REPRODUCTION.quick, **SHAPE, "epochs": 2, "taus": [0.1, 1.0], "sizes": [1e-3, 0.1]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which both studies keep their steps and trainings."""
    return tmp_path_factory.mktemp("fig3")


@pytest.fixture(scope="module")
def over_training(folder: Path) -> pd.DataFrame:
    """Return the rows of a small fig3ab."""
    return running.run(fig3ab.REPRODUCTION, AB, folder)["accuracies"]


@pytest.fixture(scope="module")
def ablation(folder: Path, over_training: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of a small fig3c, run after fig3ab."""
    return running.run(fig3c.REPRODUCTION, C, folder)


def test_rows_are_complete(over_training: pd.DataFrame) -> None:
    # 2 networks x 2 seeds x 3 epochs (0 is untrained) x 3 conditions.
    assert len(over_training) == 36
    assert not over_training.duplicated(["init", "seed", "epoch", "condition"]).any()
    assert set(over_training["condition"]) == {"clean", "eps 0.1", "eps 1"}
    assert (over_training["n"] == 539).all() and over_training["correct"].between(0, 539).all()
    assert over_training["omega"].iloc[0] == pytest.approx(325.43, abs=0.005)  # as printed


def test_clean_and_contaminated_rows_are_those_of_a_sweep(
    over_training: pd.DataFrame, folder: Path, tmp_path: Path
) -> None:
    of = trainings.Training("s4d", 1, 2, task=TASK, d_model=8, layers=1)
    path = of.paths(folder / running.SHARED)[2]
    mine = over_training.query("init == 's4d' and seed == 1 and epoch == 2")
    mine = mine.set_index("eps")["accuracy"]
    network = load_checkpoint(path).network
    assert mine[0.0] == accuracy(network, load_task(TASK).splits["test"])
    # What `robustssm sweep --noise resonance --modes 1 --eps 0.1,1` runs.
    noise = Noise("resonance", modes="1", eps=(0.1, 1.0), inject="layers")
    plan = make_plan([ModelRef("one", path)], noise)
    run = RunDirectory(tmp_path / "sweep")
    run.open(plan)
    assert not run_sweep(plan, run).errors
    swept = finish(run).summary.set_index("eps")["accuracy"]
    for eps in (0.1, 1.0):
        assert mine[eps] == swept[eps]


def test_a_kill_between_training_and_rows_costs_no_training(
    over_training: pd.DataFrame, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / running.SHARED).symlink_to(folder / running.SHARED)

    def killed(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fig3_accuracy, "run_sweep", killed)
        with pytest.raises(KeyboardInterrupt):
            running.run(fig3ab.REPRODUCTION, AB, tmp_path)
    monkeypatch.setattr(trainings, "train", None)
    again = running.run(fig3ab.REPRODUCTION, AB, tmp_path)["accuracies"]
    pd.testing.assert_frame_equal(again, over_training)


def test_both_studies_share_trainings_and_numbers(
    over_training: pd.DataFrame, ablation: dict[str, pd.DataFrame], folder: Path
) -> None:
    kept = sorted(p.name.rsplit("-", 1)[0] for p in (folder / "shared/trainings").iterdir())
    random = ["s4ptd-random-size0.001-0", "s4ptd-random-seed1-size0.001-1"]
    plain = [f"{init}-{seed}" for init in ("s4d", "s4ptd", "s4ptd-rank1") for seed in (0, 1)]
    assert kept == sorted(random + plain)
    keys = ["init", "seed", "condition"]
    last = fig3ab.last(over_training).set_index(keys)["accuracy"]
    other = ablation["accuracies"].set_index(keys)["accuracy"]
    both = last.index.intersection(other.index)
    assert len(both) == 8  # 2 networks x 2 seeds x (clean, eps 1)
    pd.testing.assert_series_equal(last[both], other[both])


def test_unstable_perturbations_are_named_and_not_trained(
    ablation: dict[str, pd.DataFrame],
) -> None:
    quality = ablation["quality"]
    assert ((quality["max_real"] < 0.0) == (quality["status"] == fig3c.TRAINED)).all()
    unstable = quality[quality["status"] == fig3c.UNSTABLE]
    assert set(unstable["parameter"]) == {0.1} and set(unstable["method"]) == {"random"}
    assert not set(unstable["init"]) & set(ablation["accuracies"]["init"])
    verdicts = {f.quantity: f.verdict for f in fig3c.findings(ablation)}
    assert verdicts["random E of |E|/|A| = 0.1 that leave A + E unstable"] == DIFFERS
    assert verdicts["random E of |E|/|A| = 0.001 that leave A + E unstable"] == MEASURED


def test_relative_norms_follow_their_closed_forms(ablation: dict[str, pd.DataFrame]) -> None:
    quality = ablation["quality"]
    scale = 32**2 / 2.0 / np.linalg.norm(legs.matrices(32)[0], 2)
    rank_one = quality[quality["method"] == "rank1"]
    tau = rank_one["parameter"].to_numpy()
    # |t P P^T| = t n^2 / 2, t = 2 tau / (1 + tau); some roundings.
    expected = scale * 2.0 * tau / (1.0 + tau)
    np.testing.assert_allclose(rank_one["relative_norm"], expected, rtol=1e-12)
    assert (rank_one.loc[rank_one["parameter"] == 1.0, "init"] == "s4d").all()
    random = quality[quality["method"] == "random"]
    np.testing.assert_allclose(random["relative_norm"], random["parameter"], rtol=1e-12)


def table(**levels: list[list[float]]) -> dict[str, pd.DataFrame]:
    """Return a table of fig3ab: of each network, accuracies of eps 1 by epoch and seed."""
    rows: list[dict[str, Any]] = []
    for init, epochs in levels.items():
        for epoch, values in enumerate(epochs):
            for seed, value in enumerate(values):
                row = {"init": init, "seed": seed, "epoch": epoch, "accuracy": value}
                rows.append(row | {"condition": "eps 1", "eps": 1.0, "n": 500, "chance": 0.1})
    return {"accuracies": pd.DataFrame(rows)}


def test_intervals_over_seeds_are_students() -> None:
    values = [0.2, 0.3, 0.7]
    frame = table(s4d=[values])["accuracies"]
    (row,) = fig3_accuracy.mean_accuracies(frame, ["init", "epoch"]).to_dict("records")
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3.0)
    assert (row["seeds"], row["n"]) == (3, 500) and row["accuracy"] == pytest.approx(0.4)
    assert row["ci_high"] == pytest.approx(min(1.0, 0.4 + half))
    assert row["ci_low"] == pytest.approx(max(0.0, 0.4 - half))


@pytest.mark.parametrize(
    ("ptd", "verdict"),
    [
        ([0.90, 0.92, 0.91], AGREES),
        ([0.20, 0.22, 0.21], DIFFERS),
        ([0.10, 0.50, 0.95], OPEN),
    ],
)
def test_gap_is_paired_by_seed_and_judged_by_its_interval(ptd: list[float], verdict: str) -> None:
    tables = table(s4d=[[0.1] * 3, [0.15, 0.17, 0.18]], s4ptd=[[0.1] * 3, ptd])
    found = {f.quantity: f for f in fig3ab.findings(tables)}
    gap = found["accuracy of s4ptd minus s4d, eps 1, last epoch"]
    assert gap.verdict == verdict
    difference = np.array(ptd) - [0.15, 0.17, 0.18]
    assert gap.found.startswith(f"{difference.mean():.3f} [") and "3 seeds" in gap.found
    low = found["accuracy of s4d, eps 1, last epoch, 3 seeds"]
    assert low.verdict == AGREES and low.paper == "near chance [s]"


def test_the_epoch_from_which_the_gap_stays() -> None:
    s4d = [[0.1, 0.1]] * 5
    ptd = [[0.1, 0.1], [0.8, 0.8], [0.2, 0.2], [0.7, 0.8], [0.9, 0.8]]
    name = "mean gap of s4ptd over s4d above 0.325, eps 1"
    found = {f.quantity: f.found for f in fig3ab.findings(table(s4d=s4d, s4ptd=ptd))}
    assert found[name] == "from epoch 3 to the last, 4; untrained 0.000, epoch 1 0.700"
    ptd[-1] = [0.1, 0.2]
    found = {f.quantity: f.found for f in fig3ab.findings(table(s4d=s4d, s4ptd=ptd))}
    assert found[name].startswith("not at the last epoch")
