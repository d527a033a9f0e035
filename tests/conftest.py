"""Fixtures: small checkpoints, stored in data/checkpoints."""

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from robustssm.networks.network import Architecture

STORED = Path(__file__).parent / "data" / "checkpoints"
# Tests run side by side, one core each. Set before numpy and torch are imported; two threads that
# wait for each other on a core that others use cost up to ten times the time.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# What is imported stays: to look for garbage in it would take a tenth of the time of the tests.
gc.disable()


def small_architecture(init: str) -> "Architecture":
    from robustssm.networks.network import Architecture

    return Architecture(init, n=8, d_model=8, layers=2)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return copies of two barely trained checkpoints on 64-step digits.

    tests/robustssm/test_training.py holds that training gives them, and says how to write them
    again.
    """
    folder = tmp_path_factory.mktemp("checkpoints")
    shutil.copytree(STORED, folder, dirs_exist_ok=True)
    return {init: folder / f"{init}.safetensors" for init in ("s4d", "s4ptd-rank1")}


@pytest.fixture
def models(checkpoints: dict[str, Path]) -> str:
    """The same two as a --model list."""
    return ",".join(f"{name.replace('-', '_')}={path}" for name, path in checkpoints.items())


@pytest.fixture
def pdf_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the PDF of every figure, and write no more than its metadata into the other pictures.

    tests/figures/test_style.py holds that all three are drawn, to the same bytes again.
    """
    from matplotlib.figure import Figure

    draw = Figure.savefig

    def savefig(figure: Figure, stream: BytesIO, **options: Any) -> None:
        if options["format"] == "pdf":
            draw(figure, stream, **options)
        else:
            stream.write(str(options["metadata"]).encode())

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, which it does not in a shell's background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_collection_finish() -> None:
    """Begin to collect garbage, what has been imported left out."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that none of them is left for one core at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
