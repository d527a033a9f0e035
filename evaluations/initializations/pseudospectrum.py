"""Pseudospectra: log10 sigma_min(zI - M) on a grid, and what it says of transient growth.

M is HiPPO-LegS (`hippo`, `s4`), its normal part (`s4d`, `s5`, `dss`), the rank-one family, or
HiPPO + E with an optimised or random E. The first three are accurate to 1e-12 relative, however
small sigma_min is; a dense M has the floor eps |M|_2 (`resolvents`, `dense_resolvent`).

Reference: Trefethen and Embree, Spectra and Pseudospectra (2005), section 2 (definition), 14
(transients: abscissae, Kreiss constant) and 17 (numerical range).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from robustssm.errors import UsageError, require
from robustssm.evaluations.initializations.dense_resolvent import Dense
from robustssm.evaluations.initializations.resolvents import Family
from robustssm.evaluations.initializations.responses import require_dense
from robustssm.hippo import legs
from robustssm.hippo.initializations import diagonalization, parse
from robustssm.typing import ComplexArray, FloatArray

HIPPO = "hippo"
# A point and step costs O(n): a minute for 10,000 points there.
MAX_ORDER = 16384
MAX_POINTS = 1_000_000
# |z|^2 is formed, and n^2 |z|^2 has to be finite.
MAX_MODULUS = 1e100
# Angles of half the boundary of a numerical range, the other half being its mirror; the first
# few hold the right edge, which is flat for HiPPO.
THETA = np.concatenate([np.geomspace(1e-6, 1e-2, 5), (np.arange(90) + 0.5) * (np.pi / 90)])
# eps of the pseudospectral abscissae that are reported.
LEVELS = (1e-1, 1e-2, 1e-4)
# Their search: horizontal lines at first and later, parts of a line, halvings by 16, rounds.
LINES, LATER, PARTS, SECTIONS, ROUNDS = 16, 9, 17, 5, 4
Window = tuple[float, float, float, float]
Resolvent = Family | Dense


@dataclass(frozen=True)
class Pseudospectrum:
    """One matrix on a grid of the complex plane.

    real (nx,), imag (ny,) ascending; log10_sigma (ny, nx), -inf at an eigenvalue; boundary (190,):
    points of the numerical range's boundary, counterclockwise; abscissae: eps ->
    `pseudospectral_abscissa`.
    """

    matrix: Resolvent
    real: FloatArray
    imag: FloatArray
    log10_sigma: FloatArray
    boundary: ComplexArray
    abscissae: dict[float, float]

    @property
    def accuracy(self) -> str:
        """In words, how accurate sigma_min is."""
        if self.matrix.floor == 0.0:
            return "full relative accuracy"
        return f"floor eps |M| = {self.matrix.floor:.1e}"

    @property
    def kreiss_lower(self) -> float:
        """Lower bound of the Kreiss constant, sup Re z / sigma_min over Re z > 0.

        The largest value on the grid, or 1, its limit at infinity; the constant is 1 if the
        numerical abscissa is <= 0, and bounds the largest |e^{tM}| from below.
        """
        right = self.real > 0.0
        if not right.any():
            return 1.0
        ratio = np.log10(self.real[right]) - self.log10_sigma[:, right]
        return max(1.0, float(10.0 ** ratio.max()))


@dataclass(frozen=True)
class PseudospectrumResult:
    """Pseudospectra of several initialisations on one grid, by name as asked for."""

    n: int
    window: Window
    systems: dict[str, Pseudospectrum]

    def table(self) -> pd.DataFrame:
        """Return one row per initialisation; kreiss_lower and min_log10_sigma are grid values."""
        rows = []
        for name, known in self.systems.items():
            row: dict[str, object] = {
                "init": name,
                "accuracy": known.accuracy,
                "spectral_abscissa": float(known.matrix.eigenvalues.real.max()),
                "numerical_abscissa": known.matrix.numerical_abscissa,
                "kreiss_lower": known.kreiss_lower,
                "min_log10_sigma": float(known.log10_sigma.min()),
            }
            row |= {f"abscissa_{eps:g}": value for eps, value in known.abscissae.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, object]:
        """Return the table with n, window and grid size, as plain types; -inf on an eigenvalue."""
        first = next(iter(self.systems.values()))
        return {
            "n": self.n,
            "window": list(self.window),
            "grid": [len(first.real), len(first.imag)],
            "inits": {row.pop("init"): row for row in self.table().to_dict("records")},
        }


def resolvent(name: str, n: int) -> Resolvent:
    """Return the matrix that `name` stands for at state size n.

    Raises UsageError for an unknown name, one whose poles are a formula (`s4d-lin`), or a size
    without optimised E; StabilityError if the rank-one matrix is nearly defective.
    """
    few = legs.check_order(n) <= MAX_ORDER
    require(few, "pseudospectrum: state size", n, f"at most {MAX_ORDER}")
    parsed = parse("s4" if name.strip() == HIPPO else name)
    if parsed.method is None:
        raise UsageError(
            f"pseudospectrum: the poles of {name} are a formula and its matrix diagonal, expected "
            "an initialisation that diagonalises HiPPO, such as hippo, s4d or s4ptd-rank1"
        )
    if parsed.base == "s4" or parsed.method == "normal":
        return Family(n, 0.0 if parsed.base == "s4" else 1.0)
    if parsed.method == "rank1":
        family = Family(n, float(parsed["tau"]))
        _ = family.eigenvalues
        return family
    require_dense(parsed, n)
    return Dense(np.asarray(legs.matrices(n)[0] + diagonalization(parsed, n).E, dtype=np.float64))


def pseudospectral_abscissa(matrix: Resolvent, eps: float) -> float:
    """Return the largest Re z found with sigma_min(zI - M) <= eps: attained, a lower bound.

    Sought to the right of the eigenvalues on horizontal lines through the rightmost of them and
    across the spectrum, up to the numerical abscissa + eps, beyond which there is none; then on
    lines around the best one, ever closer.
    """
    spectrum = matrix.eigenvalues[np.argsort(-matrix.eigenvalues.real, kind="stable")]
    across = np.geomspace(1e-2, 1.0 + np.abs(spectrum.imag).max(), LINES)
    first = spectrum[:LINES]
    y = np.concatenate([np.abs(first.imag), across])
    low = np.concatenate([first.real, np.full(LINES, first[0].real)])
    best, at, step = -np.inf, 0.0, 0.0
    for _ in range(ROUNDS):
        high = np.full(len(low), matrix.numerical_abscissa + eps)
        for _ in range(SECTIONS):
            x = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, PARTS)
            inside = matrix.log10_sigma(x + 1j * y[:, None]) <= np.log10(eps)
            kept = np.flatnonzero(inside.any(axis=1))
            last = PARTS - 1 - np.argmax(inside[kept, ::-1], axis=1)
            low, high, y = x[kept, last], x[kept, np.minimum(last + 1, PARTS - 1)], y[kept]
        if len(low) and low.max() > best:
            best, at = float(low.max()), float(y[np.argmax(low)])
        step = step / 4.0 or 0.25 * (at + eps)
        y = at + step * np.linspace(-1.0, 1.0, LATER)
        low = np.full(LATER, best)
    return best


def whole_window(boundaries: Sequence[ComplexArray]) -> Window:
    """Return the window of all the numerical ranges, and a tenth of their width around."""
    points = np.concatenate(boundaries)
    left, right, top = points.real.min(), max(0.0, points.real.max()), points.imag.max()
    margin = 0.1 * max(right - left, top)
    return left - margin, right + margin, -top - margin, top + margin


def check_window(window: Sequence[float] | str) -> None:
    """Raise UsageError for what is neither `low`, `whole` nor LEFT, RIGHT, BOTTOM, TOP."""
    if isinstance(window, str):
        named = window in ("low", "whole")
        require(named, "pseudospectrum: window", window, "low, whole or 4 numbers")
        return
    finite = len(window) == 4 and bool(np.all(np.abs(window) <= MAX_MODULUS))
    expected = f"LEFT < RIGHT and BOTTOM < TOP, four numbers of modulus <= {MAX_MODULUS:g}"
    holds = finite and window[0] < window[1] and window[2] < window[3]
    require(holds, "pseudospectrum: window", tuple(window), expected)


def on_grid(matrix: Resolvent, real: FloatArray, imag: FloatArray) -> FloatArray:
    """Return log10 sigma_min at real (nx,) + i imag (ny,), shape (ny, nx).

    M is real, so that each |Im z| is computed once.
    """
    rows, place = np.unique(np.abs(imag), return_inverse=True)
    return matrix.log10_sigma(real + 1j * rows[:, None])[place]


def pseudospectrum(
    n: int,
    names: Sequence[str] = (HIPPO, "s4d", "s4ptd-rank1"),
    window: Sequence[float] | str = "low",
    grid: tuple[int, int] = (100, 100),
    advance: Callable[[], None] = lambda: None,
) -> PseudospectrumResult:
    """Compute the pseudospectra of `names` at state size n on one grid of nx by ny points.

    window: `low` (the eigenvalues of HiPPO), `whole` (all numerical ranges), or LEFT, RIGHT,
    BOTTOM, TOP in the complex plane (rad per unit time). advance is called after each matrix.
    Raises UsageError or StabilityError.
    """
    columns, rows = grid
    holds = min(grid) >= 2 and columns * rows <= MAX_POINTS
    expected = f"at least 2 points per side and at most {MAX_POINTS:,} in all"
    require(holds, "pseudospectrum: grid", grid, expected)
    check_window(window)
    matrices = {name: resolvent(name, n) for name in names}
    require(bool(matrices), "pseudospectrum: number of initialisations", 0, "at least one")
    halves = {name: matrix.support(THETA)[1] for name, matrix in matrices.items()}
    boundaries = {name: np.concatenate([half, half[::-1].conj()]) for name, half in halves.items()}
    if window == "low":
        window = (-1.25 * n, 0.35 * n, -0.8 * n, 0.8 * n)
    elif window == "whole":
        window = whole_window(list(boundaries.values()))
    left, right, bottom, top = (float(edge) for edge in window)
    real, imag = np.linspace(left, right, columns), np.linspace(bottom, top, rows)
    if bottom == -top:
        # Symmetric to the last bit, so that conjugate rows are recognised.
        imag = 0.5 * (imag - imag[::-1])
    systems = {}
    for name, matrix in matrices.items():
        systems[name] = Pseudospectrum(
            matrix,
            real,
            imag,
            on_grid(matrix, real, imag),
            boundaries[name],
            {eps: pseudospectral_abscissa(matrix, eps) for eps in LEVELS},
        )
        advance()
    return PseudospectrumResult(n, (left, right, bottom, top), systems)


def at_points(n: int, names: Sequence[str], z: ComplexArray) -> pd.DataFrame:
    """Return init, re, im, sigma_min, log10_sigma_min, floor: one row per name and point.

    sigma_min underflows to 0 below 5e-324, where its logarithm goes on; at an eigenvalue the
    logarithm is -inf. Raises UsageError if a point of z (m,) is not finite or beyond 1e100.
    """
    small = bool(np.all(np.abs(z) <= MAX_MODULUS))
    require(small, "pseudospectrum: point", z.tolist(), f"modulus <= {MAX_MODULUS:g}")
    parts = []
    for name in names:
        matrix = resolvent(name, n)
        logs = matrix.log10_sigma(z)
        part = {"init": name, "re": z.real, "im": z.imag, "sigma_min": 10.0**logs}
        parts.append(pd.DataFrame(part | {"log10_sigma_min": logs, "floor": matrix.floor}))
    return pd.concat(parts, ignore_index=True)
