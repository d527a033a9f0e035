"""Pseudospectra against dense singular values, multi-precision values and theory."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.cli import Commands
from robustssm.commands.pseudospectrum import pseudospectrum as command
from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.initializations import dense_resolvent
from robustssm.evaluations.initializations import pseudospectrum as evaluation
from robustssm.evaluations.initializations.dense_resolvent import Dense
from robustssm.evaluations.initializations.resolvents import Family
from robustssm.hippo import legs
from robustssm.hippo.initializations import parse
from robustssm.hippo.spectrum import spikes
from robustssm.storage.writing import finite
from robustssm.typing import ComplexArray, FloatArray

EPS = np.finfo(np.float64).eps
# One of every kind of matrix; a new initialisation enters the tests here.
NAMES = ("hippo", "s4d", "s4ptd-rank1:tau=0.5", "s4ptd-rank1", "s4ptd", "s4ptd-random")
# Bisection and, for a dense matrix, Lanczos where singular values cluster.
RELATIVE = {Family: 1e-11, Dense: 1e-6}


def dense(name: str, n: int) -> FloatArray:
    """Return M as a matrix, by its definition."""
    A, _ = legs.matrices(n)
    known = evaluation.resolvent(name, n)
    if isinstance(known, Dense):
        return known.M
    tau = {"hippo": 0.0, "s4d": 1.0}.get(name)
    tau = float(parse(name)["tau"]) if tau is None else tau
    P = legs.low_rank(n)
    return A + 2.0 * tau / (1.0 + tau) * np.outer(P, P)


def smallest(M: FloatArray, z: ComplexArray) -> FloatArray:
    """Return sigma_min(zI - M) by a dense SVD, z (m,)."""
    shifted = z[:, None, None] * np.eye(len(M)) - M
    values = np.linalg.svd(shifted, compute_uv=False)[:, -1].astype(np.float64)
    return values


def sigma(known: evaluation.Resolvent, z: ComplexArray) -> FloatArray:
    return 10.0 ** known.log10_sigma(z)


def points(n: int, count: int = 30) -> ComplexArray:
    """Return points among the eigenvalues, on the mirror line, on the axes and far away."""
    rng = np.random.default_rng(n)
    low = n * rng.uniform(-1.3, 0.4, count) + 1j * n * rng.uniform(-0.8, 0.8, count)
    wide = n * n * (rng.uniform(-0.6, 0.2, count) + 1j * rng.uniform(-0.5, 0.5, count))
    near = rng.uniform(-1.2, 0.3, count) + 1j * rng.uniform(-3.0, 3.0, count)
    line = -0.5 + 1j * n * rng.uniform(-1.0, 1.0, count)
    poles = np.concatenate([spikes(n), [0.0]])
    beside = -0.5 + 10.0 ** -rng.uniform(1.0, 16.0, len(poles)) + 1j * poles
    return np.concatenate([low, wide, near, line, beside, -0.5 + 1j * poles, near.real])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [8, 64])
def test_equals_dense_svd(name: str, n: int) -> None:
    known, M, z = evaluation.resolvent(name, n), dense(name, n), points(n)
    expected, got = smallest(M, z), sigma(known, z)
    # The SVD's own error is a few eps |zI - M|, absolute.
    scale = np.linalg.norm(M, 2) + np.abs(z)
    tolerance = 4.0 * np.sqrt(n) * EPS * scale + RELATIVE[type(known)] * expected
    valid = expected > 1e3 * EPS * scale
    assert valid.sum() > 100
    assert np.all(np.abs(got - expected)[valid] <= tolerance[valid])
    # Elsewhere the SVD says no more than that it is small.
    assert np.all(got[~valid] <= 2e3 * EPS * scale[~valid])


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 40),
    tau=st.sampled_from([0.0, 1e-3, 0.1, 0.5, 0.99, 1.0]),
    re=st.floats(-60.0, 20.0),
    im=st.floats(-60.0, 60.0),
)
def test_family_equals_dense_svd_anywhere(n: int, tau: float, re: float, im: float) -> None:
    P = legs.low_rank(n)
    M = legs.matrices(n)[0] + 2.0 * tau / (1.0 + tau) * np.outer(P, P)
    z = np.array([complex(re, im)])
    scale = np.linalg.norm(M, 2) + np.abs(z)
    # As above: the SVD's error, and that of the bisection.
    expected, got = smallest(M, z), sigma(Family(n, tau), z)
    assert np.all(np.abs(got - expected) <= 4.0 * np.sqrt(n) * EPS * scale + 1e-11 * expected)


# Computed with mpmath at 110 digits (inverse matrix, power iteration to 40 digits).
@pytest.mark.parametrize(
    ("z", "expected"),
    [
        (-43.96, 2.526139868704191844e-48),
        # -4352/99, a node of a grid of 100 points: 2.5516569242e-48.
        (-4352 / 99, 2.551656924212387748e-48),
    ],
)
def test_full_relative_accuracy_where_svd_has_none(z: float, expected: float) -> None:
    at = np.array([complex(z)])
    # A product of 64 factors of a few eps each.
    np.testing.assert_allclose(sigma(Family(64, 0.0), at), expected, rtol=1e-12)
    assert smallest(legs.matrices(64)[0], at)[0] > 1e-20


def test_middle_of_the_spectrum_at_256_and_beyond() -> None:
    z = np.array([-128.5, -128.5 + 1.0j, -180.25 + 3.0j])
    logs = Family(256, 0.0).log10_sigma(z)
    assert np.isfinite(logs).all() and (logs < -150.0).all()
    # Below 5e-324 the logarithm goes on: two routes, one product and one sum of logarithms.
    z = np.array([-700.5 + 0.3j, -300.5 + 20.0j, -500.0 + 400.0j])
    logs = Family(1024, 0.0).log10_sigma(z)
    s, i = -1.0 - z, np.arange(1024)[:, None]
    ratio = np.log10(np.abs((s - i) / (s + i + 1.0)))
    b, ahead = legs.input_vector(1024)[:, None], np.cumsum(ratio, axis=0) - ratio
    x = np.log10(b / np.abs(s + i + 1.0)) + ahead
    y = np.log10(b / np.abs(s + i + 1.0)) + np.cumsum(ratio[::-1], axis=0)[::-1] - ratio
    norms = sum(0.5 * np.log10(np.sum(100.0**v, axis=0)) for v in (x, y))
    # |R| = |x| |y| / |phi| where that is huge; 1024 logarithms of a few eps.
    np.testing.assert_allclose(logs, ratio.sum(axis=0) - norms, rtol=1e-12)


@pytest.mark.parametrize("name", ["hippo", "s4d", "s4ptd-rank1"])
@pytest.mark.parametrize("n", [8, 9])
def test_eigenvalue_is_minus_infinity_or_rounding(name: str, n: int) -> None:
    known = evaluation.resolvent(name, n)
    with np.errstate(all="raise"):
        logs = known.log10_sigma(known.eigenvalues)
    assert not np.isnan(logs).any()
    if name != "s4ptd-rank1":
        assert np.all(logs == -np.inf)
    # Its eigenvalues are roots found by Newton, to a few eps |lambda| kappa.
    assert np.all(logs < -13.0)


@pytest.mark.parametrize("name", NAMES)
def test_conjugate_symmetry(name: str) -> None:
    known, z = evaluation.resolvent(name, 16), points(16)
    tolerance = RELATIVE[type(known)]
    np.testing.assert_allclose(sigma(known, z.conj()), sigma(known, z), rtol=tolerance, atol=1e-14)
    # The grid uses it: the same numbers, row by row, on a window that is not symmetric.
    real, imag = np.linspace(-3.0, 1.0, 5), np.linspace(-2.0, 3.0, 6)
    full = known.log10_sigma(real + 1j * np.abs(imag[:, None]))
    # Products of matrices round differently in blocks of another size.
    np.testing.assert_allclose(evaluation.on_grid(known, real, imag), full, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("name", "n"), [(name, 16) for name in NAMES] + [("hippo", 32)])
def test_between_numerical_range_and_spectrum(name: str, n: int) -> None:
    known, z = evaluation.resolvent(name, n), points(n)
    got, slack = sigma(known, z), RELATIVE[type(known)]
    distance = np.abs(z[:, None] - known.eigenvalues).min(axis=1)
    # Eigenvalues of a dense M are those of its Schur form, within eps |M| kappa.
    assert np.all(got <= distance * (1.0 + slack) + 1e-11)
    if name == "s4d":
        np.testing.assert_allclose(got, distance, rtol=1e-13, atol=0.0)
    theta = np.concatenate([evaluation.THETA, -evaluation.THETA])
    height, at = known.support(evaluation.THETA)
    beyond = (np.exp(-1j * theta) * z[:, None]).real - np.tile(height, 2)
    assert np.all(got >= beyond.max(axis=1) * (1.0 - slack) - 1e-11)
    # A boundary point attains the support function; eps |M| of rounding.
    attained = (np.exp(-1j * evaluation.THETA) * at).real
    np.testing.assert_allclose(attained, height, atol=n**2 * n * EPS)


@pytest.mark.parametrize("name", ["hippo", "s4d", "s4ptd-rank1"])
@pytest.mark.parametrize("n", [1, 2, 3, 17, 20])
def test_numerical_range_equals_dense(name: str, n: int) -> None:
    if n == 2 and name == "s4ptd-rank1":
        pytest.skip("nearly defective at n = 2")
    known, exact = evaluation.resolvent(name, n), Dense(dense(name, n))
    height, at = known.support(evaluation.THETA)
    expected, _ = exact.support(evaluation.THETA)
    # n eps |A| of the dense eigensolver.
    tolerance = 8.0 * n * EPS * (1.0 + float(np.linalg.norm(exact.M, 2)))
    np.testing.assert_allclose(height, expected, atol=tolerance)
    assert known.numerical_abscissa == pytest.approx(exact.numerical_abscissa, abs=tolerance)
    assert len(at) == len(height)


@pytest.mark.parametrize("n", [1, 2, 64, 256])
def test_resolvent_on_the_imaginary_axis_is_at_most_two(n: int) -> None:
    omega = np.concatenate([[0.0], np.geomspace(1e-3, 10.0 * n * n, 200)])
    # Re of the numerical range is at most -1/2.
    assert np.all(sigma(Family(n, 0.0), 1j * omega) >= 0.5 * (1.0 - 1e-11))


@pytest.mark.parametrize("name", ["hippo", "s4ptd-rank1", "s4ptd"])
def test_abscissae(name: str) -> None:
    known = evaluation.resolvent(name, 16)
    M = dense(name, 16)
    for eps in evaluation.LEVELS:
        found = evaluation.pseudospectral_abscissa(known, eps)
        # Between that of the spectrum + eps (a shift) and that of the numerical range + eps.
        assert known.eigenvalues.real.max() + eps <= found + 1e-6
        assert found <= known.numerical_abscissa + eps + 1e-12
        # x + iy has a singular value eps where the Hamiltonian matrix of x has the eigenvalue iy:
        # so left of the abscissa, and nowhere right of it (Burke, Lewis and Overton 2003).
        for x, reached in ((found - 1e-4, True), (found + 1e-4, False)):
            shifted = x * np.eye(16) - M.T
            hamiltonian = np.block([[shifted, -eps * np.eye(16)], [eps * np.eye(16), -shifted.T]])
            # Simple eigenvalues of the Hamiltonian are on the line to rounding.
            distance = np.abs(np.linalg.eigvals(hamiltonian).real).min()
            assert (distance < 1e-8) == reached, (eps, x)


def test_normal_abscissa_is_exact() -> None:
    for eps in evaluation.LEVELS:
        found = evaluation.pseudospectral_abscissa(Family(16, 1.0), eps)
        assert found == pytest.approx(-0.5 + eps, abs=1e-12)


def test_result_holds_the_grid_and_its_measures() -> None:
    result = evaluation.pseudospectrum(16, NAMES, (-3.0, 2.0, -2.0, 2.0), (21, 11))
    for name, known in result.systems.items():
        assert known.log10_sigma.shape == (11, 21) and len(known.boundary) == 190
        np.testing.assert_array_equal(known.imag, -known.imag[::-1])
        right = known.real > 0.0
        M = dense(name, 16)
        z = (known.real[right] + 1j * known.imag[:, None]).ravel()
        ratio = float(np.max(z.real / smallest(M, z)))
        assert known.kreiss_lower == pytest.approx(max(1.0, ratio), rel=1e-6)
    assert result.systems["hippo"].accuracy == "full relative accuracy"
    assert "floor" in result.systems["s4ptd"].accuracy
    # A node on -1 makes the minimum -inf, which JSON has not.
    assert result.systems["hippo"].log10_sigma.min() == -np.inf
    json.dumps(finite(result.to_json()), allow_nan=False)


def test_default_windows_hold_what_they_promise() -> None:
    low = evaluation.pseudospectrum(8, ("hippo",), "low", (3, 3)).window
    assert low[0] < -8.0 and low[1] > 0.0
    result = evaluation.pseudospectrum(8, ("hippo", "s4d"), "whole", (3, 3))
    edge = np.concatenate([known.boundary for known in result.systems.values()])
    left, right, bottom, top = result.window
    assert left < edge.real.min() and edge.real.max() < right and right > 0.0
    assert bottom < edge.imag.min() and edge.imag.max() < top


def test_dense_floor_is_an_upper_bound() -> None:
    known = Dense(legs.matrices(64)[0])
    # True values 3e-48, 0 and 1e-34.
    logs = known.log10_sigma(np.array([-43.96, -30.0, -20.0 + 1.0j]))
    np.testing.assert_array_equal(logs, np.log10(known.floor))


@pytest.mark.parametrize(
    ("names", "n", "error"),
    [
        (("s4d-lin",), 8, UsageError),
        (("s4ptd",), 7, UsageError),
        (("s4ptd-random",), 513, UsageError),
        (("hippo",), 0, UsageError),
        (("hippo",), 20000, UsageError),
        ((), 8, UsageError),
        (("s4ptd-rank1:tau=1e-9",), 8, StabilityError),
    ],
)
def test_bad_matrices(names: tuple[str, ...], n: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        evaluation.pseudospectrum(n, names, grid=(2, 2))


def run(*arguments: str) -> tuple[int, str]:
    group = Commands("main")
    group.add_command(command)
    result = CliRunner().invoke(group, ["pseudospectrum", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n", "0"),
        ("--init", "nonsense"),
        ("--init", ","),
        ("--init", "s4d-inv"),
        ("--window", "nan,1,0,1"),
        ("--window", "1,1,0,1"),
        ("--window", "0,1,2,1"),
        ("--window", "0,1,2"),
        ("--window", "0,1e200,0,1"),
        ("--point", "inf,0"),
        ("--point", "1e101,0"),
        ("--point", "1"),
        ("--grid", "1"),
        ("--grid", "10x10x10"),
        ("--grid", "2000x2000"),
        ("--grid", "-3"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...]) -> None:
    code, output = run("--no-figures", *arguments)
    assert code == 2
    assert len(output.strip().splitlines()) == 1 and "expected" in output


def test_point_command() -> None:
    code, output = run(
        "--init", "hippo", "--point", "-43.96,0", "--point", "-2,0", "--format", "json"
    )
    assert code == 0
    first, second = json.loads(output)["points"]
    assert first["sigma_min"] == pytest.approx(2.526139868704e-48, rel=1e-12)
    # JSON has no infinities: sigma_min = 0 says the same.
    assert second["sigma_min"] == 0.0 and second["log10_sigma_min"] is None


@pytest.mark.usefixtures("pdf_only")
def test_command_writes_figure_and_table(tmp_path: Path) -> None:
    code, output = run(
        *("-n", "8", "--grid", "12x10", "--window", "-10,2,-4,4", "--progress", "none"),
        *("--init", "hippo,s4ptd", "--format", "csv", "-o", str(tmp_path)),
    )
    assert code == 0 and "hippo,full relative accuracy,-1.0" in output and "floor" in output
    assert {path.suffix for path in tmp_path.iterdir()} == {".pdf", ".png", ".svg", ".csv"}


def test_points_without_convergence_are_decomposed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = evaluation.resolvent("s4ptd", 16)
    z = points(16)
    expected = known.log10_sigma(z)
    monkeypatch.setattr(dense_resolvent, "CHECKS", (2,))
    np.testing.assert_allclose(known.log10_sigma(z), expected, atol=1e-6)
