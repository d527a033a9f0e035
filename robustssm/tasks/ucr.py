"""Time series of the UCR and UEA archives, from .ts and .tsv files.

The two files, NAME_TRAIN and NAME_TEST, stand side by side. Series of unequal lengths are padded
with 0, `lengths` says where they end (in .tsv files they end in NaN). Classes are numbered in
order, by value if all labels are numbers. The archives have no validation split: `validation`
takes a share of the training series for it. sample_id counts the training series, then the test
series, in the order of the files.

Source: Dau et al., The UCR Time Series Archive (arXiv 1810.07758), section 3; Bagnall et al., The
UEA Multivariate Time Series Classification Archive (arXiv 1811.00075), section 2 (.ts).
"""

from pathlib import Path

import numpy as np

from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check
from robustssm.tasks.reading import Source, check_room, held_out, ragged
from robustssm.tasks.ucr_files import Series, read_ts, read_tsv

_WHO = "ucr"
_READERS = {".ts": read_ts, ".tsv": read_tsv}


def ucr(path: Path, validation: float = 0.1) -> Task:
    """Return the task; inputs (N, L, channels), L the longest series of both files.

    path: NAME_TRAIN.ts or .tsv, or NAME_TEST; validation: share of the training series, 0 to 0.5;
    0 leaves the published split as it is. Raises RejectedInputError.
    """
    check(_WHO, "validation", validation, 0.0, 0.5)
    stem, ending = path.stem, path.suffix.lower()
    name = stem.removesuffix("_TRAIN").removesuffix("_TEST")
    if ending not in _READERS or name == stem:
        raise Source(_WHO, path).rejected("expected a file NAME_TRAIN.ts or NAME_TRAIN.tsv")
    sources = [
        Source(_WHO, path.with_name(f"{name}_{split}{path.suffix}")) for split in ("TRAIN", "TEST")
    ]
    train, test = map(_READERS[ending], sources)
    if train.values.shape[1] != test.values.shape[1]:
        raise sources[1].rejected(
            f"has {test.values.shape[1]} channels, the training file {train.values.shape[1]}"
        )
    names = _classes(sources[1], train, test)
    length = int(max(train.lengths.max(), test.lengths.max()))
    count = len(train.labels) + len(test.labels)
    check_room(_WHO, (count, length, train.values.shape[1]), 4, "use a machine with more memory")
    numbers = {label: number for number, label in enumerate(names)}
    unequal = bool(min(train.lengths.min(), test.lengths.min()) < length)
    whole = []
    for part, first in ((train, 0), (test, len(train.labels))):
        inputs = ragged(part.values, part.lengths, length, np.float32)
        labels = np.array([numbers[label] for label in part.labels], dtype=np.int64)
        ids = first + np.arange(len(labels))
        whole.append(Split(inputs, labels, ids, part.lengths if unequal else None))
    kept, validating = held_out(len(train.labels), validation)
    if not len(kept):
        raise sources[0].rejected("has too few series to hold some out; give validation=0")
    splits = {"train": whole[0].rows(kept), "validation": whole[0].rows(validating)}
    spec = spec_of(_WHO, {"path": sources[0].path, "validation": validation}, ucr)
    return Task(spec, len(names), {**splits, "test": whole[1]})


def _classes(source: Source, train: Series, test: Series) -> list[str]:
    """Return the labels in order: those that the header declares, or that occur."""
    names = set(train.declared or train.labels)
    unknown = sorted(set(test.labels) - names)
    if unknown:
        raise source.rejected(f"has the label {unknown[0]!r}, which the training file lacks")
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)
