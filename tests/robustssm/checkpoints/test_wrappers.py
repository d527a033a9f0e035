"""What people's ways of saving put around a network's tensors: taken off and told, or asked for."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from robustssm.checkpoints.factory import build_module
from robustssm.checkpoints.importers import open_checkpoint
from robustssm.checkpoints.native import Checkpoint
from robustssm.errors import RejectedInputError, RobustssmError, UsageError
from tests.robustssm.checkpoints.foreign import D, Draw, minimal_layer
from tests.robustssm.checkpoints.networks import config, network_tensors
from tests.robustssm.checkpoints.samples import saved

SET = {"script": "example.py", "prenorm": "true"}
Wrap = Callable[[dict[str, Tensor]], dict[str, object]]


def example(seed: int = 0) -> dict[str, Tensor]:
    """The state_dict of example.py's classifier."""
    draw = Draw(seed)
    t = {"encoder.weight": draw(D, 2), "encoder.bias": draw(D)}
    t |= {"decoder.weight": draw(3, D), "decoder.bias": draw(3)}
    for i in range(2):
        t |= minimal_layer(draw, f"s4_layers.{i}.")
        t |= {f"norms.{i}.weight": draw(D), f"norms.{i}.bias": draw(D)}
    return t


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def inside(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torch.compile of single layers names them."""
    return {name.replace("_layers.0.", "_layers.0._orig_mod."): v for name, v in tensors.items()}


AROUND: dict[str, tuple[Wrap, str]] = {
    "DataParallel": (lambda t: {**under("module.", t)}, "prefix module. of"),
    "compiled": (lambda t: {**under("_orig_mod.", t)}, "names of torch's wrappers"),
    "compiled, DataParallel": (lambda t: {**under("module._orig_mod.", t)}, "prefix module. of"),
    "compiled layers": (lambda t: {**inside(t)}, "names of torch's wrappers"),
    "LightningModule": (lambda t: {"state_dict": under("my_net.", t)}, "prefix my_net. of"),
    "nested": (lambda t: {"state_dict": under("model._orig_mod.net.", t)}, "prefix model.net. of"),
    "in a table": (lambda t: {"model": under("module.", t), "epoch": 3}, "prefix module. of"),
    "AveragedModel": (
        lambda t: {"n_averaged": torch.tensor(5), **under("module.", t)},
        "prefix module. of its tensors is taken off; averaged weights",
    ),
    "hyper-parameters": (
        lambda t: {
            "state_dict": under("model.", t),
            "hyper_parameters": {"lr": 0.1, "d_model": 9, "model": "s4d"},
        },
        "hyper-parameters are not read: lr, d_model, model",
    ),
    "averages alone": (lambda t: {"model_ema": t, "epoch": 3}, "averaged weights"),
    "averages of a LightningModule": (lambda t: {"ema": under("net.", t)}, "averaged weights"),
}


@pytest.mark.parametrize("name", AROUND)
def test_what_stands_around_a_network_is_taken_off(name: str, tmp_path: Path) -> None:
    plain = open_checkpoint(saved(tmp_path / "plain.pth", example()), SET)
    wrap, told = AROUND[name]
    found = open_checkpoint(saved(tmp_path / "a.pth", wrap(example())), SET)
    assert found.content_hash == plain.content_hash
    assert told in " ".join(found.notes)
    assert not any("prefix" in note for note in plain.notes)


def test_the_backbone_of_a_lightning_file_is_no_prefix(tmp_path: Path) -> None:
    content = {
        "state_dict": network_tensors("layer", "R", True),
        "hyper_parameters": config("layer", "R", True, "pool"),
    }
    plain = open_checkpoint(saved(tmp_path / "a.ckpt", content))
    assert not any("prefix" in note for note in plain.notes)
    behind = {**content, "state_dict": under("module.", network_tensors("layer", "R", True))}
    found = open_checkpoint(saved(tmp_path / "b.ckpt", behind))
    assert found.content_hash == plain.content_hash
    assert "prefix module. of" in found.notes[0]


BESIDE: dict[str, Wrap] = {
    "two tables": lambda t: {"model": t, "model_ema": example(1)},
    "named ema": lambda t: {"model": under("module.", t), "ema": under("module.", example(1))},
    "params": lambda t: {"params": t, "params_ema": example(1)},
    "timm": lambda t: {"state_dict": t, "state_dict_ema": example(1)},
    "with other things": lambda t: {
        "state_dict": t,
        "ema_state_dict": {"decay": 0.9, "shadow": example(1)},
        "hyper_parameters": {"lr": 0.1},
    },
    "one table": lambda t: {**under("online_model.", t), **under("ema_model.", example(1))},
    "AveragedModel": lambda t: {
        "state_dict": {
            **under("net.", t),
            **under("average.module.", example(1)),
            "average.n_averaged": torch.tensor(2),
        }
    },
    "Lightning's average": lambda t: {"current_model_state": t, "state_dict": example(1)},
    "callback": lambda t: {
        "state_dict": t,
        "callbacks": {"EMACallback{'decay': 0.9}": {"state_dict": example(1), "decay": 0.9}},
    },
    "swa": lambda t: {
        "state_dict": under("net.", t),
        "callbacks": {
            "ModelCheckpoint": {"best_model_score": torch.tensor(0.5)},
            "StochasticWeightAveraging": {
                "average_model_state": under("net.", example(1)),
                "n_averaged": torch.tensor(2),
            },
        },
    },
}


@pytest.mark.parametrize("name", BESIDE)
def test_weights_and_their_averages_are_asked_for(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", BESIDE[name](example()))
    with pytest.raises(UsageError, match=r"give --set weights=ema or --set weights=model"):
        open_checkpoint(path, SET)
    for seed, word in enumerate(("model", "ema")):
        plain = open_checkpoint(saved(tmp_path / "plain.pth", example(seed)), SET)
        found = open_checkpoint(path, {**SET, "weights": word})
        assert found.content_hash == plain.content_hash
        assert "left out" in " ".join(found.notes)
        assert found.card.training["settings"] == {**SET, "weights": word}


def test_what_is_no_part_of_the_network_is_asked_for(tmp_path: Path) -> None:
    content = {**under("net.", example()), "criterion.weight": torch.ones(10)}
    path = saved(tmp_path / "a.pth", content)
    with pytest.raises(UsageError, match=r"beside it lie criterion\.weight.*--set prefix=net\."):
        open_checkpoint(path, SET)
    found = open_checkpoint(path, {**SET, "prefix": "net."})
    assert "left out, as not under net.: criterion.weight" in found.notes
    for settings, said in (
        ({"prefix": "model."}, r"no tensor is under prefix=model\., their names are net\."),
        ({"prefix": "net.", "weights": "ema"}, "unknown setting weights"),
        ({"weights": "ema"}, r"weights=ema is none or many of these: model under 'net\.'"),
        ({"weights": "best"}, "weights=best is none or many"),
    ):
        with pytest.raises(UsageError, match=said):
            open_checkpoint(path, {**SET, **settings})


def test_one_tensor_under_two_names_is_never_chosen(tmp_path: Path) -> None:
    both = {**under("net.", example()), **under("compiled._orig_mod.", example(1))}
    path = saved(tmp_path / "a.pth", both)
    with pytest.raises(UsageError, match=r"under net\., compiled\.; give --set prefix=net\."):
        open_checkpoint(path, SET)
    same = {**under("net.", example()), **under("net._orig_mod.", example(1))}
    with pytest.raises(RobustssmError, match="_orig_mod"):
        open_checkpoint(saved(path, same), SET)
    two = {"state_dict": example(), "net": example(1)}
    with pytest.raises(UsageError, match=r"under state_dict\., net\.; give --set"):
        open_checkpoint(saved(path, two), SET)
    # Layers of a network of somebody's own: one of them can be read, the network cannot.
    own = {**minimal_layer(Draw(), "block.0.ssm."), **minimal_layer(Draw(), "block.1.ssm.")}
    with pytest.raises(UsageError, match=r"load the whole by your own code, as in name=module"):
        open_checkpoint(saved(path, own))
    assert open_checkpoint(path, {"prefix": "block.1.ssm."}).network.d_input == D


@pytest.mark.parametrize(("kind", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_what_rounding_costs_is_told(tmp_path: Path, kind: torch.dtype, bits: int) -> None:
    """The bound is that of the format: reached by numbers halfway between two others."""
    numbers = torch.linspace(1, 2, 2**16 + 1, dtype=torch.float64)[:-1]
    halfway = 1 + 2.0**-bits
    error = ((numbers.to(kind).double() - numbers).abs() / numbers).max()
    assert error <= 2.0**-bits
    assert abs(torch.tensor(halfway).to(kind).double().item() - halfway) == 2.0**-bits
    low = {name: value.to(kind) for name, value in example().items()}
    found = open_checkpoint(saved(tmp_path / "a.pth", low), SET)
    name = str(kind).removeprefix("torch.")
    told = f"weights are stored as {name}, rounded by up to 2^-{bits} ({2.0**-bits:.1e}) of each"
    assert any(note.startswith(told) for note in found.notes)
    wide = {name: value.to(kind).float() for name, value in example().items()}
    plain = open_checkpoint(saved(tmp_path / "b.pth", wide), SET)
    assert plain.content_hash == found.content_hash
    assert not any("rounded by up to" in note for note in plain.notes)
    assert math.log2(torch.finfo(kind).eps) == 1 - bits


FACTORY = """
import torch
class Net(torch.nn.Module):
    d_input, d_output = 2, 3
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)
    def forward(self, x):
        return self.layer(x).mean(1)
def make():
    return Net()
"""


def test_weights_for_a_factory(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FACTORY)
    weights = {"layer.weight": torch.randn(3, 2), "layer.bias": torch.randn(3)}

    def load(content: object, **settings: str) -> Checkpoint:
        weights = saved(tmp_path / "w.pth", content)
        return build_module(tmp_path / "net.py", "make", weights, settings)

    plain = load(weights)
    assert load(under("model._orig_mod.", weights)).content_hash == plain.content_hash
    averaged = AveragedModel(nn.Linear(2, 3))
    averaged.module.weight.data, averaged.module.bias.data = weights.values()
    net = {name.replace("module.", "module.layer."): v for name, v in averaged.state_dict().items()}
    found = load({"state_dict": under("net.", net), "hyper_parameters": {"lr": 0.1}})
    assert found.content_hash == plain.content_hash
    assert any("; averaged weights" in note for note in found.notes)
    both = {"model": {k: v + 1 for k, v in weights.items()}, "ema": weights}
    with pytest.raises(UsageError, match="--set weights=ema or"):
        load(both)
    assert load(both, weights="ema").content_hash == plain.content_hash
    low = load({name: value.bfloat16() for name, value in weights.items()})
    assert any("2^-8" in note for note in low.notes)
    with pytest.raises(RejectedInputError, match=r"missing layer\.bias, layer\.weight"):
        load({"other": torch.ones(1)})


def test_prefixes_of_safetensors(tmp_path: Path) -> None:
    save_file(under("module.", example()), tmp_path / "a.safetensors")
    found = open_checkpoint(tmp_path / "a.safetensors", SET)
    assert "prefix module. of" in found.notes[0]
