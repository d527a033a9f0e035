"""What a refusal advises, typed as it stands, leads to a sweep."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import Tensor

from robustssm.cli import main
from robustssm.file_formats import read_contents
from tests.robustssm.checkpoints import selective
from tests.robustssm.checkpoints.foreign import Draw, L
from tests.robustssm.checkpoints.networks import config
from tests.robustssm.checkpoints.samples import flax_bytes
from tests.robustssm.checkpoints.test_families import FAMILIES, nested
from tests.robustssm.checkpoints.test_readings import bare
from tests.robustssm.checkpoints.test_s5 import classifier

# A network of one's own with parameters of these names and sizes.
CODE = """
import torch
class Net(torch.nn.Module):
    d_input, d_output = {inputs}, 3
    def __init__(self):
        super().__init__()
        for name, size in {sizes}:
            part, (*path, last) = self, name.split(".")
            for key in path:
                if not hasattr(part, key):
                    part.add_module(key, torch.nn.Module())
                part = getattr(part, key)
            part.register_buffer(last, torch.zeros(size))
    def forward(self, x):
        return x.mean(1)[:, :1] * torch.arange(3.0)
def function():
    return Net()
"""
Make = Callable[[Path], Path]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def saved(content: Any) -> Make:
    def make(folder: Path) -> Path:
        torch.save(content, folder / "weights.pt")
        return folder / "weights.pt"

    return make


def family(name: str) -> Make:
    return lambda folder: FAMILIES[name](folder)[0]


def growing(folder: Path) -> Path:
    """A flax file of S5 whose Lambda_re has both signs."""
    pytest.importorskip("msgpack", reason="flax files need msgpack")
    tensors = classifier(Draw(2), "half_glu1", True)
    for name in tensors:
        if name.endswith("Lambda_re"):
            tensors[name][0].abs_()
    (folder / "checkpoint_7").write_bytes(flax_bytes({**nested(tensors), "step": 7}))
    return folder / "checkpoint_7"


def unstable() -> dict[str, Tensor]:
    held = bare()
    for name in held:
        if name.endswith("A_real"):
            held[name] = -held[name].exp()
    return held


def unsupported(part: str, value: object) -> Make:
    """A Lightning file with an option that has no counterpart here."""
    whole: Any = config("layer", "R", True, "pool")
    whole["model"]["layer"] = {"_name_": "s4", "mode": "diag", "disc": "zoh"}
    place = whole["model"] if part in whole["model"] or part == "pool" else whole["model"]["layer"]
    place[part] = value
    return saved({"state_dict": bare(), "hyper_parameters": whole, "epoch": 3})


def averaged() -> dict[str, object]:
    held = bare()
    return {"model": held, "model_ema": {name: v.clone() for name, v in held.items()}}


def two_nets() -> dict[str, Tensor]:
    return {f"{net}.{name}": v for net in ("teacher", "student") for name, v in bare().items()}


def headless() -> dict[str, Tensor]:
    held = selective.tensors(selective.Net())
    return {
        name.removeprefix("backbone."): value
        for name, value in held.items()
        if not name.startswith("lm_head")
    }


def annotated(folder: Path) -> Path:
    """As annotated-s4 names its parameters: those of S5, one matrix per feature."""
    pytest.importorskip("msgpack", reason="flax files need msgpack")
    layer = {"seq/Lambda_re": -torch.ones(4, 6), "seq/Lambda_im": torch.ones(4, 6)}
    tensors = {
        "params/encoder/kernel": torch.zeros(2, 6),
        **{f"params/layers_{i}/{name}": value for i in range(2) for name, value in layer.items()},
    }
    (folder / "checkpoint_3").write_bytes(flax_bytes({**nested(tensors), "step": 3}))
    return folder / "checkpoint_3"


def first_version() -> dict[str, Tensor]:
    """As version 1 of state-spaces/s4 names them: P and Q are rows of B and C."""
    held = {name: value for name, value in bare().items() if ".kernel." not in name}
    for i in range(2):
        at = f"model.layers.{i}.layer.layer.kernel.kernel."
        held |= {f"{at}log_dt": torch.zeros(6), f"{at}w": torch.zeros(6, 4, 2)}
        held |= {f"{at}{name}": torch.zeros(2, 6, 4, 2) for name in "BC"}
        held |= {f"{at}{name}": torch.zeros(9, 2) for name in ("nodes", "z")}
    return held


def untied() -> dict[str, Tensor]:
    """A DPLR kernel with a step for each state."""
    held = bare()
    for i in range(2):
        at = f"model.layers.{i}.layer.layer.kernel."
        held |= {f"{at}P": torch.zeros(1, 2, 4, 2), f"{at}inv_dt": torch.zeros(6, 4)}
    return held


def mixed() -> dict[str, Tensor]:
    """An output map whose width is no gate's in the second block alone."""
    held = bare()
    at = "model.layers.1.layer.output_linear.0."
    return {**held, f"{at}weight": held[f"{at}weight"][:6], f"{at}bias": held[f"{at}bias"][:6]}


def selective_with(**options: object) -> Make:
    """A folder of transformers whose config.json has an option that is not supported."""

    def make(folder: Path) -> Path:
        net, place = selective.Net(), folder / "mamba"
        place.mkdir()
        save_file(selective.tensors(net), place / "model.safetensors")
        said = json.dumps(selective.transformers_config(net, **options))
        (place / "config.json").write_text(said)
        return place

    return make


# What is refused at first -> file, and words of the first message.
REFUSED: dict[str, tuple[Make, str]] = {
    "a script's": (family("example"), "does not say script, prenorm"),
    "weights only": (saved(bare()), "does not say"),
    "S5": (family("s5"), "does not say"),
    "S5-PTD": (growing, "force_neg"),
    "LRU": (family("lru"), "does not say"),
    "growing poles": (saved(unstable()), "does not say"),
    "averages beside weights": (saved(averaged()), "weights=ema"),
    "two networks": (saved(two_nets()), "prefix="),
    "pooling inside": (unsupported("pool", {"_name_": "pool", "stride": 2}), "option pool is"),
    "another activation": (unsupported("activation", "square"), "option activation is"),
    "an unknown option": (unsupported("future", 1), "unknown options future"),
    "annotated-s4": (annotated, "srush/annotated-s4"),
    "version 1": (saved(first_version()), "or load the whole by your own code"),
    "a step for each state": (saved(untied()), "dt_tie is false in a DPLR kernel"),
    "blocks that differ": (saved(mixed()), "has shape [6, 6]"),
    "no table of options": (unsupported("layer", "s4"), "expected a table"),
    "another model of transformers": (selective_with(model_type="nemotron_h"), "nemotron_h"),
    "an activation of Mamba": (selective_with(hidden_act="relu"), "hidden_act is 'relu'"),
    "an option of Mamba": (selective_with(ssm_cfg={"bimamba": True}), "bimamba is True"),
    "attention in Mamba": (selective_with(attn_layer_idx=[1]), "attn_layer_idx is [1]"),
    "no layout": (saved({"a": torch.zeros(2), "b.c": torch.zeros(3)}), "in no layout"),
    "no head": (saved(headless()), "backbone without a head"),
}


def advised(message: str) -> Mapping[str, str]:
    """The settings that a message asks for, the first word of each; numbers are 1."""
    found = dict(re.findall(r"--set (\w+)=([^\s|,;)]+)", message))
    return {key: "1" if value.startswith("NUMBER") else value for key, value in found.items()}


@pytest.mark.parametrize("name", REFUSED)
def test_advice_leads_to_a_sweep(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = REFUSED[name]
    path = make(tmp_path)
    monkeypatch.chdir(path.parent)
    draw, width = np.random.default_rng(0), 2
    tokens = name == "no head"
    inputs = draw.integers(0, 5, (12, L)) if tokens else draw.normal(size=(12, L, width))
    np.savez("samples.npz", inputs=inputs, labels=np.arange(12) % 3)
    model, settings, seen = path.name, dict[str, str](), []
    for _ in range(6):
        given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        result = call("sweep", "-m", model if "=" in model else f"mine={model}", *given, "-d",
                      "file:samples.npz", "--noise", "fourier", "--modes", "1", "--eps", "0.3",
                      "-j", "1", "--no-figures", "-o", "run")  # fmt: skip
        if result.exit_code == 0:
            break
        assert result.exit_code in (2, 4), result.output
        message = " ".join(result.output.split())
        seen.append(message)
        own = re.search(r"name=module\.py:function(@\S+)?", message)
        new = {key: value for key, value in advised(message).items() if key not in settings}
        if new:
            settings |= new
            continue
        assert own is not None, message
        model, settings = own[0].rstrip(";,."), {}
        sizes = [(key, tuple(v.shape)) for key, v in read_contents(path).tensors.items()]
        Path("module.py").write_text(CODE.format(sizes=sizes, inputs=width))
    assert result.exit_code == 0, seen
    assert words in seen[0], seen
