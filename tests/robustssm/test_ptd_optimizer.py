"""The optimised perturbation: its gradient, its limits, and the shipped matrix made again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robustssm.errors import UsageError
from robustssm.evaluations.initializations.norms import sup_error
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.initializations.responses import response
from robustssm.hippo import legs, optimized
from robustssm.hippo.diagonalize import MAX_REAL, Diagonalization
from robustssm.hippo.initializations import parse
from robustssm.hippo.matrix_files import load_initialization, save_initialization, shipped
from robustssm.hippo.optimized import (
    GAMMA,
    STABILITY_GAP,
    STARTS,
    objective,
    optimize,
    restart,
)
from robustssm.hippo.optimized import sup_error as own_sup_error
from robustssm.hippo.ptd_methods import make


@pytest.mark.parametrize("scale", [0.2, -0.1])
def test_the_objective_is_what_it_says(scale: float) -> None:
    """Without and with eigenvalues that the penalty sees."""
    n = 6
    A, _ = legs.matrices(n)
    P = legs.low_rank(n)
    E = scale * np.outer(P, P) + 0.1 * np.random.default_rng(0).standard_normal((n, n))
    eigenvalues, V = np.linalg.eig(A + E)
    penalty = np.sum(np.maximum(0.0, eigenvalues.real - (MAX_REAL - STABILITY_GAP)) ** 2)
    size = np.linalg.norm(E) / np.linalg.norm(A, 2)
    value = objective(torch.from_numpy(E)).item()
    # Two eigensolvers: kappa, below 1e3, times n eps.
    assert value == pytest.approx(np.log(np.linalg.cond(V)) + GAMMA * size + penalty, rel=1e-11)


def test_the_shipped_matrix_is_made_again(tmp_path: Path) -> None:
    """The restart that won, by its name; the others are left out."""
    stored = shipped(16)
    names = [start.name for start in STARTS]
    made = restart(16, names.index(str(stored.meta["start"])), 0, int(str(stored.meta["steps"])))
    assert made is not None
    # Rounding noise of 1e-14 in a start moves the result by about 1e-7.
    np.testing.assert_allclose(made.E, stored.E, atol=1e-4 * np.abs(stored.E).max())
    again = {"kappa": made.kappa, "relative_norm": made.relative_norm, "max_real": made.max_real}
    for key, value in {**again, "sup_error": made.settings["sup_error"]}.items():
        assert value == pytest.approx(stored.meta[key], rel=1e-3)
    assert made.kappa <= 10 and made.relative_norm <= 0.035 and made.max_real <= -0.25
    save_initialization(tmp_path / "n16.npz", made)
    again_stored = load_initialization(tmp_path / "n16.npz")
    np.testing.assert_array_equal(again_stored.E, made.E)
    assert np.array_equal(made.E, made.E.astype(np.float32))
    assert again_stored.meta["start"] == stored.meta["start"]


def test_the_best_restart_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stable first, then the limits, pairs, the sup error."""
    first = make("optimized", 8)

    def end(sup_error: float, **changes: object) -> Diagonalization:
        return replace(first, settings={"sup_error": sup_error}, **changes)  # type: ignore[arg-type]

    real = first.eigenvalues.real + 0j
    ends = [
        None,
        end(0.01, max_real=-0.2),
        end(0.02, kappa=20.0),
        end(0.03, relative_norm=0.05),
        end(0.04, eigenvalues=real),
        end(0.06),
        end(0.05),
    ]
    monkeypatch.setattr(optimized, "restart", lambda n, index, seed, steps: ends[index])
    # From the third on each is better than those before it.
    for count in range(3, 8):
        made, expected = optimize(8, restarts=count), ends[count - 1]
        assert expected is not None
        assert made.settings == {**expected.settings, "restarts": count}
    with pytest.raises(UsageError, match="none of 2 restarts"):
        optimize(8, restarts=2)


@pytest.mark.parametrize("n", [16, 32, 64, 128])
def test_sup_error_by_two_searches(n: int) -> None:
    E, meta = shipped(n).E, shipped(n).meta
    other = sup_error(response(parse("s4ptd"), read_readout("e0", n))).value
    # Both attain the maximum on refined grids; the coarser one is within 1e-6 of it.
    assert own_sup_error(n, np.asarray(E, dtype=np.float64)) == pytest.approx(other, rel=1e-6)
    assert meta["sup_error"] == pytest.approx(other, rel=1e-5)


def test_refusals() -> None:
    with pytest.raises(UsageError, match=">= 2"):
        optimize(1)
    with pytest.raises(UsageError, match="restart"):
        optimize(4, restarts=0)
