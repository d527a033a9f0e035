"""Reports of initialisations: sup errors by two routes, bounds that hold, what cannot be had."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.initializations import norms
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import response
from robustssm.evaluations.initializations.trade_off import (
    RTOL,
    bounds,
    ptd_table,
    report,
    sup_errors,
)
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import normal, perturb, rank_one
from robustssm.hippo.initializations import parse
from robustssm.hippo.ptd_methods import METHODS, make
from robustssm.typing import FloatArray


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [16, 32])
def test_each_method_is_made_stable_and_measured(method: str, n: int) -> None:
    made = make(method, n)
    readouts = {name: read_readout(name, n) for name in ("e0", "ones")}
    result = report(made, readouts)
    assert result.stable and result.kappa == made.kappa
    # One 2-norm by two routes.
    assert result.norm == pytest.approx(
        result.relative_norm * np.linalg.norm(legs.matrices(n)[0], 2), rel=1e-10
    )
    for name, C in readouts.items():
        # Cauchy and Schwarz, between proved bounds.
        assert result.errors[name].low <= np.linalg.norm(C) * result.errors["worst"].high


@pytest.mark.parametrize("tau", [0.5, 0.1, 0.01])
def test_worst_readout_of_the_rank_one_family(tau: float) -> None:
    """sup = max_r tau r sqrt(1 - r^2) / (1 - tau r), attained as n grows."""
    r = np.linspace(0.0, 1.0, 100001)
    theory = float(np.max(tau * r * np.sqrt(1.0 - r * r) / (1.0 - tau * r)))
    found = sup_errors(rank_one(64, tau))[0]
    # Attained only where the phase of phi_n fits: within 0.2% at n = 64. The maximum over r is
    # sampled to 1e-9.
    assert theory * (1.0 - 3e-3) < found.low <= theory * (1.0 + 1e-8)
    assert found.omega > 0.0 and found.high <= found.low * (1.0 + 1.001 * RTOL)


@pytest.mark.parametrize("name", ["s4ptd", "s4ptd-random", "s4ptd-rank1", "s4d"])
def test_readout_errors_by_two_searches(name: str) -> None:
    n = 16
    known = normal(n) if name == "s4d" else make_of(name, n)
    for text in ("e0", "ones", "random:1"):
        C = read_readout(text, n)
        other = norms.sup_error(response(parse(name), C)).value
        # The other is within 1e-9 of the sup; eigenvectors of kappa 54 lose two digits of 1e-16.
        assert sup_errors(known, [C])[1].low == pytest.approx(other, rel=2.0 * RTOL)


def make_of(name: str, n: int):  # type: ignore[no-untyped-def]
    method = {"s4ptd": "optimized", "s4ptd-random": "random", "s4ptd-rank1": "rank1"}[name]
    return make(method, n)


def test_worst_readout_by_two_searches() -> None:
    for method in ("optimized", "random", "corner"):
        made = make(method, 16)
        A, B = legs.matrices(16)
        found = sup_errors(made)[0]

        def error(
            omega: FloatArray, M: FloatArray = A + made.E.real, B: FloatArray = B
        ) -> FloatArray:
            shifted = 1j * omega[:, None, None] * np.eye(16) - M
            x = np.linalg.solve(shifted, B[:, None])[..., 0]
            return np.asarray(np.linalg.norm(x - legs.state(16, 1j * omega).T, axis=1))

        # Solves of condition below 1e4; attained there, and nowhere exceeded on a fine grid.
        assert error(np.array([found.omega]))[0] == pytest.approx(found.low, rel=1e-9)
        near = found.omega + np.linspace(-2.0, 2.0, 801)
        omega = np.concatenate([near, np.geomspace(1e-2, 1e4, 4001)])
        assert error(omega).max() <= found.high * (1.0 + 1e-9)


def test_complex_spectra_are_searched_on_both_sides() -> None:
    n = 8
    A, B = legs.matrices(n)
    E = 0.5j * np.diag(np.arange(n)[::-1] + 1.0) + 0.1 * np.ones((n, n))
    found = perturb(E, stable=True)
    omega = np.linspace(-30.0, 30.0, 60001)
    x = legs.state(n, 1j * omega).T
    direct = np.array(
        [np.linalg.norm(np.linalg.solve(1j * w * np.eye(n) - A - E, B)) for w in omega[::2000]]
    )
    dense = np.linalg.norm(
        (found.V * found.B) @ (1 / (1j * omega - found.eigenvalues[:, None])), axis=0
    )
    # kappa up to 1e4 times eps.
    np.testing.assert_allclose(dense[::2000], direct, rtol=1e-9)
    error = np.linalg.norm(
        (found.V * found.B) @ (1 / (1j * omega - found.eigenvalues[:, None])) - x.T, axis=0
    )
    sup = sup_errors(found)[0]
    # A grid of step 1e-3 beside poles of width 0.5: 1e-6 of the maximum at most.
    assert sup.low == pytest.approx(error.max(), rel=1e-5)
    assert sup.omega == pytest.approx(omega[error.argmax()], abs=2e-2)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 12),
    size=st.floats(1e-3, 0.49),
    seed=st.integers(0, 10**6),
    scale=st.floats(0.0, 1.0),
)
def test_the_sharp_bound_holds(n: int, size: float, seed: int, scale: float) -> None:
    """For every |E| < 1/2 the system is stable and its error below 2 (eps + dB) / (1 - 2 eps)."""
    rng = np.random.default_rng(seed)
    E = rng.standard_normal((n, n))
    E *= size / np.linalg.norm(E, 2)
    B = legs.input_vector(n) + scale * rng.standard_normal(n)
    found = perturb(E, B=B)
    assert found.max_real <= -0.5 + size + 1e-9
    change = float(np.linalg.norm(B - legs.input_vector(n)))
    _, sharp = bounds(n, size, change, 0.0)
    assert sharp.value is not None
    # Rounding: kappa, at most 1e9 for these sizes, times eps.
    assert sup_errors(found)[0].low <= sharp.value * (1.0 + 1e-6)


def test_what_the_bounds_say() -> None:
    paper, sharp = bounds(16, 1e-4, 0.0, 1e-5)
    assert paper.value == pytest.approx((2.0 * np.log(16.0) + 4.0) * 1e-4, rel=1e-15)
    assert paper.measured == pytest.approx(1e-5 / 16.0, rel=1e-15)
    assert "vacuous" not in paper.note and "vacuous" not in sharp.note
    paper, sharp = bounds(16, 0.4, 0.0, 0.1)
    assert "vacuous" in paper.note and "vacuous" in sharp.note
    paper, sharp = bounds(16, 0.6, 0.0, 0.1)
    assert sharp.value is None and "1/2" in sharp.note
    paper, sharp = bounds(16, 1e-4, 0.1, 0.1)
    assert paper.value is None and "does not apply" in paper.note and sharp.value is not None
    for bound in bounds(16, 1.0, 0.0, None):
        assert bound.value is None and "unstable" in bound.note


def test_unstable_matrices_have_no_error() -> None:
    made = make("random", 16, relative_norm=0.1, stable=False)
    result = report(made, {"e0": read_readout("e0", 16)})
    assert not result.stable and result.errors == {}
    with pytest.raises(StabilityError, match="max Re lambda"):
        make("random", 16, relative_norm=0.1)


@pytest.mark.parametrize(
    ("method", "n", "extra"),
    [
        ("rank1", 1, {}),
        ("rank1", 0, {}),
        ("rank1", 2.5, {}),
        ("rank1", 8, {"size": 1.0}),
        ("rank1", 8, {"tau": 2.0}),
        ("corner", 8, {"tau": 0.1}),
        ("corner", 8, {"size": 1.0, "relative_norm": 0.1}),
        ("corner", 8, {"size": -1.0}),
        ("random", 8, {"relative_norm": np.nan}),
        ("random", 8, {"free_input": True}),
        ("optimized", 7, {}),
        ("magic", 8, {}),
    ],
)
def test_refusals(method: str, n: int, extra: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"expected|does not belong"):
        make(method, n, **extra)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [5, 9])
def test_odd_sizes(n: int) -> None:
    for method in ("rank1", "clipped", "random", "corner"):
        assert report(make(method, n), {}).stable


def test_table_of_names() -> None:
    table = ptd_table([16, 17])
    assert list(table["n"]) == [16] * 4 + [17] * 4
    missing = table[(table["n"] == 17) & (table["init"] == "s4ptd")]
    assert "ships" in missing["note"].iloc[0] and missing["kappa"].isna().all()
    assert (table["max_real"].dropna() < 0.0).all()
