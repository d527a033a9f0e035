"""Pathfinder: labels by following the dashes, room between them, and no short cut to the answer."""

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from robustssm.errors import UsageError
from robustssm.tasks import load_task
from robustssm.tasks.pathfinder import draw_images, geometry, published
from robustssm.tasks.pathfinder_geometry import Geometry

SIDES = {32: 60, 128: 8}
FEW = {32: "train=16:validation=4:test=8", 128: "train=6:validation=2:test=4"}


@pytest.fixture(scope="module", params=SIDES)
def drawn(request: pytest.FixtureRequest) -> tuple[int, Geometry]:
    side = int(request.param)
    return side, geometry("test", np.arange(SIDES[side]), side)


def chains(dashes: np.ndarray, gap: float) -> np.ndarray:
    """Return the chain that each dash (n, 2, 2) is in: ends at most two gaps apart are joined."""
    n = len(dashes)
    apart = cdist(dashes.reshape(-1, 2), dashes.reshape(-1, 2))
    # Ends of neighbours are two gaps apart at most, to the 2^-20 of the directions.
    row, column = np.nonzero(apart <= 2 * gap + 1e-4)
    graph = coo_matrix((np.ones(len(row)), (row // 2, column // 2)), shape=(n, n))
    found: np.ndarray = connected_components(graph, directed=False)[1]
    return found


def test_labels_by_following_the_dashes(drawn: tuple[int, Geometry]) -> None:
    side, found = drawn
    contours = published(side)
    for dashes, markers, gap, label in zip(
        found.dashes, found.markers, found.gap, found.labels, strict=True
    ):
        chain = chains(dashes, gap)
        sizes = sorted(np.bincount(chain).tolist())
        assert sizes == [contours.distractor_dashes] * contours.distractors + [contours.dashes] * 2
        # Which chain begins or ends in the middle of each marker.
        at = cdist(markers, dashes.reshape(-1, 2))
        assert (at.min(1) == 0.0).all()
        first, second = chain[at.argmin(1) // 2]
        assert (first == second) == bool(label)
        assert sizes.count(contours.dashes) == 2
        assert (np.bincount(chain)[[first, second]] == contours.dashes).all()


def test_dashes_have_their_length_and_keep_apart(drawn: tuple[int, Geometry]) -> None:
    side, found = drawn
    contours = published(side)
    length = np.linalg.norm(found.dashes[:, :, 1] - found.dashes[:, :, 0], axis=-1)
    # Directions are rounded to 2^-20, lengths up to 5.
    np.testing.assert_allclose(length, contours.dash_length, atol=1e-5)
    assert found.dashes.min() >= 1.0 and found.dashes.max() <= side - 1.0
    share = np.linspace(0.0, 1.0, 11)[:, None, None]
    lengths = [contours.dashes] * 2 + [contours.distractor_dashes] * contours.distractors
    snake = np.repeat(np.arange(len(lengths)), lengths)
    for dashes, gap in zip(found.dashes, found.gap, strict=True):
        points = (dashes[:, 0] * (1 - share) + dashes[:, 1] * share).transpose(1, 0, 2)
        n = len(points)
        apart = cdist(points.reshape(-1, 2), points.reshape(-1, 2)).reshape(n, 11, n, 11)
        least = apart.min((1, 3))
        same = snake[:, None] == snake
        neighbours = same & (abs(np.arange(n)[:, None] - np.arange(n)) <= 1)
        # Points on two dashes are no nearer than the dashes; float32 rounds distances to 1e-5.
        assert least[~neighbours].min() >= 2 * gap + contours.thickness - 1e-4


def test_the_distance_of_the_markers_is_that_of_the_other_choice(
    drawn: tuple[int, Geometry],
) -> None:
    side, found = drawn
    contours = published(side)
    n = contours.dashes
    ends = found.dashes[:, [n - 1, 2 * n - 1], 1]
    first, second = found.markers[:, 0], found.markers[:, 1]
    apart = np.linalg.norm(ends - first[:, None], axis=-1)
    assert (abs(apart[:, 0] - apart[:, 1]) <= side / 16).all()
    # The second marker is on one of the two ends, the first on one of the two starts.
    assert (np.abs(ends - second[:, None]).max(-1).min(1) == 0.0).all()
    assert (np.abs(found.dashes[:, [0, n], 0] - first[:, None]).max(-1).min(1) == 0.0).all()


def test_images_by_the_distance_of_every_pixel(drawn: tuple[int, Geometry]) -> None:
    """Windows about each dash, against the distance of all pixels to all points of all dashes."""
    side, found = drawn
    contours = published(side)
    images = draw_images(contours, found)
    centre = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * 2, indexing="ij"), -1).reshape(-1, 2)
    share = np.linspace(0.0, 1.0, 101)[:, None, None]
    for row in (3, 5):
        points = found.dashes[row, :, 0] * (1 - share) + found.dashes[row, :, 1] * share
        nearest, _ = cKDTree(points.reshape(-1, 2)).query(centre)
        grey = contours.grey * np.clip(contours.thickness / 2 + 0.5 - nearest, 0, 1)
        discs = cdist(centre, found.markers[row]).min(1)
        white = np.clip(contours.marker_radius + 0.5 - discs, 0, 1)
        expected = np.maximum(grey, white).reshape(side, side)
        # Points of a dash are 1/20 apart at most, and values are rounded to 1/255.
        np.testing.assert_allclose(images[row], expected, atol=0.025 + 0.002)
        levels = images[row].astype(np.float64) * 255.0
        assert abs(levels - np.rint(levels)).max() < 1e-4


@pytest.mark.parametrize("side", SIDES)
def test_the_task_holds_these_images(side: int) -> None:
    name = "pathfinder" if side == 32 else "path-x"
    task = load_task(f"{name}:{FEW[side]}")
    assert task.image == (side, side) and task.length == side * side and task.channels == 1
    assert task.classes == 2 and task.chance == 0.5
    for split_name, split in task.splits.items():
        index = np.arange(len(split))
        found = geometry(split_name, index, side)
        images = draw_images(published(side), found)
        assert np.array_equal(split.inputs, images.reshape(len(split), -1, 1))
        assert np.array_equal(split.labels, found.labels)
        # The last samples, drawn alone.
        alone = geometry(split_name, index[-2:], side)
        assert np.array_equal(alone.dashes, found.dashes[-2:])
    rows = np.concatenate([split.inputs[:, :, 0] for split in task.splits.values()])
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert load_task(task.spec).content_hash == task.content_hash


def test_content_is_fixed() -> None:
    """The same bytes on every machine and for ever."""
    assert load_task(f"pathfinder:{FEW[32]}").content_hash[:16] == "038b19026c7508a4"


@pytest.mark.parametrize(("dashes", "parts"), [(3, 4), (6, 12)])
def test_short_contours_are_not_told_by_the_distance_of_markers(dashes: int, parts: int) -> None:
    found = geometry("train", np.arange(500 * parts), 32, dashes)
    apart = np.linalg.norm(found.markers[:, 0] - found.markers[:, 1], axis=-1)
    bins = np.digitize(apart, np.quantile(apart, np.linspace(0, 1, parts + 1)[1:-1]))
    share = np.bincount(bins, found.labels) / np.bincount(bins)
    # The best answer of each part of the images, chosen with the labels known: of 500 each, it
    # is right in 0.518 +- 0.006 by chance. With the tolerance of 14 dashes: 0.75 and 0.54.
    assert np.maximum(share, 1 - share).mean() < 0.53


def features(side: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what may be seen without following a contour, and labels."""
    found = geometry("train", np.arange(count), side)
    images = draw_images(published(side), found).astype(np.float64)
    first, second = found.markers[:, 0], found.markers[:, 1]
    apart = np.linalg.norm(first - second, axis=-1)
    bins = np.digitize(apart, np.quantile(apart, np.linspace(0, 1, 11)[1:-1]))
    levels = np.stack([np.histogram(im, 16, (0, 1))[0] for im in images])
    parts = images.reshape(count, 4, side // 4, 4, side // 4).mean((2, 4)).reshape(count, 16)
    columns = [
        images.mean((1, 2))[:, None],
        images.std((1, 2))[:, None],
        (images > 0).sum((1, 2))[:, None],
        apart[:, None],
        np.eye(10)[bins],
        np.minimum(first, side - first),
        np.minimum(second, side - second),
        levels,
        parts,
    ]
    return np.concatenate(columns, axis=1), found.labels


def test_no_short_cut_tells_the_classes_apart() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from robustssm.evaluations.statistics.intervals import wilson

    X, labels = features(32, 2000)
    guess = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    for columns in (slice(None), slice(3, 14)):  # all, and the distance of the markers alone
        predicted = cross_val_predict(guess, X[:, columns], labels, cv=5)
        low, high = wilson(int((predicted == labels).sum()), len(labels))
        assert low <= 0.5 <= high, (columns, low, high)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("side=48", "expected one of 32, 64, 128, 256"),
        ("dashes=2", "dashes is 2, expected 3 to 18"),
        ("train=0", "train is 0"),
        ("seed=-3", "seed is -3"),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_task(f"pathfinder:{text}")
