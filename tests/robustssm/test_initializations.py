"""The names: what they mean, and what is refused."""

import numpy as np
import pytest

from robustssm.errors import StabilityError, UsageError
from robustssm.hippo import legs
from robustssm.hippo.initializations import NAMES, initialization, parse
from tests.reference import normal_part


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_real_stable_system(name: str) -> None:
    init = initialization(name, 16)
    assert init.eigenvalues.real.max() <= -0.25
    assert init.eigenvalues.imag.min() >= 0.0
    if name not in ("s4d-lin", "s4d-inv"):  # these list the pole -1/2 as a pair of its own
        assert init.weight.sum() == 16
    assert init.diagnostics["kappa"] >= 1.0 - 1e-12


@pytest.mark.parametrize("name", ["s4d", "s4ptd", "s4ptd-random", "s4ptd-rank1"])
def test_the_stored_half_is_the_whole_system(name: str) -> None:
    """Sum over stored modes, weighted, equals the dense transfer function."""
    n, omega = 16, np.array([0.3, 7.0, 80.0])
    init = initialization(name, n)
    assert init.V is not None
    C = np.random.default_rng(0).standard_normal(n)
    residues = (C @ init.V) * init.B * init.weight / 2
    s = 1j * omega[:, None]
    G = (residues / (s - init.eigenvalues)).sum(1)
    G += (residues.conj() / (s - init.eigenvalues.conj())).sum(1)
    full_A, B = legs.matrices(n)
    if name == "s4d":
        full_A, B = normal_part(n), B / 2
    elif name == "s4ptd-rank1":
        t = 0.2 / 1.1
        full_A, B = full_A + t * np.outer(*[legs.low_rank(n)] * 2), (1 - t / 2) * B
    else:
        from robustssm.hippo.ptd_methods import make

        full_A = full_A + make("optimized" if name == "s4ptd" else "random", n).E.real
    dense = [C @ np.linalg.solve(1j * w * np.eye(n) - full_A, B) for w in omega]
    # kappa(V) eps, kappa up to 1e4 for the random perturbation, and a spike nearby.
    np.testing.assert_allclose(G, dense, rtol=1e-9)


def test_formulas_of_s4d() -> None:
    # arXiv 2206.11893, equations (8) and (9), by hand for n = 4.
    np.testing.assert_allclose(
        initialization("s4d-inv", 4).eigenvalues, [-0.5 + 12j / np.pi, -0.5 + 4j / (3 * np.pi)]
    )
    np.testing.assert_allclose(initialization("s4d-lin", 4).eigenvalues, [-0.5, -0.5 + 1j * np.pi])
    np.testing.assert_allclose(initialization("s4d-real", 4).eigenvalues, [-1, -2, -3, -4])


@pytest.mark.parametrize("text", ["s4d", "s4ptd-rank1:tau=0.05", "s4ptd-random:seed=1"])
def test_names_can_be_typed_back(text: str) -> None:
    assert str(parse(text)) == text
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s6", "expected one of s4"),
        ("s4d:tau=1", "expected: alpha=1, sobolev=0"),
        ("s5:tau=1", "expected: none"),
        ("s4d:alpha=0", "a number above 0"),
        ("s4d-lin:sobolev=nan", "a finite number"),
        ("lru:r_min=1", "0 <= r_min < r_max"),
        ("lru:r_min=0.9:r_max=0.5", "r_min is '0.9', expected below 0.5"),
        ("dlinoss:r_max=1.5", "r_min < r_max <= 1"),
        ("dlinoss:max_phase=7", "max_phase <= 2 pi"),
        ("s4ptd-rank1:tau=2", "0 < tau <= 1"),
        ("s4ptd-rank1:tau=x", "expected a number"),
        ("s4ptd-random:seed=-1", "integer >= 0"),
        ("s4ptd-random:size=0", "size is '0', expected"),
        ("s4ptd-random:size=inf", "size is 'inf', expected"),
        ("s4ptd-random:size=big", "expected a number"),
        ("dss:kernel=cubic", "softmax or exp"),
    ],
)
def test_bad_names(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_state_size_one_is_refused() -> None:
    with pytest.raises(UsageError, match=">= 2"):
        initialization("s4d", 1)


def test_a_random_perturbation_of_a_given_size() -> None:
    from robustssm.hippo.ptd_methods import scaled_random

    found = initialization("s4ptd-random:seed=2:size=0.001", 16)
    assert str(found.name) == "s4ptd-random:seed=2:size=0.001"
    # A norm of a scaled matrix: some roundings.
    assert found.diagnostics["relative_norm"] == pytest.approx(1e-3, rel=1e-12)
    oracle = np.linalg.eigvals(legs.matrices(16)[0] + scaled_random(16, 2, 1e-3))
    assert found.diagnostics["max_real"] == oracle.real.max()
    with pytest.raises(StabilityError, match="expected < 0"):
        initialization("s4ptd-random:size=0.1", 32)
    assert str(parse("s4ptd-random:size=stable")) == "s4ptd-random"
