"""Recordings, one folder of .wav files per class: `audio:folder=PATH`.

Below the folder are the classes, `yes/1.wav`, all recordings test samples; or train, test and
perhaps validation, `train/yes/1.wav`. Classes are numbered in the order of their names. Integers
are divided by their range, so that values lie in [-1, 1). Shorter recordings are padded with 0;
`lengths` says where they end. sample_id is the place in the order of all paths.
"""

import io
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from robustssm.tasks.arrays import task_of
from robustssm.tasks.base import Task, spec_of
from robustssm.tasks.reading import (
    Array,
    Source,
    check_limit,
    check_room,
    memory,
    places_of,
    ragged,
)

_WHO = "audio"


def audio(folder: Path, limit: int = 0) -> Task:
    """Return the task; inputs (N, L, channels), L the longest recording.

    folder: as above; limit: the first recordings of each split, 0 for all, and no other is opened.
    Raises RejectedInputError.
    """
    kept, place = check_limit(_WHO, limit), Source(_WHO, folder).folder()
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*.wav"))]
    depths = {len(path.parts) for path in paths}
    if depths not in ({2}, {3}):
        raise place.rejected("expected class/file.wav, or train/class/file.wav and test/...")
    words = np.array([path.parts[0] if depths == {3} else "test" for path in paths])
    places = places_of(place, words)
    chosen = np.concatenate([np.flatnonzero(places == number)[:kept] for number in range(3)])
    parts, forms, bytes_ = [], set(), 0
    for number in chosen.tolist():
        rate, values = recording(place.at(str(paths[number])), memory() // 4)
        values = values[:, None] if values.ndim == 1 else values
        forms.add((rate, values.shape[1]))
        bytes_ += 4 * values.size
        check_room(_WHO, (bytes_,), 1, "give limit=100")
        parts.append(scaled(values))
    if len(forms) != 1:
        raise place.rejected(f"has (rate, channels) of {sorted(forms)[:4]}, expected one of all")
    lengths = np.array([len(values) for values in parts], dtype=np.int64)
    shape = (len(parts), int(lengths.max()), parts[0].shape[1])
    check_room(_WHO, shape, 8, "give limit=100")
    inputs = ragged(np.concatenate(parts), lengths, shape[1], np.float32)
    # Whatever the limit leaves: a class keeps its number.
    names, labels = np.unique([path.parts[-2] for path in paths], return_inverse=True)
    labels = labels[chosen]
    content = {"inputs": inputs, "labels": labels, "lengths": lengths, "split": words[chosen]}
    content |= {"sample_id": chosen, "rate": np.array(forms.pop()[0])}
    task = task_of(place, content, spec_of(_WHO, {"folder": folder, "limit": limit}, audio))
    return replace(task, names=tuple(map(str, names)), classes=len(names))


def recording(source: Source, largest: int) -> tuple[int, Array]:
    """Return rate and values, (steps[, channels]), of a WAV file of `largest` bytes at most."""
    content = source.content(largest)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
            rate, values = wavfile.read(io.BytesIO(content))
    except (wavfile.WavFileWarning, EOFError, struct.error, ValueError, ArithmeticError) as error:
        problem = " ".join(str(error).split()) or "cut short"
        raise source.rejected(f"is no whole WAV file ({problem}); fetch it again") from None
    except (UnboundLocalError, TypeError, MemoryError):  # without chunks that it needs
        raise source.rejected("is no whole WAV file; fetch it again") from None
    if not len(values):
        raise source.rejected("has no samples, expected at least 1")
    return int(rate), values


def scaled(values: Array) -> Array:
    """Return integers over their range, float32; unsigned ones are around their middle."""
    if values.dtype.kind not in "iu":
        return values.astype(np.float32)
    half = np.float32(2.0 ** (8 * values.itemsize - 1))
    return values.astype(np.float32) / half - np.float32(values.dtype.kind == "u")
