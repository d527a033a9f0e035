"""HiPPO-LegS: closed forms against dense solves, identities and stored values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import ShapeError, UsageError
from robustssm.hippo import legs
from robustssm.hippo.spectrum import spikes
from tests.reference import named_readout, stored

EPS = np.finfo(float).eps
orders = st.integers(1, 64)
frequencies = st.floats(1e-3, 1e6)


@given(n=orders, omega=frequencies)
@settings(max_examples=50, deadline=None)
def test_modulus_of_phi_and_norm_of_the_state(n: int, omega: float) -> None:
    s = np.array([1j * omega])
    # n factors of three roundings each.
    tolerance = 8 * n * EPS
    assert abs(legs.phi(n, s)[0]) == pytest.approx(omega / np.hypot(omega, n), rel=tolerance)
    norm = np.linalg.norm(legs.state(n, s)[:, 0])
    assert norm == pytest.approx(n / np.hypot(omega, n), rel=tolerance)


@given(n=st.integers(1, 24), re=st.floats(-0.4, 3), im=st.floats(-50, 50), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_transfer_is_the_dense_solve(n: int, re: float, im: float, seed: int) -> None:
    C = np.random.default_rng(seed).standard_normal(n)
    A, B = legs.matrices(n)
    s = complex(re, im)
    x = np.linalg.solve(s * np.eye(n) - A, B.astype(complex))
    # The dense route's condition number is below n^2 here; the sum may cancel to |C||x| eps.
    scale = np.abs(C) @ np.abs(x)
    assert abs(legs.transfer(C, np.array(s)) - C @ x) <= 50 * n * n * EPS * scale
    np.testing.assert_allclose(legs.state(n, np.array(s)), x, atol=50 * n * n * EPS * abs(x).max())


@given(n=st.integers(1, 24), omega=st.floats(0.01, 400), tau=st.sampled_from([1.0, 0.5, 0.1]))
@settings(max_examples=50, deadline=None)
def test_normal_ratio_is_the_dense_solve(n: int, omega: float, tau: float) -> None:
    t = 2 * tau / (1 + tau)
    A, B = legs.matrices(n)
    P = legs.low_rank(n)
    dense = np.linalg.solve(1j * omega * np.eye(n) - A - t * np.outer(P, P), (1 - t / 2) * B)
    closed = legs.state(n, np.array([1j * omega]))[:, 0]
    closed = closed / legs.normal_ratio(n, np.array([omega]), tau)[0]
    # Near a spike the answer moves by n^2 times the rounding of omega (condition 0.64 n^2).
    np.testing.assert_allclose(closed, dense, atol=40 * n * n * EPS * abs(dense).max())


def test_phase_agrees_with_the_product() -> None:
    for n in (1, 2, 15, 16, 17, 300):
        omega = np.geomspace(1e-3, 1e7, 200)
        direct = np.exp(1j * legs.phase(n, omega))
        product = legs.phi(n, 1j * omega)
        # The product takes n roundings, the phase is an angle up to pi n.
        np.testing.assert_allclose(direct, product / abs(product), atol=20 * n * EPS)


def test_zero_and_negative_frequencies() -> None:
    assert legs.normal_ratio(8, np.array([0.0]))[0] == 1.0
    pair = legs.normal_ratio(8, np.array([-3.0, 3.0]))
    assert pair[0] == np.conj(pair[1])


def test_limits_at_infinity_and_nan() -> None:
    omega = np.array([-np.inf, -1e200, 1e200, np.inf])
    with np.errstate(invalid="ignore"):
        product = 1j * omega
    for s in (product, np.array([complex(0.0, w) for w in omega])):
        assert (legs.transfer(np.ones(4), s) == np.zeros(4)).sum() >= 2
        np.testing.assert_allclose(legs.transfer(np.ones(4), s), 0.0, atol=1e-190)
        np.testing.assert_allclose(legs.state(4, s), 0.0, atol=1e-190)
        np.testing.assert_allclose(legs.phi(4, s), 1.0)
    for tau in (1.0, 0.25):
        np.testing.assert_allclose(legs.normal_ratio(4, omega, tau), 1.0 + tau)
    for call in (
        lambda: legs.normal_ratio(4, np.array([np.nan])),
        lambda: legs.transfer(np.ones(4), np.array([np.nan + 0j])),
        lambda: legs.state(4, np.array([complex(1.0, np.nan)])),
    ):
        with pytest.raises(UsageError, match="NaN"):
            call()


def test_stored_values() -> None:
    table = stored("transfer_values.csv")
    for (n, name), rows in table.groupby(["n", "C"]):
        omega, C = rows["omega"].to_numpy(), named_readout(name, n)
        G = legs.transfer(C, 1j * omega)
        diagonal = G / legs.normal_ratio(n, omega)
        exact = (rows["re_dplr"] + 1j * rows["im_dplr"]).to_numpy()
        exact_diagonal = (rows["re_diag"] + 1j * rows["im_diag"]).to_numpy()
        # Tolerances of the files' README: 1e-13 off the spikes, 4 n^2 eps at them.
        assert np.all(abs(G - exact) <= 1e-13 * abs(exact) + 1e-15)
        # Their rounding may differ from ours by a unit in the last place.
        distance = abs(omega[:, None] - np.append(spikes(n), np.inf))
        at_spike = np.any(distance <= 1e-12 * omega[:, None], axis=1)
        bound = np.where(at_spike, np.maximum(1e-13, 4 * n * n * EPS), 1e-13)
        assert np.all(abs(diagonal - exact_diagonal) <= bound * abs(exact_diagonal) + 1e-15)


def test_eigenvector_condition() -> None:
    # Exact values for n = 4, 8, 16, 32 (unit columns): 86, 7.7e4, 8.32e10, 1.22e23.
    for n, kappa in ((4, 86.0), (8, 7.7e4), (16, 8.32e10), (32, 1.22e23)):
        # Asymptotic in n: 13% too small at n = 4.
        assert legs.log10_eigenvector_condition(n) == pytest.approx(np.log10(kappa), abs=0.06)


@pytest.mark.parametrize("n", [0, -1, 1.5])
def test_impossible_order(n: int) -> None:
    with pytest.raises(UsageError, match="state size"):
        legs.matrices(n)


def test_impossible_readout() -> None:
    with pytest.raises(ShapeError, match="expected \\(3,\\)"):
        legs.check_readout(np.ones(2), 3)
    with pytest.raises(UsageError, match="NaN"):
        legs.check_readout(np.array([1.0, np.nan]), 2)
