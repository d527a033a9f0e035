"""Folders: models of Hugging Face in one file or several, and folders that are none."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustssm.errors import RejectedInputError
from robustssm.file_formats import read_contents
from tests.robustssm.checkpoints.samples import assert_same, hugging_face


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
