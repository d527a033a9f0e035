"""Images of dashes and discs, antialiased: grey by the distance from a pixel's centre.

A shape covers a pixel by clip(1/2 - d, 0, 1), d being the distance in pixels from the pixel's
centre to the shape's border, negative inside. The brightest shape counts, not their sum.
Values are rounded to 8 bits, as those of image files are.
"""

import numpy as np
import numpy.typing as npt

from robustssm.tasks.pathfinder_contours import Contours
from robustssm.tasks.pathfinder_geometry import Geometry
from robustssm.typing import FloatArray

# Images drawn at a time: what a processor's cache holds of one dash's windows.
_CHUNK = 256


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
