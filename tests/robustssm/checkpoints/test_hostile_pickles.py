"""Pickles that are made to run code, to take memory, or that are broken: one clear error each."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robustssm.file_formats import read_contents
from tests.robustssm.checkpoints.samples import (
    inner_pickle,
    lightning,
    refused,
    saved,
    state,
    tensor_pickle,
    with_pickle,
)


class Runs:
    """Pickles to a call of `function`."""

    def __init__(self, function: Callable[..., object], *given: object) -> None:
        self.function, self.given = function, given

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.given


WAYS: list[tuple[Callable[..., object], str]] = [
    (os.system, "system"),
    (eval, "builtins.eval"),
    (exec, "builtins.exec"),
    (open, "open"),
    (getattr, "builtins.getattr"),
    (__import__, "builtins.__import__"),
]


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", ["alone", "state_dict", "hyper_parameters", "callbacks", "key"])
def test_nothing_is_run(tmp_path: Path, new_format: bool, protocol: int, place: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "a.ckpt"
    evil = Runs(os.system, f"touch {marker}")
    if place == "alone":
        torch.save(evil, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new_format)
    elif place == "key":
        lightning(path, new_format, protocol, more={"a": [evil]})
    elif place == "state_dict":
        lightning(path, new_format, protocol, state_dict={**state(), "x": evil})
    else:
        lightning(path, new_format, protocol, **{place: {"deep": [{"er": evil}]}})
    assert "system, which would run code" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize(("function", "name"), WAYS)
def test_the_global_is_named(tmp_path: Path, function: Callable[..., object], name: str) -> None:
    torch.save({"model": state(), "x": Runs(function, "1")}, tmp_path / "a.pt")
    assert name in refused(tmp_path / "a.pt")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_bare_pickles_are_refused(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    for value in (Runs(os.system, f"touch {marker}"), {"a": 1}):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol))
        refused(tmp_path / "a.pkl")
    assert not marker.exists()


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    assert "torch.nn.modules.linear.Linear, which would run code" in refused(tmp_path / "a.pt")


def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = with_pickle(tmp_path / "a.pt", pickle.dumps({"w": 1}, 2))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    assert "TorchScript" in refused(path)


class TestPickles:
    """Pickles written by hand, with right checksums around them."""

    @pytest.mark.parametrize(
        "pickled",
        [
            b"",
            b".",
            b"\x80",
            b"\x80\x02",
            b"\x80\x09.",
            b"}",
            b"0.",
            b"1.",
            b"\x85.",  # a tuple of nothing
            b"a.",
            b"e.",
            b"(e.",
            b"s.",
            b"(u.",
            b"}(Nu.",  # a key without a value
            b"}](N\x85u.",
            b"R.",
            b"N)R.",
            b"Nb.",
            b"NQ.",
            b"Px\n.",
            b"h\x05.",
            b"ctorch\nFloatStorage\n)R.",
            b"\x8c\x01a\x93.",
            b"c\n\n.",
            b"(cos\nsystem\no.",
            b"(ios\nsystem\n.",
            b"\x82\x01.",  # an extension of the registry
            b"\x96" + struct.pack("<Q", 1 << 60) + b".",  # a byte array of 2^60 bytes
            b"\x8e" + struct.pack("<Q", 1 << 60) + b".",
            b"\x8b" + struct.pack("<i", 1 << 30) + b".",  # an integer of 2^30 bytes
            b"T" + struct.pack("<i", -5) + b".",
            b"L" + b"9" * 5000 + b"L\n.",
            b"\x8a\x20" + b"\x77" * 32 + b".",
            b"}}}s.",  # a table as a key
            b"}](K\x01e\x85K\x01s.",  # a list within a key
            b"}" + b")" + b"\x85" * 9 + b"Ns.",
        ],
    )
    def test_broken(self, tmp_path: Path, pickled: bytes) -> None:
        refused(with_pickle(tmp_path / "a.pt", pickled))

    def test_deep_tables(self, tmp_path: Path) -> None:
        for inner, outer in ((b"]", b"a"), (b"}", b"s"), (b")", b"\x85")):
            opened, closed = {
                b"]": (b"]" * 200_000, b"a" * 199_999),
                b"}": (b"}\x8c\x01k" * 200_000 + b"N", b"s" * 200_000),
                b")": (b")", b"\x85" * 200_000),
            }[inner]
            path = with_pickle(tmp_path / "a.pt", b"}\x8c\x05model" + opened + closed + b"s.")
            refused(path)
            assert outer in closed

    def test_keys_of_any_depth(self, tmp_path: Path) -> None:
        """The hash of nested tuples follows them in C until the stack ends."""
        pickled = b"})" + b"\x85" * 200_000 + b"Ns."
        assert "keys" in refused(with_pickle(tmp_path / "a.pt", pickled))

    @pytest.mark.parametrize(
        "name", [b"builtins\nbytearray", b"torch\nFloatTensor", b"torch.storage\nUntypedStorage"]
    )
    def test_calls_that_take_memory(self, tmp_path: Path, name: bytes) -> None:
        pickled = b"}X\x01\x00\x00\x00wc" + name + b"\nJ\xff\xff\xff\x7f\x85Rs."
        said = refused(with_pickle(tmp_path / "a.pt", pickled))
        assert name.decode().replace("\n", ".") in said

    def test_calls_of_many_arguments(self, tmp_path: Path) -> None:
        """A text or a long tuple as arguments would be copied by each of many short calls."""
        for given in (b"X\x10\x27\x00\x00" + b"a" * 10_000, b"(" + b"N" * 10_000 + b"t"):
            pickled = given + b"q\x000" + b"ctorch\nSize\nh\x00R0" * 1000 + b"}."
            refused(with_pickle(tmp_path / "a.pt", pickled))

    def test_deep_options(self, tmp_path: Path) -> None:
        deep: dict[str, object] = {}
        for _ in range(150):
            deep = {"k": deep}
        lightning(tmp_path / "a.ckpt", hyper_parameters=deep)
        assert "nested more than 100 deep" in refused(tmp_path / "a.ckpt")

    def test_tables_within_themselves(self, tmp_path: Path) -> None:
        itself: dict[str, object] = {}
        itself["k"] = itself
        lightning(tmp_path / "a.ckpt", hyper_parameters=itself)
        assert "nested" in refused(tmp_path / "a.ckpt")
        whole: dict[str, Any] = dict(state())
        whole["again"] = whole
        torch.save(whole, tmp_path / "b.pt")
        refused(tmp_path / "b.pt")

    @pytest.mark.parametrize("where", ["hyper_parameters", "state_dict"])
    def test_tables_that_multiply(self, tmp_path: Path, where: str) -> None:
        """Thirty tables that each hold the next twice stand for 2^30."""
        many: dict[str, object] = {"k": {}}
        for _ in range(30):
            many = {"a": many, "b": many}
        content: dict[str, Any] = {where: {**state(), "many": many}}
        lightning(tmp_path / "a.ckpt", **content)
        refused(tmp_path / "a.ckpt")

    def test_copies_that_multiply(self, tmp_path: Path) -> None:
        """One table of 10,000 entries, copied by two bytes each time: counted, not made."""
        entries = b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(10_000))
        pickled = b"ccollections\nOrderedDict\nq\x00}(" + entries + b"u\x85q\x010"
        pickled += b"h\x00h\x01R0" * 10_000 + b"0}."
        said = refused(with_pickle(tmp_path / "a.pt", pickled))
        assert "operations" in said

    def test_large_memo_index(self, tmp_path: Path) -> None:
        """An index of the memo takes no memory: here it is just a name."""
        pickled, data = inner_pickle(saved(tmp_path / "a.pt", state()))
        odd = pickled[:2] + b"Nr" + b"\xff" * 4 + b"0" + pickled[2:]
        found = read_contents(with_pickle(tmp_path / "b.pt", odd, data))
        assert list(found.tensors) == list(state())


class TestViews:
    """Tensors that are not what the file's bytes back."""

    def test_the_form_itself_is_right(self, tmp_path: Path) -> None:
        data = {"0": struct.pack("<6f", *range(6))}
        path = with_pickle(tmp_path / "a.pt", tensor_pickle(1, (2, 2), (3, 1), 6), data)
        assert read_contents(path).tensors["w"].tolist() == [[1, 2], [4, 5]]

    @pytest.mark.parametrize(
        ("offset", "size", "stride", "numel"),
        [
            (0, (7,), (1,), 6),
            (1, (6,), (1,), 6),
            (6, (1,), (1,), 6),
            (0, (2,), (6,), 6),
            (-1, (2,), (1,), 6),
            (0, (-2,), (1,), 6),
            (5, (2,), (-1,), 6),
            (0, (2, 2), (1,), 6),
            (0, (1 << 62, 4), (0, 0), 6),
            (0, (1 << 40,), (0,), 6),
            (0, (1 << 32,), (0,), 6),
            (1 << 64, (1,), (1,), 6),
            (0, (2,), (1 << 63,), 6),
            (0, (1,) * 65, (1,) * 65, 6),
            (0, (6,), (1,), 5),
            (0, (7,), (1,), 7),
            (0, (6,), (1,), -6),
            (0, (6,), (1,), 1 << 61),
            (0, (0, 1 << 62), (1, 1), 6),
            (0, (0, 1 << 33, 1 << 33, 1 << 33), (1, 1, 1, 1), 6),
        ],
    )
    def test_refused(
        self,
        tmp_path: Path,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        numel: int,
    ) -> None:
        data = {"0": struct.pack("<6f", *range(6))}
        refused(with_pickle(tmp_path / "a.pt", tensor_pickle(offset, size, stride, numel), data))

    def test_strides_of_one_entry_say_nothing(self, tmp_path: Path) -> None:
        data = {"0": struct.pack("<6f", *range(6))}
        path = with_pickle(tmp_path / "a.pt", tensor_pickle(5, (1, 1), (1 << 62, 7), 6), data)
        assert read_contents(path).tensors["w"].tolist() == [[5]]

    def test_missing_storage(self, tmp_path: Path) -> None:
        said = refused(with_pickle(tmp_path / "a.pt", tensor_pickle(0, (6,), (1,), 6)))
        assert "archive/data/0 is missing" in said

    def test_many_views_of_one_storage(self, tmp_path: Path) -> None:
        """A thousand names for one tensor of 1 MB would be copied to 1 GB."""
        value = torch.zeros(1 << 18)
        saved(tmp_path / "a.pt", {f"w{i}": value for i in range(1000)})
        assert "more memory than the file has" in refused(tmp_path / "a.pt")

    @pytest.mark.parametrize("cut", [1, 8, 100])
    def test_legacy_storage_cut(self, tmp_path: Path, cut: int) -> None:
        path = saved(tmp_path / "a.pt", state(), _use_new_zipfile_serialization=False)
        whole = path.read_bytes()
        path.write_bytes(whole[:-cut])
        refused(path)
        path.write_bytes(whole + b"\0" * cut)
        refused(path)
