"""Checkpoint files are read exactly as their own libraries read them, without running them."""

import argparse
import json
import pathlib
import sys
import warnings
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustssm.errors import RejectedInputError, UsageError
from robustssm.file_formats import Limits, read_contents
from tests.robustssm.checkpoints.samples import (
    OPTIONS,
    assert_same,
    flat,
    flax_bytes,
    lightning,
    orbax,
    state,
    variables,
)


def tensors_of_every_kind() -> dict[str, Tensor]:
    base = torch.arange(24, dtype=torch.float32)
    numbers = torch.linspace(-3, 3, 12, dtype=torch.complex64) * (1 + 2j)
    kinds = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    kinds += [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8]
    found = {f"kind.{kind}".replace("torch.", ""): torch.arange(5).to(kind) for kind in kinds}
    return found | {
        "bool": torch.tensor([True, False, True]),
        "complex64": numbers,
        "complex128": numbers.to(torch.complex128),
        "conjugated": numbers.conj(),
        "negative": torch._neg_view(torch.arange(3.0)),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0),
        "empty.rows": torch.empty(3, 0, 2),
        "whole": base,
        "slice": base[3:9],
        "transposed": base.reshape(4, 6).T,
        "strided": base[::5],
        "expanded": base[:3, None].expand(3, 7),
        "parameter": torch.nn.Parameter(base[:4].clone()),
    }


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_as_torch_load(tmp_path: Path, new_format: bool, protocol: int) -> None:
    path = tmp_path / "file"
    torch.save(
        tensors_of_every_kind(),
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=new_format,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of protocols other than 2
        # Its restricted unpickler does not know protocol 4; the file is this test's own.
        expected = torch.load(path, weights_only=protocol < 4, map_location="cpu")
    found = read_contents(path)
    assert found.container == "torch"
    assert_same(found.tensors, {name: one.detach() for name, one in expected.items()})


@pytest.mark.parametrize("new_format", [True, False])
def test_state_dict_of_a_module(tmp_path: Path, new_format: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save(
        module.state_dict(), tmp_path / "a.pt", _use_new_zipfile_serialization=new_format
    )  # an OrderedDict with an attribute, _metadata
    found = read_contents(tmp_path / "a.pt")
    assert_same(found.tensors, dict(module.state_dict()))
    assert (found.options, found.extra) == ({}, {})


@pytest.mark.parametrize("new_format", [True, False])
def test_lightning(tmp_path: Path, new_format: bool) -> None:
    tensors = lightning(tmp_path / "a.ckpt", new_format)
    found = read_contents(tmp_path / "a.ckpt")
    assert_same(found.tensors, tensors)
    assert found.options == OPTIONS
    assert found.extra == {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "2.6.6",
        "hparams_name": "config",
    }
    assert found.path == tmp_path / "a.ckpt"


def test_real_omegaconf(tmp_path: Path) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create(OPTIONS)
    torch.save({"state_dict": state(), "hyper_parameters": config}, tmp_path / "a.ckpt")
    assert read_contents(tmp_path / "a.ckpt").options == OPTIONS


def test_plain_values_of_old_scripts(tmp_path: Path) -> None:
    content = {
        "model": state(),
        "acc": np.float64(0.5),
        "best": torch.tensor(0.75),
        "epoch": 4,
        "optimizer": {"state": {}, "param_groups": [{"betas": (0.9, 0.99)}]},
        "scheduler": {"milestones": Counter([3, 5]), "folder": pathlib.PurePosixPath("/a").name},
        "hparams": argparse.Namespace(
            lr=0.1, folder=Path("runs/1"), kind=torch.float32, sizes=(1, 2)
        ),
    }
    torch.save(content, tmp_path / "a.pth")
    found = read_contents(tmp_path / "a.pth")
    assert_same(found.tensors, dict(state()))
    assert found.extra == {"acc": 0.5, "best": 0.75, "epoch": 4}
    expected = {"lr": 0.1, "folder": "runs/1", "kind": "torch.float32", "sizes": [1, 2]}
    assert found.options == expected


def test_nested_tables_are_joined(tmp_path: Path) -> None:
    inner = torch.ones(2)
    torch.save({"encoder": {"weight": inner, "deep": {"bias": inner}}, "epoch": 1}, tmp_path / "a")
    found = read_contents(tmp_path / "a")
    assert_same(found.tensors, {"encoder.weight": inner, "encoder.deep.bias": inner})
    assert found.extra == {"epoch": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, "no tensors"),
        ([torch.ones(2)], "expected a state_dict"),
        ({"w": torch.ones(2), "optimizer": {"param_groups": [1]}}, "expected tensors only"),
        ({"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}, "two tensors are named a.b"),
    ],
)
def test_ambiguous_files_are_refused(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(RejectedInputError, match=said):
        read_contents(tmp_path / "a.pt")


def test_safetensors(tmp_path: Path) -> None:
    tensors = {
        name: value.resolve_conj().resolve_neg().contiguous().clone().detach()
        for name, value in tensors_of_every_kind().items()
        if value.dtype != torch.complex128  # which the format does not have
    }
    save_file(tensors, tmp_path / "any name", metadata={"format": "pt"})
    found = read_contents(tmp_path / "any name")
    assert found.container == "safetensors"
    assert_same(dict(sorted(found.tensors.items())), dict(sorted(tensors.items())))
    assert found.extra == {"metadata": {"format": "pt"}}


def test_flax_train_state(tmp_path: Path) -> None:
    pytest.importorskip("msgpack")
    tree = variables()
    whole = {"step": 379, **tree, "opt_state": {"0": {"count": np.int32(3), "mu": tree["params"]}}}
    (tmp_path / "checkpoint_379").write_bytes(flax_bytes(whole))
    for path in (tmp_path / "checkpoint_379", tmp_path):
        found = read_contents(path)
        assert found.container == "flax-msgpack"
        assert_same(found.tensors, {k: torch.from_numpy(v) for k, v in flat(tree).items()})
        assert found.extra == {"step": 379}


def test_flax_arrays_in_pieces_and_scalars(tmp_path: Path) -> None:
    pytest.importorskip("msgpack")
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    pieces = {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 3, "1": 4},
        "chunks": {"0": whole.ravel()[:5], "1": whole.ravel()[5:]},
    }
    tree = {"params": {"w": pieces, "scalar": np.float32(2.5), "c": 1 + 2j}}
    (tmp_path / "a").write_bytes(flax_bytes(tree))
    found = read_contents(tmp_path / "a").tensors
    assert_same(
        found,
        {
            "params/w": torch.from_numpy(whole),
            "params/scalar": torch.tensor(2.5),
            "params/c": torch.tensor(1 + 2j, dtype=torch.complex128),
        },
    )


def test_bfloat16_of_flax(tmp_path: Path) -> None:
    msgpack = pytest.importorskip("msgpack")
    value = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    row = msgpack.packb(((2,), "bfloat16", value.view(torch.uint8).numpy().tobytes()))
    tree = {"params": {"w": msgpack.ExtType(1, row)}}
    (tmp_path / "a").write_bytes(msgpack.packb(tree))
    assert_same(read_contents(tmp_path / "a").tensors, {"params/w": value})


@pytest.mark.parametrize("ocdbt", [True, False])
def test_orbax(tmp_path: Path, ocdbt: bool) -> None:
    pytest.importorskip("tensorstore")
    tree = variables()
    tree["params"]["encoder"].pop("empty", None)
    folder = orbax(tmp_path / "o", {**tree, "step": np.int64(5)}, ocdbt)
    found = read_contents(folder)
    assert found.container == "orbax"
    assert_same(found.tensors, {k: torch.from_numpy(v) for k, v in flat(tree).items()})
    assert found.extra == {"step": 5}


def test_orbax_with_a_missing_array(tmp_path: Path) -> None:
    """Chunks that are missing are never read as zeros."""
    pytest.importorskip("tensorstore")
    folder = orbax(tmp_path / "o", {"params": {"w": np.ones((3, 2))}}, ocdbt=False)
    (folder / "params.w" / "0.0").unlink()
    with pytest.raises(RejectedInputError, match=r"params\.w cannot be read"):
        read_contents(folder)


def test_missing_msgpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"\x81\xa6params\x80")
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(UsageError, match=r"pip install 'robustssm\[jax-ckpt\]'"):
        read_contents(tmp_path / "a")


def test_missing_tensorstore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"tree_metadata": {"w": {"key_metadata": [{"key": "params"}, {"key": "w"}]}}}
    (tmp_path / "_METADATA").write_text(json.dumps(metadata))
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(UsageError, match=r"pip install 'robustssm\[jax-ckpt\]'"):
        read_contents(tmp_path)


def test_limits_are_those_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(OrderedDict((f"w{i}", torch.ones(3)) for i in range(4)), path)
    assert len(read_contents(path, Limits(tensors=4)).tensors) == 4
    for limits in (
        Limits(tensors=3),
        Limits(elements=2),
        Limits(file_bytes=10),
        Limits(pickle_bytes=10),
        Limits(operations=10),
    ):
        with pytest.raises(RejectedInputError):
            read_contents(path, limits)
