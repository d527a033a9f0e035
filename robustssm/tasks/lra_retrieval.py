"""Pairs of documents (AAN, Long Range Arena), joined in one sequence: not the benchmark's form.

There a network encodes the two documents one by one and then compares the two codes. A task here
has one sequence per sample: `form=joined` puts a separator between the documents, so that the
network may compare them step by step, and accuracies are not those of the benchmark's tables.
`read_pairs` reads the files as they are.

Source: Tay et al., Long Range Arena (arXiv 2011.04006), section 2.2.3; state-spaces/s4,
src/dataloaders/lra.py, class AAN.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from robustssm.errors import UsageError, require_one_of
from robustssm.storage.opening import opened
from robustssm.tasks.base import SPLITS, Split, Task, spec_of
from robustssm.tasks.generated import check
from robustssm.tasks.lra_text import LONGEST
from robustssm.tasks.reading import Source, byte_tokens, check_limit, check_room
from robustssm.typing import IntArray

_WHO = "lra-retrieval"
_FILES = {"train": "train", "validation": "eval", "test": "test"}
_LABELS = {b"0": 0, b"1": 1, b"0.0": 0, b"1.0": 1}
_LINE_BYTES = 16 << 20
# Behind the tokens of bytes, 1 to 256; 0 is padding.
SEPARATOR = 257


def lra_retrieval(folder: Path, form: str = "", max_length: int = 4000, limit: int = 0) -> Task:
    """Return the task of joined pairs: tokens (N, 2 max_length + 1), 0 to 257, two classes.

    A sample is the first document, SEPARATOR, the second one, then padding; label 1 if one cites
    the other. form: `joined`, which has to be asked for, since the benchmark is another; further
    arguments: as of `read_pairs`. sample_id counts training pairs, then those of validation and
    test. Raises RejectedInputError; UsageError without the form.
    """
    if form != "joined":
        raise UsageError(
            f"{_WHO}: a sample is two documents, which the benchmark encodes one by one; a task "
            f"here has one sequence per sample, so form is {form!r}, expected 'joined': both in "
            "one sequence, another task than the benchmark's"
        )
    splits, first = {}, 0
    for split in SPLITS:
        pairs = read_pairs(folder, split, max_length, limit)
        assert pairs.lengths is not None
        tokens, lengths = joined(pairs.inputs, pairs.lengths)
        splits[split] = Split(tokens, pairs.labels, first + pairs.sample_id, lengths)
        first += len(pairs.labels)
    given = {"folder": folder, "form": form, "max_length": max_length, "limit": limit}
    return Task(spec_of(_WHO, given, lra_retrieval), 2, splits, tokens=SEPARATOR + 1)


def joined(pairs: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray]:
    """Return sequences (N, 2 L + 1) of pairs (N, 2, L) with lengths (N, 2), and their ends (N,)."""
    count, _, L = pairs.shape
    check_room(_WHO, (count, 2 * L + 1), 16, "give limit=1000 or a smaller max_length")
    place = np.arange(2 * L + 1)
    first, second = lengths[:, :1], lengths[:, 1:]
    # Where each place is read: in the first document, at the separator, in the second one, nowhere.
    behind = place - first - 1
    ahead = np.take_along_axis(pairs[:, 0], np.minimum(place, L - 1)[None], axis=1)
    after = np.take_along_axis(pairs[:, 1], np.clip(behind, 0, L - 1), axis=1)
    tokens = np.where(place < first, ahead, np.where(behind < second, after, 0))
    tokens[np.arange(count), first[:, 0]] = SEPARATOR
    return tokens, (first + 1 + second)[:, 0]


def read_pairs(folder: Path, split: str = "test", max_length: int = 4000, limit: int = 0) -> Split:
    """Return the pairs of a split: tokens (N, 2, L), lengths (N, 2), label 1 if one cites another.

    folder: holds new_aan_pairs.train.tsv, .eval.tsv and .test.tsv, one line per pair: label, two
    names, two texts; split: train, validation or test; documents are cut after max_length bytes;
    limit: the first pairs, 0 for all. sample_id is the line's number from 0. Raises
    RejectedInputError.
    """
    require_one_of(f"{_WHO}: split", split, _FILES)
    check(_WHO, "max_length", max_length, 1, LONGEST)
    kept = check_limit(_WHO, limit)
    source = Source(_WHO, folder).folder().find(f"new_aan_pairs.{_FILES[split]}.tsv")
    documents, labels = [], []
    for number, line in enumerate(islice(_lines(source), kept), start=1):
        label, *rest = line.split(b"\t")
        if len(rest) != 4 or label not in _LABELS:
            raise source.rejected(f"line {number}: expected label 0 or 1, 2 names, 2 texts")
        labels.append(_LABELS[label])
        # A slice of bytes is a copy: the rest of the line is let go.
        documents += [part[:max_length] for part in rest[2:]]
    check_room(_WHO, (len(documents), max_length), 8, "give limit=1000 or a smaller max_length")
    classes = source.labels(labels, 2)
    tokens, lengths = byte_tokens(documents, max_length)
    count = len(classes)
    pairs = tokens.reshape(count, 2, max_length)
    return Split(pairs, classes, np.arange(count), lengths.reshape(count, 2))


def _lines(source: Source) -> Iterator[bytes]:
    """Yield the lines of a file; quotes are characters like others, as in the benchmark."""
    try:
        with opened(source.path) as file:
            while line := file.readline(_LINE_BYTES):
                if not line.endswith(b"\n"):
                    raise source.rejected(
                        f"a line has no end, or more than {_LINE_BYTES} bytes; fetch it again, or "
                        "end it if it is whole"
                    )
                yield line.rstrip(b"\r\n")
    except OSError as error:
        raise source.rejected(f"cannot be read ({error.strerror})") from None
