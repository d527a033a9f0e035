"""Contours of dashes for Pathfinder: two long snakes, short ones that distract, two markers.

A snake is a chain of joints, one link apart. A link is a gap, a dash and a gap: dash k runs from
gap to gap + dash_length along link k. The angle between links has a density that goes as
cos(continuity angle)^2 where that angle is below 90 degrees. Ends of dashes that are no neighbours
in their snake keep apart by `clearance`, so that dashes keep 2 gap + thickness apart, more than
the ends of neighbours are.

Where a long snake finds no way on, it goes on as a copy of another of the pairs that are grown for
the same sample, up to the place that this one has reached.

Source: Linsley, Kim, Veerabadran, Windolf and Serre, Learning long-range spatial dependencies with
horizontal gated recurrent units (arXiv 1805.08315), section 4; drewlinsley/pathfinder, snakes.py
and snakes2.py.
"""

from dataclasses import dataclass

import numpy as np

from robustssm.errors import UsageError
from robustssm.philox import uniform
from robustssm.tasks.generated import below
from robustssm.tasks.pathfinder_contours import (
    Contours,
    Mask,
    clear,
    dashes_along,
    direction,
    inside,
    proposed_turns,
    split_draw,
    turns_of,
)
from robustssm.typing import FloatArray, IntArray

# Samples at a time, pairs of snakes that are grown for each, bits of attempts; tries of a
# distractor at a time, and rounds of them.
_SAMPLES, _ROWS, _ATTEMPT_BITS = 32, 16, 10
_TRIES, _ROUNDS = 32, 4


@dataclass(frozen=True)
class Geometry:
    """Dashes (N, dashes, 2 ends, 2); markers (N, 2, 2); gap (N,); labels (N,): 1 on one contour.

    Dashes are ordered by snake, the two long ones first. Coordinates (row, column).
    """

    dashes: FloatArray
    markers: FloatArray
    gap: FloatArray
    labels: IntArray


def sample_geometry(contours: Contours, stream: str, split: str, index: IntArray) -> Geometry:
    """Return the geometry of samples `index` of a split; label: index modulo 2.

    Each takes the first attempt that succeeds. Raises UsageError if none of 1,024 does.
    """
    total = contours.total
    dashes = np.empty((len(index), total, 2, 2))
    markers, gaps = np.empty((len(index), 2, 2)), np.empty(len(index))
    key, queue = f"{stream}|{split}", np.arange(len(index))
    missing, attempt = np.zeros((2, 0), dtype=np.int64)
    while len(missing) or len(queue):
        # As many samples at a time as there are, each at its own attempt.
        new, queue = np.split(queue, [_SAMPLES - len(missing)])
        missing = np.concatenate([missing, new])
        attempt = np.concatenate([attempt, np.zeros_like(new)])
        if attempt.max() == 1 << _ATTEMPT_BITS:
            raise UsageError(
                f"pathfinder: {contours.dashes} dashes found no room on {contours.side} x "
                f"{contours.side} pixels; use fewer, or a larger side"
            )
        identity = (index[missing] << _ATTEMPT_BITS) + attempt
        identity = identity[:, None] * _ROWS + np.arange(_ROWS)
        snakes, gap, marks, fits = _two_snakes(contours, key, identity)
        success: Mask = np.logical_or.reduce(fits, axis=1)
        row = np.flatnonzero(success) * _ROWS + fits.argmax(1)[success]
        whole, complete = _with_distractors(
            contours, key, identity.ravel()[row], snakes[row], gap[row]
        )
        done = missing[success][complete]
        dashes[done], gaps[done] = whole[complete], gap[row][complete]
        # The origin of one snake, and the end of the same or of the other.
        same = index[done] % 2
        markers[done, 0] = marks[row, 0][complete]
        markers[done, 1] = marks[row][complete][np.arange(len(done)), 2 - same]
        success[success] = complete
        missing, attempt = missing[~success], attempt[~success] + 1
    return Geometry(dashes, markers, gaps, index % 2)


def _two_snakes(
    contours: Contours, key: str, identity: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, Mask]:
    """Return (dashes, gaps, places of markers, which succeeded) of two snakes for each identity.

    identity: (samples, rows), ends of whose snakes get different draws. Where a row finds no way on
    it goes on as a copy of another of its sample. Places (samples, rows, 3, 2): the start of one
    snake, its end, and the end of the other snake.
    """
    n, (samples, rows) = contours.dashes, identity.shape
    count = samples * rows
    draw = uniform(f"{key}|snakes", identity.ravel(), 5 + 4 * n)
    # What all rows of a sample share is drawn for its first row.
    whole = np.repeat(draw[::rows], rows, axis=0)
    gap = np.array(contours.gaps)[below(whole[:, 0], len(contours.gaps))]
    clearance = contours.clearance(gap) ** 2
    link = (contours.dash_length + 2.0 * gap)[:, None]
    margin = contours.padding + contours.seed_distance
    starts = np.empty((count, 2, 2))
    starts[:, 0] = margin + draw[:, 1:3] * (contours.side - 2.0 * margin)
    starts[:, 1] = starts[:, 0] + contours.seed_distance * direction(below(draw[:, 3], 360))
    heading = below(draw[:, 5:7], 360)
    joint = starts - gap[:, None, None] * direction(heading)
    ends = np.zeros((count, 2, n, 2, 2))
    every, alive = np.arange(count), np.ones(samples, dtype=bool)
    for k in range(n):
        for snake in range(2):
            number = 2 * k + snake
            turns = np.zeros((count, 1), dtype=np.int64)
            if k > 0:
                turns = proposed_turns(contours, draw[:, 5 + number])
            headings = (heading[:, snake, None] + turns) % 360
            dash = dashes_along(joint[:, snake, None], headings, gap, contours.dash_length)
            # All dashes so far but the one before in the same snake.
            free = inside(contours, dash)
            free &= clear(dash, ends[:, snake, : max(k - 1, 0)], clearance)
            free &= clear(dash, ends[:, 1 - snake, : k + snake], clearance)
            # One of those that are free, each equally likely.
            rank = below(draw[:, 5 + 2 * n + number], free.sum(1))
            pick = (np.cumsum(free, 1) == rank[:, None] + 1).argmax(1)
            ends[:, snake, k] = dash[every, pick]
            heading[:, snake] = headings[every, pick]
            joint[:, snake] += link * direction(heading[:, snake])
            some = free.any(1).reshape(samples, rows)
            alive &= some.any(1)
            lost, model = _replaced(some)
            for state in (ends, heading, joint):
                state[lost] = state[model]
    # The first marker: on the start of a snake that is drawn, of the other if that one fails.
    tips = np.stack([ends[:, :, 0, 0], ends[:, :, -1, 1]], axis=2)
    fits = _markable(contours, tips) & np.repeat(alive, rows)[:, None]
    one = below(whole[:, 4], 2)
    one = np.where(fits[every, one], one, 1 - one)
    places = np.stack([tips[every, one, 0], tips[every, one, 1], tips[every, 1 - one, 1]], axis=1)
    dashes = ends.reshape(count, 2 * n, 2, 2)
    return dashes, gap, places, fits.any(1).reshape(samples, rows)


def _markable(contours: Contours, tips: FloatArray) -> Mask:
    """Return (rows, 2): whether the first marker may stand on the start of one snake or the other.

    tips: start and end of each snake, (rows, 2 snakes, 2, 2). Whether the second marker is on the
    same snake must not be told by how far it is.
    """
    own = np.sqrt(((tips[:, :, 1] - tips[:, :, 0]) ** 2).sum(-1))
    other = np.sqrt(((tips[:, ::-1, 1] - tips[:, :, 0]) ** 2).sum(-1))
    near = np.minimum(own, other) < 2.0 * contours.marker_radius + 2.0
    return (np.abs(own - other) <= contours.tolerance) & ~near


def _replaced(some: Mask) -> tuple[IntArray, IntArray]:
    """Return the rows that found no way on, and for each the row of its sample to copy.

    some: (samples, rows). Rows are numbered through. The living serve in turn; if there is none
    a row is its own model.
    """
    samples, rows = some.shape
    order = np.argsort(~some, axis=1, kind="stable")  # the living first
    living = np.maximum(some.sum(1), 1)
    turn = np.arange(rows) % living[:, None]
    model = np.take_along_axis(order, turn, axis=1) + rows * np.arange(samples)[:, None]
    lost = ~some & np.logical_or.reduce(some, axis=1, keepdims=True)
    return np.flatnonzero(lost), model[lost]


def _with_distractors(
    contours: Contours, key: str, identity: IntArray, snakes: FloatArray, gap: FloatArray
) -> tuple[FloatArray, Mask]:
    """Return all dashes (rows, dashes, 2, 2), and which rows had room for every distractor."""
    n, placed = contours.distractor_dashes, 2 * contours.dashes
    whole = np.empty((len(identity), contours.total, 2, 2))
    whole[:, :placed] = snakes
    clearance = contours.clearance(gap) ** 2
    complete = np.ones(len(identity), dtype=bool)
    for number in range(contours.distractors):
        open_rows = np.flatnonzero(complete)
        for again in range(_ROUNDS):
            if len(open_rows) == 0:
                break
            draw = uniform(
                f"{key}|distractor {number} {again}", identity[open_rows], _TRIES * (3 + n // 4 + 1)
            ).reshape(len(open_rows), _TRIES, 4 + n // 4)
            tried, free = _short_snakes(contours, draw, gap[open_rows], clearance[open_rows])
            flat = tried.reshape(len(open_rows), _TRIES, n * 2, 2)
            free &= clear(flat, whole[open_rows, :placed], clearance[open_rows])
            some = free.any(1)
            pick = free.argmax(1)[some]
            whole[open_rows[some], placed : placed + n] = tried[np.flatnonzero(some), pick]
            open_rows = open_rows[~some]
        complete[open_rows] = False
        placed += n
    return whole, complete


def _short_snakes(
    contours: Contours, draw: FloatArray, gap: FloatArray, clearance: FloatArray
) -> tuple[FloatArray, Mask]:
    """Return snakes (rows, tries, dashes, 2, 2) and which keep inside and clear of themselves."""
    n = contours.distractor_dashes
    joint = draw[:, :, :2] * contours.side
    heading = below(draw[:, :, 2], 360)
    turns = turns_of(contours.continuity)[split_draw(draw[:, :, 3:])].reshape(*heading.shape, -1)
    snakes = np.empty((*heading.shape, n, 2, 2))
    free = np.ones(heading.shape, dtype=bool)
    for k in range(n):
        if k:
            heading = (heading + turns[:, :, k]) % 360
        snakes[:, :, k] = dashes_along(joint, heading, gap, contours.dash_length)
        joint = joint + (contours.dash_length + 2.0 * gap[:, None, None]) * direction(heading)
        free &= inside(contours, snakes[:, :, k])
        if k > 1:
            before = snakes[:, :, : k - 1].reshape(*heading.shape, 2 * (k - 1), 1, 2)
            apart = ((snakes[:, :, k][:, :, None] - before) ** 2).sum(-1)
            free &= (apart >= clearance[:, None, None, None]).all((2, 3))
    return snakes, free
