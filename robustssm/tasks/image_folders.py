"""Pathfinder of the Long Range Arena from its image folders.

Whether two points are joined by a dashed path. Images are read row by row, values in [0, 1], in
the order of the metadata files by number; sample_id is the place in that order. The splits are 80,
10 and 10 % of a permutation, those of state-spaces/s4, so that a network trained there is tested
on what it has not seen.

Source: Tay et al., Long Range Arena (arXiv 2011.04006), section 2.2.5; state-spaces/s4,
src/dataloaders/lra.py, classes PathFinderDataset and PathFinder (order of samples, splits, labels,
and the one empty image that is left out).
"""

from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from robustssm.errors import UsageError
from robustssm.tasks.base import Split, Task
from robustssm.tasks.pictures import PictureError, decoded
from robustssm.tasks.reading import (
    check_ended,
    check_folder,
    check_limit,
    check_room,
    in_splits,
    read_file,
    read_text,
    rejected,
    shuffled,
)
from robustssm.typing import IntArray

_WHO = "lra-pathfinder"
_SIDES = (32, 64, 128, 256)
LEVELS = ("curv_contour_length_14", "curv_contour_length_9", "curv_baseline")
_LEFT_OUT = {(32, "curv_baseline", "imgs/0/sample_172.png")}
_IMAGE_BYTES = 1 << 20
_LIST_BYTES = 64 << 20


def lra_pathfinder(folder: Path, side: int = 32, level: str = LEVELS[0], limit: int = 0) -> Task:
    """Return the task; inputs (N, side^2, 1), two classes: apart, joined.

    folder: pathfinder32 (64, 128, 256), or the folder that holds it; side: pixels; level: the
    benchmark takes curv_contour_length_14, the hardest; limit: the first samples of each split, 0
    for all, and no other image is opened. Raises RejectedInputError.
    """
    if side not in _SIDES:
        raise UsageError(f"{_WHO}: side is {side}, expected 32, 64, 128 or 256")
    if level not in LEVELS:
        raise UsageError(f"{_WHO}: level is {level!r}, expected one of {', '.join(LEVELS)}")
    kept = check_limit(_WHO, limit)
    place = check_folder(_WHO, folder, f"pathfinder{side}")
    names, labels = _listed(place / level, side, level)
    tenth = int(0.1 * len(names))
    ends = (len(names) - 2 * tenth, len(names) - tenth)
    if not tenth:
        raise rejected(_WHO, place / level, f"lists {len(names)} images, expected 10 or more")
    chosen = [np.sort(part)[:kept] for part in np.split(shuffled(len(names)), ends)]
    count = sum(map(len, chosen))
    check_room(_WHO, (count, side**2), 4, "give limit=1000 or a smaller side")
    parts = []
    for index in chosen:
        inputs = np.empty((len(index), side**2, 1), dtype=np.float32)
        for row, number in enumerate(index.tolist()):
            inputs[row, :, 0] = _pixels(place / level / names[number], side)
        parts.append(Split(inputs, labels[index], index))
    spec = f"{_WHO}:folder={folder.resolve()}:side={side}"
    spec += f":level={level}" if level != LEVELS[0] else ""
    spec += f":limit={limit}" if limit else ""
    return Task(spec, 2, in_splits(parts, None), image=(side, side))


def _listed(folder: Path, side: int, level: str) -> tuple[list[str], IntArray]:
    """Return the images of a level as its metadata list them, and their labels (N,)."""
    lists = list(check_folder(_WHO, check_folder(_WHO, folder) / "metadata").glob("*.npy"))
    if not lists or not all(path.stem.isdecimal() and path.stem.isascii() for path in lists):
        raise rejected(_WHO, folder / "metadata", "expected lists 1.npy, 2.npy, ...")
    names: list[str] = []
    labels: list[int] = []
    for path in sorted(lists, key=lambda path: int(path.stem)):
        text = read_text(_WHO, path, _LIST_BYTES)
        check_ended(_WHO, path, text)
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            name = "/".join(words[:2])
            if len(words) < 4 or words[3] not in ("0", "1") or not _inside(name):
                raise rejected(
                    _WHO, path, f"line {number}: expected folder, image, a number, label 0 or 1"
                )
            if (side, level, name) not in _LEFT_OUT:
                names.append(name)
                labels.append(int(words[3]))
    return names, np.array(labels, dtype=np.int64)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _pixels(path: Path, side: int) -> npt.NDArray[np.float32]:
    """Return the grey values (side^2,) in [0, 1] of an image."""
    content = read_file(_WHO, path, _IMAGE_BYTES)
    try:
        values = decoded(content, gray=True, formats=("PNG",))
    except PictureError as error:
        raise rejected(_WHO, path, f"is no whole PNG image ({error}); fetch it again") from None
    rows, columns, _ = values.shape
    if (rows, columns) != (side, side):
        raise rejected(_WHO, path, f"is {columns} x {rows} pixels, expected {side}")
    return values.ravel().astype(np.float32) / np.float32(255.0)
