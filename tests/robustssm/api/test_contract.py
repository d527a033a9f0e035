"""The Python interface as it is promised: names, laziness, and every line of the contract."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import robustssm as rs
from robustssm.attacks.adversaries.table import ADVERSARIES
from robustssm.attacks.perturbations.table import FAMILIES
from robustssm.tasks import load_task

NAMES = {
    *(
        "load",
        "wrap",
        "attacks",
        "perturb",
        "sweep",
        "open_run",
        "transfer",
        "converge",
        "gain",
        "influence",
    ),
    *("peak_gain", "UsageError", "RejectedInputError", "__version__"),
}
HEAVY = ("torch", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "click")
# What a fresh process prints after `import robustssm as rs` alone.
FRESH = f"""
import sys
import robustssm as rs
print([name for name in {HEAVY} if name in sys.modules])
print(rs.attacks.Fourier(8), rs.attacks.BandPGD(1, 4))
print(rs.UsageError.__name__, callable(rs.load))
"""


class Mean(nn.Module):
    """Logits of the mean over time."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.inner, self.outer = nn.Linear(1, 8), nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(x)).mean(1))


def test_the_names_and_no_others() -> None:
    assert set(rs.__all__) == set(dir(rs)) == NAMES
    for name in rs.__all__:
        assert getattr(rs, name) is getattr(rs, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rs.nothing  # noqa: B018
    assert issubclass(rs.UsageError, ValueError) and issubclass(rs.RejectedInputError, ValueError)


def test_importing_it_imports_nothing_heavy() -> None:
    found = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True)
    assert found.stdout.splitlines() == [
        "[]",
        "Fourier(mode=8) BandPGD(low=1, high=4)",
        "UsageError True",
    ], found.stderr


def test_every_perturbation_and_adversary_is_a_class_of_attacks() -> None:
    for name, kind in {**FAMILIES, **ADVERSARIES}.items():
        assert getattr(rs.attacks, name) is kind


def table(shown: object) -> bool:
    """Return whether a notebook shows an object as a table that is no dump of it."""
    text = shown._repr_html_()  # type: ignore[attr-defined]
    return "<table" in text and len(text) < 100_000


def test_every_line_of_the_contract(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    split = load_task("digits:side=8").splits["test"].first(12)
    x, y = split.inputs, split.labels

    model = rs.load(checkpoints["s4d"])
    assert table(rs.load("s4d/2")) and table(model)
    assert model.predict(x).shape == model.predict(torch.from_numpy(x)).shape == (12, 10)
    layer = model.layers[0]
    assert layer.poles.shape == (8, 8) and layer.step_size.shape == (8,)
    assert layer.frequency_response(np.linspace(0, 3, 5)).shape == (8, 5)
    assert {"low", "high", "theta", "omega"} <= {*layer.peak_gain()}

    noise = rs.attacks.Fourier(8)
    z = rs.perturb(x, noise, eps=0.3)
    assert isinstance(z, np.ndarray) and z.shape == x.shape and z.dtype == x.dtype
    options: dict[str, Any] = {"unit": "std", "seed": 0, "sample_id": None, "lengths": None}
    assert np.array_equal(z, rs.perturb(x, "Fourier(8)", eps=0.3, **options))
    assert rs.perturb(x, "BandNoise(1, 16)", eps=0.3).shape == x.shape

    module = rs.wrap(Mean())
    run = rs.sweep(
        {"mine": model, "net": module, "stored": str(checkpoints["s4ptd-rank1"])},
        data=(x, y), noise="fourier", modes="1-3", eps=(0.3, 1),
    )  # fmt: skip
    assert table(run) and len(run.overview()) == 3 * 2
    written = rs.sweep(
        [checkpoints["s4d"], checkpoints["s4ptd-rank1"]],
        noise="fourier", modes=range(1, 4), eps=(0.3, 1), limit=12, output=tmp_path / "x", jobs=2,
    )  # fmt: skip
    run = rs.open_run(tmp_path / "x")
    pd.testing.assert_frame_equal(run.summary, written.summary)
    assert [*run.summary] == [*pd.read_csv(tmp_path / "x" / "summary.csv")]
    assert len(run.samples()) == 12 * 2 * (1 + 2 * 3)
    both = run.compare("s4d", "s4ptd-rank1")
    assert (both["model"] == "s4d").all() and {"ci_low", "ci_high"} <= {*both}
    for name in ("robustness", "heat-maps", "differences", "worst-case"):
        assert isinstance(run.figure(name), Figure)
    assert run.figure()._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert "<html" in run.report(tmp_path / "page.html").read_text()
    assert run.report(tmp_path / "page.md").read_text().startswith("# Robustness")

    result = rs.transfer(n=16, inits=("s4d", "s4ptd-rank1"), omega=[1.0, 30.0])
    assert table(result) and len(result.frame) == 3 and isinstance(result.figure(), Figure)
    assert result.values.shape == (2, 3) and result.values.dtypes.eq(complex).all()
    result = rs.converge(inits=("s4d",), n=(4, 8, 16), inputs="impulse")
    assert table(result) and isinstance(result.figure(), Figure)
    result = rs.gain([checkpoints["s4d"]])
    assert table(result) and len(result.frame) == 2 and isinstance(result.figure(), Figure)

    A, B, C = np.array([[-1.0, 20.0], [-20.0, -1.0]]), [1.0, 0.0], [0.0, 1.0]
    peak = rs.peak_gain(A, B, C, D=None, dt=None)
    assert table(peak) and 0.0 < peak.low <= peak.high and peak.omega == pytest.approx(20, 0.01)
    assert rs.peak_gain(poles=[-1.0], residues=[2.0], D=0.0, dt=None).low == pytest.approx(2)
