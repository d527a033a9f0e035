"""Every benchmark runs at its smallest setting; what it measures is not looked at."""

import importlib
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from tests.source_tree import ROOT

# The smallest setting of each benchmark, and words that its table has then.
CASES = {
    "auto_attack": ("--small --samples 2 --model s4d", "BandPGD"),
    "auto_attack-folded": ("--small --samples 2 --model s4d --data mnist1d", "mnist1d,s4d/0"),
    "check_errors": ("--trials 1 --jobs 1", "two kinds"),
    "gpu": ("--device cpu --small --part transfer", "torch.linalg.solve, batched"),
    "noise": ("--rounds 1 --samples 2 --strengths 2", "Resonance"),
    "sweep": ("zoo 1 --modes 1 --limit 4 --jobs 1", "plain, reference kernels"),
    "sweep-s5": ("s5 1 --modes 1 --limit 4 --jobs 1", "one thread, kernels rebuilt"),
    "sweep-wide": ("wide 1 --modes 1 --limit 1 --jobs 1", "sweep over bare"),
    "training": ("--case bundled --rounds 1 --steps 2", "bundled: 3 x 32"),
}


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave torch's number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a benchmark as Python does when it runs one: its folder is the first on the path."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module(name)


@pytest.mark.parametrize("case", CASES)
def test_benchmark_runs(case: str, monkeypatch: pytest.MonkeyPatch, threads: None) -> None:
    arguments, expected = CASES[case]
    module = load(case.partition("-")[0], monkeypatch)
    if hasattr(module, "own_process"):
        # A process of its own is for the memory that is measured, and takes seconds to start.
        monkeypatch.setattr(module, "own_process", lambda: ThreadPoolExecutor(1))
    result = CliRunner().invoke(module.main, arguments.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert expected in result.output


def rows(module: ModuleType, arguments: str, patch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Return what `gpu.py` prints, its parts run in this process."""
    patch.setattr(module, "own_process", lambda: ThreadPoolExecutor(1))
    result = CliRunner().invoke(module.main, arguments.split(), catch_exceptions=False)
    assert result.exit_code == 0 and result.output.startswith("# python ")
    return pd.read_csv(io.StringIO(result.output), skiprows=1)


@pytest.mark.slow
def test_all_that_a_gpu_is_for(
    monkeypatch: pytest.MonkeyPatch, threads: None, tmp_path: Path
) -> None:
    module, path = load("gpu", monkeypatch), tmp_path / "gpu.csv"
    found = rows(module, f"--device cpu --small --output {path}", monkeypatch)
    pd.testing.assert_frame_equal(pd.read_csv(path, skiprows=1), found)
    assert set(found["part"]) == set(module.PARTS)
    assert not found["note"].str.contains("Error", na=False).any(), found["note"].dropna()
    timed = found[found["peer"].notna()]
    assert (timed[["ours_ms", "ratio", "floor_ms", "traffic_ms"]] > 0).all(axis=None)
    checked = found[found["case"] == "checks"]
    assert len(checked) == 5 * len(module.SIZES)
    assert (checked["off"][~checked["note"].str.contains("largest")] == 0).all()


def test_a_part_that_fails_or_runs_out_is_one_row(
    monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    module = load("gpu", monkeypatch)

    def fails(device: torch.device, small: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "divides", lambda: 1 / 0
        yield "goes on", lambda: [{"off": 1.5}]
        raise RuntimeError("two\nlines")

    def sleeps(device: torch.device, small: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "sleeps", partial(time.sleep, 2.0)

    monkeypatch.setattr(module, "PARTS", {"transfer": fails, "zoo": sleeps, "cells": fails})
    monkeypatch.setattr(module, "SECONDS", 0.5)
    found = rows(module, "--device cpu --part transfer --part zoo --part cells", monkeypatch)
    assert found["part"].tolist() == ["transfer"] * 3 + ["zoo"] + ["cells"] * 3
    assert found["off"].dropna().tolist() == [1.5, 1.5]
    assert found["note"].str.contains("ZeroDivisionError").sum() == 2
    assert found["note"][3] == "TimeoutError()" and found["note"][2].startswith("RuntimeError")


def test_what_is_counted_is_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = load("timing", monkeypatch)
    a, b = torch.rand(3, 5), torch.rand(5, 7, dtype=torch.float32)
    with timing.Counted() as product:
        a @ b
    assert product.operations == {4: 2 * 3 * 5 * 7, 8: 0}
    assert product.traffic == 4 * (15 + 35 + 21)
    with timing.Counted() as others:
        a.double().T.contiguous()
    assert others.operations[8] == 30 and others.traffic == 15 * (4 + 8) + 15 * (8 + 8)


def test_every_benchmark_is_run() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert {case.partition("-")[0] for case in CASES} == files - {"timing"}


def test_work_in_turn_leaves_out_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = load("timing", monkeypatch)
    ticks = iter(range(100))
    order: list[str] = []
    pieces = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = timing.in_turn(pieces, 2, clock=lambda: next(ticks))
    assert "".join(order) == "ababab"
    assert times == {"a": [1, 1], "b": [1, 1]}
