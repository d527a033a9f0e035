"""Peak gains with a certificate, against SLICOT's AB13DD and against dense grids."""

import numpy as np
import pytest
import slycot
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.suprema.certified import (
    Bracket,
    PoleSums,
    StateSpaces,
    brackets,
)
from robustssm.evaluations.suprema.subdivision import gram_bound, polynomial_bound
from robustssm.typing import Array, ComplexArray, FloatArray


def pole_sum(poles: ComplexArray, left: Array, right: Array, D: FloatArray) -> PoleSums:
    return PoleSums(poles[None], left[None], right[None], D[None])


def peak_gain(system: PoleSums, rtol: float = 1e-3) -> Bracket:
    return brackets(system, rtol)[0]


def transfer(system: PoleSums, omega: FloatArray) -> ComplexArray:
    weight = 1.0 / (1j * omega[:, None] - system.poles[0])
    values: ComplexArray = (system.left * weight[:, None]) @ system.right[0] + system.D
    return values


def random_system(seed: int, pairs: int, p: int, q: int) -> PoleSums:
    """Widely spread poles, with feedthrough."""
    rng = np.random.default_rng(seed)
    poles = -np.exp(1.5 * rng.normal(size=pairs)) + 1j * np.exp(2.0 * rng.normal(size=pairs))
    left = rng.normal(size=(p, pairs)) + 1j * rng.normal(size=(p, pairs))
    right = rng.normal(size=(pairs, q)) + 1j * rng.normal(size=(pairs, q))
    return pole_sum(
        np.concatenate([poles, poles.conj()]),
        np.hstack([left, left.conj()]),
        np.vstack([right, right.conj()]),
        0.5 * rng.normal(size=(p, q)),
    )


def real_form(system: PoleSums) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return (A, B, C, D) with 2 x 2 blocks; the conjugates are the second half."""
    poles, D = system.poles[0], system.D[0]
    m = len(poles) // 2
    A = np.zeros((2 * m, 2 * m))
    B, C = np.zeros((2 * m, D.shape[1])), np.zeros((len(D), 2 * m))
    for k in range(m):
        pole, left, right = poles[k], system.left[0, :, k], system.right[0, k]
        A[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [
            [pole.real, pole.imag],
            [-pole.imag, pole.real],
        ]
        B[2 * k], B[2 * k + 1] = 2.0 * right.real, -2.0 * right.imag
        C[:, 2 * k], C[:, 2 * k + 1] = left.real, left.imag
    return A, B, C, D


def slicot_norm(A: FloatArray, B: FloatArray, C: FloatArray, D: FloatArray) -> float:
    n, q, p = len(A), B.shape[1], C.shape[0]
    kind = "D" if D.any() else "Z"
    gain, _ = slycot.ab13dd("C", "I", "N", kind, n, q, p, A, np.eye(n), B, C, D, 1e-12)
    return float(gain)


def assert_holds(found: Bracket, gain: float, rtol: float) -> None:
    # AB13DD stops at 1e-12; its own rounding is below 1e-11 at these sizes (2.4e-11 at n = 400).
    assert found.low <= gain * (1.0 + 1e-10)
    assert found.high >= gain * (1.0 - 1e-10)
    assert found.high <= found.low * (1.0 + 1.001 * rtol)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (3, 1), (1, 4), (4, 4), (2, 5)])
@pytest.mark.parametrize("pairs", [1, 8, 32])
@pytest.mark.parametrize("rtol", [1e-3, 1e-9])
def test_bracket_holds_the_norm_of_slicot(pairs: int, p: int, q: int, rtol: float) -> None:
    system = random_system(pairs, pairs, p, q)
    gain = slicot_norm(*real_form(system))
    assert_holds(peak_gain(system, rtol), gain, rtol)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (3, 2)])
def test_dense_route(p: int, q: int) -> None:
    systems = [random_system(seed, 8, p, q) for seed in range(4)]
    A, B, C, D = (np.stack(part) for part in zip(*map(real_form, systems), strict=True))
    for system, found in zip(systems, brackets(StateSpaces(A, B, C, D), 1e-6), strict=True):
        assert_holds(found, slicot_norm(*real_form(system)), 1e-6)


def test_batch_equals_one_by_one() -> None:
    systems = [random_system(seed, 6, 1, 1) for seed in range(5)]
    letters = ("poles", "left", "right", "D")
    batch = PoleSums(*(np.concatenate([getattr(s, k) for s in systems]) for k in letters))
    for system, found in zip(systems, brackets(batch, 1e-6), strict=True):
        assert_holds(found, slicot_norm(*real_form(system)), 1e-6)


@given(seed=st.integers(0, 10**6), pairs=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_no_frequency_exceeds_high_and_low_is_attained(seed: int, pairs: int) -> None:
    system = random_system(seed, pairs, 2, 2)
    found = peak_gain(system, 1e-3)
    omega = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 500), np.abs(system.poles[0].imag)])
    values = np.linalg.norm(transfer(system, omega), ord=2, axis=(1, 2))
    # A value and its bound are each rounded: 2m terms of 1e-16.
    assert values.max() <= found.high * (1.0 + 1e-13)
    if np.isfinite(found.omega):
        at = np.linalg.norm(transfer(system, np.array([found.omega])), ord=2, axis=(1, 2))[0]
        # The charts s and 1/s round differently, by the condition of the pole sum.
        assert at == pytest.approx(found.low, rel=1e-9)


def test_peak_at_infinity_and_at_zero() -> None:
    # D - 1 / (s + 1): |F| grows from |D - 1| to |D|, never attained at a finite frequency.
    highpass = pole_sum(np.array([-1.0 + 0j]), -np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    found = peak_gain(highpass, 1e-9)
    assert (
        found.low == pytest.approx(1.0, rel=1e-14)
        and np.isinf(found.omega)
        and found.high <= 1.0 + 1e-9
    )
    lowpass = pole_sum(np.array([-1.0 + 0j]), np.ones((1, 1)), np.ones((1, 1)), np.zeros((1, 1)))
    found = peak_gain(lowpass, 1e-9)
    assert (
        found.low == pytest.approx(1.0, rel=1e-14)
        and found.omega == 0.0
        and found.high <= 1.0 + 1e-9
    )


def test_zero_and_pure_gain() -> None:
    zero = pole_sum(np.array([-1.0 + 0j]), np.zeros((1, 1)), np.ones((1, 1)), np.zeros((1, 1)))
    found = peak_gain(zero)
    assert (found.low, found.high, found.relative_gap) == (0.0, 0.0, 0.0)
    none = np.zeros(0, dtype=complex)
    gain = pole_sum(none, np.zeros((2, 0)), np.zeros((0, 2)), np.diag([3.0, 4.0]))
    found = peak_gain(gain)
    assert found.low == pytest.approx(4.0, rel=1e-14) and found.high <= 4.004


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 10.0))
@settings(max_examples=50, deadline=None)
def test_polynomial_bounds_hold(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    decay = scale ** np.arange(5)
    P = rng.normal(size=(3, 5, 2, 2)) + 1j * rng.normal(size=(3, 5, 2, 2))
    P *= decay[:, None, None]
    x = np.linspace(-1.0, 1.0, 201)
    values = np.einsum("gjpq,xj->gxpq", P, np.vander(x, 5, increasing=True))
    largest = np.linalg.norm(values, ord=2, axis=(2, 3)).max(axis=1)
    # Rounding of 25 products.
    assert (np.sqrt(gram_bound(P)) >= largest * (1.0 - 1e-12)).all()
    columns = np.linalg.norm(values[..., 0], axis=2).max(axis=1)
    assert (polynomial_bound(P[..., 0], np.zeros(3)) >= columns * (1.0 - 1e-12)).all()


def test_bad_systems() -> None:
    one = np.ones((1, 1))
    with pytest.raises(UsageError, match="1e-100"):
        peak_gain(pole_sum(np.array([-1e-120 + 0j]), one, one, one))
    with pytest.raises(StabilityError, match=r"Re = 0, expected < 0"):
        peak_gain(pole_sum(np.array([1j]), one, one, one))
    with pytest.raises(UsageError, match="NaN"):
        peak_gain(pole_sum(np.array([-1.0 + 0j]), one * np.nan, one, one))
    with pytest.raises(UsageError, match="rtol"):
        peak_gain(pole_sum(np.array([-1.0 + 0j]), one, one, one), 0.0)
    for A, error in ((np.eye(2), StabilityError), (np.full((2, 2), np.nan), UsageError)):
        with pytest.raises(error, match=r"unstable|NaN"):
            two = np.ones((1, 2, 1))
            brackets(StateSpaces(A[None], two, two.swapaxes(1, 2), np.zeros((1, 1, 1))), 1e-3)
