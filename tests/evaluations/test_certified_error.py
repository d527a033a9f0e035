"""The certified distance between LegS systems: SLICOT, exact limits, and every readout."""

import numpy as np
import pytest
import slycot
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag

from robustssm.evaluations.initializations.certified_error import (
    certified_error,
    damped_error,
    diagonalization_error,
)
from robustssm.evaluations.initializations.hippo_bounds import HippoReadout
from robustssm.evaluations.initializations.responses import Response, damped, paired, response
from robustssm.hippo import legs
from robustssm.hippo.initializations import diagonalization, parse
from robustssm.typing import FloatArray

SYSTEMS = ["s4d", "s4ptd-rank1:tau=0.3", "s4d-lin", "s4d-inv", "s4ptd", "s4ptd-random"]


def dense(system: Response) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (A, B, C) of G_a, blocks of its pairs."""
    cells, B, C = [], [], []
    for pole, residue in zip(system.poles, system.residues, strict=True):
        if pole.imag:
            cells.append(np.array([[pole.real, pole.imag], [-pole.imag, pole.real]]))
            B += [2.0, 0.0]
            C += [residue.real, residue.imag]
        else:
            cells.append(np.array([[pole.real]]))
            B, C = [*B, 1.0], [*C, residue.real]
    return block_diag(*cells), np.array(B), np.array(C)


def slicot_error(system: Response) -> float:
    A, B, C = dense(system)
    A_H, B_H = legs.matrices(system.n)
    joint = block_diag(A, A_H)
    n = len(joint)
    b, c = np.concatenate([B, B_H])[:, None], np.concatenate([C, -system.C])[None]
    gain, _ = slycot.ab13dd(
        "C", "I", "N", "Z", n, 1, 1, joint, np.eye(n), b, c, np.zeros((1, 1)), 1e-12
    )
    return float(gain)


# AB13DD costs the cube of the states, and at n = 64 seconds; there one system of each readout.
@pytest.mark.parametrize(
    ("name", "n", "kind"),
    [(name, n, kind) for kind in ("e0", "random") for n in (4, 16, 32) for name in SYSTEMS]
    + [("s4d-inv", 64, "random"), ("s4ptd", 64, "e0")],
)
def test_bracket_against_slicot(name: str, n: int, kind: str) -> None:
    C = np.eye(1, n)[0] if kind == "e0" else np.random.default_rng(0).standard_normal(n)
    system = response(parse(name), C)
    found, gain = certified_error(system), slicot_error(system)
    # AB13DD's tolerance is 1e-12, its rounding on 2n = 128 states up to 1e-10 (random readouts).
    assert found.low <= gain * (1.0 + 2e-10) and found.high >= gain * (1.0 - 2e-10)
    assert found.high <= found.low * (1.0 + 1.001e-9)
    # low is attained where it says.
    at = np.abs(system.error(np.array([found.omega])))[0]
    assert at == pytest.approx(found.low, rel=1e-12 if name[:3] == "s4d" else 1e-9)


@pytest.mark.parametrize("n", [256, 4096, 65536])
def test_theorem_a(n: int) -> None:
    found = certified_error(damped(np.eye(1, n)[0], 1.0))
    # The limit 2/pi is approached as 0.5 / n^2.
    assert found.low == pytest.approx(2.0 / np.pi, rel=1.0 / n**2 + 1e-9)
    assert found.relative_gap <= 1.001e-9
    assert found.omega == pytest.approx(n * n / np.pi, rel=2.0 / n)


@pytest.mark.parametrize("tau", [0.01, 0.1, 0.5])
def test_worst_readout_has_the_closed_bound(tau: float) -> None:
    # sup over unit readouts <= tau max_r r sqrt(1 - r^2) / (1 - tau r), attained up to the phase.
    r = np.linspace(0.0, 1.0, 200001)
    bound = tau * np.max(r * np.sqrt(1.0 - r * r) / (1.0 - tau * r))
    for n in (16, 256, 10**5):
        found = damped_error(HippoReadout(n, None), tau)
        # The grid of r misses the maximum by at most 1e-10.
        assert found.high <= bound * (1.0 + 2e-9)
    # A phase of pi comes within pi / (2 ln n) of the best frequency.
    assert found.low == pytest.approx(bound, rel=1e-3)


@pytest.mark.parametrize("name", ["s4ptd", "s4ptd-rank1:tau=0.3"])
def test_worst_readout_of_a_diagonalisation(name: str) -> None:
    n = 16
    known = diagonalization(parse(name), n)
    found = diagonalization_error(known.eigenvalues, known.V, known.B)
    omega = np.geomspace(1e-2, 1e4, 4001)
    s = 1j * omega[:, None]
    x = ((known.V * known.B) @ (1.0 / (s - known.eigenvalues)).T) - legs.state(n, s[:, 0])
    assert np.linalg.norm(x, axis=0).max() <= found.high
    # 4001 points on six decades resolve the curve's features (width >= 0.5) to some percent.
    assert np.linalg.norm(x, axis=0).max() >= 0.95 * found.low
    if "rank1" in name:
        closed = damped_error(HippoReadout(n, None), 0.3)
        # Two routes; the diagonalisation has kappa eps = 1e-14, its bracket 1e-6.
        assert found.low == pytest.approx(closed.low, rel=2e-6)


@given(n=st.integers(2, 40), seed=st.integers(0, 10**6), tau=st.floats(0.15, 1.0))
@settings(max_examples=20, deadline=None)
def test_no_frequency_exceeds_high(n: int, seed: int, tau: float) -> None:
    system = damped(np.random.default_rng(seed).standard_normal(n), tau)
    omega = np.concatenate([np.geomspace(1e-2, 1e3 * n, 300), system.poles.imag])
    found = certified_error(system, rtol=1e-4)
    # Rounding: the difference of two transfer functions of size |C| sqrt(n).
    slack = 1e-12 * np.abs(system.transfer(omega)).max()
    assert np.abs(system.error(omega)).max() <= found.high + slack
    assert found.high <= found.low * (1.0 + 1.001e-4)


@pytest.mark.parametrize("name", ["s4d", "s4ptd", "s4d-inv", "s4"])
def test_a_readout_of_few_entries(name: str) -> None:
    system = response(parse(name), np.array([1.0, -0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0]))
    omega = np.concatenate([[0.0], np.geomspace(1e-2, 1e3, 3000)])
    found, values = certified_error(system, 1e-6), np.abs(system.error(omega))
    assert values.max() <= found.high + 1e-13
    # 3000 points a five decades see a maximum to a percent.
    assert values.max() >= 0.98 * found.low - 1e-13


def test_zero_readout() -> None:
    found = certified_error(damped(np.zeros(8), 1.0))
    assert (found.low, found.high) == (0.0, 0.0)
    poles, _ = paired(damped(np.eye(1, 9)[0], 1.0))
    assert len(poles) == 9


def test_both_signs_of_omega_where_the_residues_are_not_conjugate() -> None:
    poles = np.array([-1.0 + 5.0j, -1.0 - 5.0j])
    found = diagonalization_error(poles, np.eye(2) + 0j, np.array([1.0 + 0j, 30.0 + 0j]))
    # The strong residue is that of the pole at -5.
    assert found.omega == pytest.approx(-5.0, abs=0.05) and found.low > 29.0


def test_a_readout_that_sees_nothing() -> None:
    found = diagonalization_error(np.array([-1 + 0j]), np.eye(1) + 0j, np.ones(1) + 0j, np.zeros(1))
    assert (found.low, found.high) == (0.0, 0.0)
