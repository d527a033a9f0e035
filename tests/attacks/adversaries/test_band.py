"""The band as a linear space, the ball within it, and what victims and results promise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustssm.attacks.adversaries.ball import Band, BandBall
from robustssm.attacks.adversaries.band_pgd import BandPGD
from robustssm.attacks.adversaries.base import Target
from robustssm.attacks.adversaries.victim import Victim
from robustssm.attacks.bands import fourier_basis
from robustssm.attacks.base import Site
from robustssm.attacks.budget import Budget
from robustssm.errors import UsageError
from robustssm.networks.network import Architecture, build_network
from robustssm.targets import CLASSES, LOSSES, margin

SITE = Site(scale=torch.tensor([0.3, 2.0], dtype=torch.float64))


def target(x: torch.Tensor, budget: Budget, site: Site) -> Target:
    module = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3).double())
    labels = torch.zeros(len(x), dtype=torch.int64)
    return Target(Victim(module), x, labels, np.arange(len(x)), 0, budget, site)  # type: ignore[arg-type]


def space(L: int, low: int, high: int, unit: str, eps: float = 0.5, batch: int = 3) -> BandBall:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(batch, L, 2)))
    return BandBall.of(target(x, Budget(eps, unit), SITE), low, high)


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@given(L=st.integers(1, 65), data=st.data())
@settings(max_examples=60, deadline=None)
def test_coordinates_are_orthonormal_and_match_the_basis(L: int, data: st.DataObject) -> None:
    low = data.draw(st.integers(0, L // 2))
    band = Band(low, data.draw(st.integers(low, L // 2)), L)
    c = normal(2, band.dimension, 2)
    x, Q = band.synthesise(c), fourier_basis(L, range(band.low, band.high + 1))
    # Two routes, FFT and matrix: rounding of sums of at most 65 terms.
    torch.testing.assert_close(x, torch.einsum("bkc,tk->btc", c, Q), rtol=0, atol=1e-12)
    torch.testing.assert_close(band.analyse(x), c, rtol=0, atol=1e-12)
    torch.testing.assert_close(x.square().sum(), c.square().sum(), rtol=1e-12, atol=0)
    assert len(band.bins) == band.dimension == Q.shape[1]


@pytest.mark.parametrize("low, high", [(-1, 3), (5, 4), (1, 33)])
def test_impossible_bands(low: int, high: int) -> None:
    with pytest.raises(UsageError, match="bins within 0-32"):
        BandPGD(low, high).check_length(64, SITE)


@pytest.mark.parametrize("unit", ["std", "rms", "l2", "snr-db", "linf"])
@given(seed=st.integers(0, 1000), eps=st.floats(0.01, 10.0), size=st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_projections_stay_in_the_ball(unit: str, seed: int, eps: float, size: float) -> None:
    ball = space(33, 2, 9, unit, eps)
    c = size * normal(*ball.shape, seed=seed)
    projected = ball.project(c)
    radius = ball.ball.radius
    assert (ball.size(projected) <= radius * (1 + 1e-12)).all()  # rounding of a quotient
    torch.testing.assert_close(ball.size(ball.surface(c)), radius, rtol=1e-12, atol=0)
    inside = 0.5 * ball.surface(c)
    torch.testing.assert_close(
        ball.project(inside), inside, rtol=0, atol=1e-12 * float(radius.max())
    )
    delta = (ball.point(projected) - ball.x) / ball.ball.scale
    # x + delta - x: absolute rounding of values up to 10 next to a delta of 0.01 or more.
    torch.testing.assert_close(ball.band.analyse(delta), projected, rtol=0, atol=1e-12)


def test_projection_onto_the_box_within_the_band_is_the_nearest_point() -> None:
    """The obtuse angle that defines it: (y - p) . (z - p) <= 0 for every feasible z."""
    ball = space(32, 0, 16, "linf")  # all bins: then it is clipping, exactly
    c = normal(*ball.shape)
    clipped = ball.band.synthesise(c).clamp(-0.5, 0.5)
    torch.testing.assert_close(ball.band.synthesise(ball.project(c)), clipped, rtol=0, atol=1e-12)
    ball = space(32, 2, 6, "linf")
    p = ball.project(c := 2.0 * normal(*ball.shape))
    for seed in range(20):
        z = ball.project(3.0 * normal(*ball.shape, seed=seed))
        angle = ((c - p) * (z - p)).sum((1, 2))
        # Finitely many sweeps: the angle may exceed 90 degrees by 5 %.
        lengths = (c - p).flatten(1).norm(dim=1) * (z - p).flatten(1).norm(dim=1)
        assert (angle <= 0.05 * lengths).all()


def test_bits_do_not_depend_on_the_batch() -> None:
    whole = space(64, 1, 32, "std", batch=64)
    c = normal(*whole.shape)
    rows = torch.tensor([7, 3, 60])
    part = whole.select(rows)
    for method in (BandBall.project, BandBall.surface, BandBall.point, BandBall.steepest):
        assert torch.equal(method(part, c[rows]), method(whole, c)[rows])
    ids = np.arange(64)
    assert torch.equal(part.random("s", ids[rows.numpy()]), whole.random("s", ids)[rows])


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: str) -> None:
    logits = torch.tensor([[3.0, 1.0, -1.0, 0.0], [0.0, 2.0, 1.0, -3.0]])
    labels = torch.tensor([0, 2])
    value = CLASSES.loss(loss)(logits, labels)
    assert (value.sign() == margin(logits, labels).sign()).all() or loss == "ce"
    shifted = CLASSES.loss(loss)(logits + 5.0, labels)
    torch.testing.assert_close(value, shifted, rtol=1e-6, atol=0)  # float32 logits
    if loss == "ce":
        p = torch.softmax(logits.double(), 1)[[0, 1], labels]
        torch.testing.assert_close(value, torch.log(p / (1 - p)), rtol=1e-12, atol=0)
    if loss == "dlr":
        expected = torch.tensor([2.0 / 3.0, -1.0 / 2.0], dtype=torch.float64)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=0)  # 1e-12 in the quotient
        with pytest.raises(UsageError, match="3 classes"):
            CLASSES.loss(loss)(logits[:, :2], labels * 0)


def test_a_victim_is_evaluated_counted_and_given_back() -> None:
    network = build_network(Architecture("s4d", n=4, d_model=4, layers=2, d_input=2))
    network.train()
    network.blocks[0].eval()
    before = {name: part.training for name, part in network.named_modules()}
    x, labels = torch.rand(5, 32, 2), torch.arange(5)
    with Victim(network, batch_size=2) as victim:
        assert victim.was_training
        margins, _, slopes = victim.slopes(x, labels, "margin")
        assert torch.equal(margins, victim.margins(x, labels))
        assert (victim.forwards, victim.backwards) == (10, 5)
        assert slopes.shape == x.shape and not any(p.requires_grad for p in network.parameters())
        network.train()
        with pytest.raises(UsageError, match="training mode"):
            victim.logits(x)
    assert {name: part.training for name, part in network.named_modules()} == before
    assert all(p.requires_grad for p in network.parameters())


def test_refusals() -> None:
    x = torch.zeros(1, 8, 1)
    for bad, budget, site in (
        (x.long(), Budget(1.0, "l2"), Site()),
        (x * torch.nan, Budget(1.0, "l2"), Site()),
        (x, Budget(1.0, "mix"), Site()),
        (x, Budget(1.0, "std"), Site()),
        (x, Budget(1.0, "l2"), Site(layer=1)),
    ):
        with pytest.raises(UsageError):
            BandPGD(0, 2).attack(target(bad, budget, site))


def test_network_type_is_not_assumed() -> None:
    """Any module that maps (batch, length, channels) to logits can be a victim."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    with Victim(module) as victim:  # type: ignore[arg-type]
        assert victim.logits(torch.zeros(2, 8, 1)).shape == (2, 3)
