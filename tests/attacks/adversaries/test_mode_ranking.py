"""The ranking of modes against the exhaustive sweep."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustssm.attacks.adversaries.base import Target
from robustssm.attacks.adversaries.victim import Victim
from robustssm.attacks.budget import Budget
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.errors import UsageError
from robustssm.evaluations.searches.mode_ranking import (
    ModeRanking,
    expected_drop,
    rank_modes,
    soft_count,
    stratified,
)
from robustssm.tasks import load_task
from robustssm.typing import IntArray
from tests.attacks.adversaries.sinusoids import (
    BUDGET,
    CHANNELS,
    MODES,
    SITE,
    Energy,
    L,
    Linear,
    N,
    network,
    signals,
    victim_of,
)


def rank(
    victim: Victim,
    labels: Tensor | None = None,
    modes: Sequence[int] = MODES,
    prior: np.ndarray | None = None,
    passes: int | None = None,
    linearise: bool = True,
    budget: Budget = BUDGET,
    rows: IntArray | None = None,
) -> ModeRanking:
    x, own, ids = signals()
    rows = np.arange(N) if rows is None else rows
    own = own if labels is None else labels
    target = Target(victim, x[rows], own[rows], ids[rows], 0, budget, SITE)
    passes = len(modes) * len(rows) // 20 if passes is None else passes
    return rank_modes(target, modes, prior, passes, linearise)


def exhaustive(victim: Victim, labels: Tensor) -> np.ndarray:
    x, _, ids = signals()
    return np.array(
        [
            float((victim.margins(
                Fourier(k).perturb(x, None, ids, 0, budget=BUDGET, site=SITE), labels
            ) >= 0.0).double().mean())
            for k in MODES
        ]
    )  # fmt: skip


class TestRanking:
    """rank_modes."""

    @pytest.mark.parametrize(("linearise", "prior"), [(True, True), (False, True), (False, False)])
    def test_with_passes_to_spare_it_is_the_sweep(self, linearise: bool, prior: bool) -> None:
        _, labels, _ = signals()
        with victim_of(network()) as victim:
            truth = exhaustive(victim, labels)
            given_prior = np.asarray(truth.max() - truth) if prior else None
            found = rank(victim, prior=given_prior, passes=10**6, linearise=linearise)
        # Every mode that was tried has seen every sample: its accuracy is the sweep's own.
        seen = found.samples == N
        assert seen.sum() >= 3
        np.testing.assert_array_equal(found.accuracy[seen], truth[found.modes[seen]])
        assert found.accuracy[0] == truth.min()
        assert sorted(found.modes) == list(MODES)

    def test_passes_stay_below_what_is_allowed_and_are_counted(self) -> None:
        for passes in (150, 300, 600):
            with victim_of(network()) as victim:
                found = rank(victim, passes=passes)
                assert (victim.forwards, victim.backwards) == (found.forwards, found.backwards)
            assert found.passes == found.forwards + 2 * found.backwards <= passes
            # Each cell is tried once; the gradients are the rest.
            assert found.forwards == found.samples.sum() + found.backwards

    def test_a_prior_finds_what_no_gradient_shows(self) -> None:
        labels = torch.zeros(N, dtype=torch.int64)
        x, _, ids = signals()
        mode, prior = 11, np.zeros(len(MODES))
        prior[11] = 1.0
        with victim_of(Energy(mode, 60.0)) as victim:
            clean = victim.margins(x, labels)
            assert bool((clean > 0.0).any())
            target = Target(victim, x, labels, ids, 0, Budget(1.0), SITE)
            found = rank_modes(target, MODES, prior, passes=120, linearise=False)
        assert found.modes[0] == mode

    def test_batch_size_and_order_of_samples_do_not_matter(self) -> None:
        shuffled = np.random.default_rng(0).permutation(N)
        with victim_of(network(), 64) as victim:
            one = rank(victim, passes=300)
        with victim_of(network(), 16) as victim:
            two = rank(victim, passes=300, rows=shuffled)
        np.testing.assert_array_equal(one.modes, two.modes)
        np.testing.assert_array_equal(one.samples, two.samples)
        np.testing.assert_array_equal(one.accuracy, two.accuracy)

    def test_a_network_that_answers_nan_is_wrong(self) -> None:
        with victim_of(Linear(torch.full((L, CHANNELS), torch.nan).double())) as victim:
            found = rank(victim, labels=torch.zeros(N, dtype=torch.int64), passes=300)
        assert (found.accuracy[found.samples > 0] == 0.0).all()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"modes": (1, 1)}, "twice"),
            ({"modes": ()}, "none at all"),
            ({"prior": np.ones(3)}, "prior has shape"),
            ({"prior": np.full(len(MODES), np.nan)}, "not finite"),
            ({"passes": 10}, "too few"),
        ],
    )
    def test_refuses(self, change: dict[str, object], words: str) -> None:
        with victim_of(network()) as victim, pytest.raises(UsageError, match=words):
            rank(victim, **change)  # type: ignore[arg-type]


class TestParts:
    """What the ranking is made of."""

    @given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 5))
    def test_every_beginning_holds_the_labels_in_proportion(
        self, labels: list[int], seed: int
    ) -> None:
        label = np.array(labels)
        rows = stratified(torch.tensor(labels), np.arange(len(labels)), seed)
        assert sorted(rows) == list(range(len(labels)))
        for kind, total in zip(*np.unique(label, return_counts=True), strict=True):
            seen = np.cumsum(label[rows] == kind)
            share = total * np.arange(1, len(rows) + 1) / len(rows)
            # One stratum a label: it is off by less than one member, the other labels, which set
            # the time, by less than one each.
            assert np.abs(seen - share).max() <= 1.0 + len(set(labels))

    def test_expected_drop_is_the_root_mean_square_over_phases(self) -> None:
        weight = torch.randn(L, CHANNELS, generator=torch.Generator().manual_seed(0)).double()
        x, _, ids = signals(4)
        labels = torch.zeros(4, dtype=torch.int64)
        modes = np.arange(L // 2 + 1)
        with victim_of(Linear(weight)) as victim:
            drop = expected_drop(Target(victim, x, labels, ids, 0, BUDGET, SITE), modes)
        # Equally spaced phases of each channel: the mean of the squares is exact.
        phases = [2.0 * math.pi * p / 8 for p in range(8)]
        for k in modes[1:-1]:
            changes = torch.stack(
                [Fourier(int(k), p).perturb(0 * x[:1], None, ids[:1], 0, budget=BUDGET, site=SITE)
                 for p in phases]
            )[:, 0]  # fmt: skip
            parts = (changes * weight).sum(1)
            assert math.isclose(
                float(parts.square().mean(0).sum().sqrt()), BUDGET.eps * drop[k], rel_tol=1e-12
            )

    @given(st.integers(0, 100))
    def test_soft_count_is_the_count_for_clear_margins(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        margins = rng.choice([-1.0, 1.0], (5, 20))
        # Clear: ten widths from 0, where the step has 1 / (1 + e^10) = 5e-5 to go.
        np.testing.assert_allclose(soft_count(margins), (margins < 0.0).mean(1), atol=1e-4)


@pytest.fixture(scope="module")
def trained() -> Iterator[Victim]:
    with Victim(load_checkpoint(zoo_path("s4d", 0)).own) as victim:
        yield victim


def test_finds_the_worst_mode_of_a_trained_network(trained: Victim) -> None:
    from robustssm.evaluations.trained_layers.input_response import input_response
    from robustssm.networks.network import own_network

    task = load_task("digits")
    target = Target.of(trained, task, Budget(0.3))
    prior = input_response(own_network(trained.network, "test"), 256)
    found = rank_modes(target, range(129), prior, 129 * len(target) // 20)
    assert found.passes <= 129 * len(target) // 20
    # The exhaustive sweep of this checkpoint: 395 of 539 right at mode 71, 406 at the next, 2.
    assert 71 in found.modes[:3]
    assert found.accuracy[list(found.modes).index(71)] == pytest.approx(395 / 539, abs=1e-9)
