"""Sweeps of samples that end early, of values and of tokens: what is behind the ends is nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from robustssm.checkpoints.cards import Card
from robustssm.checkpoints.model_names import resolve
from robustssm.checkpoints.native import load_checkpoint, save_checkpoint
from robustssm.cli import main
from robustssm.evaluations.sweep.cell_rows import cell_columns
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.networks.inference import input_std
from robustssm.networks.network import Architecture, build_network
from robustssm.tasks import Split, Task

LENGTH, COUNT, VOCABULARY = 40, 30, 11
NOISES = [
    Noise("fourier", modes=(1, 2, 3), eps=(0.5,)),
    Noise("BandNoise(1, 9)", eps=(0.5,), inject="layers"),
    Noise("resonance", modes=(1, 2), eps=(0.5,)),
    Noise("BandNoise(1, 9)", eps=(0.5,)),
]


def ending(fill: int, tokens: bool = False) -> Task:
    """Return a task whose samples end early; fill: what stands behind their ends."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(12, LENGTH + 1, COUNT)
    behind = np.arange(LENGTH) >= lengths[:, None]
    labels = np.arange(COUNT) % 3
    if tokens:
        x = np.where(behind, fill, rng.integers(1, VOCABULARY, (COUNT, LENGTH)))
    else:
        x = np.where(behind[..., None], fill, rng.normal(size=(COUNT, LENGTH, 2)))
        x = x.astype(np.float32)
    split = Split(x, labels, np.arange(COUNT), lengths)
    splits = {"train": split, "validation": split.first(4), "test": split}
    return Task(f"ending:fill={fill}", 3, splits, tokens=VOCABULARY if tokens else None)


def checkpoint(folder: Path, task: Task, bidirectional: bool) -> Path:
    fields = {"n": 8, "d_model": 6, "layers": 2, "bidirectional": bidirectional}
    network = build_network(Architecture.for_task("s4d", task, **fields))
    path = folder / "m.safetensors"
    card = Card(network.to_dict(), {}, "", "", 0, {}, None, 0, "")
    save_checkpoint(path, network.eval(), card)
    return path


def rows(model: Path, task: Task, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Return the rows of every cell of a sweep."""
    monkeypatch.setattr("robustssm.evaluations.sweep.planning.load_task", lambda spec: task)
    plan = make_plan(resolve(f"m={model}"), noise, task="ending")
    network = load_checkpoint(model).network
    frames = [
        pd.DataFrame(cell_columns(network, cell, task, 16)).assign(number=number)
        for number, cell in enumerate(plan.cells)
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: f"{noise.name}-{noise.inject}")
@pytest.mark.parametrize("tokens", [False, True], ids=["values", "tokens"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "both"])
def test_padding_changes_nothing(
    tmp_path: Path,
    noise: Noise,
    tokens: bool,
    bidirectional: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = checkpoint(tmp_path, ending(0, tokens), bidirectional)
    first, second = (rows(model, ending(fill, tokens), noise, monkeypatch) for fill in (0, 7))
    assert len(first) > COUNT and (first["delivered_rms"] > 0.0).sum() == len(first) - COUNT
    exact = [c for c in first if first[c].dtype.kind in "bi"]
    pd.testing.assert_frame_equal(first[exact], second[exact])
    rest = [c for c in first if first[c].dtype.kind == "f"]
    # float32 logits of order 1: what stands behind the ends of causal layers is part of their
    # FFTs' rounding, 6e-8 of it at a time.
    np.testing.assert_allclose(first[rest], second[rest], rtol=1e-4, atol=1e-4)


def test_a_sweep_says_that_tokens_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ending(0, tokens=True)
    model = checkpoint(tmp_path, task, False)
    for module in ("planning", "worker"):
        monkeypatch.setattr(f"robustssm.evaluations.sweep.{module}.load_task", lambda spec: task)
    for noise, expected in (("fourier", True), ("resonance", False)):
        call = ["sweep", "--model", f"m={model}", "--noise", noise, "--modes", "1", "-j", "1"]
        call += ["--data", "ending", "--eps", "0.5", "--no-figures", "-o", str(tmp_path / noise)]
        result = CliRunner().invoke(main, call)
        assert result.exit_code == 0, result.output
        assert ("noise is added to their embeddings" in result.stderr) is expected


def test_the_unit_of_strengths_of_tokens_is_that_of_valid_ones() -> None:
    """The deviation of embeddings by hand, one embedding a valid token."""
    task = ending(0, tokens=True)
    network = build_network(Architecture.for_task("s4d", task, n=8, d_model=6, layers=1))
    split = task.splits["train"]
    assert split.lengths is not None
    valid = np.concatenate([x[:n] for x, n in zip(split.inputs, split.lengths, strict=True)])
    with torch.no_grad():
        values = network.embed(torch.from_numpy(valid)[None])[0].double().numpy()
    scale = input_std(network, task)
    assert scale is not None
    # Both are sums of 600 terms of order 1 in float64.
    np.testing.assert_allclose(scale.numpy(), values.std(0), rtol=1e-12)
    other = input_std(network, ending(7, tokens=True))
    assert other is not None and torch.equal(scale, other)
