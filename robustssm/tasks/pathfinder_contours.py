"""Dashes of Pathfinder: what is drawn, steps of snakes, and the room between dashes.

Coordinates are (row, column) in pixels, pixel (0, 0) covering [0, 1) x [0, 1). Directions are
whole degrees with sines and cosines rounded to 2^-20: all decisions are then taken in sums and
products, which are the same on every machine.

Source: drewlinsley/pathfinder, snakes.py, for the law of turns.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from robustssm.tasks.generated import below
from robustssm.typing import FloatArray, IntArray

# Turns that one draw proposes, of 2^12 equally likely ones each.
_TURNS, _TURN_BITS = 4, 12
# Turns among which a long snake chooses, where they are free.
_PROPOSALS = 8
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Contours:
    """What is drawn, in pixels; gaps: half the distances between dashes, one of them an image.

    dashes: of each of two long snakes; distractors: short snakes of `distractor_dashes` each.
    seed_distance: between the starts of the long ones. tolerance: largest difference between the
    distances from the first marker to either end that may bear the second.
    """

    side: int
    dashes: int
    distractors: int
    distractor_dashes: int
    dash_length: float
    gaps: tuple[float, ...]
    thickness: float
    marker_radius: float
    seed_distance: float
    continuity: float
    grey: float
    padding: float = 1.0

    @property
    def tolerance(self) -> float:
        """Largest difference of the two distances between markers, pixels.

        Short snakes are nearly straight, so that all are about as long: there it has to be small.
        """
        return self.side / 16 * min(1.0, self.dashes / 14) ** 2

    @property
    def total(self) -> int:
        """Dashes in an image."""
        return 2 * self.dashes + self.distractors * self.distractor_dashes

    def clearance(self, gap: FloatArray) -> FloatArray:
        """Return the least distance of ends of dashes that are no neighbours."""
        return np.sqrt((2.0 * gap + self.thickness) ** 2 + (self.dash_length / 2.0) ** 2)


def dashes_along(
    joint: FloatArray, heading: IntArray, gap: FloatArray, length: float
) -> FloatArray:
    """Return dashes (rows, tries, 2, 2) from joints (rows, tries or 1, 2) along headings."""
    along = direction(heading)
    tail = joint + gap[:, None, None] * along
    return np.stack([tail, tail + length * along], axis=-2)


def inside(contours: Contours, dash: FloatArray) -> Mask:
    """Return whether both ends of dashes (..., 2, 2) are inside the padding."""
    low, high = contours.padding, contours.side - contours.padding
    within: Mask = np.logical_and.reduce((dash >= low) & (dash <= high), axis=(-1, -2))
    return within


def clear(tried: FloatArray, others: FloatArray, clearance: FloatArray) -> Mask:
    """Return (rows, tries): whether all ends keep clear of all ends of other dashes.

    tried: (rows, tries, ends, 2); others: (rows, dashes, 2, 2); clearance: (rows,), squared.
    """
    rows, tries, points = tried.shape[:3]
    if others.shape[1] == 0:
        return np.ones((rows, tries), dtype=bool)
    # Rows last, which makes long loops. float32 is close enough, and fast; its sums and products
    # are the same everywhere.
    mine = tried.reshape(rows, tries * points, 2).transpose(2, 1, 0).astype(np.float32)
    other = others.reshape(rows, 2 * others.shape[1], 2).transpose(2, 1, 0).astype(np.float32)
    mine, other = np.ascontiguousarray(mine), np.ascontiguousarray(other)
    apart = mine[0] - other[0][:, None]
    apart *= apart
    across = mine[1] - other[1][:, None]
    across *= across
    apart += across
    least = apart.min(0).reshape(tries, points, rows).min(1)
    return (least >= clearance).T


def direction(degrees: IntArray) -> FloatArray:
    """Return unit vectors (..., 2) of whole degrees 0 to 359."""
    return _circle()[degrees]


@lru_cache(maxsize=1)
def _circle() -> FloatArray:
    angle = 2.0 * np.pi * np.arange(360) / 360.0
    return np.rint(np.stack([np.sin(angle), np.cos(angle)], axis=-1) * 2.0**20) * 2.0**-20


@lru_cache(maxsize=8)
def turns_of(continuity: float) -> IntArray:
    """Return 4096 equally likely turns in whole degrees, of density cos(continuity turn)^2."""
    degrees = np.arange(-179, 180)
    angle = np.minimum(np.abs(degrees) * continuity, 90.0)
    cumulative = np.cumsum(np.cos(np.radians(angle)) ** 2)
    quantiles = (np.arange(1 << _TURN_BITS) + 0.5) / (1 << _TURN_BITS)
    return degrees[np.searchsorted(cumulative / cumulative[-1], quantiles)]


def proposed_turns(contours: Contours, draw: FloatArray) -> IntArray:
    """Return turns (rows, 8) in whole degrees: evenly spaced quantiles of their law."""
    size = 1 << _TURN_BITS
    steps = np.arange(_PROPOSALS) * (size // _PROPOSALS)
    return turns_of(contours.continuity)[(below(draw, size)[:, None] + steps) % size]


def split_draw(draw: FloatArray) -> IntArray:
    """Return four 12-bit numbers of each draw, (..., 4)."""
    whole = below(draw, 1 << _TURNS * _TURN_BITS)
    shifts = np.arange(_TURNS) * _TURN_BITS
    return (whole[..., None] >> shifts) & ((1 << _TURN_BITS) - 1)
