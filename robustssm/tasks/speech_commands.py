"""Spoken words, raw: Speech Commands from its folders of WAV files.

35 words (version 2), or the 10 commands yes, no, up, down, left, right, on, off, stop and go.
Values are samples of 16 bits divided by 2^15; shorter recordings are padded with 0, `lengths` says
where they end. Splits are the published lists, validation_list.txt and testing_list.txt, and the
rest for training. Labels are in the order of state-spaces/s4. sample_id is the place of a file in
the sorted list of all files of the 35 words.

state-spaces/s4 splits the 10 commands at random, without the recordings below one second; here the
published lists hold for both.

Source: Warden, Speech Commands (arXiv 1804.03209), sections 5 and 7; state-spaces/s4,
src/dataloaders/sc.py.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from robustssm.errors import require
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.reading import Source, check_flag, check_limit, check_room
from robustssm.tasks.recordings import recording, scaled
from robustssm.typing import IntArray

_WHO = "speech-commands"
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
WORDS = (
    *("bed", "cat", "down", "five", "forward", "go", "house", "left", "marvin", "no", "on"),
    *("right", "sheila", "tree", "up", "visual", "yes", "backward", "bird", "dog", "eight"),
    *("follow", "four", "happy", "learn", "nine", "off", "one", "seven", "six", "stop", "three"),
    *("two", "wow", "zero"),
)
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_LIST_BYTES = 16 << 20
_HEADER_BYTES = 1 << 16


def speech_commands(
    folder: Path, classes: int = 35, rate: int = 16000, half_rate: int = 0, limit: int = 0
) -> Task:
    """Return the task; inputs (N, rate, 1), or (N, rate / 2, 1) if `half_rate` is 1.

    folder: holds one folder of .wav files per word, and the two lists; classes: 35 or 10; rate:
    samples per second that every file must have; half_rate: every second sample is kept, without
    a filter, in all splits, which is how state-spaces/s4 tests at half the rate; limit: the first
    samples of each split, 0 for all, and no other file is opened. Raises RejectedInputError.
    """
    require(classes in (10, 35), f"{_WHO}: classes", classes, "10 or 35")
    even = f"an even number from 2 to {1 << 20}"
    require(2 <= rate <= 1 << 20 and rate % 2 == 0, f"{_WHO}: rate", rate, even)
    step = 2 if check_flag(_WHO, "half_rate", half_rate) else 1
    kept = check_limit(_WHO, limit)
    place = Source(_WHO, folder).folder()
    words = WORDS if classes == 35 else COMMANDS
    chosen = _files(place, words, kept)
    count = sum(map(len, chosen.values()))
    check_room(_WHO, (count, rate // step), 4, "give limit=1000 or half_rate=1")
    splits = {}
    for split, listed in chosen.items():
        inputs = np.zeros((len(listed), rate // step, 1), dtype=np.float32)
        lengths = np.empty(len(listed), dtype=np.int64)
        for row, (name, _) in enumerate(listed):
            values = _recording(place.at(name), rate)[::step]
            inputs[row, : len(values), 0] = values
            lengths[row] = len(values)
        labels = np.array([words.index(name.split("/")[0]) for name, _ in listed], dtype=np.int64)
        ids: IntArray = np.array([number for _, number in listed], dtype=np.int64)
        splits[split] = Split(inputs, labels, ids, lengths)
    given = {"folder": folder, "classes": classes, "rate": rate, "half_rate": half_rate}
    spec = spec_of(_WHO, given | {"limit": limit}, speech_commands)
    return Task(spec, classes, splits, rate=rate / step)


def _files(
    place: Source, words: tuple[str, ...], kept: int | None
) -> dict[str, list[tuple[str, int]]]:
    """Return word/file.wav and its number for each split, the first `kept` of these words."""
    folder = place.path
    present = [word for word in sorted(WORDS) if (folder / word).is_dir()]
    missing = [word for word in words if word not in present]
    if missing:
        raise place.rejected(f"lacks the folders {', '.join(missing[:5])}; fetch it again")
    names = [
        f"{word}/{path.name}"
        for word in present
        for path in sorted((folder / word).iterdir())
        if path.suffix == ".wav"
    ]
    numbers = {name: number for number, name in enumerate(names)}
    lists = {split: _list(place.find(file), words) for split, file in _LISTS.items()}
    for split, listed in lists.items():
        lost = sorted(listed - numbers.keys())
        if lost:
            raise place.rejected(f"lacks {lost[0]}, which {_LISTS[split]} lists; fetch it again")
    both = sorted(lists["validation"] & lists["test"])
    if both:
        raise place.rejected(f"{both[0]} is in both lists; fetch them again")
    own = [item for item in numbers.items() if item[0].split("/")[0] in words]
    rest = numbers.keys() - lists["validation"] - lists["test"]
    chosen = {}
    for split, among in (("train", rest), *lists.items()):
        chosen[split] = [item for item in own if item[0] in among][:kept]
        if not chosen[split]:
            raise place.rejected(f"has no {split} files; fetch it again")
    return chosen


def _list(source: Source, words: tuple[str, ...]) -> set[str]:
    """Return the names in a list of files that are of these words."""
    text = source.text(_LIST_BYTES, ended=False)
    for number, line in enumerate(text.splitlines(), start=1):
        word, _, name = line.strip().partition("/")
        if word not in WORDS or not name.endswith(".wav") or "/" in name:
            raise source.rejected(f"line {number}: expected word/file.wav")
    return {line.strip() for line in text.splitlines() if line.split("/")[0] in words}


def _recording(source: Source, rate: int) -> npt.NDArray[np.float32]:
    """Return the values in [-1, 1) of a WAV file of one channel and 16 bits."""
    found, values = recording(source, 2 * rate + _HEADER_BYTES)
    form = (found, values[:1].size, 8 * values.itemsize)
    if form != (rate, 1, 16):
        raise source.rejected(
            f"has {form[0]} samples per second, {form[1]} channels, {form[2]} bits, expected "
            f"{rate}, 1, 16"
        )
    if len(values) > rate:
        raise source.rejected(f"has {len(values)} samples, expected 1 to {rate}")
    return scaled(values)
