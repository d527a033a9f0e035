"""Brackets against 60 digits: rounding is enclosed, and every search ends.

Systems whose terms cancel, whose poles cluster or lie near the axis, of any scale. 60 digits hold
what cancels here: terms of 1e99 beside values of 1e-30 at most matter to the bound they are in.
"""

from math import comb

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import StabilityError
from robustssm.evaluations.initializations.certified_error import certified_error
from robustssm.evaluations.initializations.responses import Response, damped, paired, response
from robustssm.evaluations.suprema import subdivision
from robustssm.evaluations.suprema.certified import (
    Bracket,
    PoleSums,
    StateSpaces,
    brackets,
)
from robustssm.hippo.initializations import parse
from robustssm.typing import ComplexArray

KINDS = ("plain", "clustered", "near the axis", "cancelling", "one scale", "all scales")


def system(kind: str, seed: int) -> tuple[ComplexArray, ComplexArray, float]:
    """Return the poles and residues of pairs, one each, and D."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 33))
    imag, real = np.exp(2.0 * rng.normal(size=m)), np.exp(1.5 * rng.normal(size=m))
    r = rng.normal(size=m) + 1j * rng.normal(size=m)
    centre = np.exp(3.0 * rng.normal())
    if kind == "clustered":
        imag = centre * (1.0 + 10.0 ** rng.uniform(-14, 0) * rng.normal(size=m))
        real = centre * 10.0 ** rng.uniform(-10, 1) * np.exp(0.1 * rng.normal(size=m))
    elif kind == "near the axis":
        real = imag * 10.0 ** rng.uniform(-17, -3, size=m)
    elif kind == "cancelling":
        m = min(m, 12)
        imag = centre * (1.0 + 10.0 ** rng.uniform(-9, -1) * np.arange(m))
        real = np.full(m, centre * 10.0 ** rng.uniform(-9, 0))
        signs = [(-1) ** k * comb(m - 1, k) for k in range(m)]
        r = np.array(signs) * 10.0 ** rng.uniform(-3, 12) + 0j
    elif kind == "one scale":
        scale = 10.0 ** rng.uniform(-95, 95)
        real, imag, r = real * scale, imag * scale, r * 10.0 ** rng.uniform(-99, 99)
    elif kind == "all scales":
        real = 10.0 ** rng.uniform(-99, 98, size=m)
        imag = 10.0 ** rng.uniform(-99, 98, size=m) * (rng.random(m) < 0.8)
        r = r * 10.0 ** rng.uniform(-99, 99, size=m)
    D = float(rng.normal() * (rng.random() < 0.4) * np.abs(r).max() / real.max())
    return -real + 1j * imag, r, D


def gain(poles: ComplexArray, r: ComplexArray, D: float, omega: float) -> mpmath.mpf:
    """Return |D + sum r / (i omega - lambda) and its conjugates|, in 60 digits."""
    with mpmath.workdps(60):
        if np.isinf(omega):
            return mpmath.mpf(abs(D))
        s = mpmath.mpc(0, omega)
        terms = [
            mpmath.mpc(b) / (s - mpmath.mpc(a))
            for a, b in zip([*poles, *poles.conj()], [*r, *r.conj()], strict=True)
        ]
        return abs(D + mpmath.fsum(terms))


def bracket(poles: ComplexArray, r: ComplexArray, D: float, rtol: float) -> Bracket:
    both, residues = (np.concatenate([X, X.conj()])[None] for X in (poles, r))
    one = np.ones((1, both.shape[1], 1))
    return brackets(PoleSums(both, residues[:, None], one, np.full((1, 1, 1), D)), rtol)[0]


def climbed(poles: ComplexArray, r: ComplexArray, D: float, start: float) -> mpmath.mpf:
    """Return the gain at the top of the hill on which `start` lies, nearly."""
    best, step = gain(poles, r, D, start), 0.5 * np.abs(1j * start - poles).min()
    # A quarter of the step wherever neither side is higher: 1e-15 of it in 25.
    for _ in range(40):
        around = [gain(poles, r, D, omega) for omega in (max(start - step, 0.0), start + step)]
        if max(around) > best:
            best, start = max(around), max(start + step * np.sign(around[1] - around[0]), 0.0)
        else:
            step *= 0.25
    return best


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32), rtol=st.sampled_from([1e-3, 1e-9]))
@settings(max_examples=15, deadline=None)
def test_the_truth_is_inside(kind: str, seed: int, rtol: float) -> None:
    poles, r, D = system(kind, seed)
    found = bracket(poles, r, D, rtol)
    assert 0.0 <= found.low <= found.high
    # Beyond the poles omega is printed as 1 / sigma, rounded: the gain moves by two units there.
    assert found.low <= gain(poles, r, D, found.omega) * (1.0 + 4e-16)
    starts = sorted({0.0, *map(float, poles.imag)}, key=lambda omega: gain(poles, r, D, omega))
    assert climbed(poles, r, D, starts[-1]) <= found.high
    assert abs(D) <= found.high


@given(seed=st.integers(0, 2**32), rtol=st.sampled_from([1e-3, 1e-9]))
@settings(max_examples=15, deadline=None)
def test_the_truth_is_inside_with_poles_on_both_sides(seed: int, rtol: float) -> None:
    """Of F(s) + G(-s): what runs backwards in time has its poles on the other side."""
    poles, r, D = system("near the axis" if seed % 2 else "plain", seed)
    behind = np.random.default_rng(seed).random(len(poles)) < 0.5
    families = []
    for part, direct in ((~behind, D), (behind, 0.0)):
        both, left = (np.concatenate([X, X.conj()])[None] for X in (poles[part], r[part]))
        one = np.ones((1, both.shape[1], 1))
        families.append(PoleSums(both, left[:, None], one, np.full((1, 1, 1), direct)))
    found = brackets(families[0], rtol, families[1])[0]
    poles, r = np.where(behind, -poles, poles), np.where(behind, -r, r)
    assert found.low <= gain(poles, r, D, found.omega) * (1.0 + 4e-16)
    starts = sorted({0.0, *map(float, np.abs(poles.imag))}, key=lambda w: gain(poles, r, D, w))
    assert climbed(poles, r, D, starts[-1]) <= found.high
    if behind.any():
        with pytest.raises(StabilityError, match="expected < 0"):
            brackets(families[0], rtol, families[1].turned(np.zeros(1, dtype=int), -1.0))


@pytest.mark.parametrize(
    ("poles", "residues", "omega", "gap"),
    [
        # 1 / lambda rounds both poles by more than their distance from the axis.
        ([-1e-4 + 20860.2j, -1e-4 + 20860.20001j], [1.0, -1.0], 20860.200005, 1e-9),
        ([-1e-9 + 20860.2j, -1e-9 + 20860.20001j], [1.0, -1.0], 20860.20001, 1e-8),
        # A fifth difference: terms up to 3e14 and a sum of 2041, rounded by units of the terms.
        (
            [-3e-4 + 5j + 1e-6j * k for k in range(6)],
            [1e10, -5e10, 1e11, -1e11, 5e10, -1e10],
            5.0,
            0.01,
        ),
        # Poles of scale 1e-87 to 1e86.
        ([-1e-87 + 1e-87j, -1e86 + 1e80j, -1.0 + 3.0j], [1e-87, 1e86, 1.0], 1e-87, 1e-9),
    ],
)
def test_cancelling_poles_near_the_axis(
    poles: list[complex], residues: list[float], omega: float, gap: float
) -> None:
    known = np.array(poles), np.array(residues, dtype=complex), 0.0
    found = bracket(*known, 1e-9)
    assert found.low <= gain(*known, found.omega)
    assert climbed(*known, omega) <= found.high
    assert found.relative_gap <= gap


def test_the_budget_ends_a_search_with_the_bound_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poles, r, D = system("plain", 3)
    monkeypatch.setattr(subdivision, "BUDGET", 0)
    wide = bracket(poles, r, D, 1e-9)
    monkeypatch.undo()
    narrow = bracket(poles, r, D, 1e-9)
    assert wide.low <= narrow.low and wide.high >= narrow.high
    assert wide.relative_gap > 1e-3 > narrow.relative_gap


def test_a_matrix_next_to_a_defective_one() -> None:
    # Jordan's block of size 6: eigenvalues are wrong by (1e-16)^(1/6), its gain is known, and
    # rounded by 1e-16 times the norms of the inverse, 20^6, and more.
    m, decay = 6, 0.05
    A = -decay * np.eye(m) + np.eye(m, k=1)
    B, C = np.eye(m)[:, -1:], np.eye(m)[:1]
    found = brackets(StateSpaces(A[None], B[None], C[None], np.zeros((1, 1, 1))), 1e-6)[0]
    # F = 1 / (s + decay)^6, largest at 0, with decay as the double that it is.
    with mpmath.workdps(60):
        assert found.low <= mpmath.mpf(decay) ** -m <= found.high
    assert found.relative_gap <= 1e-4


def difference(system: Response, omega: float) -> mpmath.mpf:
    """Return |G_a - G| at omega in 60 digits, from the products and sums that define both."""
    with mpmath.workdps(60):
        s, n = mpmath.mpc(0, omega), system.n
        product, G = mpmath.mpf(1), mpmath.mpf(0)
        for i in range(n):
            G += mpmath.mpf(system.C[i]) * mpmath.sqrt(2 * i + 1) * product / (s + i + 1)
            product *= (s - i) / (s + i + 1)
        if hasattr(system, "tau"):
            return abs(G / (1 + mpmath.mpf(system.tau) * product) - G)
        terms = [mpmath.mpc(b) / (s - mpmath.mpc(a)) for a, b in zip(*paired(system), strict=True)]
        return abs(mpmath.fsum(terms) - G)


@pytest.mark.parametrize("name", ["s4d", "s4ptd-rank1:tau=0.3", "s4d-lin", "s4d-inv", "s4ptd"])
@given(n=st.integers(2, 40), seed=st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_differences_from_hippo(name: str, n: int, seed: int) -> None:
    size = 1 << (n.bit_length()) if name == "s4ptd" else n
    made = response(parse(name), np.random.default_rng(seed).standard_normal(max(size, 4)))
    found = certified_error(made)
    assert found.relative_gap <= 1.001e-9
    # `low` is attained next to omega: within the rounding of a phase of pi n, times n.
    around = found.omega * (1.0 + np.array([-1e-11, 0.0, 1e-11]))
    values = [difference(made, omega) for omega in around]
    assert found.low <= max(values) and max(values) <= found.high


def test_the_first_spike_at_a_large_size() -> None:
    made = damped(np.eye(1, 2048)[0], 1.0)
    found = certified_error(made)
    # The spike is 1 / n^2 wide; its top is n^2 / (2 omega^2) of 1e-16 pi n in phase away.
    around = found.omega * (1.0 + np.linspace(-1e-13, 1e-13, 9))
    values = [difference(made, omega) for omega in around]
    assert max(values) <= found.high and found.relative_gap <= 1.001e-9
