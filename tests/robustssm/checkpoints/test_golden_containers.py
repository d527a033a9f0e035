"""The reference files are read as their own libraries, and the arrays beside them, say."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robustssm.file_formats import read_contents
from tests.robustssm.checkpoints.samples import GOLDEN, assert_same

needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference files are not here")


@needs_golden
@pytest.mark.parametrize("name", ["example_s4model_prenorm.pth", "example_s4model_postnorm.pth"])
def test_golden_example(name: str) -> None:
    found = read_contents(GOLDEN / name)
    expected = torch.load(GOLDEN / name, weights_only=True)
    assert_same(found.tensors, expected["model"])
    assert found.extra == {key: expected[key] for key in ("acc", "epoch")}


@needs_golden
@pytest.mark.parametrize("name", ["s5pt_s5.pt", "s5pt_s5block_bidir.pt"])
def test_golden_s5_pytorch(name: str) -> None:
    expected = torch.load(GOLDEN / name, weights_only=True)
    assert_same(read_contents(GOLDEN / name).tensors, expected)


def _golden(pattern: str) -> list[str]:
    return sorted(path.name for path in GOLDEN.glob(pattern)) or ["none"]


@needs_golden
@pytest.mark.parametrize("name", _golden("*.ckpt"))
def test_golden_lightning(name: str) -> None:
    """Two routes: torch's own unpickler with omegaconf installed, and ours."""
    omegaconf = pytest.importorskip("omegaconf")
    # The file is one of the reference files, which were made for these tests.
    expected = torch.load(GOLDEN / name, weights_only=False)
    found = read_contents(GOLDEN / name)
    assert_same(found.tensors, expected["state_dict"])
    config = expected["hyper_parameters"]
    assert found.options == omegaconf.OmegaConf.to_container(config, resolve=False)
    assert found.extra["epoch"] == expected["epoch"]


@needs_golden
@pytest.mark.parametrize("name", _golden("*.ckpt"))
def test_golden_lightning_options_are_plain(name: str) -> None:
    found = read_contents(GOLDEN / name)
    assert json.loads(json.dumps(found.options)) == found.options
    assert "model" in found.options
    assert all(value.is_contiguous() for value in found.tensors.values())


@needs_golden
@pytest.mark.parametrize(
    ("name", "arrays", "step"),
    [
        ("s5_classifier_gelu_ln_postnorm.checkpoint_7", "s5_classifier_gelu_ln_postnorm", 7),
        ("s5_classifier_halfglu1_bn_prenorm.checkpoint_7", "s5_classifier_halfglu1_bn_prenorm", 7),
        (
            "s5_classifier_halfglu1_bn_prenorm.variables.msgpack",
            "s5_classifier_halfglu1_bn_prenorm",
            None,
        ),
        ("s5_classifier_halfglu1_bn_prenorm.orbax", "s5_classifier_halfglu1_bn_prenorm", 7),
    ],
)
def test_golden_flax(name: str, arrays: str, step: int | None) -> None:
    """The msgpack files and the orbax folder hold the arrays of the .npz beside them."""
    pytest.importorskip("tensorstore" if name.endswith("orbax") else "msgpack")
    found = read_contents(GOLDEN / name)
    with np.load(GOLDEN / f"{arrays}_io.npz") as file:
        expected = {
            key: torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(("params/", "batch_stats/"))
        }
    assert_same(dict(sorted(found.tensors.items())), dict(sorted(expected.items())))
    assert found.extra == ({} if step is None else {"step": step})


@needs_golden
def test_golden_mamba() -> None:
    found = read_contents(GOLDEN / "mamba_tiny")
    expected = load_file(GOLDEN / "mamba_tiny" / "model.safetensors")
    assert_same(dict(sorted(found.tensors.items())), dict(sorted(expected.items())))
    assert found.options["hidden_size"] == 16
