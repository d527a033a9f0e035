"""Mamba by commands and native files; published and reference networks."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

import robustssm
from robustssm.checkpoints.cards import Card
from robustssm.checkpoints.native import load_checkpoint, save_checkpoint
from robustssm.cli import main
from robustssm.networks.classifier import Classifier
from tests.reference import GOLDEN
from tests.robustssm.checkpoints.foreign import Draw
from tests.robustssm.checkpoints.selective import (
    HEADS,
    TOKENS,
    D,
    E,
    Held,
    N,
    Net,
    R,
    V,
    answers,
    built,
    logits,
    mixed,
    mixer_tensors,
    off,
    rms,
    tensors,
    transformers_config,
)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def written(folder: Path, net: Net) -> Path:
    """Return a folder as transformers saves it."""
    folder.mkdir()
    save_file(tensors(net), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(transformers_config(net)))
    return folder


@pytest.mark.parametrize("net", [Net(), Net(two=True)], ids=["1", "2"])
def test_a_sweep_over_tokens(net: Net, tmp_path: Path) -> None:
    """Perturbed at the embeddings; padding is never perturbed; there is no site in the layers."""
    folder = written(tmp_path / "model", net)
    generator = np.random.default_rng(0)
    tokens, lengths = generator.integers(0, V, (12, 16)), generator.integers(5, 17, 12)
    labels = generator.integers(0, V, 12)
    arguments = ["sweep", "-m", f"lm={folder}", "--noise", "fourier", "--modes", "1,2", "-j", "1"]
    arguments += ["--eps", "0.5", "--format", "json", "--no-figures"]
    found = []
    for number in range(2):
        behind = np.arange(16) >= lengths[:, None]
        own = np.where(behind, (tokens + number) % V, tokens)
        path = tmp_path / f"{number}.npz"
        np.savez(path, inputs=own, labels=labels, lengths=lengths, train_inputs=tokens)
        result = call(*arguments, "-d", f"file:{path}", "-o", tmp_path / f"run{number}")
        assert result.exit_code == 0, result.output
        cells = sorted((tmp_path / f"run{number}" / "cells").iterdir())
        assert len(cells) == 3
        rows = json.loads(result.stdout)
        found.append([(r["mode"], r["accuracy"]) for r in rows["rows"]] if "rows" in rows else rows)
    resonance = call(
        *("sweep", "-m", f"lm={folder}", "-d", f"file:{tmp_path / '0.npz'}"),
        *("--noise", "resonance", "--omega", "20", "-o", tmp_path / "none"),
    )
    assert resonance.exit_code == 2
    assert "has none with a step size" in " ".join(resonance.output.split())


@pytest.mark.parametrize("net", [Net(falcon=1e-3), Net(two=True, limit=(0.0, 0.5))], ids=["1", "2"])
def test_a_native_file_keeps_it(net: Net, tmp_path: Path) -> None:
    folder = written(tmp_path / "model", net)
    result = call("models", "import", folder, "-o", tmp_path / "m.safetensors")
    assert result.exit_code == 0, result.output
    np.savez(tmp_path / "x.npz", input=TOKENS[None])
    for source in (folder, tmp_path / "m.safetensors"):
        output = tmp_path / "y.npz"
        options = ("--input", tmp_path / "x.npz", "--output", output, "--precision", "float64")
        found = call("models", "predict", source, *options)
        assert found.exit_code == 0, found.output
        with np.load(output) as file:
            assert off(file["output"][0], logits(net, tensors(net), TOKENS)) < 1e-12
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, input=np.array([[V]]))
    refused = call("models", "predict", folder, "--input", wrong, "--output", tmp_path / "y.npz")
    assert refused.exit_code == 4
    shown = call("inspect", folder, "--format", "json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["vocabulary"] == V


def test_a_card_of_an_earlier_version(tmp_path: Path) -> None:
    """A native file of kind `mamba`: names of transformers under `lm.`, a mean and deviation."""
    net, held = Net(eps=1e-3), tensors(Net())
    config = {
        **{"vocab_size": V, "hidden_size": D, "state_size": N, "num_hidden_layers": 2},
        **{"layer_norm_epsilon": 1e-3, "expand": 2, "conv_kernel": 3, "use_bias": False},
        **{"use_conv_bias": True, "hidden_act": "silu", "residual_in_fp32": True},
        "time_step_rank": R,
    }
    architecture = {"kind": "mamba", "source": "Mamba", "d_input": D, "d_output": V}

    class Old(Classifier):
        """Holds the tensors as the network through transformers did."""

        def __init__(self) -> None:
            super().__init__(D, V, V)
            for name, value in {f"lm.{k}": v for k, v in held.items()}.items():
                here: torch.nn.Module = self
                *path, last = name.split(".")
                for part in path:
                    if not hasattr(here, part):
                        here.add_module(part, torch.nn.Module())
                    here = getattr(here, part)
                here.register_buffer(last, value)
            self.std.fill_(2.0)

        def to_dict(self) -> dict[str, object]:
            return {**architecture, "config": config}

        ssm_layers: Callable[[Classifier], list[Any]] = lambda self: []  # type: ignore[assignment]

    old, path = Old(), tmp_path / "old.safetensors"
    card = Card(old.to_dict(), {}, "", "", 0, {"source": "Mamba"}, None, 0, "")
    written_card = save_checkpoint(path, old, card)
    checkpoint = load_checkpoint(path)
    assert checkpoint.card.architecture == asdict(written_card)["architecture"]
    half = {**held, "backbone.embeddings.weight": held["backbone.embeddings.weight"] / 2}
    assert off(answers(checkpoint.network), logits(net, half, TOKENS)) < 1e-12


@pytest.mark.parametrize("kind", ["mamba", "mamba2", "falcon_mamba"])
@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_the_same_logits_as_transformers(kind: str, tied: bool, tmp_path: Path) -> None:
    """A second route: its own network of random weights, saved by itself; float32 on both sides."""
    transformers = pytest.importorskip("transformers")
    own = {"mamba2": {"num_heads": HEADS, "head_dim": E // HEADS, "n_groups": 3, "chunk_size": 4}}
    config = transformers.AutoConfig.for_model(
        kind,
        **{"vocab_size": V, "hidden_size": D, "state_size": N, "num_hidden_layers": 2},
        **{"tie_word_embeddings": tied, **own.get(kind, {})},
    )
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "model")
    network = robustssm.load(tmp_path / "model").network
    tokens = torch.from_numpy(TOKENS)[None]
    expected = model(tokens).logits[:, -1]
    assert off(network(network.embed(tokens)).numpy(), expected.numpy()) < 1e-5


@pytest.mark.parametrize(
    "name", ["mamba_tiny", "mamba2_g1_tied", "mamba2_g2_untied", "falcon_mamba_tied"]
)
@torch.no_grad()
def test_the_reference_logits(name: str) -> None:
    """After every number of tokens; float64 where the reference is computed in it throughout."""
    folder = GOLDEN if name == "mamba_tiny" else GOLDEN.parent / "golden2"
    io = folder / f"{name}_io.npz"
    if not io.is_file():
        pytest.skip(f"reference values {name} are not beside this checkout")
    with np.load(io) as file:
        given = "input_ids" if name == "mamba_tiny" else "input"
        every = "logits" if name == "mamba_tiny" else "logits_all"
        tokens, single = torch.from_numpy(file[given]), file[every]
        double = file["logits_all_f64"] if "logits_all_f64" in file.files else None
    network = robustssm.load(folder / name).network
    for length in range(1, tokens.shape[1] + 1):
        found = network.float()(network.embed(tokens[:, :length])).numpy()
        assert off(found, single[:, length - 1]) < 1e-5
        if double is not None:
            found = network.double()(network.embed(tokens[:, :length])).numpy()
            assert off(found, double[:, length - 1]) < 1e-9


def s6(prefix: str = "") -> Held:
    """A classifier of the jacobian study: encoder and norm, mixers with a norm each, a mean."""
    draw, net = Draw(8), Net()
    t = {"input.weight": draw(D, 3), "input.bias": draw(D)}
    t |= {"output.weight": draw(4, D), "output.bias": draw(4)}
    for name in ("post_norm", "norms.0", "norms.1"):
        t |= {f"{name}.weight": 1 + 0.3 * draw(D), f"{name}.bias": 0.1 * draw(D)}
    for i in range(2):
        t |= {f"mapping_layers.{i}.{k}": v for k, v in mixer_tensors(net, draw).items()}
    return {prefix + name: value for name, value in t.items()}


def test_s6_classifiers() -> None:
    """A norm behind the encoder and behind each residual; no norm before the decoder."""
    held = s6()
    t = {name: value.double().numpy() for name, value in held.items()}
    imported = built(held, None)
    u = Draw(9)(1, 20, 3).double()

    def normed(name: str, x: np.ndarray) -> np.ndarray:
        y = rms(x - x.mean(-1, keepdims=True), 1e-5)
        return y * t[f"{name}.weight"] + t[f"{name}.bias"]

    x = normed("post_norm", u[0].numpy() @ t["input.weight"].T + t["input.bias"])
    for i in range(2):
        here = f"mapping_layers.{i}."
        w = {name.removeprefix(here): value for name, value in t.items() if name.startswith(here)}
        x = normed(f"norms.{i}", x + mixed(Net(), w, x))
    expected = x.mean(0) @ t["output.weight"].T + t["output.bias"]
    with torch.no_grad():
        assert off(imported.network.double()(u)[0].numpy(), expected) < 1e-12
    assert imported.network.ssm_layers() == []
    assert "pixels in [0, 1]" in imported.notes[0]


@torch.no_grad()
def test_the_published_s6() -> None:
    path = GOLDEN.parent / "golden2" / "jr_s6_cifar10_none.pt"
    io = path.with_name(f"{path.stem}_io.npz")
    if not io.is_file():
        pytest.skip("the published file is not beside this checkout")
    with np.load(io) as file:
        x, single, double = torch.from_numpy(file["input"]), file["logits"], file["logits_f64"]
    network = robustssm.load(path).network
    assert off(network(x).numpy(), single) < 1e-5
    assert off(network.double()(x.double()).numpy(), double) < 1e-9
