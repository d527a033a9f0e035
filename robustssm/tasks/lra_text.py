"""Byte-level movie reviews, IMDb, as in the Long Range Arena.

A token is a byte plus 1, padding is 0, so that there are 257; texts are cut after `max_length`
bytes, and `lengths` says where they end. The Long Range Arena takes IMDb from tensorflow_datasets
and validates on the test reviews; here a tenth of the training reviews is for validation.

Read are the folders of the archive (train/pos, train/neg, test/pos, test/neg of aclImdb), or two
tab-separated files, new_train.tsv and new_test.tsv (train.tsv and test.tsv), whose first line
names the columns: Source or text, Target or label (0, 1, neg, pos). sample_id counts the training
reviews and then the test reviews, in the order of the file, or by label and number in the folders:
neg 0, neg 1, ..., pos 0, pos 1, ...

Source: Maas et al., Learning Word Vectors for Sentiment Analysis (ACL 2011), section 4.1; Tay et
al., Long Range Arena (arXiv 2011.04006), section 2.2.2; google-research/long-range-arena,
lra_benchmarks/text_classification/input_pipeline.py.
"""

import csv
import io
from pathlib import Path

import numpy as np

from robustssm.errors import UsageError
from robustssm.tasks.base import Split, Task
from robustssm.tasks.reading import (
    LARGEST_FILE,
    byte_tokens,
    check_ended,
    check_folder,
    check_labels,
    check_limit,
    check_room,
    find,
    held_out,
    in_splits,
    read_file,
    read_text,
    rejected,
)
from robustssm.typing import IntArray

_WHO = "lra-text"
TOKENS = 257
LONGEST = 1 << 17
_LABELS = {"0": 0, "1": 1, "neg": 0, "pos": 1, "negative": 0, "positive": 1}
_COLUMNS = (("source", "text"), ("target", "label"))
_REVIEW_BYTES = 1 << 20


def lra_text(folder: Path, max_length: int = 4096, limit: int = 0) -> Task:
    """Return the task; inputs (N, max_length) tokens 0 to 256, two classes: negative, positive.

    folder: aclImdb, the folder that holds it, or that of the tab-separated files; max_length:
    bytes; limit: the first samples of each split, 0 for all. Raises RejectedInputError.
    """
    if not 1 <= max_length <= LONGEST:
        raise UsageError(f"{_WHO}: max_length is {max_length}, expected 1 to {LONGEST}")
    kept = check_limit(_WHO, limit)
    place = check_folder(_WHO, folder, "aclImdb")
    read = _folders if (place / "train" / "neg").is_dir() else _table
    train_texts, train_labels = read(place, "train", max_length)
    test_texts, test_labels = read(place, "test", max_length)
    train, validation = held_out(len(train_texts))
    sources = (
        (train_texts, train_labels, train[:kept], 0),
        (train_texts, train_labels, validation[:kept], 0),
        (test_texts, test_labels, np.arange(len(test_texts))[:kept], len(train_texts)),
    )
    count = sum(len(index) for _, _, index, _ in sources)
    check_room(_WHO, (count, max_length), 8, "give limit=1000 or a smaller max_length")
    parts = []
    for texts, labels, index, first in sources:
        tokens, lengths = byte_tokens([texts[i] for i in index.tolist()], max_length)
        parts.append(Split(tokens, labels[index], first + index, lengths))
    spec = f"{_WHO}:folder={folder.resolve()}"
    spec += f":max_length={max_length}" if max_length != 4096 else ""
    spec += f":limit={limit}" if limit else ""
    return Task(spec, 2, in_splits(parts, None), tokens=TOKENS)


def _folders(folder: Path, split: str, most: int) -> tuple[list[bytes], IntArray]:
    """Return the texts of a split of aclImdb, and labels (N,)."""
    texts, labels = [], []
    for label, name in enumerate(("neg", "pos")):
        place = check_folder(_WHO, folder / split / name)
        paths = [path for path in place.iterdir() if path.suffix == ".txt"]
        for path in paths:
            if not (path.stem.replace("_", "", 1).isdecimal() and path.stem.isascii()):
                raise rejected(_WHO, path, "expected a name of numbers, as in 127_8.txt")
        for path in sorted(paths, key=lambda path: (int(path.stem.split("_")[0]), path.stem)):
            texts.append(read_file(_WHO, path, _REVIEW_BYTES)[:most])
        labels += [label] * len(paths)
    found = np.array(labels, dtype=np.int64)
    return texts, check_labels(_WHO, folder / split, found, 2)


def _table(folder: Path, split: str, most: int) -> tuple[list[bytes], IntArray]:
    """Return the texts of a tab-separated file, and labels (N,)."""
    path = find(_WHO, folder, (f"new_{split}.tsv", f"{split}.tsv"))
    rows = tsv_rows(_WHO, path)
    header = [name.strip().lower() for name in next(rows, [])]
    places = [[header.index(name) for name in names if name in header] for names in _COLUMNS]
    if not all(places):
        raise rejected(_WHO, path, "its first line names no columns Source and Target")
    (text, *_), (target, *_) = places
    texts, labels = [], []
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header) or row[target].strip().lower() not in _LABELS:
            raise rejected(
                _WHO, path, f"sample {number}: expected {len(header)} columns and a label 0 or 1"
            )
        texts.append(row[text].encode("utf-8")[:most])
        labels.append(_LABELS[row[target].strip().lower()])
    return texts, check_labels(_WHO, path, np.array(labels, dtype=np.int64), 2)


def tsv_rows(who: str, path: Path) -> "_Rows":
    """Return the rows of a tab-separated UTF-8 file; RejectedInputError where one is malformed."""
    return _Rows(who, path)


class _Rows:
    """Rows of a tab-separated file; texts may be quoted, as in CSV."""

    def __init__(self, who: str, path: Path) -> None:
        self._who, self._path = who, path
        text = read_text(who, path, LARGEST_FILE)
        check_ended(who, path, text)
        csv.field_size_limit(1 << 24)
        self._rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._rows)
        except csv.Error as error:
            raise rejected(self._who, self._path, f"line {self._rows.line_num}: {error}") from None
