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

from robustssm.errors import require, require_one_of
from robustssm.tasks.base import SPLITS, Split, Task, spec_of
from robustssm.tasks.pictures import PictureError, decoded
from robustssm.tasks.reading import Source, check_limit, check_room, shuffled
from robustssm.typing import IntArray

_WHO = "lra-pathfinder"
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
    require(side in (32, 64, 128, 256), f"{_WHO}: side", side, "32, 64, 128 or 256")
    require_one_of(f"{_WHO}: level", level, LEVELS)
    kept = check_limit(_WHO, limit)
    place = Source(_WHO, folder).folder(f"pathfinder{side}").at(level)
    names, labels = _listed(place, side, level)
    tenth = int(0.1 * len(names))
    ends = (len(names) - 2 * tenth, len(names) - tenth)
    if not tenth:
        raise place.rejected(f"lists {len(names)} images, expected 10 or more")
    chosen = [np.sort(part)[:kept] for part in np.split(shuffled(len(names)), ends)]
    count = sum(map(len, chosen))
    check_room(_WHO, (count, side**2), 4, "give limit=1000 or a smaller side")
    splits = {}
    for split, index in zip(SPLITS, chosen, strict=True):
        inputs = np.empty((len(index), side**2, 1), dtype=np.float32)
        for row, number in enumerate(index.tolist()):
            inputs[row, :, 0] = _pixels(place.at(names[number]), side)
        splits[split] = Split(inputs, labels[index], index)
    given = {"folder": folder, "side": side, "level": level, "limit": limit}
    spec = spec_of(_WHO, given, lra_pathfinder, always="side")
    return Task(spec, 2, splits, image=(side, side))


def _listed(place: Source, side: int, level: str) -> tuple[list[str], IntArray]:
    """Return the images of a level as its metadata list them, and their labels (N,)."""
    folder = place.folder().at("metadata").folder()
    lists = list(folder.path.glob("*.npy"))
    if not lists or not all(path.stem.isdecimal() and path.stem.isascii() for path in lists):
        raise folder.rejected("expected lists 1.npy, 2.npy, ...")
    names: list[str] = []
    labels: list[int] = []
    for path in sorted(lists, key=lambda path: int(path.stem)):
        source = folder.at(path.name)
        for number, line in enumerate(source.text(_LIST_BYTES).splitlines(), start=1):
            words = line.split()
            name = "/".join(words[:2])
            if len(words) < 4 or words[3] not in ("0", "1") or not _inside(name):
                raise source.rejected(
                    f"line {number}: expected folder, image, a number, label 0 or 1"
                )
            if (side, level, name) not in _LEFT_OUT:
                names.append(name)
                labels.append(int(words[3]))
    return names, np.array(labels, dtype=np.int64)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _pixels(source: Source, side: int) -> npt.NDArray[np.float32]:
    """Return the grey values (side^2,) in [0, 1] of an image."""
    content = source.content(_IMAGE_BYTES)
    try:
        values = decoded(content, gray=True, formats=("PNG",))
    except PictureError as error:
        raise source.rejected(f"is no whole PNG image ({error}); fetch it again") from None
    rows, columns, _ = values.shape
    if (rows, columns) != (side, side):
        raise source.rejected(f"is {columns} x {rows} pixels, expected {side}")
    return values.ravel().astype(np.float32) / np.float32(255.0)
