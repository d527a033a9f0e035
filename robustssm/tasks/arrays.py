"""Samples of your own: `file:samples.npz`, and .npy, .csv and .parquet; docs/own-data.md."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robustssm.errors import RejectedInputError
from robustssm.file_formats.contents import shown
from robustssm.storage.numpy_files import DAMAGED, Arrays, read_array
from robustssm.storage.opening import opened, size_of
from robustssm.targets import CLASSES, STEPS, VALUES
from robustssm.tasks.base import SPLITS, Split, Task
from robustssm.tasks.reading import CLASSES as MOST
from robustssm.tasks.reading import TOKENS, Array, Source, places_of, room

_NAMES = ("inputs", "labels", "lengths", "sample_id", "rate", "split")
_TRAIN = ("train_inputs", "train_labels", "train_lengths")
NAMES = (*_NAMES, *_TRAIN)
# Other names of an array, by its first.
_SPELT = {"inputs": ("inputs", "input", "x"), "labels": ("labels", "label", "y")}
# What `robustssm perturb` writes beside these.
_ABOUT = ("about", "in_band_share", *(f"delivered_{of}" for of in ("l2", "linf", "rms", "snr_db")))


def arrays(path: Path) -> Task:
    """Return the task that a file holds: arrays, or a table (`tables.table_arrays`).

    inputs: (N, L, channels) or (N, L) numbers, or (N, L) integers, which are tokens; labels: (N,)
    integers from 0, or texts, numbered in their order; or floating-point numbers, which are values,
    (N,) or (N, outputs), or (N, L, outputs) at every step. Other names: input, x; label, y.
    Optional: lengths (N,), 1 to L; sample_id (N,), all different (0 to N - 1); rate, per second;
    split (N,), words, without which all are test samples; then train_inputs, train_labels,
    train_lengths are training samples, without labels for the unit of strengths alone (that of
    `inputs` else). Of x.npy the labels are in y.npy. Nothing in a file is executed.
    Raises RejectedInputError.
    """
    source, kind = Source("data", path), path.suffix.lower()
    if kind in (".csv", ".parquet"):
        from robustssm.tasks.tables import table_arrays

        content = table_arrays(source)
    elif kind == ".npy":
        pair = zip(_SPELT["inputs"], _SPELT["labels"], strict=True)
        ends = [(a, b) for a, b in pair if path.stem.endswith(a)]
        if not ends:
            raise source.rejected("expected x.npy, whose labels are in y.npy beside it")
        labels = path.with_name(path.stem.removesuffix(ends[0][0]) + ends[0][1] + path.suffix)
        files = {"inputs": path, "labels": labels}
        content = {name: one_array(Source("data", file)) for name, file in files.items()}
    else:
        content = read_arrays(source, NAMES[:2], NAMES[2:])
    return task_of(source, content, f"file:{path.resolve()}")


def task_of(source: Source, content: Mapping[str, Array], spec: str) -> Task:
    """Return the task of arrays by name, as `arrays` reads them.

    source: of the arrays, for messages; spec: the name of the task. Raises RejectedInputError.
    """
    inputs = _inputs(source, "inputs", content["inputs"])
    given = {name: content[name] for name in ("labels", "train_labels") if name in content}
    names: tuple[str, ...] = ()
    if all(values.dtype.kind in "US" and values.ndim == 1 for values in given.values()):
        words, numbers = np.unique(np.concatenate([*given.values()]), return_inverse=True)
        ends = np.cumsum([len(values) for values in given.values()])[:-1]
        given = dict(zip(given, np.split(numbers, ends), strict=True))
        names = tuple(map(str, words))
    test = _split(source, inputs, given["labels"], content.get("lengths"))
    if "sample_id" in content:
        ids = _integers(source, "sample_id", content["sample_id"], len(inputs))
        if len(np.unique(ids)) < len(ids):
            raise source.rejected("sample_id has a number twice")
        test = replace(test, sample_id=ids)
    train = replace(test, labels=np.zeros_like(test.labels))
    splits = {"train": train, "validation": test.rows(slice(0)), "test": test}
    if "split" in content:
        if len(content["split"]) != len(test):
            raise source.rejected(f"split has {len(content['split'])} words, expected {len(test)}")
        places = places_of(source, content["split"])
        splits = {name: test.rows(places == number) for number, name in enumerate(SPLITS)}
        splits["train"] = splits["train"] if len(splits["train"]) else train.rows(places == 2)
    if "train_inputs" in content:
        values = _inputs(source, "train_inputs", content["train_inputs"])
        if values.shape[1:] != inputs.shape[1:] or values.dtype != inputs.dtype:
            raise source.rejected(
                f"train_inputs is {values.dtype} {values.shape[1:]} per sample, inputs "
                f"{inputs.dtype} {inputs.shape[1:]}"
            )
        unknown = np.zeros((len(values), *test.labels.shape[1:]), given["labels"].dtype)
        labels = given.get("train_labels", unknown)
        lengths = content.get("train_lengths")
        splits["train"] = _split(source, values, labels, lengths, "train_", len(inputs))
        learnt, shape = splits["train"].labels, test.labels.shape[1:]
        if learnt.dtype != test.labels.dtype or learnt.shape[1:] != shape:
            raise source.rejected(
                f"train_labels is {learnt.dtype} {learnt.shape[1:]} per sample, labels "
                f"{test.labels.dtype} {shape}"
            )
    kind, classes = (CLASSES, VALUES, STEPS)[test.labels.ndim - 1], test.labels.shape[-1]
    if kind is CLASSES:
        classes = 1 + max(int(split.labels.max()) for split in splits.values() if len(split))
    tokens = int(inputs.max()) + 1 if inputs.dtype == np.int64 else None
    rate = _rate(source, content["rate"]) if "rate" in content else None
    return Task(spec, max(classes, len(names)), splits, None, rate, tokens, names, kind=kind)


def _split(
    source: Source, inputs: Array, labels: Array, ends: Array | None, of: str = "", first: int = 0
) -> Split:
    """Return samples numbered from `first`; of: what begins the names of their arrays."""
    if labels.dtype.kind == "f":
        labels = _values(source, f"{of}labels", labels, inputs)
    else:
        labels = _integers(source, f"{of}labels", labels, len(inputs))
        if labels.min() < 0 or labels.max() >= MOST:
            raise source.rejected(
                f"{of}labels run from {labels.min()} to {labels.max()}, expected 0, 1, ... below "
                f"{MOST}"
            )
    if ends is not None:
        ends = _integers(source, f"{of}lengths", ends, len(inputs))
        if ends.min() < 1 or ends.max() > inputs.shape[1]:
            raise source.rejected(
                f"{of}lengths run from {ends.min()} to {ends.max()}, expected 1 to "
                f"{inputs.shape[1]}"
            )
    return Split(inputs, labels, first + np.arange(len(inputs)), ends)


def read_arrays(
    source: Source, required: Sequence[str], optional: Sequence[str], strict: bool = True
) -> dict[str, Array]:
    """Return arrays of an `.npz` file by name; nothing in it is executed.

    strict: whether other arrays are refused, or left unread. Raises RejectedInputError.
    """
    try:
        with opened(source.path) as file:
            arrays = Arrays(file, size_of(file), room())
            spelt = {
                name: [one for one in _SPELT.get(name, (name,)) if one in arrays.names]
                for name in (*required, *optional)
            }
            known = {one for names in spelt.values() for one in names}
            unknown = sorted({*arrays.names} - known - {*_ABOUT}) if strict else []
            missing = [name for name in required if not spelt[name]]
            twice = [" and ".join(names) for names in spelt.values() if len(names) > 1]
            if twice:
                raise source.rejected(f"has {twice[0]}, expected one of them")
            if missing or unknown:
                raise source.rejected(
                    f"lacks {', '.join(missing) or 'nothing'}, has "
                    f"{shown(', '.join(unknown or arrays.names)) or 'nothing'}; expected arrays "
                    f"{', '.join(required)}, and if you like {', '.join(optional)}"
                )
            return {name: arrays[one[0]] for name, one in spelt.items() if one}
    except RejectedInputError:
        raise
    except DAMAGED as error:
        raise _unreadable(source, error, ".npz") from None


def one_array(source: Source) -> Array:
    """Return the array of an `.npy` file; RejectedInputError."""
    try:
        with opened(source.path) as file:
            return read_array(file, size_of(file), room())
    except DAMAGED as error:
        raise _unreadable(source, error, ".npy") from None


def _unreadable(source: Source, error: BaseException, kind: str) -> RejectedInputError:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    missing = isinstance(error, FileNotFoundError)
    return source.rejected("no such file" if missing else f"cannot be read as {kind} ({said})")


def _inputs(source: Source, name: str, values: Array) -> Array:
    """Return values (N, L, channels) as float32, or tokens (N, L) as int64."""
    if values.ndim in (2, 3) and 0 in values.shape:
        raise source.rejected(
            f"{name} is {values.shape}, expected at least one sample, step and channel"
        )
    if values.ndim == 2 and values.dtype.kind in "iu":
        if int(values.min()) < 0 or int(values.max()) >= TOKENS:
            raise source.rejected(
                f"{name} has tokens from {values.min()} to {values.max()}, expected 0 to "
                f"{TOKENS - 1}"
            )
        return values.astype(np.int64)
    if values.ndim not in (2, 3) or values.dtype.kind not in "fiu":
        raise source.rejected(
            f"{name} is {values.dtype} {values.shape}, expected numbers (samples, "
            "length, channels), or integer tokens (samples, length)"
        )
    if not np.isfinite(values).all():
        raise source.rejected(f"{name} has NaN or infinite entries")
    largest = float(np.abs(values).max())
    if largest > float(np.finfo(np.float32).max):
        raise source.rejected(f"{name} has {largest:g}, beyond what float32 holds; scale it")
    return values.reshape(*values.shape[:2], -1).astype(np.float32)


def _values(source: Source, name: str, values: Array, inputs: Array) -> Array:
    """Return values of samples (N, outputs), or of steps (N, L, outputs)."""
    of_steps = values.ndim == 3 and values.shape[1] == inputs.shape[1]
    fits = of_steps or values.ndim in (1, 2)
    if not (fits and values.size and len(values) == len(inputs)):
        raise source.rejected(
            f"{name} is {values.dtype} {values.shape}, expected values ({len(inputs)},), "
            f"({len(inputs)}, outputs) or {(*inputs.shape[:2], 'outputs')}"
        )
    return values.reshape(*values.shape[: values.ndim - 1 or 1], -1).astype(np.float64)


def _rate(source: Source, values: Array) -> float:
    """Return the samples per second; an array of one number is one."""
    number = values.dtype.kind in "fiu" and values.size == 1
    if not (number and np.isfinite(values).all() and values.min() > 0):
        held = str(values.item()) if values.size == 1 else f"{values.dtype} {values.shape}"
        raise source.rejected(f"rate is {shown(held)}, expected one number above 0, per second")
    return float(values.item())


def _integers(source: Source, name: str, values: Array, count: int) -> Array:
    if values.shape != (count,) or values.dtype.kind not in "iu":
        raise source.rejected(
            f"{name} is {values.dtype} {values.shape}, expected integers ({count},)"
        )
    if values.max() > np.iinfo(np.int64).max:
        raise source.rejected(f"{name} has {values.max()}, expected numbers below 2^63")
    return values.astype(np.int64)
