"""Rows a sample: two models under the same noise, the worst of several, adversaries re-run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustssm.attacks import Budget
from robustssm.attacks.adversaries import BandPGD, Target, Victim
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.model_names import resolve
from robustssm.evaluations.results.summary import over_seeds, perturbed
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep.cell_rows import cell_columns, worst_rows
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.networks.inference import logits


def plan_of(path: Path, *noises: Noise) -> Plan:
    return make_plan(resolve(f"m={path}"), noises, limit=40)


def rows_of(plan: Plan, path: Path, batch_size: int = 64) -> list[pd.DataFrame]:
    network = load_checkpoint(path).network
    return [
        pd.DataFrame(cell_columns(network, cell, plan.task, batch_size)) for cell in plan.cells[1:]
    ]


def test_two_models_are_given_the_same_noise(checkpoints: dict[str, Path]) -> None:
    noises = (Noise("fourier", "3", eps=(0.3,)), Noise("BandNoise(1, 8)", eps=(0.3,)))
    given = []
    for path in checkpoints.values():
        found = rows_of(plan_of(path, *noises), path)
        columns = ["sample_id", "delivered_l2", "delivered_linf", "in_band_share"]
        given.append([frame[columns] for frame in found])
    for first, second in zip(*given, strict=True):
        pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_the_worst_phase_is_the_smallest_margin_of_all(checkpoints: dict[str, Path]) -> None:
    path = checkpoints["s4d"]
    phases = [2.0 * np.pi * p / 4 for p in range(4)]
    each = [
        rows_of(plan_of(path, Noise("fourier", "2", eps=(1.0,), phase=p)), path)[0] for p in phases
    ]
    (worst,) = rows_of(plan_of(path, Noise("fourier", "2", eps=(1.0,), phase="worst:4")), path)
    margins = np.stack([frame["margin"] for frame in each])
    assert np.array_equal(worst["margin"], margins.min(0))
    accuracies = [frame["correct"].mean() for frame in each]
    assert worst["correct"].mean() <= min(accuracies) <= np.mean(accuracies) <= max(accuracies)
    assert (worst["forwards"] == 4.0).all()


def test_the_first_of_equal_margins_is_taken() -> None:
    a = pd.DataFrame({"margin": [1.0, 2.0, 3.0], "name": "a"})
    b = pd.DataFrame({"margin": [1.0, 1.0, 4.0], "name": "b"})
    assert worst_rows([a, b])["name"].tolist() == ["a", "b", "a"]


def test_an_adversary_is_believed_only_when_its_inputs_are_sent_again(
    checkpoints: dict[str, Path],
) -> None:
    path = checkpoints["s4d"]
    plan = plan_of(path, Noise("BandPGD(1, 8, steps=4)", eps=(0.5,)))
    (rows,) = rows_of(plan, path)
    network = load_checkpoint(path).network
    with Victim(network) as victim:
        target = Target.of(victim, plan.task, Budget(0.5, "std"), limit=40)
        found = BandPGD(1, 8, steps=4).attack(target)
    expected = logits(network, found.x).argmax(1)
    assert rows["prediction"].tolist() == expected.tolist()
    # The budget is a root mean square, here spent to the last digits of float32.
    assert (rows["delivered_rms"] <= 0.5 * plan.task.std[0] * (1.0 + 1e-6)).all()
    assert (rows["in_band_share"] > 1.0 - 1e-6).all()
    assert (rows["forwards"] > 4).all() and (rows["backwards"] >= 4).all()


@pytest.mark.parametrize("batch_size", [7, 64])
def test_the_batch_changes_no_bit_of_an_adversary(
    checkpoints: dict[str, Path], batch_size: int
) -> None:
    path = checkpoints["s4d"]
    noises = [
        Noise(name, eps=(0.3,))
        for name in ("BandPGD(1, 8, steps=3)", "Guided(1, 8)", "RandomSearch(1, 8, queries=24)",
                     "Universal(1, 8, steps=3)")
    ]  # fmt: skip
    plan = plan_of(path, *noises)
    for frame, other in zip(rows_of(plan, path, 40), rows_of(plan, path, batch_size), strict=True):
        pd.testing.assert_frame_equal(frame, other, check_exact=True)


def test_several_noises_stand_apart_in_every_table(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    models = resolve(",".join(f"{n.replace('-', '_')}={p}" for n, p in checkpoints.items()))
    noises = (
        Noise("fourier", "1,2", eps=(0.0, 0.3)),
        Noise("BandNoise(1, 8)", eps=(0.0, -3.0), eps_unit="snr-db"),
        Noise("LowPass(9)", eps=(1.0,)),
        Noise("Fourier(5, eps=0.7)", eps=(0.1, 0.2)),
    )
    plan = make_plan(models, noises, limit=20)
    # fourier: two modes at one strength, since 0 std changes nothing; 0 dB is a strength.
    assert len(plan.cells) == 2 * (1 + 2 + 2 + 1 + 1)
    run = RunDirectory(tmp_path)
    run.open(plan, [])
    assert run_sweep(plan, run).errors == {}
    results = finish(run)
    curves = over_seeds(perturbed(results.summary))
    counted = curves.groupby("noise")["accuracy"].size().to_dict()
    assert counted == {
        "fourier": 4,
        "BandNoise(1, 8)": 4,
        "LowPass(9)": 2,
        "Fourier(5, eps=0.7)": 2,
    }
    assert len(results.overview) == 2 * (1 + 2 + 1 + 1)
    own = curves[curves["noise"] == "Fourier(5, eps=0.7)"]
    assert set(own["eps"]) == {0.7}
    decibels = results.summary[results.summary["eps_unit"] == "snr-db"]
    assert sorted(set(decibels["eps"])) == [-3.0, 0.0] and (decibels["delivered_rms"] > 0).all()
    tested = results.tests.groupby("noise").size().to_dict()
    assert tested == {"clean": 1, "fourier": 2, "BandNoise(1, 8)": 2, "LowPass(9)": 1,
                      "Fourier(5, eps=0.7)": 1}  # fmt: skip
