"""Perturb-then-diagonalize: every result is what it says it is, and stable."""

import numpy as np
import pytest

from robustssm import hippo
from robustssm.diagonalize import (
    diagonalize,
    perturb,
    random_perturbation,
    shipped_orders,
    shipped_perturbation,
)
from robustssm.errors import StabilityError, UsageError

METHODS = ("normal", "rank1", "random", "optimized")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [16, 32])
def test_each_method_diagonalises_and_is_stable(method: str, n: int) -> None:
    result = diagonalize(n, method)
    # Backward stable: n roundings times the condition of V.
    assert result.backward_error < 100 * n * np.finfo(float).eps * result.kappa
    np.testing.assert_allclose(result.V @ result.V_inv, np.eye(n), atol=1e-11)
    assert result.max_real <= -0.25
    assert result.kappa >= 1.0 - 1e-12
    # Real systems: the spectrum is closed under conjugation.
    paired = np.sort_complex(np.round(result.eigenvalues, 8))
    np.testing.assert_array_equal(paired, np.sort_complex(np.round(result.eigenvalues.conj(), 8)))


@pytest.mark.parametrize("n", [16, 32, 64])
def test_shipped_perturbations_are_what_their_record_says(n: int) -> None:
    E, meta = shipped_perturbation(n)
    result = perturb(E)
    # The record was made by the same float64 eigensolver; LAPACK builds differ in rounding.
    assert result.kappa == pytest.approx(meta["kappa"], rel=1e-6)
    assert result.relative_norm == pytest.approx(meta["relative_norm"], rel=1e-6)
    assert result.max_real == pytest.approx(meta["max_real"], abs=1e-6)
    # The bounds that the optimised perturbation was made to meet.
    assert result.kappa <= 10 and result.relative_norm <= 0.0351 and result.max_real <= -0.25


def test_unstable_or_malformed_perturbations_are_refused() -> None:
    A, _ = hippo.legs(4)
    with pytest.raises(StabilityError, match="max Re lambda"):
        perturb(-2 * A)
    with pytest.raises(UsageError, match="finite square"):
        perturb(np.full((4, 4), np.nan))


def test_names_are_checked() -> None:
    with pytest.raises(UsageError, match="expected one of normal"):
        diagonalize(8, "magic")
    with pytest.raises(UsageError, match="ships for state size 7"):
        shipped_perturbation(7)
    assert {16, 32, 64} <= set(shipped_orders())


def test_random_perturbation_is_the_largest_stable_on_its_ladder() -> None:
    A, _ = hippo.legs(16)
    E = random_perturbation(16)
    assert np.linalg.eigvals(A + E).real.max() <= -0.25
    norm = np.linalg.norm(E, 2) / np.linalg.norm(A, 2)
    rung = np.log2(0.035 / norm)
    assert rung == pytest.approx(round(rung), abs=1e-9)
    assert round(rung) == 0 or np.linalg.eigvals(A + 2 * E).real.max() > -0.25
