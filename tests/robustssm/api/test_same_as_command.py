"""What Python computes is what the command line computes, and what sweeps compute."""

import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import robustssm as rs
from robustssm.attacks.perturbations.table import FAMILIES
from robustssm.cli import main
from robustssm.tasks import load_task
from tests.attacks.cases import CASES
from tests.robustssm.api.test_contract import Mean

# Those of any input whose shape they keep.
INPUT = sorted(
    {name for name, kind in FAMILIES.items() if "input" in kind.sites}
    - {"Fourier2D", "NoisePadding"}
)
NET = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(1, 8), nn.Linear(8, 10)

    def forward(self, x):
        return self.outer(torch.tanh(self.inner(x)).mean(1))
"""


def files(run: Path) -> dict[str, bytes]:
    """Return the bytes of all that a run measured."""
    names = [*run.glob("cells/*"), run / "summary.csv", run / "tests.csv"]
    return {str(path.relative_to(run)): path.read_bytes() for path in names}


def command(*words: object) -> None:
    result = CliRunner().invoke(main, [*map(str, words), "--progress", "none"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("--modes", "1-3"), {"modes": np.arange(1, 4)}),
        (
            (
                "--noise",
                "BandPGD(low=1, high=8, steps=2)",
                "--noise",
                "LowPass(4)",
                "--seed",
                3,
                "--eps",
                1,
            ),
            {"noise": [rs.attacks.BandPGD(1, 8, steps=2), "LowPass(4)"], "seed": 3, "eps": 1},
        ),
        (
            ("--noise", "resonance", "--omega", "3.5,7", "--eps-unit", "rms", "--noise-seeds", 2),
            {"noise": "resonance", "omega": (3.5, 7), "eps_unit": "rms", "noise_seeds": 2},
        ),
        (
            ("--modes", "0.1,0.25", "--mode-unit", "cycles", "--clip", "hard", "--range", "-9,9"),
            {"modes": [0.1, 0.25], "mode_unit": "cycles", "clip": "hard", "limits": (-9, 9)},
        ),
    ],
)
def test_the_same_cells_to_the_last_byte(
    words: tuple[object, ...],
    options: dict[str, Any],
    checkpoints: dict[str, Path],
    tmp_path: Path,
) -> None:
    options = {"noise": "fourier", "eps": (0.3, 1.0), **options}
    given = ("--noise", "fourier") if "--noise" not in words else ()
    strong = ("--eps", "0.3,1") if "--eps" not in words else ()
    named = {"a": checkpoints["s4d"], "b/1": checkpoints["s4ptd-rank1"]}
    models = [f"--model={name}={path}" for name, path in named.items()]
    command(
        "sweep", *models, *given, *strong, *words, "-L", 9, "--no-figures", "-o", tmp_path / "c",
        "-j", 1,
    )  # fmt: skip
    run = rs.sweep(named, limit=9, output=tmp_path / "p", **options)
    assert files(tmp_path / "p") == files(tmp_path / "c")
    # Taken up again by either: nothing is left to compute.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "p" / "cells").iterdir()}
    rs.sweep(named, limit=9, output=tmp_path / "p", **options)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert run.errors == {}


def test_memory_takes_the_way_of_files(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """Arrays and a module in memory give the numbers that their files give."""
    split = load_task("digits:side=8").splits["test"].first(20)
    np.savez(tmp_path / "xy.npz", inputs=split.inputs, labels=split.labels)
    (tmp_path / "net.py").write_text(NET)
    module = Mean()
    torch.save(module.state_dict(), tmp_path / "w.pt")
    command(
        *("sweep", "-m", f"s={checkpoints['s4d']}"),
        *("-m", f"n={tmp_path}/net.py:Mean@{tmp_path}/w.pt"),
        *("--data", f"file:{tmp_path / 'xy.npz'}", "--noise", "fourier", "--modes", "1-3"),
        *("--eps", "1", "--no-figures", "-o", tmp_path / "c", "-j", 1),
    )  # fmt: skip
    model = rs.load(checkpoints["s4d"])
    for jobs in (1, 2):
        run = rs.sweep(
            {"s": model, "n": module}, data=(split.inputs, torch.from_numpy(split.labels)),
            modes="1-3", eps=1, jobs=jobs,
        )  # fmt: skip
        found, stored = run.summary, pd.read_csv(tmp_path / "c" / "summary.csv")
        # The cells of the checkpoint are the same; those of the module have another identity.
        own = found["model"] == "s"
        assert (found["cell"] == stored["cell"]).tolist() == own.tolist()
        columns = ["model", "mode", "eps", "accuracy", "clean_accuracy", "delivered_rms"]
        pd.testing.assert_frame_equal(found[columns], stored[columns])


def test_a_sweep_in_memory_ends_with_its_run(checkpoints: dict[str, Path]) -> None:
    run = rs.sweep(checkpoints["s4d"], modes=1, eps=1, limit=5)
    path, frame = run.path, run.summary
    assert path.is_dir()
    del run
    gc.collect()
    assert not path.exists() and len(frame) == 2


def test_data_of_a_run_are_not_written_over(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    split = load_task("digits:side=8").splits["test"].first(8)
    x, y = split.inputs, split.labels
    rs.sweep(checkpoints["s4d"], data=(x, y), modes=1, eps=1, output=tmp_path / "x")
    kept = (tmp_path / "x" / "data.npz").read_bytes()
    with pytest.raises(rs.UsageError, match="holds another sweep"):
        rs.sweep(checkpoints["s4d"], data=(x + 1, y), modes=1, eps=1, output=tmp_path / "x")
    assert (tmp_path / "x" / "data.npz").read_bytes() == kept
    rs.sweep(checkpoints["s4d"], data=(x, y), modes=(1, 2), eps=1, output=tmp_path / "x")
    assert rs.open_run(tmp_path / "x").state.complete


@pytest.mark.parametrize("name", INPUT)
def test_perturb_is_what_sweeps_evaluate(name: str, checkpoints: dict[str, Path]) -> None:
    """The predictions for perturbed arrays are those of the sweep's cells, sample by sample."""
    attack = next(case.perturbation for case in CASES if case.text.startswith(f"{name}("))
    split = load_task("digits:side=8").splits["test"].first(30)
    model = rs.load(checkpoints["s4d"])
    data = {"inputs": split.inputs, "labels": split.labels, "rate": 1000.0}
    run = rs.sweep(model, data=data, noise=attack, eps=1, seed=5)
    samples = run.samples()
    noisy = samples[samples["noise"] != "clean"].sort_values("sample_id")
    site = rs.attacks.Site(
        rate=1000.0, scale=torch.from_numpy(split.inputs.std((0, 1), dtype=float))
    )
    unit = None if attack.unit == "std" else noisy["eps_unit"].iloc[0]
    z = rs.perturb(split.inputs, attack, eps=1, unit=unit, seed=5, site=site)
    assert np.array_equal(model.predict(z).argmax(1), noisy["prediction"])
    delta = np.sqrt(np.mean((z.astype(float) - split.inputs) ** 2, axis=(1, 2)))
    assert delta == pytest.approx(noisy["delivered_rms"].to_numpy(), rel=1e-5, abs=1e-7)


def test_failing_cells_are_a_warning(checkpoints: dict[str, Path]) -> None:
    split = load_task("digits:side=8").splits["test"].first(6)
    silent = np.zeros_like(split.inputs)
    with pytest.warns(RuntimeWarning, match="1 cells failed, the first with: .*silent"):
        run = rs.sweep(
            checkpoints["s4d"], data=(silent, split.labels), modes=1, eps=3, eps_unit="snr-db"
        )
    assert len(run.errors) == 1 and len(run.summary) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rs.sweep(checkpoints["s4d"], modes=1, eps=1, limit=3)
