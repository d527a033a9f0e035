"""The optimised perturbation: its gradient, its limits, and the shipped matrix made again."""

import json
from pathlib import Path

import numpy as np
import pytest

from robustssm.errors import UsageError
from robustssm.evaluations.initializations.norms import sup_error
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import response
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import shipped_perturbation
from robustssm.hippo.initializations import parse
from robustssm.hippo.optimized import Objective, optimize, save
from robustssm.hippo.optimized import sup_error as own_sup_error


@pytest.mark.parametrize("margin", [0.35, 3.0])
def test_gradient_is_the_difference_quotient(margin: float) -> None:
    """With and without eigenvalues beyond the margin."""
    n = 6
    A, B = legs.matrices(n)
    objective = Objective(A, B, 0.3, margin, 0.0)
    rng = np.random.default_rng(0)
    P = legs.low_rank(n)
    E = 0.2 * np.outer(P, P) + 0.1 * rng.standard_normal((n, n))
    _, gradient = objective(E)
    for _ in range(5):
        direction = rng.standard_normal((n, n))
        h = 1e-6
        quotient = (objective(E + h * direction)[0] - objective(E - h * direction)[0]) / (2 * h)
        # Central differences: h^2 truncation and eps / h rounding, both about 1e-9 here.
        assert quotient == pytest.approx(float(np.sum(gradient * direction)), rel=1e-6, abs=1e-7)


def test_the_shipped_matrix_is_made_again(tmp_path: Path) -> None:
    stored, meta = shipped_perturbation(16)
    made = optimize(16, seed=0)
    # Rounding noise of 1e-14 in a start moves the result by about 1e-7.
    np.testing.assert_allclose(made.E, stored, atol=1e-4 * np.abs(stored).max())
    for key in ("kappa", "relative_norm", "max_real", "sup_error"):
        assert getattr(made, key) == pytest.approx(meta[key], rel=1e-3)
    assert made.kappa <= 10 and made.relative_norm <= 0.035 and made.max_real <= -0.25
    assert made.sup_error <= 0.15 and made.start == meta["start"]
    with np.load(save(made, tmp_path)) as file:
        assert json.loads(str(file["meta"]))["command"] == meta["command"]
        assert file["E"].dtype == np.float32


@pytest.mark.parametrize("n", [16, 32, 64, 128])
def test_sup_error_by_two_searches(n: int) -> None:
    E, meta = shipped_perturbation(n)
    other = sup_error(response(parse("s4ptd"), read_readout("e0", n))).value
    # Both attain the maximum on refined grids; the coarser one is within 1e-6 of it.
    assert own_sup_error(n, E) == pytest.approx(other, rel=1e-6)
    assert meta["sup_error"] == pytest.approx(other, rel=1e-5)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="n >= 2"):
        optimize(1)
    with pytest.raises(UsageError, match="restart"):
        optimize(4, restarts=0)
