"""Mutated checkpoint files end in one clear error or in tensors: no crash, no hang, no memory.

ROBUSTSSM_FUZZ sets the number of mutated files (default 400); each is a function of its number.
"""

import faulthandler
import io
import json
import os
import pickletools
import random
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from robustssm.errors import RejectedInputError
from robustssm.file_formats import read_contents
from tests.robustssm.checkpoints import distributed
from tests.robustssm.checkpoints.samples import (
    GOLDEN,
    flax_bytes,
    hugging_face,
    inner_pickle,
    lightning,
    orbax,
    state,
    variables,
    with_pickle,
)

FILES = int(os.environ.get("ROBUSTSSM_FUZZ", "400"))
# A net under hangs, not a timing: the slowest file takes well under a second.
SECONDS = 20
# Address space. All samples are below 100 kB; the bound holds the arenas and stacks of the threads
# of tensorstore, which reserve some 100 MB each, and is below what a size of 32 bits would take.
GROWTH = 4 << 30


def _mutated(data: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one to four changes."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(found) + 1) if found else 0
        if draw.random() < 0.5:  # headers are at the start
            at = min(at, draw.randrange(64), len(found))
        length = draw.choice((1, 1, 2, 4, 8, 64))
        match draw.randrange(7):
            case 0 if found:
                found[min(at, len(found) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                found[at : at + length] = draw.randbytes(length)
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = draw.randbytes(length)
            case 4:
                del found[at:]
            case 5:
                other = draw.randrange(len(found) + 1)
                found[at : at + length], found[other : other + length] = (
                    found[other : other + length],
                    found[at : at + length],
                )
            case 6:
                value = draw.choice((0, 1, 0x7F, 0xFF))
                found[at : at + length] = bytes([value]) * length
    return bytes(found)


def _mutated_opcodes(data: bytes, draw: random.Random) -> bytes:
    """Return a pickle with whole opcodes dropped, doubled or exchanged."""
    places = [place or 0 for _, _, place in pickletools.genops(data)] + [len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    for _ in range(draw.choice((1, 2, 4))):
        i, j = (draw.randrange(len(pieces)) for _ in range(2))
        match draw.randrange(4):
            case 0:
                pieces[i] = b""
            case 1:
                pieces[i] = pieces[i] * 2
            case 2:
                pieces[i], pieces[j] = pieces[j], pieces[i]
            case 3:
                pieces[i] = pieces[j]
    return b"".join(pieces)


def _samples(folder: Path) -> dict[str, Path]:
    """Files and folders of every format that can be written or found here."""
    found: dict[str, Path] = {}
    for name, new_format in (("zip", True), ("legacy", False)):
        lightning(folder / f"{name}.ckpt", new_format)
        torch.save(state(), folder / f"{name}.pt", _use_new_zipfile_serialization=new_format)
        found |= {f"{name}.ckpt": folder / f"{name}.ckpt", f"{name}.pt": folder / f"{name}.pt"}
    torch.save({"model": state(), "acc": np.float64(0.5)}, folder / "five.pt", pickle_protocol=5)
    found["five.pt"] = folder / "five.pt"
    hugging_face(folder / "hf")
    found |= {"safetensors": folder / "hf" / "model.safetensors", "hf": folder / "hf"}
    both = {
        "state_dict": state(),
        "ema": {"shadow": state(1)},
        "callbacks": {"SWA": {"w": state()}},
    }
    torch.save(both, folder / "averages.ckpt")
    found["averages.ckpt"] = folder / "averages.ckpt"
    pieces = distributed.under("model", dict(state()))
    found["distributed"] = distributed.write(folder / "distributed", pieces)
    try:
        (folder / "flax").write_bytes(flax_bytes({"step": 3, **variables(), "opt_state": {}}))
        found["flax"] = folder / "flax"
        found["orbax"] = orbax(folder / "orbax", variables())
        found["orbax plain"] = orbax(folder / "orbax plain", variables(), ocdbt=False)
    except ImportError:
        pass
    if GOLDEN.is_dir():
        patterns = ("*.ckpt", "*.pth", "*.pt", "*.checkpoint_7", "*.msgpack", "*.orbax", "mamba_*")
        for pattern in patterns:
            for path in sorted(GOLDEN.glob(pattern)):
                if path.suffix != ".npz":
                    found[path.name] = path
    return found


def _changed(path: Path, target: Path, draw: random.Random) -> Path:
    """Write a mutated copy of a file, or of a folder with one mutated file."""
    if path.is_dir():
        if target.exists():
            shutil.rmtree(target)
        target.mkdir()
        files = [one for one in sorted(path.rglob("*")) if one.is_file()]
        chosen = draw.choice(files)
        for one in files:
            copy = target / one.relative_to(path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            data = one.read_bytes()
            opcodes = one.name == ".metadata" and draw.random() < 0.75
            mutated = _mutated_opcodes if opcodes else _mutated
            copy.write_bytes(mutated(data, draw) if one == chosen else data)
        return target
    data = path.read_bytes()
    target.unlink(missing_ok=True)
    if data.startswith(b"PK") and draw.random() < 0.75:
        pickled, storages = inner_pickle(path)
        change: Callable[[bytes, random.Random], bytes] = draw.choice((_mutated, _mutated_opcodes))
        return with_pickle(target, change(pickled, draw), storages)
    if data.startswith(b"\x80") and draw.random() < 0.75:
        stream = io.BytesIO(data)
        for _ in range(5):
            list(pickletools.genops(stream))
        end = stream.tell()
        target.write_bytes(_mutated(data[:end], draw) + data[end:])
        return target
    target.write_bytes(_mutated(data, draw))
    return target


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def watched() -> Iterator[None]:
    """A process that may not take much more address space, and ends with a trace where it hangs."""
    kept = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + GROWTH, kept[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, kept)
    faulthandler.cancel_dump_traceback_later()


def test_the_samples_are_read(samples: dict[str, Path]) -> None:
    for path in samples.values():
        assert read_contents(path).tensors


def test_mutated_files(samples: dict[str, Path], tmp_path: Path, watched: None) -> None:
    names = list(samples)
    outcomes = {"read": 0, "refused": 0}
    for number in range(FILES):
        draw = random.Random(number)
        name = names[number % len(names)]
        folder = samples[name].is_dir()
        path = _changed(samples[name], tmp_path / ("folder" if folder else "file"), draw)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            found = read_contents(path)
        except RejectedInputError as error:
            outcomes["refused"] += 1
            said = str(error)
            assert said.startswith(f"checkpoint {path}: "), (number, name)
            assert "\n" not in said
            assert said.isprintable(), (number, name, said)
            assert "memory than there is" not in said, (number, name)
        except BaseException as error:
            raise AssertionError(f"file {number}, made of {name}: {error!r}") from error
        else:
            outcomes["read"] += 1
            assert all(value.is_contiguous() for value in found.tensors.values())
            json.dumps([found.options, found.extra])
    assert all(outcomes.values())
    print(outcomes)


def test_mutations_are_of_their_number(samples: dict[str, Path], tmp_path: Path) -> None:
    path = samples["zip.pt"]
    made = []
    for _ in range(2):
        target = _changed(path, tmp_path / "file", random.Random(7))
        with zipfile.ZipFile(target) as archive:
            made.append([archive.read(one) for one in archive.namelist()])
    assert made[0] == made[1]
