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
from collections.abc import Iterator
from pathlib import Path

from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check
from robustssm.tasks.reading import Source, byte_tokens, check_limit, check_room, published_splits
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
    check(_WHO, "max_length", max_length, 1, LONGEST)
    kept = check_limit(_WHO, limit)
    place = Source(_WHO, folder).folder("aclImdb")
    read = _folders if (place.path / "train" / "neg").is_dir() else _table
    files = [read(place, split, max_length) for split in ("train", "test")]
    counts = [len(texts) for texts, _ in files]
    places = published_splits(counts[0], counts[1], kept)
    count = sum(len(index) for _, _, index in places)
    check_room(_WHO, (count, max_length), 8, "give limit=1000 or a smaller max_length")
    splits = {}
    for split, file, index in places:
        texts, labels = files[file]
        tokens, lengths = byte_tokens([texts[i] for i in index.tolist()], max_length)
        ids = file * counts[0] + index
        splits[split] = Split(tokens, labels[index], ids, lengths)
    given = {"folder": folder, "max_length": max_length, "limit": limit}
    return Task(spec_of(_WHO, given, lra_text), 2, splits, tokens=TOKENS)


def _folders(place: Source, split: str, most: int) -> tuple[list[bytes], IntArray]:
    """Return the texts of a split of aclImdb, and labels (N,)."""
    texts, labels = [], []
    for label, name in enumerate(("neg", "pos")):
        folder = place.at(split).at(name).folder()
        paths = [path for path in folder.path.iterdir() if path.suffix == ".txt"]
        for path in paths:
            if not (path.stem.replace("_", "", 1).isdecimal() and path.stem.isascii()):
                raise folder.at(path.name).rejected("expected a name of numbers, as in 127_8.txt")
        for path in sorted(paths, key=lambda path: (int(path.stem.split("_")[0]), path.stem)):
            texts.append(folder.at(path.name).content(_REVIEW_BYTES)[:most])
        labels += [label] * len(paths)
    return texts, place.at(split).labels(labels, 2)


def _table(place: Source, split: str, most: int) -> tuple[list[bytes], IntArray]:
    """Return the texts of a tab-separated file, and labels (N,)."""
    source = place.find(f"new_{split}.tsv", f"{split}.tsv")
    rows = tsv_rows(source)
    header = [name.strip().lower() for name in next(rows, [])]
    places = [[header.index(name) for name in names if name in header] for names in _COLUMNS]
    if not all(places):
        raise source.rejected("its first line names no columns Source and Target")
    (text, *_), (target, *_) = places
    texts, labels = [], []
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header) or row[target].strip().lower() not in _LABELS:
            raise source.rejected(
                f"sample {number}: expected {len(header)} columns and a label 0 or 1"
            )
        texts.append(row[text].encode("utf-8")[:most])
        labels.append(_LABELS[row[target].strip().lower()])
    return texts, source.labels(labels, 2)


def tsv_rows(source: Source) -> Iterator[list[str]]:
    """Yield the rows of a tab-separated file, quoted as in CSV; RejectedInputError if malformed."""
    text = source.text()
    csv.field_size_limit(1 << 24)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise source.rejected(f"line {rows.line_num}: {error}") from None
