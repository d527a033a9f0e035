"""Pathfinder: whether two markers are on one dashed contour or on two.

Two long snakes of dashes start near each other; markers stand on the start of one and on the end
of the same snake (label 1) or of the other (label 0), among shorter snakes. Labels are dealt out
in turn. An image has the same numbers of dashes and markers in both classes, and its snakes are
drawn before its label is used. Images are read row by row, values in [0, 1].

Published (Long Range Arena, for sides 32, 64, 128 and 256, in its lra_benchmarks/data/
pathfinder.py): numbers and lengths of dashes and snakes, gaps, thickness, radius of markers,
distance of the starts, continuity, contrast; 6, 9 or 14 dashes (the benchmark takes 14); the law
of turns. Of our own: continuous coordinates; the clearance between dashes, as a distance; the
antialiasing; every distractor has to find room (at side 32 there are two, of the five that the
benchmark asks for and leaves out where they find none); the first snake starts at
`seed_distance` from the border or more; and the two ends that may bear the second marker are
equally far from the first, to within side / 16 pixels (times (dashes / 14)^2 below 14), so that
the distance of the markers says next to nothing. Where the markers lie to each other and to the
border still says a little: boosted trees on that alone are right in 51.7 % of 16,000 images of
side 32, in 54.6, 55.4 and 54.1 % where contours have 3, 6 and 9 dashes, and in 52.9 % of 8,000 of
side 128. Nothing here reproduces the benchmark's own images, or accuracies on them.

Shapes are drawn antialiased, grey by the distance from a pixel's centre: a shape covers a pixel by
clip(1/2 - d, 0, 1), d being the distance in pixels from the centre to the shape's border, negative
inside. The brightest shape counts, not their sum. Values are rounded to 8 bits, as those of image
files are.

Source: Linsley et al. (arXiv 1805.08315), section 4; Tay et al. (arXiv 2011.04006), section 2.2.5.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from robustssm.errors import require
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check, check_memory, check_sizes, numbered, splits_of
from robustssm.tasks.pathfinder_contours import Contours
from robustssm.tasks.pathfinder_geometry import Geometry, sample_geometry
from robustssm.typing import FloatArray, IntArray

# By side: the fields of Contours from dash_length to grey; dashes of all distractors together.
_PUBLISHED: dict[int, tuple[Any, ...]] = {
    32: (2.0, (1.0,), 0.5, 1.5, 7.0, 1.0, 0.75, 8),
    64: (5.0, (1.0,), 1.0, 2.5, 12.0, 1.8, 0.8, 22),
    128: (5.0, (2.0, 3.0), 1.5, 3.0, 20.0, 1.8, 0.9, 35),
    256: (5.0, (3.0,), 2.0, 5.0, 27.0, 1.8, 1.0, 30),
}
_WHO = "pathfinder"
# Images drawn at a time: what a processor's cache holds of one dash's windows.
_CHUNK = 256


def pathfinder(
    side: int = 32,
    dashes: int = 14,
    train: int = 80,
    validation: int = 16,
    test: int = 24,
    seed: int = 0,
) -> Task:
    """Return the task; inputs (N, side^2, 1), two classes. side: 32, 64, 128 or 256; dashes: 3-18.

    The benchmark has 160,000, 20,000 and 20,000 samples. Raises UsageError.
    """
    given = dict(locals())
    check_sizes(_WHO, seed, train=train, validation=validation, test=test)
    contours = published(side, dashes)
    check_memory(_WHO, 4 * side**2, train, validation, test)

    def make(split: str, index: IntArray) -> Split:
        shapes = geometry(split, index, side, dashes, seed)
        images = draw_images(contours, shapes)
        return numbered(split, index, images.reshape(len(index), -1, 1), shapes.labels)

    splits = splits_of(make, train, validation, test)
    return Task(spec_of(_WHO, given, pathfinder), 2, splits, image=(side, side))


def published(side: int, dashes: int = 14) -> Contours:
    """Return what the benchmark draws at a side, with contours of so many dashes."""
    check(_WHO, "dashes", dashes, 3, 18)
    require(side in _PUBLISHED, f"{_WHO}: side", side, f"one of {', '.join(map(str, _PUBLISHED))}")
    *shapes, total = _PUBLISHED[side]
    short = dashes // 3
    return Contours(side, dashes, total // short, short, *shapes)


def geometry(
    split: str, index: IntArray, side: int = 32, dashes: int = 14, seed: int = 0
) -> Geometry:
    """Return where the dashes and markers of samples `index` (N,) of a split are."""
    stream = f"{_WHO}|{side}|{dashes}|{seed}"
    return sample_geometry(published(side, dashes), stream, split, index)


def draw_images(contours: Contours, geometry: Geometry) -> npt.NDArray[np.float32]:
    """Return images (N, side, side) in [0, 1]: dashes in grey, markers white, on black."""
    count = len(geometry.labels)
    images = np.empty((count, contours.side, contours.side), dtype=np.float32)
    half = contours.thickness / 2.0
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        dashes, markers = geometry.dashes[part], geometry.markers[part]
        reach = 2 + int(np.ceil(max(contours.dash_length / 2.0 + half, contours.marker_radius)))
        canvas = np.zeros((len(dashes), contours.side + 2 * reach, contours.side + 2 * reach))
        for k in range(dashes.shape[1]):
            _paint(canvas, dashes[:, k], half, contours.grey, reach)
        for k in range(2):
            disc = np.repeat(markers[:, k, None], 2, axis=1)
            _paint(canvas, disc, contours.marker_radius, 1.0, reach)
        inner = canvas[:, reach:-reach, reach:-reach]
        images[part] = np.rint(inner * 255.0) / 255.0
    return images


def _paint(canvas: FloatArray, ends: FloatArray, radius: float, grey: float, reach: int) -> None:
    """Draw one capsule about ends (N, 2, 2) into each canvas (N, ...), `reach` wider all round."""
    centre = np.floor((ends[:, 0] + ends[:, 1]) / 2.0).astype(np.int64)
    offset = np.arange(-reach, reach + 1)
    rows, columns = (centre[:, i, None] + offset for i in range(2))
    y = (rows + 0.5)[:, :, None] - ends[:, 0, 0, None, None]
    x = (columns + 0.5)[:, None, :] - ends[:, 0, 1, None, None]
    along = ends[:, 1] - ends[:, 0]
    dy, dx = along[:, 0, None, None], along[:, 1, None, None]
    length = dy * dy + dx * dx
    # The nearest point of the segment; of a disc it is the centre.
    share = np.clip((y * dy + x * dx) / np.where(length > 0.0, length, 1.0), 0.0, 1.0)
    apart = np.sqrt((y - share * dy) ** 2 + (x - share * dx) ** 2)
    cover = grey * np.clip(radius + 0.5 - apart, 0.0, 1.0)
    number = np.arange(len(canvas))[:, None, None]
    window = (number, rows[:, :, None] + reach, columns[:, None, :] + reach)
    canvas[window] = np.maximum(canvas[window], cover)
