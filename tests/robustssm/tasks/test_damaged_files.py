"""Files with wrong bytes: read as something else, or refused in one line, and nothing else."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

from robustssm.errors import RejectedInputError
from robustssm.file_formats.contents import ContentsError
from robustssm.tasks import idx, image_folders, speech_commands
from robustssm.tasks.cifar import array, read_table
from robustssm.tasks.lra_text import tsv_rows
from robustssm.tasks.reading import Source
from robustssm.tasks.ucr import read_ts, read_tsv

RATE = 100


def pickled(path: Path) -> None:
    try:
        array(read_table(path.read_bytes()).get("data"))
    except ContentsError as error:
        raise RejectedInputError(str(error)) from None


def archived(path: Path) -> None:
    path.write_text(path.read_text(encoding="latin-1"), encoding="utf-8")
    (read_ts if path.suffix == ".ts" else read_tsv)(Source("ucr", path))


READERS: dict[str, Callable[[Path], object]] = {
    "batch": pickled,
    "values.idx": lambda path: idx.read_idx(Source("mnist", path), (2, 2), 10),
    "values.gz": lambda path: idx.read_idx(Source("mnist", path), (2, 2), 10),
    "image.png": lambda path: image_folders._pixels(Source("lra", path), 8),
    "word.wav": lambda path: speech_commands._recording(Source("sc", path), RATE),
    "series.ts": archived,
    "series.tsv": archived,
    "texts.tsv": lambda path: list(tsv_rows(Source("lra-text", path))),
}


def write(path: Path) -> None:
    """Write a small whole file of the kind that its name says."""
    import gzip
    import pickle

    rng = np.random.default_rng(6)
    pixels = rng.integers(0, 256, (3, 2, 2), dtype=np.uint8)
    encoded = bytes((0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2)) + pixels.tobytes()
    header = "@timestamps false\n@univariate true\n@equalLength true\n@seriesLength 2\n"
    if path.name == "batch":
        path.write_bytes(pickle.dumps({"data": pixels, "labels": [1, 2]}, 2))
    elif path.suffix == ".png":
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    elif path.suffix == ".wav":
        wavfile.write(path, RATE, rng.integers(-9, 9, 20).astype(np.int16))
    elif path.suffix == ".ts":
        path.write_text(header + "@classLabel true a b\n@data\n1.5,2:a\n3,4e-1:b\n")
    elif path.name == "texts.tsv":
        path.write_text('Source\tTarget\n"a ""b"""\t1\nc\t0\n')
    elif path.suffix == ".tsv":
        path.write_text("1\t1.5\t2.5\n2\t3.5\tNaN\n")
    else:
        path.write_bytes(gzip.compress(encoded) if path.suffix == ".gz" else encoded)


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=100)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))))
def test_wrong_bytes(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.mktemp("damaged") / name
    write(path)
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[int(at * len(content))] = value
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[name](path)
    except RejectedInputError as error:
        assert changes and "\n" not in str(error)
