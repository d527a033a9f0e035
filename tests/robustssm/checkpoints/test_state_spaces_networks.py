"""Networks of state-spaces/s4 against a naive evaluation, and what is refused."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.checkpoints import Card, load_checkpoint, save_checkpoint, state_spaces
from robustssm.errors import RejectedInputError, UsageError
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    L,
    f64,
    gelu,
    held,
)
from tests.robustssm.checkpoints.networks import (
    NORMS,
    built,
    config,
    naive,
    network_tensors,
    pooled,
)

RESIDUALS = ("R", "F", "A", "H", "D")


@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize(
    ("norm", "residual", "mode"),
    [
        (norm, RESIDUALS[i % 5], ("pool", "last", "first", "sum")[i % 4])
        for i, norm in enumerate(NORMS)
    ],
)
@torch.no_grad()
def test_backbones(norm: str, residual: str, mode: str, prenorm: bool) -> None:
    """The same network from hyper-parameters, and from the options that they hold."""
    t = network_tensors(norm, residual, prenorm)
    u = torch.randn(2, L, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    features = pooled(naive(t, norm, residual, prenorm, u.numpy()), mode)
    head = "decoder.0.output_transform."
    expected = features @ f64(t[f"{head}weight"]).T + f64(t[f"{head}bias"])
    settings = {"prenorm": str(prenorm).lower(), "mode": mode, "l_output": "0"}
    if residual not in "AH":
        settings["residual"] = residual
    if norm in ("layer", "group", "instance", "none"):
        settings["norm"] = norm
    options = config(norm, residual, prenorm, mode)
    for contents, given in ((held(t, options), {}), (held(t), settings)):
        imported = state_spaces.build(contents, given)
        found = imported.network.double()(u).numpy()
        # float64 rounding over two blocks; the norms divide by numbers of order 1.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
        assert imported.family == "s4d"
    notes = state_spaces.build(held(t, options), {}).notes
    assert any("ema" in note for note in notes)
    assert any("permute" in note for note in notes)


@pytest.mark.parametrize(
    ("nli", "activation", "mode"), [(True, "gelu", "pool"), (False, "relu", "last")]
)
@torch.no_grad()
def test_two_documents(nli: bool, activation: str, mode: str, tmp_path: Path) -> None:
    """Retrieval: both halves of a sample by themselves, then the head on what they have pooled."""
    t, width, draw = network_tensors("layer", "R", False), 6, Draw(21)
    t = {key: value for key, value in t.items() if not key.startswith("decoder.")}
    widths = [4 * D, width, 2] if nli else [2 * D, width, width // 2, 2]
    place = "decoder.0.retrieval.classifier."
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        t[f"{place}{2 * i}.weight"], t[f"{place}{2 * i}.bias"] = (
            draw(outputs, inputs),
            draw(outputs),
        )
    u = torch.randn(3, 2 * L, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a, b = (
        pooled(naive(t, "layer", "R", False, part), mode) for part in np.split(u.numpy(), 2, axis=1)
    )
    y = np.concatenate([a, b, a - b, a * b] if nli else [a, b], axis=-1)
    for i in range(len(widths) - 1):
        y = y @ f64(t[f"{place}{2 * i}.weight"]).T + f64(t[f"{place}{2 * i}.bias"])
        if i < len(widths) - 2:
            y = gelu(y) if activation == "gelu" else np.maximum(y, 0.0)
    options: dict[str, Any] = config("layer", "R", False, mode)
    options["decoder"] = {"_name_": "retrieval", "mode": mode, "use_lengths": True, "nli": nli}
    options["decoder"] |= {"activation": activation, "d_model": None}
    said = {"prenorm": "false", "mode": mode, "residual": "R", "norm": "layer"}
    with pytest.raises(UsageError, match=r"activation=relu\|gelu"):
        state_spaces.build(held(t), said)
    for contents, given in ((held(t, options), {}), (held(t), {**said, "activation": activation})):
        imported = state_spaces.build(contents, given)
        assert any("two documents" in note for note in imported.notes)
        found = imported.network.double()(u).numpy()
        np.testing.assert_allclose(found, y, rtol=0, atol=1e-10 * np.abs(y).max())
    options["decoder"]["nli"] = not nli
    with pytest.raises(UsageError, match="decoder option nli"):
        state_spaces.build(held(t, options), {})
    card = Card(imported.network.to_dict(), {}, "", "", 0, {}, None, 0, "test")
    save_checkpoint(tmp_path / "pair.safetensors", imported.network, card)
    again = load_checkpoint(tmp_path / "pair.safetensors").network
    np.testing.assert_array_equal(again.double()(u).numpy(), found)


@torch.no_grad()
def test_normalisation_of_the_input_is_an_option() -> None:
    t, u = network_tensors("layer", "R", False), torch.rand(2, L, 2)
    contents = held(t, config("layer", "R", False, "pool"))
    raw = built(contents, {"input_mean": "0.2,0.3", "input_std": "0.5"})
    # Only float32 rounding of (u - mean) / std is between them.
    torch.testing.assert_close(
        raw(u), built(contents)((u - torch.tensor([0.2, 0.3])) / 0.5), rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_tokens_are_embedded() -> None:
    """The embedding of a token is its row: as one-hot values through a linear encoder."""
    t = network_tensors("layer", "R", False)
    weight = Draw(4)(10, D)
    options = config("layer", "R", False, "pool")
    tokens = torch.randint(10, (2, L), generator=torch.Generator().manual_seed(0))
    del t["encoder.0.bias"]
    embedding = built(held({**t, "encoder.0.weight": weight}, {**options, "encoder": "embedding"}))
    assert (embedding.tokens, embedding.d_input) == (10, D)
    linear = {**t, "encoder.0.weight": weight.T, "encoder.0.bias": torch.zeros(D)}
    one_hot = torch.nn.functional.one_hot(tokens, 10).float()
    # One product with 1 and nine with 0 an entry; float32 rounding elsewhere.
    torch.testing.assert_close(
        embedding(embedding.embed(tokens)), built(held(linear, options))(one_hot)
    )


@torch.no_grad()
def test_padding_is_left_out() -> None:
    """A padded sample has the logits of the sample alone, whatever stands in the padding."""
    t = network_tensors("layer", "R", False)
    for mode in ("pool", "last", "sum"):
        network = built(held(t, config("layer", "R", False, mode))).double()
        u = torch.randn(3, L, 2, dtype=torch.float64)
        lengths = torch.tensor([L, 10, 1])
        found = network(u, lengths)
        for i, n in enumerate(lengths):
            alone = network(u[i : i + 1, :n])
            # float64 rounding: FFTs of other lengths.
            torch.testing.assert_close(found[i : i + 1], alone, rtol=1e-10, atol=1e-10)


def test_all_that_is_needed_is_asked_for_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        state_spaces.build(held(network_tensors("layer", "R", False)), {})
    for name in ("prenorm=true|false", "residual=R|", "norm=layer|group", "mode=pool|", "l_output"):
        assert f"--set {name}" in str(caught.value)


LAYER = "model.layers.1.layer."


def broken(change: str) -> tuple[dict[str, Tensor], str]:
    t = network_tensors("layer", "R", False)
    match change:
        case "missing":
            del t[f"{LAYER}kernel.log_dt"]
            return t, f"{LAYER}kernel.log_dt is missing"
        case "extra":
            t["model.layers.1.gate.weight"] = torch.zeros(2)
            return t, r"unexpected model\.layers\.1\.gate\.weight \[2\]"
        case "shape":
            t[f"{LAYER}kernel.A_imag"] = torch.zeros(D, 3)
            return t, r"A_imag has shape \[6, 3\], expected \[6, 4\]"
        case "nan":
            t["encoder.0.bias"][2] = float("nan")
            return t, r"encoder\.0\.bias holds NaN"
        case "norm":
            t["model.layers.0.norm.norm.weight"] = torch.zeros(D + 1)
            return t, r"norm\.weight has shape \[7\], expected \[6\]"
    del t[f"{LAYER}D"]
    for key in [key for key in t if key.startswith("model.layers.0.")]:
        del t[key]
    return t, "expected 2 of them"


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "nan", "norm", "block"])
def test_damaged_files_are_rejected(change: str) -> None:
    t, message = broken(change)
    with pytest.raises(RejectedInputError, match=message):
        built(held(t, config("layer", "R", False, "pool")))


@pytest.mark.parametrize(
    ("place", "option", "value"),
    [
        ("layer", "gate", 2),
        ("layer", "bottleneck", 2),
        ("layer", "somewhat_new", 1),
        ("layer", "_name_", "mha"),
        ("layer", "mode", "nplr"),
        ("layer", "channels", 2),
        ("layer", "bidirectional", True),
        ("model", "bidirectional", True),
        ("model", "pool", {"_name_": "pool", "stride": 2}),
        ("model", "pool", {"_name_": "pool", "stride": 1, "expand": 2}),
        ("model", "_name_", "unet"),
        ("model", "norm", "power"),
        ("model", "residual", {"_name_": "A", "gamma": 0.5}),
        ("", "encoder", "position"),
        ("", "decoder", "pack"),
        ("", "decoder", {"_name_": "sequence", "mode": "ragged"}),
        ("", "decoder", {"_name_": "sequence", "l_output": 5}),
    ],
)
def test_what_is_not_supported_is_refused_by_name(place: str, option: str, value: object) -> None:
    options: Any = config("layer", "R", False, "pool")
    {"": options, "model": options["model"], "layer": options["model"]["layer"]}[place][option] = (
        value
    )
    name = "l_output" if "l_output" in str(value) else "mode" if "ragged" in str(value) else option
    with pytest.raises(UsageError, match=rf"{name}.*module\.py:function"):
        built(held(network_tensors("layer", "R", False), options))


def test_settings_that_are_unknown_or_contradict_the_file() -> None:
    contents = held(network_tensors("layer", "R", False), config("layer", "R", False, "pool"))
    with pytest.raises(UsageError, match=r"unknown setting colour, expected .*prenorm"):
        built(contents, {"colour": "red"})
    with pytest.raises(UsageError, match="prenorm=true contradicts the file, which says false"):
        built(contents, {"prenorm": "true"})
    built(contents, {"prenorm": "false", "residual": "residual"})
    with pytest.raises(UsageError, match="prenorm='maybe' is not allowed"):
        built(contents, {"prenorm": "maybe"})
    with pytest.raises(UsageError, match="input_std"):
        built(contents, {"input_std": "0"})


@torch.no_grad()
def test_an_imported_network_is_saved_and_loaded_bit_by_bit(tmp_path: Path) -> None:
    network = built(held(network_tensors("batch", "A", True), config("batch", "A", True, "pool")))
    card = Card(network.to_dict(), {}, "", "", 0, {}, None, 0, "")
    save_checkpoint(tmp_path / "native.safetensors", network, card)
    again = load_checkpoint(tmp_path / "native.safetensors").network
    u = torch.rand(2, L, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(u), network(u))


@pytest.mark.parametrize(("option", "count"), [("n_layers", 10**12), ("n_repeat", -1)])
def test_a_number_of_blocks_takes_no_memory(option: str, count: int) -> None:
    """The first would be a list of eight terabytes."""
    options: Any = config("layer", "R", True, "pool")
    options["model"][option] = count
    with pytest.raises(RejectedInputError, match=r"has blocks 0, 1, expected -?\d+ of them"):
        built(held(network_tensors("layer", "R", True), options))


def test_a_block_whose_number_no_int_takes() -> None:
    t = network_tensors("layer", "R", True)
    t |= {"model.layers." + "9" * 5000 + ".layer.D": torch.zeros(D)}
    with pytest.raises(RejectedInputError, match=r"expected 0, 1"):
        built(held(t, config("layer", "R", True, "pool")))
