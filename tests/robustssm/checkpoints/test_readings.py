"""What a file does not say is asked for, or told: no other meaning of it stays unseen.

Scripts that share a layout differ in the sign of Im A, the residual, the pooling, D, the scale of
the steps, or the norms. Of each layout the table says how such a difference would be seen.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustssm.checkpoints.imported import Imported
from robustssm.checkpoints.importers import IMPORTERS, importer_of, open_checkpoint
from robustssm.checkpoints.state_spaces.versions import _LAYOUTS, layout_of
from robustssm.checkpoints.weights import Weights
from robustssm.errors import UsageError
from robustssm.file_formats import read_contents
from robustssm.networks.foreign import Blueprint, SequenceModel
from tests.robustssm.checkpoints import selective
from tests.robustssm.checkpoints.foreign import Draw, minimal_layer
from tests.robustssm.checkpoints.kernels import v4_diagonal
from tests.robustssm.checkpoints.networks import network_tensors
from tests.robustssm.checkpoints.test_families import FAMILIES, LOOKING_AHEAD, example
from tests.robustssm.checkpoints.test_jacobian_study import weights
from tests.robustssm.checkpoints.test_linoss import DAMPED, UNDAMPED
from tests.robustssm.checkpoints.test_linoss import layer as oscillators
from tests.robustssm.checkpoints.test_mamba_files import s6

Make = Callable[[Path], tuple[Path, dict[str, str]]]
ASPECTS = ("sign", "step", "D", "residual", "pooling", "norm")


def saved(tensors: Mapping[str, Tensor], **settings: str) -> Make:
    def make(folder: Path) -> tuple[Path, dict[str, str]]:
        torch.save(dict(tensors), folder / "state.pt")
        return folder / "state.pt", settings

    return make


def port() -> dict[str, Tensor]:
    draw, A = Draw(2), torch.complex(-torch.rand(4) - 0.1, torch.arange(4.0))
    C = torch.complex(draw(3, 4), draw(3, 4)).to(torch.complex64)
    parts = {"Lambda": A, "B": draw(4, 3, 2), "C": C, "D": draw(3), "log_step": draw(4)}
    return {f"seq.{name}": value for name, value in parts.items()}


def mamba(net: selective.Net) -> Make:
    def make(folder: Path) -> tuple[Path, dict[str, str]]:
        save_file(selective.tensors(net), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(selective.transformers_config(net)))
        return folder, {}

    return make


def bare() -> dict[str, Tensor]:
    plain = network_tensors("layer", "R", True)
    held = {name: value for name, value in plain.items() if ".layer." not in name}
    for i in range(2):
        kernel = v4_diagonal(2, 1, False)
        held |= {f"model.layers.{i}.layer.{name}": value for name, value in kernel.items()}
    return held


BARE = {
    **{"disc": "zoh", "dt_transform": "exp", "prenorm": "true", "residual": "R", "norm": "layer"},
    **{"mode": "pool", "l_output": "0"},
}
V4 = "A = -f(A_real) - i A_imag", "dt = f(inv_dt)", "D u is added"
BACKBONE = "residual add", "pooling mean", "norm layer (eps 1e-05) before each block, at the end"
S5 = "Lambda = Lambda_re + i Lambda_im", "dt = 1 exp(log_step)", "+ D u", "residual add"
SELECTIVE = "A = -exp(A_log)", "dt = softplus of its projection and bias", "D x is added"
MAMBA = (*SELECTIVE, "residual add", "pooling last", "norm rms (eps 1e-05) before each block")
MINIMAL = "A = -exp(log_A_real) + i A_imag", "dt = exp(log_dt)", "D u is added"
# Layout -> file, and for each aspect the setting that is asked for, or the words that are told.
LAYOUTS: dict[str, tuple[Make, tuple[str, str, str, str, str, str]]] = {
    "s4": (FAMILIES["s4"], (*V4, *BACKBONE)),
    "s4d": (FAMILIES["s4d"], (*V4, *BACKBONE)),
    "bare": (
        saved(bare(), **BARE),
        (V4[0], "dt_transform", V4[2], "residual", "mode", "prenorm"),
    ),
    "dss": (
        FAMILIES["dss"],
        ("Lambda from", "Lambda_im", "D u is added", "residual add", "pooling mean", "norm layer"),
    ),
    "example": (
        FAMILIES["example"],
        ("script", "dt = exp(log_dt)", "script", "residual add", "script", "prenorm"),
    ),
    "ablation": (
        FAMILIES["ablation"],
        ("script", "dt = exp(log_dt)", "script", "residual add", "script", "prenorm"),
    ),
    "robustness": (
        FAMILIES["robustness"],
        ("A = -exp(log_A_real) - i A_imag", "dt = exp(log_dt)", "no D", "residual none",
         "pooling mean", "prenorm"),
    ),
    "run_cifar": (
        LOOKING_AHEAD["run_cifar"],
        ("script", "dt = exp(log_dt)", "D u is added", "residual add",
         "x is followed by x reversed", "prenorm"),
    ),
    "noisycifar": (
        LOOKING_AHEAD["noisycifar_hope"],
        ("script", "dt = exp(log_dt)", "D u is added", "residual add",
         "pooling mean of steps from 4", "prenorm"),
    ),
    "s4ptd": (FAMILIES["s4ptd"], (*V4, *BACKBONE)),
    "freqbias": (LOOKING_AHEAD["freqbias"], (*V4, *BACKBONE)),
    "one minimal layer": (
        saved(minimal_layer(Draw(1))), (*MINIMAL, "residual none", "pooling none", "norm none")
    ),
    "jacobian": (
        saved(weights(16, 3)),
        ("A = -exp(log_w_real) + i w_imag", "dt = exp(log_dt)", "D u is added", "residual add",
         "pooling mean", "norm layer (eps 1e-05) behind each block, behind the encoder"),
    ),
    "s5": (FAMILIES["s5"], (*S5, "mode", "prenorm")),
    "pair": (FAMILIES["pair"], (*S5, "pooling mean", "prenorm")),
    "lru": (
        FAMILIES["lru"],
        ("lambda = exp(-exp(nu_log) + i exp(theta_log))", "B exp(gamma_log)", "+ D u",
         "residual add", "pooling", "prenorm"),
    ),
    "linoss": (
        saved(oscillators(UNDAMPED[0]), **UNDAMPED[0]),
        ("x'' = -a x - g x' + B u", "h = sigmoid(steps)", "D u of", "residual none",
         "pooling none", "norm none"),
    ),
    "d-linoss": (
        saved(oscillators(DAMPED[0]), **DAMPED[0]),
        ("layer_name", "h = sigmoid(dt)", "D u of", "residual none", "pooling none", "norm none"),
    ),
    "s5-pytorch": (
        saved(port()),
        ("Lambda as it stands", "dt = step_scale exp(log_step)", "+ D u", "residual none",
         "pooling none", "norm none"),
    ),
    "mamba": (mamba(selective.Net()), MAMBA),
    "falcon": (mamba(selective.Net(falcon=1e-6)), MAMBA),
    "mamba2": (mamba(selective.Net(two=True, groups=2)), MAMBA),
    "s6": (
        saved(s6()),
        (*SELECTIVE, "residual add", "pooling mean", "norm layer (eps 1e-05) behind each block"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_another_meaning_is_asked_for_or_told(name: str, tmp_path: Path) -> None:
    make, seen = LAYOUTS[name]
    path, settings = make(tmp_path)
    checkpoint = open_checkpoint(path, settings)
    (told,) = (note for note in checkpoint.notes if ": " in note and note.startswith("read as"))
    for aspect, words in zip(ASPECTS, seen, strict=True):
        if words not in settings:
            assert words in told, aspect
            continue
        without = {key: value for key, value in settings.items() if key != words}
        with pytest.raises(UsageError, match=rf"--set {words}="):
            open_checkpoint(path, without)


def test_no_layout_is_left_out(tmp_path: Path) -> None:
    importers, layouts = set(), set()
    for name, (make, _) in LAYOUTS.items():
        folder = tmp_path / name
        folder.mkdir()
        contents = read_contents(make(folder)[0])
        importers.add(importer_of(contents).name)
        w = Weights(contents.tensors, contents.path)
        starts = {key.partition("kernel.")[0].removesuffix("layer.") for key in w.names()}
        layouts |= {layout_of(w.scope(start)) for start in starts}
    assert importers == set(IMPORTERS)
    # v2 and v3 differ from these in names, and in signs, which each layout tells.
    known = {layout for layout in layouts if layout is not None}
    assert {layout.version for layout in known} == {
        layout.version for layout in _LAYOUTS.values() if layout.version != "v3"
    } | {"v4 of S4-PTD", "v4 of FreqBias"}
    for layout in _LAYOUTS.values():
        if layout.real != layout.imag:
            assert layout.formula(1.0, True) != layout.formula(-1.0, True)


# Fields of a blueprint that shapes or tensors of a file tell, and such as move no prediction.
FROM_THE_FILE = {
    *("d_input", "d_model", "d_output", "mixers", "encoder", "decoder", "decoder_bias", "tokens"),
    *("feed_forward", "head_width", "head_activation", "pair"),
    *("log_softmax", "mask_padding", "final_activation"),
}


def test_every_field_of_a_blueprint_is_told(tmp_path: Path) -> None:
    """A field that changes what a network computes changes how its reading is told."""
    path, settings = example(tmp_path)
    network = open_checkpoint(path, settings).network
    assert isinstance(network, SequenceModel)
    others: dict[str, object] = {
        **{"source": "other", "norm": "batch", "norm_eps": 1e-6, "prenorm": False},
        **{"final_norm": True, "residual": "none", "activation": "none", "output": "none"},
        **{"pooling": "last", "encoder_norm": True, "pool_from": 4, "mirrored": True},
    }
    assert {field.name for field in fields(Blueprint)} == FROM_THE_FILE | set(others)
    before = Imported(network, (), "s4d").reading
    for key, value in others.items():
        changed = replace(network.blueprint, **{key: value})  # type: ignore[arg-type]
        network_of = SequenceModel(changed)
        assert Imported(network_of, (), "s4d").reading != before, key
