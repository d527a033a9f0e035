"""Mamba: the installed scan against a recurrence of our own, and against stored logits."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import Tensor

from robustssm.checkpoints import mamba
from robustssm.checkpoints.native import weights_hash
from robustssm.cli import main
from robustssm.errors import RejectedInputError, UsageError
from robustssm.file_formats import Contents, read_contents
from robustssm.networks.inference import logits
from tests.reference import GOLDEN
from tests.robustssm.checkpoints.foreign import Draw

pytest.importorskip("transformers", reason="Mamba needs transformers: pip install 'robustssm[hf]'")

V, D, E, N, R, K = 11, 6, 12, 4, 2, 3
CONFIG: dict[str, object] = {
    "model_type": "mamba",
    "vocab_size": V,
    "hidden_size": D,
    "state_size": N,
    "num_hidden_layers": 2,
    "conv_kernel": K,
    "expand": 2,
    "time_step_rank": R,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    draw = Draw(seed)
    held = {"backbone.embeddings.weight": draw(V, D), "backbone.norm_f.weight": 1 + 0.1 * draw(D)}
    for i in range(2):
        own = {
            "norm.weight": 1 + 0.1 * draw(D),
            "mixer.A_log": 0.5 * draw(E, N),
            "mixer.D": draw(E),
            "mixer.conv1d.weight": draw(E, 1, K),
            "mixer.conv1d.bias": 0.1 * draw(E),
            "mixer.in_proj.weight": 0.5 * draw(2 * E, D),
            "mixer.x_proj.weight": 0.3 * draw(R + 2 * N, E),
            "mixer.dt_proj.weight": draw(E, R),
            "mixer.dt_proj.bias": draw(E) - 2,
            "mixer.out_proj.weight": 0.3 * draw(D, E),
        }
        held |= {f"backbone.layers.{i}.{name}": value for name, value in own.items()}
    return held


def contents(held: dict[str, Tensor], config: dict[str, object] | None = None) -> Contents:
    return Contents("huggingface", held, CONFIG if config is None else config, path=Path("model"))


def written(folder: Path) -> Path:
    """Return a folder as transformers saves it."""
    folder.mkdir()
    save_file(tensors(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def model(held: dict[str, Tensor] | None = None) -> Any:
    return mamba.build(contents(held or tensors()), {}).network


def naive(held: dict[str, Tensor], tokens: np.ndarray) -> np.ndarray:
    """Logits of the last token of one sequence, a loop over time, in numpy."""
    t = {name: value.double().numpy() for name, value in held.items()}
    x = t["backbone.embeddings.weight"][tokens]

    def norm(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return weight * values / np.sqrt((values**2).mean(-1, keepdims=True) + 1e-5)

    def silu(values: np.ndarray) -> np.ndarray:
        return values / (1 + np.exp(-values))

    for i in range(2):
        w = {k.removeprefix(f"backbone.layers.{i}."): v for k, v in t.items()}
        inner = norm(x, w["norm.weight"]) @ w["mixer.in_proj.weight"].T
        u, gate = inner[:, :E], inner[:, E:]
        past = np.concatenate([np.zeros((K - 1, E)), u])
        u = np.stack([
            (past[step : step + K] * w["mixer.conv1d.weight"][:, 0].T).sum(0)
            for step in range(len(tokens))
        ])  # fmt: skip
        u = silu(u + w["mixer.conv1d.bias"])
        state, y = np.zeros((E, N)), np.zeros_like(u)
        for step in range(len(tokens)):
            row = w["mixer.x_proj.weight"] @ u[step]
            rank, B, C = row[:R], row[R : R + N], row[R + N :]
            pre = w["mixer.dt_proj.weight"] @ rank + w["mixer.dt_proj.bias"]
            dt = np.log1p(np.exp(pre))[:, None]
            state = np.exp(-dt * np.exp(w["mixer.A_log"])) * state + dt * B * u[step][:, None]
            y[step] = state @ C + w["mixer.D"] * u[step]
        x = x + (y * silu(gate)) @ w["mixer.out_proj.weight"].T
    return norm(x[-1], t["backbone.norm_f.weight"]) @ t["backbone.embeddings.weight"].T


def test_the_reference_logits() -> None:
    folder, io = GOLDEN / "mamba_tiny", GOLDEN / "mamba_tiny_io.npz"
    if not io.is_file():
        pytest.skip("reference values mamba_tiny are not beside this checkout")
    network: Any = mamba.build(read_contents(folder), {}).network
    with np.load(io) as file:
        tokens, expected = torch.from_numpy(file["input_ids"]), file["logits"]
    for length in (1, 7, tokens.shape[1]):
        found = network(network.embed(tokens[:, :length])).numpy()
        difference = np.abs(found - expected[:, length - 1]).max() / np.abs(expected).max()
        assert difference < 1e-5, f"mamba_tiny: {difference:.1e}"  # as the reference names it


def test_three_routes() -> None:
    from robustssm.networks.mamba_steps import parity, recurrence

    network, held = model(), tensors()
    tokens = np.array([3, 1, 4, 1, 5, 9, 2, 6])
    x = network.embed(torch.from_numpy(tokens)[None])
    expected = naive(held, tokens)
    # float64 against float64; the network in float32 keeps 6e-8 a step.
    np.testing.assert_allclose(recurrence(network, x)[0].numpy(), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(network(x)[0].numpy(), expected, rtol=0, atol=1e-4)
    assert parity(network, x) < 1e-5


def test_a_frozen_step_is_the_response_to_an_impulse() -> None:
    from robustssm.networks.mamba_steps import local_system

    network = model()
    x = network.embed(torch.tensor([3, 1, 4, 1, 5]))
    frozen = local_system(network, x, layer=1, step=2)
    slow = frozen.poles.amax(1) < 0.995  # channels that forget: 0.995^4000 is 2e-9
    assert 3 <= int(slow.sum()) < E
    steps = torch.arange(4000)
    # sum over n of weight pole^l, plus D at l = 0
    kernel = (frozen.weights[..., None] * frozen.poles[..., None] ** steps).sum(1)
    kernel[:, 0] += frozen.D
    theta = torch.linspace(0.0, np.pi, 7, dtype=torch.float64)
    series = (kernel[:, None] * torch.exp(-1j * theta[:, None] * steps)).sum(-1)
    torch.testing.assert_close(frozen.transfer(theta)[slow], series[slow], rtol=0, atol=1e-6)


def test_padding_never_reaches_a_logit() -> None:
    network = model()
    x = network.embed(torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]]))
    lengths = torch.tensor([6, 4])
    found = network(x, lengths)
    other = x.clone()
    other[1, 4:] = 100.0
    assert torch.equal(network(other, lengths), found)
    torch.testing.assert_close(network(x[1:, :4]), found[1:], rtol=0, atol=1e-5)  # float32


def test_the_original_package(tmp_path: Path) -> None:
    held = tensors()
    held["backbone.embedding.weight"] = held.pop("backbone.embeddings.weight")
    held["lm_head.weight"] = held["backbone.embedding.weight"].clone()
    config: dict[str, object] = {
        **{"d_model": D, "n_layer": 2, "vocab_size": 9, "ssm_cfg": {}, "rms_norm": True},
        **{"residual_in_fp32": True, "pad_vocab_size_multiple": 11},
    }
    network: Any = mamba.build(contents(held, config), {}).network
    x = network.embed(torch.tensor([[3, 1, 4]]))
    assert torch.equal(network(x), model()(x))


def test_a_head_of_its_own() -> None:
    """What config.json says is held against the file: neither is guessed from the other."""
    own, head = tensors(), Draw(7)(V, D)
    untied = {**CONFIG, "tie_word_embeddings": False}
    with pytest.raises(RejectedInputError, match=r"lm_head\.weight is missing, expected it"):
        mamba.build(contents(own, untied), {})
    with pytest.raises(RejectedInputError, match=r"lm_head\.weight is tied, and it differs"):
        mamba.build(contents(own | {"lm_head.weight": head}), {})
    network: Any = mamba.build(contents(own | {"lm_head.weight": head}, untied), {}).network
    assert torch.equal(network.lm.lm_head.weight, head)


@pytest.mark.parametrize(
    ("config", "change", "error", "message"),
    [
        ({"model_type": "mamba2"}, {}, UsageError, "expected a Mamba"),
        ({"hidden_act": "relu"}, {}, UsageError, "hidden_act is 'relu'"),
        ({"hidden_size": 8}, {}, RejectedInputError, "says hidden_size = 8, its tensors 6"),
        ({"vocab_size": 1 << 40}, {}, RejectedInputError, "says vocab_size"),
        ({}, {"more": torch.zeros(1)}, RejectedInputError, "unexpected more"),
        ({}, {"backbone.layers.1.mixer.D": None}, RejectedInputError, "mixer.D is missing"),
        ({}, {"backbone.layers.1.mixer.D": torch.zeros(3)}, RejectedInputError, "has shape"),
        ({}, {"backbone.norm_f.weight": torch.full((D,), torch.nan)}, RejectedInputError, "NaN"),
    ],
)
def test_mistakes_are_one_line(
    config: dict[str, object],
    change: dict[str, Tensor | None],
    error: type[Exception],
    message: str,
) -> None:
    held = {name: v for name, v in {**tensors(), **change}.items() if v is not None}
    with pytest.raises(error, match=message) as caught:
        mamba.build(contents(held, {**CONFIG, **config}), {})
    assert "\n" not in str(caught.value)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_sweep_over_tokens(tmp_path: Path) -> None:
    """Perturbed at the embeddings; padding is never perturbed; the model stays as it was."""
    folder = written(tmp_path / "model")
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


def test_evaluation_changes_nothing() -> None:
    network = model()
    before = weights_hash(network.state_dict())
    x = network.embed(torch.tensor([[3, 1, 4]] * 70))
    found = logits(network, x)
    assert weights_hash(network.state_dict()) == before
    # Matrix products may round their last rows in another order: float32.
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-5)


def test_a_native_file_keeps_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "model")
    result = call("models", "import", folder, "-o", tmp_path / "m.safetensors")
    assert result.exit_code == 0, result.output
    np.savez(tmp_path / "x.npz", input=np.array([[3, 1, 4, 1]]))
    outputs = []
    for source in (folder, tmp_path / "m.safetensors"):
        output = tmp_path / "y.npz"
        found = call("models", "predict", source, "--input", tmp_path / "x.npz", "--output", output)
        assert found.exit_code == 0, found.output
        with np.load(output) as file:
            outputs.append(file["output"])
    np.testing.assert_array_equal(*outputs)
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, input=np.array([[V]]))
    refused = call("models", "predict", folder, "--input", wrong, "--output", tmp_path / "y.npz")
    assert refused.exit_code == 4
    shown = call("inspect", folder, "--format", "json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["vocabulary"] == V


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'robustssm\[hf\]'"):
        model()
