"""Influence of each step: against autograd, differences, and a linear model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import robustssm as rs
from robustssm.checkpoints import load_checkpoint
from robustssm.errors import UsageError
from robustssm.evaluations.searches.influence import influence
from robustssm.tasks import load_task

TASK = load_task("digits:side=8")
N = 3


def test_it_is_the_jacobian_s_norm_at_each_step(checkpoints: dict[str, Path]) -> None:
    network = load_checkpoint(checkpoints["s4d"]).own.double().eval()
    x = torch.from_numpy(TASK.splits["test"].first(N).inputs).double()
    found = influence(network, TASK, N)
    assert found.shape == (N, 64)
    for row in range(N):
        J = torch.autograd.functional.jacobian(lambda one: network(one)[0], x[row : row + 1])
        expected = J.square().sum((0, 1, 3)).sqrt()
        # Programs and autograd both in float64, through some hundred operations.
        np.testing.assert_allclose(found[row], expected, rtol=1e-8)
    step, t = 1e-5, 17
    up, down = x[:1].clone(), x[:1].clone()
    up[0, t], down[0, t] = up[0, t] + step, down[0, t] - step
    with torch.no_grad():
        slope = (network(up) - network(down))[0] / (2.0 * step)
    # Central differences: step^2 of the third derivative, and 1e-15 / step of rounding.
    assert found[0, t] == pytest.approx(float(slope.norm()), rel=1e-6)


class Linear(torch.nn.Module):
    """Ten logits, each a weighted sum of the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., 0] @ self.w


def test_of_a_linear_module_it_is_the_weights_norm_and_shown_over_its_mean() -> None:
    module = Linear()
    result = rs.influence({"linear": module}, data="digits:side=8", limit=5)
    norms = module.w.detach().double().norm(dim=1).numpy()
    frame = result.frame
    for column in ("low", "median", "high"):
        # Gradients in float32.
        np.testing.assert_allclose(frame[column], norms / norms.mean(), rtol=1e-5)
    assert frame["mean"].iloc[0] == pytest.approx(norms.mean(), rel=1e-5)
    assert (frame["n"] == 5).all() and frame["t"].tolist() == [*range(64)]
    (axes,) = result.figure().axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), frame["median"])
    assert axes.get_xlabel() == "step t"


def test_models_are_overlaid_by_name_and_seed(checkpoints: dict[str, Path]) -> None:
    result = rs.influence([checkpoints["s4d"], checkpoints["s4ptd-rank1"]], limit=2)
    assert isinstance(result.frame, pd.DataFrame)
    assert len(result.figure().axes[0].lines) == 2 and len(result.frame) == 2 * 64


def test_what_has_no_profile() -> None:
    task = load_task("denoise")
    with pytest.raises(UsageError, match="has answers at every step"):
        influence(torch.nn.Identity(), task)  # type: ignore[arg-type]
