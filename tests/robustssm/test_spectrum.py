"""Eigenvalues in closed form against dense eigensolvers, identities and stored values."""

import numpy as np
import pytest

from robustssm.errors import StabilityError, UsageError
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import rank_one
from robustssm.hippo.spectrum import damped_eigenvalues, defective_tau, normal_eigenpairs, spikes
from tests.reference import normal_part, stored

EPS = np.finfo(float).eps


@pytest.mark.parametrize("n", [1, 2, 3, 8, 33, 64])
def test_eigenpairs_of_the_normal_part(n: int) -> None:
    eigenvalues, V = normal_eigenpairs(n)
    A = normal_part(n)
    _, B = legs.matrices(n)
    # Unitary to n roundings; the residual scales with |A| = O(n^2).
    np.testing.assert_allclose(V.conj().T @ V, np.eye(n), atol=20 * n * EPS)
    np.testing.assert_allclose(A @ V, V * eigenvalues, atol=20 * n * EPS * np.linalg.norm(A, 2))
    dense = np.sort(np.linalg.eigvalsh(1j * (A + 0.5 * np.eye(n))))
    np.testing.assert_allclose(np.sort(-eigenvalues.imag), dense, atol=n * EPS * n * n)
    b = V.conj().T @ B
    assert np.all(b.real > 0)
    np.testing.assert_allclose(b.imag, 0, atol=40 * n * EPS * n)


@pytest.mark.parametrize("n", [2, 16, 257, 4096, 100_000])
def test_sum_of_squares_is_the_frobenius_norm(n: int) -> None:
    frobenius = (n**4 - n * (4 * n * n - 1) / 3) / 4
    # A sum of n positive terms, each accurate to a few eps.
    assert 2 * np.sum(spikes(n) ** 2) == pytest.approx(frobenius, rel=1e-14)


@pytest.mark.parametrize("n", [8, 64, 256])
def test_stored_eigenvalues(n: int) -> None:
    exact = stored(f"transfer_eigs_n{n}.csv")["imag"].to_numpy()
    # Relative, the smallest included: that is what the closed form is for.
    np.testing.assert_allclose(spikes(n), exact, rtol=2e-15)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 33, 64])
@pytest.mark.parametrize("tau", [0.9, 0.5, 0.1])
def test_eigenvalues_of_the_rank_one_family(n: int, tau: float) -> None:
    if tau < 1.5 * defective_tau(n):
        with pytest.raises(StabilityError, match="defective"):
            damped_eigenvalues(n, tau)
        return
    eigenvalues = damped_eigenvalues(n, tau)
    t = 2 * tau / (1 + tau)
    A, _ = legs.matrices(n)
    P = legs.low_rank(n)
    dense = np.linalg.eigvals(A + t * np.outer(P, P))
    distance = np.min(abs(eigenvalues[:, None] - dense), axis=1)
    # LAPACK's backward error eps |A| times the condition 1 / tau of the eigenvectors.
    assert distance.max() <= 20 * n * n * EPS / tau
    # Proved: the numerical range lies left of -1/2.
    assert eigenvalues.real.max() < -0.5
    np.testing.assert_allclose(legs.phi(n, eigenvalues), -1 / tau, rtol=1e-9)


def test_condition_of_the_rank_one_family_is_below_one_over_tau() -> None:
    # Measured law (not proved) for tau >= 1.5 tau_c.
    for n in (4, 7, 16, 32, 65):
        for tau in (0.5, 0.1, 0.05):
            if tau >= 1.5 * defective_tau(n):
                assert rank_one(n, tau).kappa < 1 / tau


def test_limits_of_spikes() -> None:
    assert len(spikes(5, 0)) == 0
    # y_1 = n^2 / pi - pi / 6 + 0.606 / n^2 up to O(n^-4).
    assert spikes(64, 1)[0] == pytest.approx(64**2 / np.pi - np.pi / 6 + 0.606 / 64**2, rel=1e-8)
    with pytest.raises(UsageError, match="0 to 2"):
        spikes(5, 3)
    with pytest.raises(UsageError, match="tau"):
        damped_eigenvalues(8, 0.0)
