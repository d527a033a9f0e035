"""Nothing runs that nobody named: not what lies in the current directory, in no process of ours."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustssm.execution import sealed
from tests.source_tree import ROOT, modules

# What is imported at some time by this process, by its workers, or by Dask's.
LIBRARIES = (
    *("joblib", "loky", "numpy", "torch", "scipy", "pandas", "pyarrow", "safetensors", "click"),
    *("pickle", "cloudpickle", "threadpoolctl", "multiprocessing", "concurrent", "ast", "random"),
    *("subprocess", "socket", "logging", "json", "dask", "distributed", "tornado", "matplotlib"),
    *("sklearn", "threading", "tempfile", "psutil", "sitecustomize", "usercustomize", "msgpack"),
)
MODULES = ("robustssm", "robustssm.cli")
MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 10)

    def forward(self, x):
        import helper
        return self.linear(x.mean(1)) * helper.ONE

def make():
    return Net()
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder whose files have the names of libraries; each records that it was run."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in LIBRARIES:
        mark = f"open({str(tmp_path / 'ran')!r}, 'a').write({name + chr(10)!r})"
        (folder / f"{name}.py").write_text(f"{mark}\nraise SystemExit('{name}.py was run')\n")
    return folder


def started(tmp_path: Path, how: str) -> list[str]:
    if how != "script":
        return [sys.executable, "-m", how]
    script = tmp_path / "bin" / "robustssm"  # as pip installs it
    script.parent.mkdir(exist_ok=True)
    script.write_text("from robustssm.cli import main\n\nif __name__ == '__main__':\n    main()\n")
    return [sys.executable, str(script)]


def swept(
    tmp_path: Path, folder: Path, how: str, models: str, *more: str
) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for key in ("PYTHONSAFEPATH", "PYTHONSTARTUP"):
        environment.pop(key, None)
    command = [*started(tmp_path, how), "sweep", "-m", models, "--noise", "fourier",
               "--modes", "1-2", "--eps", "0.1,0.3", "--limit", "8", "--no-figures",
               "-o", str(tmp_path / "run"), "--progress", "none", *more]  # fmt: skip
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def ran(tmp_path: Path) -> list[str]:
    record = tmp_path / "ran"
    return sorted(set(record.read_text().split())) if record.exists() else []


def failed_cells(run: Path) -> list[str]:
    return [json.loads(path.read_text())["error"] for path in (run / "errors").glob("*.json")]


@pytest.mark.parametrize(
    "how",
    ["script", *(pytest.param(name, marks=pytest.mark.slow) for name in MODULES)],
)
def test_workers_run_nothing_of_the_current_directory(
    how: str, hostile: Path, tmp_path: Path, models: str
) -> None:
    if how != "script":  # `python -m` itself looks here before a line of ours is run
        for name in ("threading", "json", "random", "ast"):
            (hostile / f"{name}.py").unlink()
    result = swept(tmp_path, hostile, how, models, "-j", "2")
    assert ran(tmp_path) == []
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "run" / "cells").iterdir())) == 10
    assert failed_cells(tmp_path / "run") == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask")
def test_workers_of_dask_run_nothing_of_the_current_directory(
    hostile: Path, tmp_path: Path, models: str
) -> None:
    result = swept(tmp_path, hostile, "script", models, "--cluster", "local:2")
    assert ran(tmp_path) == []
    assert result.returncode == 0, result.stderr
    assert failed_cells(tmp_path / "run") == []


@pytest.mark.parametrize("how", ["script", pytest.param("robustssm", marks=pytest.mark.slow)])
def test_a_module_that_was_named_is_loaded_in_workers(
    how: str, hostile: Path, tmp_path: Path
) -> None:
    """With what lies beside it, which stands before no library once it is loaded."""
    for path in hostile.iterdir():
        path.rename(path.with_suffix(".hidden"))
    code = tmp_path / "code"
    code.mkdir()
    (code / "net.py").write_text(MODULE)
    (code / "helper.py").write_text("ONE = 1.0\n")
    for name in ("pyarrow", "joblib", "pandas"):  # imported when the module has been loaded
        (code / f"{name}.py").write_text((hostile / f"{name}.hidden").read_text())
    models = f"own={code / 'net.py'}:make"
    result = swept(tmp_path, hostile, how, models, "-d", "digits:side=8", "-j", "2")
    assert result.returncode == 0, result.stderr
    assert failed_cells(tmp_path / "run") == [] and ran(tmp_path) == []


def test_the_variable_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "", "1"):
        if before is None:
            monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        else:
            monkeypatch.setenv("PYTHONSAFEPATH", before)
        with sealed():
            assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ.get("PYTHONSAFEPATH") == before


STARTERS = {"Parallel", "ProcessPoolExecutor", "LocalCluster", "Popen", "Process", "Pool", "spawn"}


def test_whatever_starts_processes_is_sealed() -> None:
    for name, path in modules().items():
        tree = ast.parse(path.read_text())
        called = {
            node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
        }
        assert not called & STARTERS or "sealed" in called, name
