"""Every benchmark runs at its smallest setting; what it measures is not looked at."""

import importlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

from tests.source_tree import ROOT

# The smallest setting of each benchmark, and words that its table has then.
CASES = {
    "check_errors": ("--trials 1 --jobs 1", "two kinds"),
    "memory": ("--cells 4", "MiB with tables"),
    "noise": ("--phases 1000 --rounds 1 --samples 2 --strengths 2", "Resonance"),
    "sweep": ("zoo 1 --modes 1 --limit 4 --jobs 1", "plain, reference kernels"),
    "sweep-s5": ("s5 1 --modes 1 --limit 4 --jobs 1", "one thread, kernels rebuilt"),
    "sweep-wide": ("wide 1 --modes 1 --limit 1 --jobs 1", "sweep over bare"),
    "training": ("--case bundled --rounds 1 --steps 2", "bundled: 3 x 32"),
    "transfer": (
        "--n 4 --frequencies 10 --budget 0.1 --repeats 1",
        "time over that of hippo.transfer",
    ),
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
