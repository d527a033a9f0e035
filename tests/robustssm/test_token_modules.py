"""Modules of a user's own code on tokens: commands take them, or say what is missing."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import robustssm
from robustssm.cli import main

V, L, N = 9, 12, 20
CODE = """
import torch
from torch import nn

class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(9, 6), nn.Linear(6, 3)
        self.register_buffer("scale", torch.ones(1).expand(6))
    def forward(self, ids):
        return self.out(self.table(ids).cumsum(1)[:, -1] * self.scale)

class Tokens(Bare):
    tokens = 9
    def embed(self, ids):
        return self.table(ids)
    def forward(self, x, lengths=None):
        ends = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        return self.out(x.cumsum(1)[torch.arange(len(x)), ends - 1] * self.scale)

class NoEmbed(Bare):
    tokens = 9

class Flat(Tokens):
    def embed(self, ids):
        return self.table(ids).flatten(1)

class Words(Tokens):
    def embed(self, ids):
        return ids.tolist()

class Raises(Tokens):
    def embed(self, ids):
        raise KeyError("x")
"""
WHOLE = "predict", "sweep"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the code, weights of it, and samples of tokens; it is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)
    draw = np.random.default_rng(0)
    np.savez(
        tmp_path / "data.npz", inputs=draw.integers(0, V, (N, L)), labels=draw.integers(0, 3, N)
    )
    np.savez(tmp_path / "x.npz", input=draw.integers(0, V, (5, L)))
    generator = torch.Generator().manual_seed(1)
    weights = {"table.weight": torch.randn(V, 6, generator=generator), "scale": 2 * torch.ones(6)}
    weights |= {"out.weight": torch.randn(3, 6, generator=generator), "out.bias": torch.zeros(3)}
    torch.save(weights, tmp_path / "w.pth")
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def evaluated(command: str, model: str) -> Result:
    if command == "predict":
        return call("models", "predict", model, "--input", "x.npz", "--output", "y.npz")
    data = ("-d", "file:data.npz", "--noise", "fourier", "--modes", "1,2", "--eps", "0.5")
    return call("sweep", "-m", model, *data, "-j", "1", "--no-figures", "-o", "run")


def test_commands_take_tokens(folder: Path) -> None:
    """Perturbed at the embeddings; weights come with the module, an expanded buffer too."""
    model = "own=net.py:Tokens@w.pth"
    for command in WHOLE:
        result = evaluated(command, model)
        assert result.exit_code == 0, result.output
    assert len(list((folder / "run" / "cells").iterdir())) == 3
    w = torch.load(folder / "w.pth", weights_only=True)
    with np.load("x.npz") as x, np.load("y.npz") as y:
        summed = w["table.weight"][torch.from_numpy(x["input"])].sum(1) * 2
        expected = summed @ w["out.weight"].T
        np.testing.assert_allclose(y["output"], expected.numpy(), rtol=0, atol=1e-5)  # float32
    assert call("inspect", model).exit_code == 0
    assert robustssm.load("net.py:Tokens@w.pth").network.tokens == V


def test_commands_that_have_nothing_to_do_say_so(folder: Path) -> None:
    gain = call("gain", "own=net.py:Tokens@w.pth", "--length", "12", "--no-figures")
    assert gain.exit_code == 2
    assert "has no layer with a transfer function" in gain.output
    imported = call("models", "import", "net.py:Tokens@w.pth", "-o", "n.safetensors")
    assert imported.exit_code == 2
    assert "is code, which no native file holds" in imported.output
    assert not (folder / "n.safetensors").exists()


@pytest.mark.parametrize("command", WHOLE)
@pytest.mark.parametrize(
    ("module", "code", "message"),
    [
        (
            "Bare",
            4,
            "takes tokens by an attribute tokens, the size of its vocabulary, and a method",
        ),
        ("NoEmbed", 2, r"has the attribute tokens and no method embed\(tokens\)"),
        ("Flat", 2, r"its embed returned \(\d, 72\) for tokens \(\d, 12\), expected floats"),
        ("Words", 2, "its embed returned list for tokens"),
        ("Raises", 4, "its embed raised KeyError: 'x'"),
    ],
)
def test_what_is_missing_is_one_line(
    folder: Path, command: str, module: str, code: int, message: str
) -> None:
    result = evaluated(command, f"own=net.py:{module}")
    assert result.exit_code == code, result.output
    said = " ".join(result.output.split())
    assert re.search(message, said), said
    assert "Traceback" not in said
