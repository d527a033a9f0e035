"""One sinusoid per sample: its budget, its flags, its passes, and a case with a known optimum."""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.attacks.adversaries.base import Found, Target
from robustssm.attacks.adversaries.guided import Guided
from robustssm.attacks.adversaries.victim import Victim
from robustssm.attacks.budget import Budget
from robustssm.errors import UsageError
from robustssm.networks.network import Network
from tests.attacks.adversaries.sinusoids import (
    BUDGET,
    CHANNELS,
    SCALE,
    SITE,
    L,
    Linear,
    N,
    network,
    signals,
    victim_of,
)


def attack(victim: Victim, guided: Guided, budget: Budget, rows: Sequence[int] = range(N)) -> Found:
    x, labels, ids = signals()
    labels = torch.zeros_like(labels) if not isinstance(victim.network, Network) else labels
    rows = list(rows)
    return guided.attack(Target(victim, x[rows], labels[rows], ids[rows], 0, budget, SITE))


class TestGuided:
    """Guided."""

    @pytest.mark.parametrize(
        "budget",
        [Budget(0.3), Budget(0.3, "rms"), Budget(2.0, "l2"), Budget(0.4, "linf"),
         Budget(10.0, "snr-db"), Budget(0.3, "rms", "hard", -3.0, 3.0)],
    )  # fmt: skip
    def test_stays_in_the_budget_and_grades_itself(self, budget: Budget) -> None:
        x, labels, _ = signals()
        with victim_of(network()) as victim:
            found = attack(victim, Guided(0, L // 2, own=2, shared=(5,), steps=3), budget)
            np.testing.assert_array_equal(victim.margins(found.x, labels), found.margin)
            assert bool((found.margin <= victim.margins(x, labels)).all())
        size = budget.norm.size(found.x - x, SITE.scale)
        # Rounding of a sum of L * CHANNELS squares.
        assert bool((size <= budget.target(x, "test") * (1.0 + 1e-12)).all())
        assert bool((found.x.abs() <= budget.high).all())

    def test_is_the_sinusoid_that_the_flags_name(self) -> None:
        x, _, _ = signals()
        with victim_of(network()) as victim:
            found = attack(victim, Guided(1, L // 2 - 1), BUDGET)
        f, phase, amplitude = (
            cast(Tensor, found.flags[key]) for key in ("frequency", "phase", "amplitude")
        )
        t = torch.arange(L, dtype=torch.float64)[:, None]
        wave = torch.cos(2.0 * math.pi * f[:, None, None] * t + phase[:, None])
        # Phases of size L pi lose log2(L pi) = 7 bits of 52.
        torch.testing.assert_close(amplitude[:, None] * wave, found.x - x, rtol=0.0, atol=1e-12)
        assert bool(((f >= 1 / L) & (f <= 0.5 - 1 / L)).all())

    def test_a_linear_network_has_its_optimum_among_the_candidates(self) -> None:
        weight = torch.randn(L, CHANNELS, generator=torch.Generator().manual_seed(3)).double()
        budget = Budget(0.3, "std")
        with victim_of(Linear(weight)) as victim:
            found = attack(victim, Guided(0, L // 2, own=1, steps=0), budget)
            clean = victim.margins(signals()[0], torch.zeros(N, dtype=torch.int64))
        G = np.abs(np.fft.rfft(weight.numpy(), axis=0)) @ SCALE.numpy()
        # Amplitude sqrt2 eps s_c at bins between 0 and L/2, eps s_c at these.
        drop = 0.3 * np.concatenate([G[:1], math.sqrt(2.0) * G[1:-1], G[-1:]])
        np.testing.assert_allclose(clean - found.margin, drop.max(), rtol=1e-9)
        assert bool((cast(Tensor, found.flags["ranking"]) == int(drop.argmax())).all())

    def test_refining_never_harms_less(self) -> None:
        last = torch.full((N,), torch.inf, dtype=torch.float64)
        for steps in (0, 2, 4, 8):
            with victim_of(network()) as victim:
                margin = attack(victim, Guided(0, L // 2, steps=steps), BUDGET).margin
            assert bool((margin <= last).all())
            last = margin

    @pytest.mark.parametrize("steps", [0, 3])
    def test_passes_are_as_documented(self, steps: int) -> None:
        with victim_of(network()) as victim:
            found = attack(victim, Guided(0, 16, own=2, shared=(3,), steps=steps), BUDGET)
        assert found.forwards == N * (1 + 2 * 3 + steps + (steps > 0))
        assert found.backwards == N * (1 + steps)

    def test_batch_mates_do_not_matter(self) -> None:
        guided = Guided(0, L // 2, steps=3)
        with victim_of(network()) as victim:
            whole = attack(victim, guided, BUDGET)
            part = attack(victim, guided, BUDGET, range(5, 12))
        # A gradient's rounding may depend on its batch; signs, hence steps, do not.
        torch.testing.assert_close(whole.x[5:12], part.x, rtol=0.0, atol=1e-9)

    def test_eps_zero_is_the_input(self) -> None:
        with victim_of(network()) as victim:
            found = attack(victim, Guided(0, L // 2), Budget(0.0))
        assert torch.equal(found.x, signals()[0])

    def test_zero_and_missing_gradients_are_counted(self) -> None:
        for value, key in ((0.0, "zero_gradients"), (math.nan, "nonfinite")):
            with victim_of(Linear(torch.full((L, CHANNELS), value).double())) as victim:
                found = attack(victim, Guided(0, L // 2, steps=2), BUDGET)
            assert (cast(Tensor, found.flags[key]) == 3).all()
            assert bool(torch.isfinite(found.x).all())

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [((3, 2), "expected 0 <= low"), ((0, 4, 0), "at least one"), ((0, 4, 1, (9,)), "widen")],
    )
    def test_refuses(self, arguments: tuple[int, ...], words: str) -> None:
        with pytest.raises(UsageError, match=words):
            Guided(*arguments)  # type: ignore[arg-type]

    def test_repr_can_be_typed_back(self) -> None:
        guided = Guided(1, 9, shared=tuple(np.array([3, 4])))
        assert repr(guided) == "Guided(low=1, high=9, shared=(3, 4))"

    def test_refuses_beyond_nyquist(self) -> None:
        with victim_of(network()) as victim, pytest.raises(UsageError, match="bins within 0-16"):
            attack(victim, Guided(0, 17), BUDGET)
