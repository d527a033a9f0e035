"""Samples of your own, from one `.npz` file: `file:samples.npz`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from robustssm.errors import RejectedInputError
from robustssm.file_formats.contents import shown
from robustssm.storage.numpy_files import DAMAGED, Arrays
from robustssm.storage.opening import opened, size_of
from robustssm.tasks.base import Split, Task
from robustssm.tasks.reading import CLASSES, TOKENS, Array, Source, room

_NAMES = ("inputs", "labels", "lengths", "sample_id", "train_inputs", "rate")
# Other names of an array, by its first.
_SPELT = {"inputs": ("inputs", "input", "x"), "labels": ("labels", "label", "y")}
# What `robustssm perturb` writes beside these.
_ABOUT = ("about", "in_band_share", *(f"delivered_{of}" for of in ("l2", "linf", "rms", "snr_db")))


def arrays(path: Path) -> Task:
    """Return the task that a file of arrays holds; all samples of it are test samples.

    inputs: (N, L, channels) or (N, L) numbers, or (N, L) integers, which are tokens; labels: (N,)
    integers from 0, or texts, numbered in their order. Other names: input, x; label, y. Optional:
    lengths (N,), 1 to L; sample_id (N,), all different (0 to N - 1); train_inputs, all steps valid,
    whose standard deviation is the unit of strengths (that of the valid steps of `inputs` else);
    rate, samples per second. Nothing in the file is executed.
    Raises RejectedInputError.
    """
    source = Source("data", path)
    content = read_arrays(source, _NAMES[:2], _NAMES[2:])
    return task_of(source, content, f"file:{path.resolve()}")


def task_of(source: Source, content: Mapping[str, Array], spec: str) -> Task:
    """Return the task of arrays by name, as `arrays` reads them.

    source: of the arrays, for messages; spec: the name of the task. Raises RejectedInputError.
    """
    inputs = _inputs(source, "inputs", content["inputs"])
    labels = content["labels"]
    if labels.dtype.kind in "US" and labels.ndim == 1:
        labels = np.unique(labels, return_inverse=True)[1]
    labels = _integers(source, "labels", labels, len(inputs))
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise source.rejected(
            f"labels run from {labels.min()} to {labels.max()}, expected 0, 1, ... below {CLASSES}"
        )
    ids = _integers(
        source, "sample_id", content.get("sample_id", np.arange(len(inputs))), len(inputs)
    )
    if len(np.unique(ids)) < len(ids):
        raise source.rejected("sample_id has a number twice")
    lengths = None
    if "lengths" in content:
        lengths = _integers(source, "lengths", content["lengths"], len(inputs))
        if lengths.min() < 1 or lengths.max() > inputs.shape[1]:
            raise source.rejected(
                f"lengths run from {lengths.min()} to {lengths.max()}, expected 1 to "
                f"{inputs.shape[1]}"
            )
    trained = _inputs(source, "train_inputs", content.get("train_inputs", inputs))
    if trained.shape[1:] != inputs.shape[1:] or trained.dtype != inputs.dtype:
        raise source.rejected(
            f"train_inputs is {trained.dtype} {trained.shape[1:]} per sample, inputs "
            f"{inputs.dtype} {inputs.shape[1:]}"
        )
    test = Split(inputs, labels, ids, lengths)
    none = np.zeros(len(trained), dtype=np.int64)
    train = Split(trained, none, none, None if "train_inputs" in content else lengths)
    splits = {"train": train, "validation": test.rows(slice(0)), "test": test}
    tokens = int(inputs.max()) + 1 if inputs.dtype == np.int64 else None
    rate = _rate(source, content["rate"]) if "rate" in content else None
    return Task(spec, int(labels.max()) + 1, splits, rate=rate, tokens=tokens)


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
    except FileNotFoundError:
        raise source.rejected("no such file") from None
    except DAMAGED as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise source.rejected(f"cannot be read as .npz ({said})") from None


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
