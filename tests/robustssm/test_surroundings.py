"""What a machine brings along changes nothing: settings of matplotlib, modules that print."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import verify, zoo_path
from robustssm.errors import RejectedInputError
from robustssm.evaluations.results.inspection import inspect
from robustssm.evaluations.results.tables import read_tables
from robustssm.figures.sweep_figures import draw_tables
from tests.evaluations.written_runs import flat, write_run

ROOT = Path(__file__).resolve().parents[2]
# A user's matplotlibrc: no LaTeX is on the machine, and nothing looks as it does elsewhere.
USERS: dict[Any, Any] = {
    "text.usetex": True,
    "font.size": 31.0,
    "font.family": "monospace",
    "figure.autolayout": True,
    "figure.figsize": (2.0, 9.0),
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "axes.formatter.use_locale": True,
    "axes.facecolor": "black",
    "lines.linewidth": 9.0,
    "svg.fonttype": "path",
    "pdf.compression": 0,
    "legend.loc": "center",
}


def test_a_users_matplotlibrc_changes_no_byte(tmp_path: Path) -> None:
    curves = {("a", 0): flat(0.9, 0.5, 0.2), ("b", 0): flat(0.8, 0.4, 0.1)}
    tables = read_tables(inspect(write_run(tmp_path / "run", curves).path))
    facts = {"chance": 0.1, "length": 64, "partial": False}
    plain = draw_tables(tables, tmp_path / "plain", **facts)  # type: ignore[arg-type]
    with mpl.rc_context(USERS):
        users = draw_tables(tables, tmp_path / "users", **facts)  # type: ignore[arg-type]
        assert mpl.rcParams["font.size"] == USERS["font.size"]
    assert [path.name for path in users] == [path.name for path in plain] != []
    for one, other in zip(plain, users, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


MODULE = """
import os
import torch

print("imported")

class Net(torch.nn.Module):
    d_input = 1

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(1, 10)

    def forward(self, x):
        print("called")
        return self.map(x).mean(1)

def make():
    print("made")
    return Net()
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_module_prints_is_no_result(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "net.py").write_text(MODULE)
    command = [sys.executable, "-m", "robustssm.cli", "sweep", "-m", f"mine={tmp_path}/net.py:make",
               "--data", "digits", "--noise", "fourier", "--modes", "1-4", "--eps", "1",
               "--limit", "10", "--jobs", str(jobs), "--no-figures", "--format", "json",
               "-o", str(tmp_path / "run")]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["summary"]) == 5
    assert "imported" in done.stderr and "called" in done.stderr


def test_a_card_without_a_clean_accuracy_has_none_to_verify() -> None:
    checkpoint = load_checkpoint(zoo_path("s4d", 0))
    card = replace(checkpoint.card, clean_accuracy=None)
    with pytest.raises(RejectedInputError, match="has no clean accuracy to verify"):
        verify(replace(checkpoint, card=card))
