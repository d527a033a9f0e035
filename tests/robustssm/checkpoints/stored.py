"""Checkpoints beside the checkout with what the original code made of them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.file_formats import Contents
from robustssm.networks.foreign import SequenceModel
from robustssm.typing import FloatArray
from tests.reference import GOLDEN
from tests.robustssm.checkpoints.foreign import held


class Stored(NamedTuple):
    """Arrays of one entry and what it was made with."""

    arrays: dict[str, np.ndarray]
    config: dict[str, object]
    path: Path


def entry(name: str) -> Stored:
    """Return an entry; skip the test where there is none."""
    path = GOLDEN / name
    if not path.is_file():
        pytest.skip(f"reference values {name} are not beside this checkout")
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    return Stored(arrays, json.loads(str(arrays.pop("config_json"))), path)


def tensors(stored: Stored, prefix: str = "state/") -> Contents:
    """Return the entry's weights as a file of weights only."""
    found = {k: v for k, v in stored.arrays.items() if k.startswith(prefix)}
    return held({k[len(prefix) :]: torch.from_numpy(v) for k, v in found.items()})


def inputs(stored: Stored) -> Tensor:
    """Return the input, (batch, length, channels)."""
    u = torch.from_numpy(stored.arrays["input"])
    return u.transpose(1, 2) if stored.config["layout"] == "B H L" else u


def error(found: Tensor, expected: np.ndarray) -> tuple[float, float]:
    """Return the largest absolute error, and relative to the largest expected number."""
    largest = float(np.abs(expected).max())
    absolute = float(np.abs(found.double().numpy() - expected).max())
    return absolute, absolute / largest


@torch.no_grad()
def compare(network: SequenceModel, stored: Stored, exact: float = 1e-9) -> str:
    """Assert that the outputs are those of the entry in both precisions; return the errors.

    float32: two roundings to float32 apart, 1e-5 of the largest output is the tolerance that the
    reference values name. float64: `exact` of it.
    """
    u, arrays = inputs(stored), stored.arrays
    swap = stored.config["layout"] == "B H L"
    name = next(n for n in ("logits", "output") if n in arrays)

    def oriented(y: Tensor) -> Tensor:
        return y.transpose(1, 2) if swap else y

    single = error(oriented(network(u)), arrays[name])
    line = f"{stored.path.name}: float32 {single[0]:.1e} ({single[1]:.1e})"
    assert single[1] < 1e-5, line
    if f"{name}_f64" in arrays:
        double = error(oriented(network.double()(u.double())), arrays[f"{name}_f64"])
        line += f", float64 {double[0]:.1e} ({double[1]:.1e})"
        assert double[1] < exact, line
    return line


@torch.no_grad()
def compare_blocks(network: SequenceModel, stored: Stored) -> None:
    """Assert that encoder, blocks and final norm give what is stored, to 1e-5 of the largest."""
    found: dict[str, Tensor] = {}

    def keep(name: str, y: Tensor) -> None:
        found[name] = y.detach()

    hooks = [network.encoder.register_forward_hook(lambda m, i, y: keep("encoded", y))]
    hooks += [network.final_norm.register_forward_hook(lambda m, i, y: keep("backbone_output", y))]
    for i, block in enumerate(network.blocks):
        hooks.append(block.register_forward_hook(lambda m, x, y, i=i: keep(f"block_output/{i}", y)))
    network(inputs(stored))
    for hook in hooks:
        hook.remove()
    for name, y in found.items():
        if name in stored.arrays:
            _, relative = error(y, stored.arrays[name])
            assert relative < 1e-5, f"{stored.path.name} {name}: {relative:.1e}"


def largest(x: FloatArray) -> float:
    return float(np.abs(x).max())
