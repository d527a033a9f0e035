"""Folders: models in one file or several, in pieces of several processes, and what is none."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.state_dict_saver import save

from robustssm.errors import RejectedInputError
from robustssm.file_formats import read_contents
from tests.robustssm.checkpoints import distributed
from tests.robustssm.checkpoints.samples import assert_same, hugging_face, refused, state


def test_hugging_face(tmp_path: Path) -> None:
    tensors = hugging_face(tmp_path / "m")
    found = read_contents(tmp_path / "m")
    assert found.container == "huggingface"
    assert_same(dict(sorted(found.tensors.items())), dict(sorted(tensors.items())))
    assert found.options == {"hidden_size": 4, "use_bias": False}


def test_hugging_face_in_shards(tmp_path: Path) -> None:
    tensors = hugging_face(tmp_path / "m")
    folder = tmp_path / "m"
    (folder / "model.safetensors").unlink()
    names = list(tensors)
    places = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        save_file({n: tensors[n] for n in names if places[n] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    found = read_contents(folder).tensors
    assert_same(dict(sorted(found.items())), dict(sorted(tensors.items())))
    index.write_text(json.dumps({"weight_map": places | {"other": "model-0.safetensors"}}))
    with pytest.raises(RejectedInputError, match="other"):
        read_contents(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "../m/model-0.safetensors")}))
    with pytest.raises(RejectedInputError, match="expected one of the folder"):
        read_contents(folder)


def test_hugging_face_with_a_torch_file(tmp_path: Path) -> None:
    tensors = hugging_face(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "m" / "pytorch_model.bin")
    assert_same(read_contents(tmp_path / "m").tensors, tensors)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(RejectedInputError, match="nothing"):
        read_contents(tmp_path)
    for step in (1, 2):
        (tmp_path / f"checkpoint_{step}").write_bytes(b"\x81\xa6params\x80")
    with pytest.raises(RejectedInputError, match="checkpoint_1, checkpoint_2, expected one"):
        read_contents(tmp_path)


def test_accelerate(tmp_path: Path) -> None:
    """As Accelerator.save_state writes it: no config.json, optimizer and the like beside."""
    tensors = dict(sorted(state().items()))
    save_file(tensors, tmp_path / "model.safetensors")
    torch.save({"state": {}}, tmp_path / "optimizer.bin")
    (tmp_path / "random_states_0.pkl").write_bytes(b"\x80\x04}.")
    found = read_contents(tmp_path)
    assert_same(dict(sorted(found.tensors.items())), tensors)
    assert (found.container, found.options, found.notes) == ("safetensors", {}, ())
    torch.save(state(1), tmp_path / "pytorch_model.bin")
    assert "pytorch_model.bin beside it is not read" in read_contents(tmp_path).notes[0]
    save_file(tensors, tmp_path / "model_1.safetensors")
    assert "models in model.safetensors, model_1.safetensors" in refused(tmp_path)


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_shards_without_a_config(tmp_path: Path, kind: str) -> None:
    tensors = dict(sorted(state().items()))
    stem, _, end = kind.partition(".")
    places = {name: f"{stem}-0000{i % 2 + 1}-of-00002.{end}" for i, name in enumerate(tensors)}
    for file in set(places.values()):
        part = {name: tensors[name] for name in tensors if places[name] == file}
        (save_file if end == "safetensors" else torch.save)(part, tmp_path / file)
    index = tmp_path / f"{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    for path in (tmp_path, index):
        assert_same(dict(sorted(read_contents(path).tensors.items())), tensors)


@pytest.mark.parametrize("cuts", [1, 2, 3])
def test_pieces_of_several_processes(tmp_path: Path, cuts: int) -> None:
    tensors = dict(state())
    held = distributed.under("model", tensors) | distributed.under("optim", dict(state(1)))
    folder = distributed.write(tmp_path / "pytorch_model_fsdp_0", held, cuts)
    for path in (folder, folder / ".metadata", folder / "__0_0.distcp", tmp_path):
        assert_same(read_contents(path).tensors, tensors)
    flat = distributed.write(tmp_path / "flat", {(name,): v for name, v in tensors.items()}, cuts)
    assert_same(read_contents(flat).tensors, tensors)


def test_what_torch_itself_saves(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).bfloat16()
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(5, 3).bfloat16()).sum().backward()
    optimizer.step()
    whole = {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    save(whole, checkpoint_id=tmp_path / "dcp", no_dist=True)
    found = read_contents(tmp_path / "dcp").tensors
    assert_same(found, {name: value.detach() for name, value in module.state_dict().items()})


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


def test_pieces_that_are_not_those_of_the_metadata(tmp_path: Path) -> None:
    held: distributed.Held = {("w",): torch.arange(6.0).reshape(3, 2)}
    folder = distributed.write(tmp_path / "a", held)
    whole: Any = pickle.loads((folder / ".metadata").read_bytes())
    (first, at), (second, beyond) = whole.storage_data.items()
    odd: list[tuple[dict[Any, Any], str]] = [
        ({first: at}, "a piece of w is missing"),
        ({first: at, MetadataIndex("w", torch.Size([1, 0])): at}, "pieces of w overlap"),
        ({first: at, MetadataIndex("w", torch.Size([2, 0])): at}, "overlap or do not fit"),
        ({first: _StorageInfo("../a/__0_0.distcp", 0, 9)}, "expected a file of the folder"),
        ({first: _StorageInfo("none.distcp", 0, 9)}, "none.distcp is missing"),
        ({first: _StorageInfo("__0_0.distcp", 0, 1 << 40)}, "is cut short"),
        ({first: _StorageInfo("__0_0.distcp", -1, 9)}, "cut short or damaged"),
        ({first: at, second: _StorageInfo("__1_0.distcp", 1, beyond.length - 1)}, "zip"),
        ({"w": at}, "is damaged"),
        ({first: Evil()}, "would run code"),
    ]
    for places, said in odd:
        distributed.write(folder, held, storage_data=places)
        assert said in refused(folder), said
    for size in ([1 << 40, 1 << 40], [1 << 20, 1 << 11]):
        whole.state_dict_metadata["w"].size = torch.Size(size)
        (folder / ".metadata").write_bytes(pickle.dumps(whole))
        refused(folder)
    (folder / ".metadata").write_bytes(pickle.dumps({"w": 1}))
    assert ".metadata is damaged" in refused(folder)
