"""Perturb-then-diagonalize: every result is what it says it is, and stable."""

import numpy as np
import pytest

from robustssm.errors import StabilityError, UsageError
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import clipped, perturb, rank_one
from robustssm.hippo.matrix_files import shipped, shipped_orders
from robustssm.hippo.ptd_methods import make, scaled_random

METHODS = ("normal", "rank1", "random", "optimized")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [16, 32])
def test_each_method_diagonalises_and_is_stable(method: str, n: int) -> None:
    result = make(method, n)
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
    meta = shipped(n).meta
    result = make("optimized", n)
    # The record was made by the same float64 eigensolver; LAPACK builds differ in rounding.
    assert result.kappa == pytest.approx(meta["kappa"], rel=1e-6)
    assert result.relative_norm == pytest.approx(meta["relative_norm"], rel=1e-6)
    assert result.max_real == pytest.approx(meta["max_real"], abs=1e-6)
    # The bounds that the optimised perturbation was made to meet.
    assert result.kappa <= 10 and result.relative_norm <= 0.0351 and result.max_real <= -0.25


def test_unstable_or_malformed_perturbations_are_refused() -> None:
    A, _ = legs.matrices(4)
    with pytest.raises(StabilityError, match="max Re lambda"):
        perturb(-2 * A)
    with pytest.raises(UsageError, match="finite square"):
        perturb(np.full((4, 4), np.nan))


def test_names_are_checked() -> None:
    with pytest.raises(UsageError, match="expected one of normal"):
        make("magic", 8)
    with pytest.raises(UsageError, match="ships for state size 7"):
        shipped(7)
    assert {16, 32, 64} <= set(shipped_orders())


def test_random_perturbation_is_the_largest_stable_on_its_ladder() -> None:
    A, _ = legs.matrices(16)
    E = make("random", 16).E
    assert np.linalg.eigvals(A + E).real.max() <= -0.25
    norm = np.linalg.norm(E, 2) / np.linalg.norm(A, 2)
    rung = np.log2(0.035 / norm)
    assert rung == pytest.approx(round(rung), abs=1e-9)
    assert round(rung) == 0 or np.linalg.eigvals(A + 2 * E).real.max() > -0.25


def test_corner_closes_the_chain() -> None:
    result = make("corner", 8, size=0.3)
    assert np.count_nonzero(result.E) == 1 and result.E[0, 7] == 0.3
    assert result.method == "corner" and result.max_real < 0.0
    # A_H's own eigenvectors have condition 7.7e4 at n = 8.
    assert result.kappa < 1e3
    with pytest.raises(UsageError, match="expected an integer >= 2"):
        make("corner", 1)


def test_random_of_a_given_size() -> None:
    A, _ = legs.matrices(16)
    E = scaled_random(16, 3, 0.1)
    # One scaling of a norm.
    assert np.linalg.norm(E, 2) == pytest.approx(0.1 * np.linalg.norm(A, 2), rel=1e-14)
    ladder = make("random", 16, seed=3).E
    np.testing.assert_allclose(E / E[0, 0], ladder / ladder[0, 0], rtol=1e-12)


def test_unstable_complex_and_other_inputs_on_request() -> None:
    A, B = legs.matrices(4)
    unstable = perturb(-2 * A, stable=False)
    # A_H's own eigenvalues 1..4, negated twice, in a basis of condition 86.
    assert unstable.max_real == pytest.approx(4.0, abs=1e-11)
    E = 0.1j * np.random.default_rng(0).standard_normal((4, 4))
    result = perturb(E, B=2.0 * B)
    np.testing.assert_allclose((result.V * result.eigenvalues) @ result.V_inv, A + E, atol=1e-11)
    np.testing.assert_allclose(result.V @ result.B, 2.0 * B, atol=1e-11)
    with pytest.raises(UsageError, match="shape"):
        perturb(E, B=np.ones(3))


@pytest.mark.parametrize("n", [9, 16, 32])
@pytest.mark.parametrize("tau", [0.3, 0.1])
def test_clipped_is_similar_to_rank_one_and_better_conditioned(n: int, tau: float) -> None:
    found, known = clipped(n, tau), rank_one(n, tau)
    assert found.kappa < known.kappa and found.max_real == known.max_real
    dense = perturb(found.E, B=found.B_E)
    # Eigenvalues of a matrix of size n^2 with kappa below 10: n^2 kappa eps, and backward errors.
    scale = 100 * n * n * np.finfo(float).eps * known.kappa
    np.testing.assert_allclose(
        np.sort_complex(dense.eigenvalues), np.sort_complex(known.eigenvalues), atol=scale
    )
    assert dense.kappa == pytest.approx(found.kappa, rel=1e-9)
    np.testing.assert_allclose(found.V @ found.B, found.B_E, atol=1e-10)
    assert found.backward_error < scale
