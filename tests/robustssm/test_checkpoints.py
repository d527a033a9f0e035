"""Native checkpoints: identity by content, damage refused in one line."""

import json
import struct
from pathlib import Path

import pytest
import torch

from robustssm.checkpoints import load_checkpoint, read_card, save_checkpoint
from robustssm.errors import RejectedInputError


def test_a_renamed_file_is_the_same_checkpoint(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    original = load_checkpoint(checkpoints["s4d"])
    renamed = tmp_path / "other.safetensors"
    renamed.write_bytes(checkpoints["s4d"].read_bytes())
    assert load_checkpoint(renamed).content_hash == original.content_hash
    assert not original.network.training
    assert not any(p.requires_grad for p in original.network.parameters())


def test_a_changed_weight_is_another_checkpoint(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    original = load_checkpoint(checkpoints["s4d"])
    with torch.no_grad():
        original.own.decoder.bias[0] += 1e-6
    save_checkpoint(tmp_path / "changed.safetensors", original.network, original.card)
    changed = load_checkpoint(tmp_path / "changed.safetensors")
    assert changed.content_hash != original.content_hash


@pytest.mark.parametrize("keep", [0, 4, 100, 5000, -1])
def test_truncated_files(checkpoints: dict[str, Path], tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(checkpoints["s4d"].read_bytes()[:keep])
    with pytest.raises(RejectedInputError, match="truncated") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_altered_weights(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(checkpoints["s4d"].read_bytes())
    data[-1] ^= 1
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(bytes(data))
    with pytest.raises(RejectedInputError, match="altered"):
        load_checkpoint(path)


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    header = json.dumps({"__metadata__": {"card": "{}"}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(RejectedInputError, match="card"):
        read_card(path)
    with pytest.raises(RejectedInputError, match="no such file"):
        read_card(tmp_path / "none")
    torch.save({"a": 1}, tmp_path / "pickle.pt")
    with pytest.raises(RejectedInputError, match="not a safetensors file"):
        load_checkpoint(tmp_path / "pickle.pt")
