"""The looks of models survive greyscale and colour blindness, and are seen on white."""

import ast
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from robustssm.checkpoints.bundled import BUNDLED
from robustssm.figures.looks import look
from robustssm.figures.trade_off import LOOKS
from robustssm.hippo.initializations import NAMES
from robustssm.typing import FloatArray
from tests.source_tree import modules, tree

BAND = "hippo"  # a broad band under everything, no thin line
LINES = sorted({"s4", "s4d", "s5", "dss", "s4ptd", "s5ptd", *NAMES, *BUNDLED} - {BAND})
# Least differences: 10 in L* is a tenth of the range from black to white; 2.3 is a just noticeable
# CIELAB distance (Mahy et al. 1994), and five of them are told apart in thin lines.
LEAST_LIGHTNESS, LEAST_DISTANCE = 10.0, 11.5
# Machado, Oliveira and Fernandes 2009, IEEE TVCG 15(6), severity 1.0, on linear RGB.
MACHADO = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
# sRGB to XYZ, D65 (IEC 61966-2-1).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> FloatArray:
    c = np.array(to_rgb(colour))
    found: FloatArray = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return found


def lab(rgb: FloatArray) -> FloatArray:
    """Return CIELAB of linear RGB, white (1, 1, 1)."""
    t = XYZ @ np.clip(rgb, 0.0, 1.0) / XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def shape(line: dict[str, Any]) -> tuple[str, str]:
    return str(line["linestyle"]), str(line["marker"])


def test_lightness_of_known_colours() -> None:
    """White is L* = 100, black 0, mid grey (linear 0.1842) 50: the definition of L*."""
    for value, expected in ((1.0, 100.0), (0.0, 0.0), (0.18418651851, 50.0)):
        # The matrix has four digits.
        assert np.allclose(lab(np.full(3, value)), [expected, 0.0, 0.0], atol=1e-3)


@pytest.mark.parametrize("name", LINES)
def test_contrast_against_white(name: str) -> None:
    """WCAG 2.2, 1.4.11: graphical objects have at least 3 to 1."""
    assert 1.05 / (XYZ[1] @ linear(look(name)["color"]) + 0.05) >= 3.0


def test_greyscale() -> None:
    for a, b in combinations(LINES, 2):
        one, other = look(a), look(b)
        light = [lab(linear(line["color"]))[0] for line in (one, other)]
        assert abs(light[0] - light[1]) >= LEAST_LIGHTNESS or (
            one["linestyle"] != other["linestyle"] or one["marker"] != other["marker"]
        ), (a, b)


@pytest.mark.parametrize("vision", MACHADO)
def test_colour_blindness(vision: str) -> None:
    matrix = np.array(MACHADO[vision])
    for a, b in combinations(LINES, 2):
        one, other = look(a), look(b)
        seen = [lab(matrix @ linear(line["color"])) for line in (one, other)]
        far = np.linalg.norm(seen[0] - seen[1]) >= LEAST_DISTANCE
        another = one["linestyle"] != other["linestyle"] and one["marker"] != other["marker"]
        # s4 and s4d are both solid: marker and lightness tell them apart in every vision.
        assert far or another, (a, b)


def test_no_two_names_share_dash_and_marker() -> None:
    assert len({shape(look(name)) for name in LINES}) == len(LINES)


def test_colours_of_models_have_one_home() -> None:
    """What is no model has none of their colours, and what is one takes its look."""
    ours = {look(name)["color"] for name in [*LINES, BAND]}
    figures = {name: tree(name) for name in modules() if name.startswith("robustssm.figures")}
    spelt = {
        (name, node.value)
        for name, parsed in figures.items()
        for node in ast.walk(parsed)
        if isinstance(node, ast.Constant) and node.value in ours
    }
    assert {name for name, _ in spelt} == {"robustssm.figures.looks"}
    assert LOOKS["random"]["color"] == look("s4ptd-random")["color"]
