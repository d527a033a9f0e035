"""Weak errors: two routes against each other, closed forms, and plain quadrature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from robustssm.errors import UsageError
from robustssm.evaluations.initializations import parseval
from robustssm.evaluations.initializations.inputs import DEFAULT, parse_input
from robustssm.evaluations.initializations.responses import damped, response
from robustssm.hippo.initializations import parse
from tests.evaluations.time_domain import MAX_GRAMIAN, product, time_error

INPUTS = [*DEFAULT, "mode:0", "mode:200"]


@pytest.mark.parametrize("text", INPUTS)
def test_energy_is_the_modulus_of_the_transform(text: str) -> None:
    signal = parse_input(text, 16)
    omega = np.array([1e-3, 0.5, 3.0, 81.0, 2e3])
    s = 1j * omega
    np.testing.assert_allclose(
        signal.energy(omega), np.abs(signal.transform(s)) ** 2, rtol=1e-12, atol=1e-22
    )
    # On the axis the part that decays to the left has the real part of the whole, |u|^2.
    np.testing.assert_allclose(product(signal, s).real, signal.energy(omega), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("text", "u"),
    [
        ("exp", lambda t: np.exp(-t)),
        ("mode:3", lambda t: np.exp(-t) * np.cos(3.0 * t)),
        ("box", lambda t: 1.0 * (t <= 1.0)),
        ("decay:0.75", lambda t: t**-0.25 * np.exp(-t) / 1.2254167024651776),
    ],
)
def test_transforms_are_laplace_integrals(text: str, u: object) -> None:
    assert callable(u)
    signal = parse_input(text, 16)
    for s in (0.5, 2.0):
        value = quad(lambda t, s=s: u(t) * np.exp(-s * t), 0.0, 1.0)[0]
        value += quad(lambda t, s=s: u(t) * np.exp(-s * t), 1.0 + 1e-12, np.inf)[0]
        # quad reaches 1e-8 at the weak singularity of t^(q-1).
        assert signal.transform(np.array([s + 0j]))[0] == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("name", ["s4d", "s4ptd-rank1", "s4ptd", "s4ptd-random", "s4d-inv"])
@pytest.mark.parametrize(
    ("readout", "n"),
    [(readout, n) for readout in ("e0", "jump-free", "random") for n in (2, 9, 16)]
    + [("random", 64)],
)
def test_two_routes_agree(name: str, readout: str, n: int) -> None:
    C = {
        "e0": np.eye(1, n)[0],
        "jump-free": np.concatenate([[3.0**0.5, -1.0], np.zeros(n - 2)]),
        "random": np.random.default_rng(0).standard_normal(n),
    }[readout]
    try:
        system = response(parse("s4ptd-rank1:tau=0.3" if name == "s4ptd-rank1" else name), C)
    except UsageError:
        pytest.skip(f"{name} ships no matrix of size {n}")
    signals = [parse_input(text, n) for text in INPUTS]
    axis = parseval.quadrature(system, signals)
    for signal in signals:
        frequency, time = np.sqrt(axis.integral(signal)), time_error(system, signal)
        if signal.kind == "decay" and readout != "e0" and (readout == "random" or n == 2):
            # Readouts of all n entries have a pole on the branch cut.
            assert time is None
            continue
        if time is None:
            # Residues that cancel: only ill-conditioned diagonalisations, never the family.
            assert name in ("s4ptd", "s4ptd-random")
            continue
        # Panels: 1e-11 each; D(1) D(-1) by a mean over 1 +- 1e-5: 1e-9 of it; the exponentials
        # that stand for t^(q-1): 1e-6 (a cut at 1e40, to the power -2q, and the pole at its end);
        # Gramians are refined until they move by 1e-7.
        loose = signal.kind == "decay" or name in ("s4ptd", "s4ptd-random")
        assert time == pytest.approx(frequency, rel=1e-5 if loose else 2e-8)


@given(tau=st.floats(0.15, 1.0), seed=st.integers(0, 10**6), n=st.integers(3, 30))
@settings(max_examples=30, deadline=None)
def test_two_routes_agree_for_any_damping_and_readout(tau: float, seed: int, n: int) -> None:
    system = damped(np.random.default_rng(seed).standard_normal(n), tau)
    for text in ("impulse", "exp", "box", "mode:7"):
        signal = parse_input(text, n)
        frequency = np.sqrt(parseval.quadrature(system, [signal]).integral(signal))
        # As above; a readout that happens to see little of e^-t loses two digits more.
        assert time_error(system, signal) == pytest.approx(frequency, rel=1e-6)


@pytest.mark.parametrize("n", [8, 64, 1024])
def test_e0_errors_of_the_normal_part_in_closed_form(n: int) -> None:
    system = damped(np.eye(1, n)[0], 1.0)
    # 1 / (2n) up to 1 / n^3 relative.
    assert time_error(system, parse_input("exp", n)) == pytest.approx(0.5 / n, rel=2.0 / n**3)
    # Energy 1/4 - 1/(2 n^2), found by measurement; the sum over n poles has n^2 eps at the spikes.
    energy = 0.25 - 0.5 / n**2
    assert time_error(system, parse_input("impulse", n)) == pytest.approx(energy**0.5, rel=1e-9)


def test_time_route_says_where_it_ends() -> None:
    big = response(parse("s4d-inv"), np.eye(1, MAX_GRAMIAN + 2)[0])
    assert time_error(big, parse_input("impulse", big.n)) is None
    assert time_error(response(parse("s4"), np.ones(8)), parse_input("exp", 8)) == 0.0


def test_quadrature_panels_tile_the_interval() -> None:
    low, high = parseval.quadrature_panels(np.array([-0.5 + 81.0j, -1e-3 + 3.0j]), 1e3)
    np.testing.assert_array_equal(low[1:], high[:-1])
    assert low.min() == 0.0 and high.max() == 1e3


@pytest.mark.parametrize(
    "text", ["step", "decay", "decay:0", "decay:1", "mode:x", "mode:-1", "mode:inf", "exp:2", ""]
)
def test_bad_inputs(text: str) -> None:
    with pytest.raises(UsageError, match=r"input: .*expected one of"):
        parse_input(text, 8)


@pytest.mark.parametrize(
    ("n", "tau"), [(33, 1e-5), (17, 1e-4), (9, 1e-3), (9, 1e-2), (64, 1e-3), (1, 0.3)]
)
def test_a_real_pole_beside_minus_one(n: int, tau: float) -> None:
    """For odd n the real eigenvalue comes within n tau of -1, the pole of e^-t."""
    system = damped(np.eye(1, n)[0], tau)
    for text in ("exp", "mode:0", "decay:0.25", "decay:0.75"):
        signal = parse_input(text, n)
        frequency = np.sqrt(parseval.quadrature(system, [signal]).integral(signal))
        found = time_error(system, signal)
        if found is None:
            assert n == 1 or signal.kind == "decay"
            continue
        # D(1) D(-1) is taken 1e-9 beside a pole at a distance of n tau >= 1e-3 to 1e-4.
        assert found == pytest.approx(frequency, rel=1e-7)


def test_constant_of_a_slow_decay_in_closed_form() -> None:
    from scipy.special import beta

    for q in (0.51, 0.6, 0.75):
        exact = np.sqrt(beta(1.5, q - 0.5) / (2.0 * np.pi))
        # int w^2 (1 + w^2)^(-1-q) / pi, the tail beyond 1e14 in its leading term.
        found = parseval.slope_norm(np.ones(1), parse_input(f"decay:{q}", 2))
        assert found == pytest.approx(exact, rel=1e-9)
