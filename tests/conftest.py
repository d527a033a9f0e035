"""Fixtures: small checkpoints, stored in data/checkpoints."""

import shutil
from pathlib import Path

import pytest
import torch

from robustssm.networks.network import Architecture

STORED = Path(__file__).parent / "data" / "checkpoints"
# Tests run side by side, one core each.
torch.set_num_threads(1)


def small_architecture(init: str) -> Architecture:
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that none of them is left for one core at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
