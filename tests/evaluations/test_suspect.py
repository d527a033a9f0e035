"""A sweep does not call a network robust without a flag where an adversary's gradients mislead."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustssm as rs
from robustssm.api.runs import Run
from robustssm.attacks.adversaries import SpectralAutoAttack

L, N = 16, 12


class Linear(nn.Module):
    """Logits of three classes; where saturated they are steps, whose gradients are zero."""

    def __init__(self, saturated: bool) -> None:
        super().__init__()
        weight = torch.randn(3, L, generator=torch.Generator().manual_seed(0))
        self.weight, self.saturated = nn.Parameter(weight), saturated

    def forward(self, x: Tensor) -> Tensor:
        logits = x[:, :, 0] @ self.weight.T
        return (40.0 * logits).tanh().round() + 1e-3 * logits.detach() if self.saturated else logits


def swept(saturated: bool, batch_size: int = 64) -> Run:
    x = np.random.default_rng(1).standard_normal((N, L, 1)).astype(np.float32)
    y = Linear(False)(torch.from_numpy(x)).argmax(1).numpy()
    parts = ("apgd-ce", "square")
    attack = SpectralAutoAttack(0, L // 2, "custom", parts, steps=10, queries=30)
    models = {"net": rs.wrap(Linear(saturated))}
    return rs.sweep(models, noise=attack, eps=0.02, data=(x, y), batch_size=batch_size)


def test_a_sweep_keeps_how_many_samples_are_suspect() -> None:
    run = swept(True)
    clean, row = run.summary.to_dict("records")
    assert row["suspect"] == 1.0 and np.isnan(clean["suspect"])
    (line,) = run.tables.verdicts()
    assert line.startswith("net/0, SpectralAutoAttack(") and "signs at 100.0%" in line


def test_sound_gradients_leave_no_sign() -> None:
    run = swept(False)
    assert run.summary["suspect"].tolist()[1:] == [0.0]
    assert run.tables.verdicts() == []
    assert run.summary["accuracy"].iloc[1] > 0.0


@pytest.mark.parametrize("size", [1, 5])
def test_the_sign_of_a_sample_is_its_own(size: int) -> None:
    whole, parted = swept(True), swept(True, size)
    cell = whole.summary["cell"].iloc[1]
    found = [run.state.run.rows(cell) for run in (whole, parted)]
    np.testing.assert_array_equal(*(rows["suspect"].to_numpy() for rows in found))
