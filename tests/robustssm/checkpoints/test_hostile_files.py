"""Files that are made to take memory, or that are broken: one clear error each."""

import errno
import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from robustssm.file_formats import Limits, read_contents
from tests.robustssm.checkpoints.samples import (
    flax_bytes,
    inner_pickle,
    lightning,
    orbax,
    refused,
    safetensors_bytes,
    saved,
    state,
    tensor_pickle,
    variables,
    with_pickle,
)


class TestZips:
    """The zip file around the pickle."""

    def test_cut_at_many_lengths(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ckpt"
        lightning(path)
        whole = path.read_bytes()
        for length in range(0, len(whole), max(1, len(whole) // 200)):
            path.write_bytes(whole[:length])
            refused(path)

    def test_bomb(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", tensor_pickle(0, (1 << 22,), (1,), 1 << 22))
            archive.writestr("a/data/0", bytes(1 << 24))
        assert "unpacks to" in refused(tmp_path / "a.pt")

    def test_deflated_a_little_is_read(self, tmp_path: Path) -> None:
        pickled, data = inner_pickle(saved(tmp_path / "a.pt", state()))
        with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", pickled)
            for key, one in data.items():
                archive.writestr(f"a/data/{key}", one)
        assert list(read_contents(tmp_path / "b.pt").tensors) == list(state())

    def test_two_pickles_two_names_other_orders(self, tmp_path: Path) -> None:
        pickled, _ = inner_pickle(saved(tmp_path / "a.pt", state()))
        for entries in (
            {"a/data.pkl": pickled, "b/data.pkl": pickled},
            {"data.pkl": pickled},
            {"a/data.pkl": pickled, "a/byteorder": b"big"},
            {"a/b.npy": b""},
        ):
            with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
                for name, one in entries.items():
                    archive.writestr(name, one)
            refused(tmp_path / "b.pt")
        twice = zipfile.ZipFile(tmp_path / "b.pt", "w")
        with twice as archive, pytest.warns(UserWarning, match="Duplicate"):
            for _ in range(2):
                archive.writestr("a/data.pkl", pickled)
        assert "one name" in refused(tmp_path / "b.pt")

    def test_a_changed_bit_is_noticed(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "a.pt", {"w": torch.ones(1000)})
        data = bytearray(path.read_bytes())
        at = bytes(data).index(struct.pack("<3f", 1, 1, 1))
        data[at + 100] ^= 1
        path.write_bytes(data)
        assert "damaged" in refused(path)

    def test_large_pickle(self, tmp_path: Path) -> None:
        path = with_pickle(tmp_path / "a.pt", b"N0" * 1000 + b"N.")
        assert "allowed are 1000" in refused(path, Limits(pickle_bytes=1000))
        assert "more than 100 operations" in refused(path, Limits(operations=100))

    def test_large_directory(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            for i in range(12_000):
                archive.writestr(f"archive/data/{i:080}", b"")
        said = refused(tmp_path / "a.pt", Limits(directory_bytes=1 << 20))
        assert "directory" in said


class TestSafetensors:
    @pytest.mark.parametrize("length", [1 << 60, (1 << 64) - 1, 1 << 27, 0, 1, 1000])
    def test_header_length(self, tmp_path: Path, length: int) -> None:
        (tmp_path / "a").write_bytes(safetensors_bytes({}, b"", length))
        refused(tmp_path / "a")

    @pytest.mark.parametrize(
        "entries",
        [
            {"a": ("F32", [2], [0, 8]), "b": ("F32", [2], [4, 12])},  # overlap
            {"a": ("F32", [2], [0, 8])},  # bytes left over
            {"a": ("F32", [4], [0, 16])},  # out of range
            {"a": ("F32", [3], [4, 16])},
            {"a": ("F32", [3], [12, 0])},
            {"a": ("F32", [2], [0, 12])},
            {"a": ("F32", [-3], [0, 12])},
            {"a": ("F32", [1 << 62, 1 << 62], [0, 12])},
            {"a": ("X32", [3], [0, 12])},
            {"a": ("F32", "3", [0, 12])},
            {"a\nb": ("F32", [3], [0, 12])},
        ],
    )
    def test_offsets(self, tmp_path: Path, entries: dict[str, tuple[object, ...]]) -> None:
        header = {
            name: dict(zip(("dtype", "shape", "data_offsets"), one, strict=True))
            for name, one in entries.items()
        }
        (tmp_path / "a").write_bytes(safetensors_bytes(header, bytes(12)))
        refused(tmp_path / "a")

    def test_header_that_is_no_table(self, tmp_path: Path) -> None:
        for text in (b"{" * 100_000, b"{}}", b'{"a": 1}', b"{\xff}", b'{"a":' * 50_000):
            (tmp_path / "a").write_bytes(struct.pack("<Q", len(text)) + text)
            refused(tmp_path / "a")


class TestFlax:
    @pytest.fixture(autouse=True)
    def _needs_msgpack(self) -> None:
        pytest.importorskip("msgpack")

    @pytest.mark.parametrize(
        "data",
        [
            b"\x81\xa6params\xdd\xff\xff\xff\xff",  # an array of 2^32 entries
            b"\x81\xa6params\xdf\xff\xff\xff\xff",
            b"\x81\xa6params\xdb\xff\xff\xff\xff",
            b"\x81\xa6params\xc6\xff\xff\xff\xff",
            b"\x81\xa6params\xc9\xff\xff\xff\xff\x01",
            b"\x81\xa6params" + b"\x81\xa1k" * 400 + b"\xc0",
            b"\x81\xa6params" + b"\x81\xa1k" * 100_000 + b"\xc0",
            b"\x81\xa6params" + b"\x91" * 100_000,
            b"\xde\xff\xff",
            b"\x81\xa6params\x80",
            b"\x81\xa6params\xc0",
            b"\x81\xa6params\x81\xa1w\xc0",
            b"\x81\xa6params\x81\xa1w\xa1x",
            b"\x81\xa6params\x81\xa1w\xd4\x05\x00",  # an unknown extension
            b"\x81\xa6params\x80\x80",
            b"\x81\xa5other\x80",
            b"\x81\xa6params\x81\x01\xc0",
            b"\x81\xa6params\x81\xa1\xff\xc0",
        ],
    )
    def test_broken(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a").write_bytes(data)
        refused(tmp_path / "a")

    @pytest.mark.parametrize(
        "row",
        [
            ((2,), "float32", bytes(12)),
            ((1 << 40,), "float32", bytes(8)),
            ((-2, -1), "float32", bytes(8)),
            ((2,), "object", bytes(16)),
            ((2,), "float33", bytes(8)),
            ((2,), b"float32", bytes(8)),
            ((True,), "float32", bytes(4)),
            ((2.0,), "float32", bytes(8)),
            ((0, 1 << 62), "float32", b""),
            ((1,) * 100, "float32", bytes(4)),
            ((1,), "bool", b"\x02"),
            ((2,), "float32", "12345678"),
            ("2", "float32", bytes(8)),
            ((2,), "float32"),
            (((2,), (1,)), "float32", bytes(8)),
        ],
    )
    def test_arrays(self, tmp_path: Path, row: tuple[object, ...]) -> None:
        import msgpack

        packed = msgpack.ExtType(1, msgpack.packb(row))
        (tmp_path / "a").write_bytes(msgpack.packb({"params": {"w": packed}}))
        refused(tmp_path / "a")

    def test_cut_at_every_length(self, tmp_path: Path) -> None:
        whole = flax_bytes({"step": 1, **variables()})
        for length in range(len(whole)):
            (tmp_path / "a").write_bytes(whole[:length])
            refused(tmp_path / "a")


class TestOrbax:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        pytest.importorskip("tensorstore")
        return orbax(tmp_path / "o", variables(), ocdbt=False)

    @pytest.mark.parametrize(
        "change",
        [
            {"shape": [1 << 40]},
            {"shape": [1 << 40], "chunks": [1]},
            {"shape": [3], "chunks": [1 << 40]},
            {"shape": [-1]},
            {"dtype": "|O"},
            {"dtype": "<M8[s]"},
            {"compressor": {"id": "none"}},
            {"filters": [{"id": "x"}]},
        ],
    )
    def test_array_metadata(self, folder: Path, change: dict[str, object]) -> None:
        path = folder / "params.encoder.layers_0.seq.Lambda_re" / ".zarray"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        assert "Lambda_re" in refused(folder)

    @pytest.mark.parametrize("key", ["..", "a/b", "", "a\nb", "../../x", None])
    def test_names(self, folder: Path, key: object) -> None:
        metadata = json.loads((folder / "_METADATA").read_text())
        metadata["tree_metadata"]["x"] = {"key_metadata": [{"key": "params"}, {"key": key}]}
        (folder / "_METADATA").write_text(json.dumps(metadata))
        refused(folder)

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", "{", '{"tree_metadata": 3}', '{"tree_metadata": {"a": {}}}']
    )
    def test_metadata(self, tmp_path: Path, text: str) -> None:
        pytest.importorskip("tensorstore")
        (tmp_path / "_METADATA").write_text(text)
        refused(tmp_path)


class TestPaths:
    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in refused(tmp_path / "none.pt")

    def test_empty_and_foreign(self, tmp_path: Path) -> None:
        for data in (b"", b"P", b"\x80", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n", b"text\n" * 9):
            (tmp_path / "a").write_bytes(data)
            refused(tmp_path / "a")

    def test_devices_and_pipes(self, tmp_path: Path) -> None:
        assert "expected a regular file" in refused(Path("/dev/zero"))
        os.mkfifo(tmp_path / "pipe")
        assert "expected a regular file" in refused(tmp_path / "pipe")

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.save(state(), tmp_path / "a.pt")

        def denied(*_: object, **__: object) -> object:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "open", denied)
        assert "Permission denied" in refused(tmp_path / "a.pt")

    @pytest.mark.parametrize(
        "config", ["{", "[1]", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, '{"a":' * 100_000]
    )
    def test_config(self, tmp_path: Path, config: str) -> None:
        (tmp_path / "config.json").write_text(config)
        assert "config.json" in refused(tmp_path)
        (tmp_path / "config.json").write_text('{"a": 1}')
        assert "fetch the weights" in refused(tmp_path)
