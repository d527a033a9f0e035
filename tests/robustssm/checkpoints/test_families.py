"""A checkpoint of each family through the commands: sweep, resonance, import, predict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import Tensor

import robustssm
from robustssm.checkpoints.native import weights_hash
from robustssm.cli import main
from robustssm.errors import RejectedInputError, UsageError
from tests.robustssm.checkpoints.foreign import D, Draw, L, N, minimal_layer
from tests.robustssm.checkpoints.kernels import v4_diagonal, v4_dplr
from tests.robustssm.checkpoints.networks import config, network_tensors
from tests.robustssm.checkpoints.samples import flax_bytes
from tests.robustssm.checkpoints.scripts import fork_layer, fork_options, script_tensors
from tests.robustssm.checkpoints.test_dss import layer as dss_layer
from tests.robustssm.checkpoints.test_lru import classifier as lru_classifier
from tests.robustssm.checkpoints.test_s5 import SAID, classifier, retrieval

CLASSES = 3


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def nested(flat: dict[str, Tensor]) -> dict[str, Any]:
    """Return a flax tree of tensors named with slashes."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value.numpy()
    return tree


def backbone(folder: Path, kernel: dict[str, Tensor], options: dict[str, object]) -> Path:
    """Write a Lightning-like file whose two layers are `kernel`."""
    tensors = {k: v for k, v in network_tensors("layer", "R", True).items() if ".layer." not in k}
    for i in range(2):
        tensors |= {f"model.layers.{i}.layer.{name}": value for name, value in kernel.items()}
    whole: Any = config("layer", "R", True, "pool")
    whole["model"]["layer"] = options
    path = folder / "last.ckpt"
    torch.save({"state_dict": tensors, "hyper_parameters": whole, "epoch": 3}, path)
    return path


def s4(folder: Path) -> tuple[Path, dict[str, str]]:
    return backbone(folder, v4_dplr(2, 1, 1, False), {"_name_": "s4", "mode": "nplr"}), {}


def s4d(folder: Path) -> tuple[Path, dict[str, str]]:
    options: dict[str, object] = {"_name_": "s4", "mode": "diag", "disc": "zoh"}
    return backbone(folder, v4_diagonal(2, 1, False), options), {}


def dss(folder: Path) -> tuple[Path, dict[str, str]]:
    options: dict[str, object] = {"_name_": "dss", "version": "exp", "bidirectional": False}
    return backbone(folder, dss_layer("exp", 1, False, True), options), {}


def example(folder: Path) -> tuple[Path, dict[str, str]]:
    draw = Draw(1)
    tensors = {
        **{"encoder.weight": draw(D, 2), "encoder.bias": draw(D)},
        **{"decoder.weight": draw(CLASSES, D), "decoder.bias": draw(CLASSES)},
    }
    for i in range(2):
        tensors |= minimal_layer(draw, f"s4_layers.{i}.")
        tensors |= {f"norms.{i}.weight": draw(D), f"norms.{i}.bias": draw(D)}
    torch.save({"model": tensors, "acc": 80.0, "epoch": 7}, folder / "ckpt.pth")
    return folder / "ckpt.pth", {"script": "example.py", "prenorm": "true"}


def script(kind: str, settings: dict[str, str]) -> Callable[[Path], tuple[Path, dict[str, str]]]:
    """A file of a script of the PTD authors."""

    def write(folder: Path) -> tuple[Path, dict[str, str]]:
        torch.save({"model": script_tensors(kind), "acc": 0.5, "epoch": 7}, folder / "ckpt.pth")
        return folder / "ckpt.pth", {"prenorm": "false", **settings}

    return write


def fork(weighted: bool) -> Callable[[Path], tuple[Path, dict[str, str]]]:
    """A Lightning file of S4-PTD or FreqBias, bidirectional as theirs are."""
    kernel = fork_layer(2, True, weighted)
    return lambda folder: (backbone(folder, kernel, fork_options(True)), {})


def s5(folder: Path) -> tuple[Path, dict[str, str]]:
    pytest.importorskip("msgpack", reason="flax files need msgpack")
    tensors = classifier(Draw(2), "half_glu1", True)
    # The classifier of the other test has four classes.
    for name in ("params/decoder/kernel", "params/decoder/bias"):
        tensors[name] = tensors[name][..., :CLASSES].contiguous()
    path = folder / "checkpoint_7"
    path.write_bytes(flax_bytes({**nested(tensors), "step": 7, "opt_state": {}}))
    return path, dict(SAID)


def lru(folder: Path) -> tuple[Path, dict[str, str]]:
    pytest.importorskip("msgpack", reason="flax files need msgpack")
    path = folder / "variables.msgpack"
    path.write_bytes(flax_bytes(nested(lru_classifier(Draw(5), True))))
    return path, {"prenorm": "true", "pooling": "mean"}


def pair(folder: Path) -> tuple[Path, dict[str, str]]:
    pytest.importorskip("msgpack", reason="flax files need msgpack")
    path = folder / "checkpoint_9"
    path.write_bytes(flax_bytes({**nested(retrieval(Draw(6), True, CLASSES)), "step": 9}))
    return path, {key: value for key, value in SAID.items() if key != "mode"}


FAMILIES: dict[str, Callable[[Path], tuple[Path, dict[str, str]]]] = {
    "s4": s4,
    "s4d": s4d,
    "dss": dss,
    "example": example,
    "s5": s5,
    "lru": lru,
    "pair": pair,
    "ablation": script("minimal", {"script": "S4-PTD/ablation.py"}),
    "robustness": script("B", {}),
    "s4ptd": fork(False),
}
# Layers that are evaluated forward only.
LOOKING_AHEAD = {
    "freqbias": fork(True),
    "run_cifar": script("H", {"script": "run_cifar.py"}),
    "noisycifar_hope": script("H", {"script": "noisycifar_HOPE.py", "pool_from": "4"}),
}


def written(path: Path, settings: dict[str, str]) -> tuple[Path, list[str]]:
    return path, [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(params=[*FAMILIES, *LOOKING_AHEAD])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """A checkpoint, and the --set options that it needs."""
    return written(*(FAMILIES | LOOKING_AHEAD)[request.param](tmp_path))


@pytest.fixture(params=FAMILIES)
def causal(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """The same of layers that are systems."""
    return written(*FAMILIES[request.param](tmp_path))


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Samples of two channels."""
    draw = np.random.default_rng(0)
    path = tmp_path / "samples.npz"
    np.savez(path, inputs=draw.normal(size=(20, L, 2)), labels=draw.integers(0, CLASSES, 20))
    return f"file:{path}"


def test_sweeps_at_the_input_and_at_the_layers(
    file: tuple[Path, list[str]], data: str, tmp_path: Path
) -> None:
    """The native file that `import` makes of a checkpoint has the same cells, byte by byte."""
    path, settings = file
    imported = call(
        "models", "import", path, "-o", tmp_path / "native.safetensors", *settings, "-d", data
    )
    assert imported.exit_code == 0, imported.output
    known = robustssm.load(tmp_path / "native.safetensors").network.state_size
    spikes = ("--modes", "1") if known else ("--omega", "5")  # HOPE has no state
    for noise, *modes in (("fourier", "--modes", "1,2"), ("resonance", *spikes)):
        runs: list[Path] = []
        arguments = ["--noise", noise, *modes, "--eps", "0.5", "-j", "1", "-d", data]
        for name, own in ((path, settings), (tmp_path / "native.safetensors", [])):
            runs.append(tmp_path / f"{noise}-{len(runs)}")
            model = ("-m", f"mine={name}", *own)
            result = call("sweep", *model, *arguments, "--no-figures", "-o", runs[-1])
            assert result.exit_code == 0, result.output
        cells = [sorted((run / "cells").iterdir()) for run in runs]
        assert [p.name for p in cells[0]] == [p.name for p in cells[1]]
        assert len(cells[0]) == (3 if noise == "fourier" else 2)
        for one, other in zip(*cells, strict=True):
            assert one.read_bytes() == other.read_bytes()


def test_evaluation_never_changes_it(file: tuple[Path, list[str]]) -> None:
    path, settings = file
    given = dict(text.split("=") for text in settings[1::2])
    checkpoint = robustssm.load(path, **given)
    network = checkpoint.network
    before = weights_hash(network.state_dict())
    state = torch.get_rng_state()
    robustssm.load(path, **given)
    assert torch.equal(torch.get_rng_state(), state)
    x = Draw(3)(5, L, 2)
    with torch.no_grad():
        first = network(x)
        network(Draw(4)(2, 2 * L, 2))  # longer than it was trained on
        again = network(x)
    assert torch.equal(first, again)
    assert weights_hash(network.state_dict()) == before
    assert robustssm.load(path, **given).content_hash == checkpoint.content_hash


def test_inspect_knows_its_spectrum(causal: tuple[Path, list[str]]) -> None:
    path, settings = causal
    result = call("inspect", path, *settings, "--format", "json")
    assert result.exit_code == 0, result.output
    for layer in json.loads(result.stdout)["layers"]:
        assert layer["largest_real"] < 0.0
        # Rounding 2e-16 over 128 steps, in state bases of condition up to 1e2.
        assert layer["parity"] < 1e-11


def test_gain_knows_its_layers(causal: tuple[Path, list[str]]) -> None:
    path, settings = causal
    result = call(
        *("gain", f"mine={path}", *settings, "--length", L, "--no-figures", "--format", "json")
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert rows and all(np.isfinite(row["gain_low"]) for row in rows)


@pytest.mark.parametrize("name", ["freqbias", "run_cifar", "noisycifar_hope"])
def test_what_depends_on_the_length_is_told_by_inspect_and_gain(name: str, tmp_path: Path) -> None:
    path, settings = written(*LOOKING_AHEAD[name](tmp_path))
    shown = call("inspect", path, *settings, "--format", "json")
    assert shown.exit_code == 0, shown.output
    for layer in json.loads(shown.stdout)["layers"]:
        assert "number of steps" in "".join(layer["refused"]) and layer["parity"] is None
    given = dict(text.split("=") for text in settings[1::2])
    assert robustssm.load(path, **given).network.state_size == (N if name == "freqbias" else None)
    result = call("gain", f"mine={path}", *settings, "--length", L, "--no-figures")
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    assert "depends on the number of steps and looks ahead" in line and "take sweep" in line


def test_steps_that_a_network_does_not_take_are_refused_before_the_sweep(tmp_path: Path) -> None:
    draw, path = np.random.default_rng(0), tmp_path / "odd.npz"
    np.savez(path, inputs=draw.normal(size=(6, 9, 2)), labels=draw.integers(0, CLASSES, 6))
    sweep = ("--noise", "fourier", "--modes", "1", "-d", f"file:{path}", "-o", tmp_path / "run")
    for kind, of, message in (
        ("H", {"script": "noisycifar_HOPE.py", "pool_from": "4"}, "9, expected an even one"),
        ("minimal", {"script": "noisycifar_S4D.py"}, "9, expected above 1024, its pool_from"),
    ):
        file, settings = written(*script(kind, of)(tmp_path))
        result = call("sweep", "-m", f"mine={file}", *settings, *sweep)
        assert result.exit_code == 4 and message in result.output, result.output


def test_a_stored_accuracy_is_shown_and_compared(data: str, tmp_path: Path) -> None:
    path, settings = written(*FAMILIES["ablation"](tmp_path))
    shown = call("inspect", path, *settings)
    assert "the file says acc=0.5, epoch=7" in shown.output
    native = tmp_path / "native.safetensors"
    imported = call("models", "import", path, "-o", native, *settings, "-d", data)
    clean = robustssm.load(native).card.clean_accuracy
    assert clean is not None
    told = f"clean accuracy {clean:.4f}, acc=0.5 in the file: {abs(clean - 0.5):.4f} apart"
    assert told in imported.output
    arguments = ("--noise", "fourier", "--modes", "1", "-d", data, "-j", "1", "--no-figures")
    for model, of in ((native, []), (path, settings)):
        result = call("sweep", "-m", f"mine={model}", *of, *arguments, "-o", tmp_path / model.stem)
        assert f"mine: {told}" in result.output, result.output


def test_renamed_and_changed(tmp_path: Path) -> None:
    path, settings = example(tmp_path)
    original = robustssm.load(path, **settings).content_hash
    moved = path.with_name("elsewhere.bin")
    path.rename(moved)
    assert robustssm.load(moved, **settings).content_hash == original
    other = {**settings, "prenorm": "false"}
    assert robustssm.load(moved, **other).content_hash != original
    whole = torch.load(moved, weights_only=True)
    whole["model"]["decoder.bias"].view(torch.int32)[0] ^= 1
    torch.save(whole, moved)
    assert robustssm.load(moved, **settings).content_hash != original


def test_a_file_of_nobody(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(RejectedInputError, match="in no layout that is known"):
        robustssm.load(tmp_path / "other.safetensors")
    path, _ = example(tmp_path)
    with pytest.raises(UsageError, match=r"give --set script=example\.py.* --set prenorm=true"):
        robustssm.load(path)
    refused = call("sweep", "-m", f"mine={path}", "--noise", "fourier")
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output
    absent = call("sweep", "-m", "mine=none.ckpt", "--noise", "fourier")
    assert absent.exit_code == 4
    assert "no such file" in absent.output


def test_importing_pulls_in_nothing_heavy() -> None:
    """Neither jax nor transformers nor readers of single formats come with the package."""
    import subprocess
    import sys

    heavy = "{'jax', 'flax', 'orbax', 'transformers', 'msgpack', 'tensorstore', 'omegaconf'}"
    code = (
        "import sys, robustssm.checkpoints.importers, robustssm.file_formats; "
        f"sys.exit(str(sorted({heavy} & set(sys.modules))) if {heavy} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "extra", "make"),
    [("msgpack", "jax-ckpt", s5)],
)
def test_a_missing_extra_names_what_to_run(
    module: str,
    extra: str,
    make: Callable[[Path], tuple[Path, dict[str, str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    path, settings = make(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"pip install 'robustssm\[{extra}\]'"):
        robustssm.load(path, **settings)
