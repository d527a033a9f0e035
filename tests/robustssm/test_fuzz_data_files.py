"""Spoilt series, sounds, images and tables of data: refused in one line, or read.

    ROBUSTSSM_FUZZ=10000 python -m pytest -s tests/robustssm/test_fuzz_data_files.py

Counts, limits and what no input may cause are those of test_fuzz_inputs.
"""

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from robustssm.tasks.hub import hub
from robustssm.tasks.idx import mnist
from robustssm.tasks.pictures import PictureError, decoded
from robustssm.tasks.reading import Source
from robustssm.tasks.speech_commands import _recording
from robustssm.tasks.ucr import ucr
from tests.robustssm.tasks.test_speech_commands import RATE, encoded, extensible
from tests.robustssm.test_fuzz_inputs import Draw, bounded, fuzz, mutated

__all__ = ["bounded"]
NUMBERS = ("0", "-1", "65535", "4294967295", "9" * 400, "nan", "inf", "1e999", "1_0", "\u0663")
HEADER = """@problemName S
@timeStamps false
@univariate true
@equalLength true
@seriesLength 4
@classLabel true 1 2
@data
"""


def spoilt(data: bytes, draw: Draw) -> bytes:
    """Return bytes with bits flipped, sizes replaced, parts removed, repeated or zeroed."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        # Headers are where sizes stand: at the start, or, in Parquet, at the end.
        near = draw.choice((16, 64, 400, len(found)))
        at = draw.randrange(min(near, len(found))) if found else 0
        at = len(found) - 1 - at if draw.random() < 0.3 else at
        match draw.randrange(5):
            case 0:
                found[at : at + 1] = bytes([found[at] ^ 1 << draw.randrange(8)]) if found else b""
            case 1:
                size = draw.choice((0, 1, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 20))
                found[at : at + 4] = struct.pack(draw.choice("<>") + "I", size)
            case 2:
                del found[at : at + draw.choice((1, 4, 100, 1 << 20))]
            case 3:
                found[at:at] = found[at : at + 64] * draw.choice((1, 50))
            case _:
                found[at : at + 8] = b"\0" * 8
    return bytes(found)


@pytest.mark.parametrize("suffix", [".ts", ".tsv"])
def test_series(suffix: str, tmp_path: Path, bounded: None) -> None:
    rows = [[f"{k}.{k}" for k in range(row, row + 4)] for row in range(12)]
    if suffix == ".ts":
        lines = [f"{','.join(row)}:{k % 2 + 1}" for k, row in enumerate(rows)]
    else:
        lines = ["\t".join([str(k % 2 + 1), *row]) for k, row in enumerate(rows)]
    text = (HEADER if suffix == ".ts" else "") + "\n".join(lines) + "\n"
    (tmp_path / f"S_TEST{suffix}").write_text(text)
    path = tmp_path / f"S_TRAIN{suffix}"

    def make(draw: Draw) -> Path:
        changed = mutated(text, draw)
        if draw.random() < 0.3:
            changed = changed.replace(draw.choice(("4", "1", "2.2")), draw.choice(NUMBERS), 1)
        data = changed.encode("utf-8", "surrogatepass")
        path.write_bytes(spoilt(data, draw) if draw.random() < 0.2 else data)
        return path

    fuzz(make, lambda path: ucr(path).content_hash)


def test_sounds(tmp_path: Path, bounded: None) -> None:
    samples = [encoded(), extensible(encoded()), encoded(channels=2), encoded(frames=RATE)]
    path = tmp_path / "a.wav"

    def make(draw: Draw) -> Source:
        path.write_bytes(spoilt(draw.choice(samples), draw))
        return Source("speech-commands", path)

    fuzz(make, lambda source: _recording(source, RATE))


def test_images(bounded: None) -> None:
    rng = np.random.default_rng(0)
    samples = []
    for kind in ("PNG", "JPEG", "WEBP"):
        for shape in ((8, 8), (8, 8, 3)):
            stream = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(stream, kind)
            samples.append(stream.getvalue())

    def read(data: bytes) -> object:
        source = Source("image-folders", Path("x.png"))
        try:
            return decoded(data)
        except PictureError as error:
            raise source.rejected(error) from None

    fuzz(lambda draw: spoilt(draw.choice(samples), draw), read)


@pytest.mark.parametrize("packed", [False, True])
def test_digits(packed: bool, tmp_path: Path, bounded: None) -> None:
    close: Callable[[bytes], bytes] = gzip.compress if packed else bytes
    suffix = ".gz" if packed else ""
    pixels = struct.pack(">IIII", 0x803, 3, 28, 28) + bytes(3 * 784)
    labels = struct.pack(">II", 0x801, 3) + bytes([0, 1, 2])
    files = {f"{split}-{name}-ubyte{suffix}": data for split in ("train", "t10k")
             for name, data in (("images-idx3", pixels), ("labels-idx1", labels))}  # fmt: skip

    def make(draw: Draw) -> Path:
        which = draw.choice(list(files))
        for name, data in files.items():
            inside = name == which and draw.random() < 0.5
            whole = close(spoilt(data, draw) if inside else data)
            outside = name == which and not inside
            (tmp_path / name).write_bytes(spoilt(whole, draw) if outside else whole)
        return tmp_path

    fuzz(make, lambda folder: mnist(folder, partial=1).content_hash)


def test_tables(tmp_path: Path, bounded: None) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(stream, "PNG")
    columns = (
        [[0.5, 1.0, 2.0], [1.0], [3.0, 4.0]],
        [[[0.5, 1.0]], [[1.0, 2.0]], [[3.0, 4.0]]],
        [[1, 2, 3], [4], [5, 6]],
        ["a b", "héllo", ""],
        [{"bytes": stream.getvalue(), "path": "a.png"}] * 3,
    )
    samples = []
    for column in columns:
        for labels in ([0, 1, 0], ["a", "b", "a"]):
            table = pa.table({"x": column, "label": labels, "split": ["train", "test", "test"]})
            for packing in ("none", "snappy"):
                made = pa.BufferOutputStream()
                pq.write_table(table, made, compression=packing)
                samples.append(made.getvalue().to_pybytes())
    path = tmp_path / "x.parquet"

    def make(draw: Draw) -> str:
        path.write_bytes(spoilt(draw.choice(samples), draw))
        return draw.choice(("split", ""))

    fuzz(make, lambda split: hub("x", path=str(path), split=split).content_hash)
