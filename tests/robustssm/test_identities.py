"""The identities that the closed forms rest on, for any size, frequency and damping."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from robustssm.evaluations.initializations.responses import damped
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import rank_one
from robustssm.hippo.spectrum import damped_eigenvalues, defective_tau, log_phi_slope, spikes

EPS = np.finfo(float).eps
orders = st.integers(1, 64)
frequencies = st.floats(1e-3, 1e6)


@given(n=orders, re=st.floats(-0.49, 5.0), im=st.floats(-200.0, 200.0))
@settings(max_examples=50, deadline=None)
def test_energy_balance(n: int, re: float, im: float) -> None:
    """(1 + 2 Re s) |x|^2 + |phi_n|^2 = 1, since A + A^T = -I - B B^T."""
    s = np.array([complex(re, im)])
    balance = (1.0 + 2.0 * re) * np.sum(np.abs(legs.state(n, s)) ** 2)
    # n factors of a few roundings each; |s| up to 200 with Re s + 1/2 down to 0.01.
    assert balance + abs(legs.phi(n, s)[0]) ** 2 == pytest.approx(1.0, abs=20 * n * EPS)


@given(n=orders, im=st.floats(-200.0, 200.0))
@settings(max_examples=50, deadline=None)
def test_phi_is_all_pass_on_the_line_of_the_poles(n: int, im: float) -> None:
    assert abs(legs.phi(n, np.array([complex(-0.5, im)]))[0]) == pytest.approx(1, abs=10 * n * EPS)


@given(n=orders, re=st.floats(-3.3, 3.3), im=st.floats(0.1, 50.0))
@settings(max_examples=50, deadline=None)
def test_phi_and_its_mirror_image(n: int, re: float, im: float) -> None:
    """phi_n(s) phi_n(-s) = s^2 / (s^2 - n^2): what the sums over mirrored poles rest on."""
    s = np.array([complex(re, im)])
    product = legs.phi(n, s) * legs.phi(n, -s)
    np.testing.assert_allclose(product, s * s / (s * s - n * n), rtol=40 * n * EPS)


@given(n=st.integers(2, 3000))
@settings(max_examples=30, deadline=None)
def test_sums_over_the_spectrum(n: int) -> None:
    """2 sum y_k^2 = |K|_F^2 and sum |v_k^* B|^2 = n^2."""
    y = spikes(n)
    frobenius = (n**4 - n * (4 * n * n - 1) / 3) / 4
    # Sums of positive terms, each accurate to a few eps.
    assert 2.0 * np.sum(y * y) == pytest.approx(frobenius, rel=1e-14)
    norms = -log_phi_slope(n, np.concatenate([1j * y, np.zeros(n % 2)])).real
    weight = np.concatenate([np.full(len(y), 2.0), np.ones(n % 2)])
    assert np.sum(weight * 4.0 / norms) == pytest.approx(n * n, rel=1e-13)


@pytest.mark.parametrize("n", [10**5, 10**6])
def test_sum_of_squares_at_a_million(n: int) -> None:
    frobenius = (n**4 - n * (4 * n * n - 1) / 3) / 4
    # As above; numpy sums pairwise.
    assert 2.0 * np.sum(spikes(n) ** 2) == pytest.approx(frobenius, rel=1e-14)


@given(n=st.integers(2, 40), tau=st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_condition_is_below_one_over_tau(n: int, tau: float) -> None:
    """Measured, not proved, for tau >= 1.5 tau_c."""
    assume(tau >= 1.5 * defective_tau(n) * (1.0 + 1e-9))
    assert rank_one(n, tau).kappa < 1.0 / tau


@given(n=st.integers(2, 2000), tau=st.floats(0.05, 1.0))
@settings(max_examples=40, deadline=None)
def test_eigenvalues_solve_their_equation(n: int, tau: float) -> None:
    assume(tau >= 1.5 * defective_tau(n) * (1.0 + 1e-9))
    eigenvalues = damped_eigenvalues(n, tau)
    assert len(eigenvalues) == n
    # Strictly less for tau < 1, which rounding may hide.
    assert eigenvalues.real.max() <= -0.5
    # A relative error e of z moves ln phi by L z e; |L z| <= pi n, the total phase. The product of
    # n factors adds n roundings.
    np.testing.assert_allclose(legs.phi(n, eigenvalues), -1.0 / tau, rtol=60 * n * EPS)


@given(n=st.integers(1, 40), omega=frequencies, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_both_ends_of_the_family(n: int, omega: float, seed: int) -> None:
    """tau -> 0 is HiPPO, tau -> 1 the normal part with B / 2."""
    w = np.array([omega])
    G = legs.transfer(np.random.default_rng(seed).standard_normal(n), 1j * w)
    small = G / legs.normal_ratio(n, w, 1e-12)
    np.testing.assert_allclose(small, G, rtol=3e-12)
    # 1 + tau phi moves by 1 - tau; its least modulus is 1 - r.
    near, end = legs.normal_ratio(n, w, 1.0 - 1e-9), legs.normal_ratio(n, w)
    assert abs(near - end)[0] <= 1.1e-9 + 4 * n * EPS


@given(n=st.integers(3, 60), tau=st.floats(0.2, 1.0), k=st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_the_family_interpolates_hippo_at_integers(n: int, tau: float, k: int) -> None:
    """phi_n vanishes at 0..n-1, so G_t(k) = G(k): the moments of the kernel in e^-t agree."""
    assume(k < n and tau >= 1.5 * defective_tau(n) * (1.0 + 1e-9))
    system = damped(np.eye(1, n)[0], tau)
    s = complex(k, 0.0)
    terms = system.weight * (system.residues / (s - system.poles)).real
    real = np.sum(np.where(system.poles.imag == 0.0, terms, 0.0))
    pairs = system.poles.imag != 0.0
    p, r = system.poles[pairs], system.residues[pairs]
    paired = np.sum(r / (s - p) + np.conj(r) / (s - np.conj(p)))
    # n residues of size up to 1, each from n roundings.
    assert abs(real + paired - 1.0 / (k + 1.0)) <= 1e-11 * n
