"""What every adversary promises, and the order of their strengths on small trained networks."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustssm.attacks.adversaries.auto_attack import SpectralAutoAttack
from robustssm.attacks.adversaries.ball import Band
from robustssm.attacks.adversaries.band_pgd import BandPGD, checkpoints
from robustssm.attacks.adversaries.base import Adversary, Found, Target
from robustssm.attacks.adversaries.random_search import RandomSearch
from robustssm.attacks.adversaries.universal import Universal, apply
from robustssm.attacks.adversaries.victim import Victim
from robustssm.attacks.base import Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.attacks.perturbations.model_changes import Discretization, StepSize
from robustssm.checkpoints import load_checkpoint
from robustssm.errors import UsageError
from robustssm.evaluations.searches.gradient_diagnostics import diagnose
from robustssm.evaluations.searches.minimal_strength import Minimal, MinimalEps
from robustssm.targets import margin
from robustssm.tasks import load_task

TASK = load_task("digits:side=8")
SITE = Site(scale=torch.from_numpy(TASK.std))
SPLIT = TASK.splits["test"].first(80)
X, LABELS, IDS = torch.from_numpy(SPLIT.inputs), torch.from_numpy(SPLIT.labels), SPLIT.sample_id
LOW, HIGH = 2, 9
BUDGET = Budget(0.2)
CASES: list[Adversary] = [
    BandPGD(LOW, HIGH, steps=6, restarts=2),
    BandPGD(LOW, HIGH, steps=5, loss="margin", start="random"),
    BandPGD(LOW, HIGH, steps=6, loss="dlr", drop=True),
    RandomSearch(LOW, HIGH, queries=20, modes=8),
    RandomSearch(LOW, HIGH, queries=20, drop=True, change="windows"),
    Universal(LOW, HIGH, steps=5),
    SpectralAutoAttack(
        LOW, HIGH, "custom", ("apgd-ce", "apgd-t", "fab-t", "square"), 4, targets=3, queries=20
    ),
]


@pytest.fixture
def victim(checkpoints: dict[str, Path]) -> Iterator[Victim]:
    with Victim(load_checkpoint(checkpoints["s4d"]).network) as victim:
        yield victim


def target(victim: Victim, budget: Budget = BUDGET) -> Target:
    return Target(victim, X, LABELS, IDS, 0, budget, SITE)


def attack(a: Adversary, victim: Victim, eps: float = 0.2, **settings: object) -> Found:
    budget = Budget(eps, **settings)  # type: ignore[arg-type]
    return a.attack(target(victim, budget))


@pytest.mark.parametrize("unit, eps", [("std", 0.2), ("snr-db", 20.0), ("l2", 0.7), ("linf", 0.1)])
@pytest.mark.parametrize("a", CASES, ids=repr)
def test_budget_band_and_margin(a: Adversary, unit: str, eps: float, victim: Victim) -> None:
    budget = Budget(eps, unit)
    found = a.attack(target(victim, budget))
    delta = found.x.double() - X.double()
    # What float32 rounds of values up to 2, next to radii of 0.02 and more: 1e-7 / 0.02.
    assert (
        budget.norm.size(delta, SITE.scale) <= budget.target(X.double(), "test") * (1 + 1e-5)
    ).all()
    inside = Band(LOW, HIGH, 64).analyse(delta).square().sum()
    assert float(1.0 - inside / delta.square().sum()) < 1e-6  # the project's bound; about 1e-12
    assert torch.equal(found.margin, victim.margins(found.x, LABELS))
    # An adversary of single samples never ends worse than it began.
    assert a.joint or (found.margin <= victim.margins(X, LABELS)).all()


@pytest.mark.parametrize("a", CASES, ids=repr)
def test_contract(a: Adversary, victim: Victim) -> None:
    table = {cls.__name__: cls for cls in (BandPGD, RandomSearch, SpectralAutoAttack, Universal)}
    assert eval(repr(a), dict(table)) == a
    nothing = a.attack(target(victim, Budget(0.0)))
    assert nothing.x is X
    before = victim.forwards, victim.backwards
    found = attack(a, victim)
    assert (found.forwards, found.backwards) == (
        victim.forwards - before[0],
        victim.backwards - before[1],
    )
    order = np.random.default_rng(0).permutation(len(X))
    victim.batch_size = 7
    shuffled = a.attack(target(victim, Budget(0.2)).select(torch.from_numpy(order)))
    assert torch.equal(shuffled.x, found.x[order])
    assert torch.equal(shuffled.margin, found.margin[order])
    if not a.joint:
        part = a.attack(target(victim, Budget(0.2)).select(torch.arange(5)))
        assert torch.equal(part.x, found.x[:5])


def test_strengths_are_in_order(victim: Victim) -> None:
    # The margin is what is compared; at an optimum of the cross entropy it is not the lowest.
    pgd = attack(BandPGD(LOW, HIGH, restarts=3, loss="margin"), victim)
    search = attack(RandomSearch(LOW, HIGH, queries=62), victim)
    universal = attack(Universal(LOW, HIGH), victim)
    modes = [
        Fourier(k, phase=phase).perturb(X, None, IDS, 0, budget=Budget(0.2), site=SITE)
        for k in range(LOW, HIGH + 1)
        for phase in (0.0, math.pi / 2, math.pi, 3 * math.pi / 2)
    ]
    best_mode = torch.stack([victim.margins(x, LABELS) for x in modes]).amin(0)
    # Means over 80 samples, not each: all but the modes are searches.
    assert pgd.margin.mean() < search.margin.mean() < best_mode.mean()
    assert pgd.margin.mean() < universal.margin.mean() < victim.margins(X, LABELS).mean()


def test_in_a_box_windows_go_farther_than_a_slope(victim: Victim) -> None:
    """Corners of the box are far from where the slope of a ball leads."""
    samples = target(victim, Budget(0.05, "linf"))
    slope, windows = (
        RandomSearch(0, 32, queries=150, change=change).attack(samples).margin.mean()
        for change in ("slope", "windows")
    )
    assert windows < slope < victim.margins(X, LABELS).mean()


def test_dropping_broken_samples_changes_no_success(victim: Victim) -> None:
    for restarts in (1, 2):
        full = attack(BandPGD(LOW, HIGH, 8, restarts, start="random"), victim, 0.12)
        a = BandPGD(LOW, HIGH, 8, restarts, start="random", drop=True)
        early = attack(a, victim, 0.12)
        assert torch.equal(early.success, full.success) and early.forwards < full.forwards


def test_clipping_is_on_record(victim: Victim) -> None:
    found = attack(BandPGD(LOW, HIGH), victim, 0.5, clip="hard", low=0.0, high=1.0)
    assert float(found.x.min()) >= 0.0 and float(found.x.max()) <= 1.0
    share = found.flags["in_band_share"]
    assert isinstance(share, Tensor) and 0.3 < float(share.min()) < 0.999


def test_a_universal_waveform_goes_to_other_samples(victim: Victim) -> None:
    whole = target(victim, Budget(0.3))
    half, other = whole.select(torch.arange(40)), whole.select(torch.arange(40, 80))
    found = Universal(LOW, HIGH).attack(half)
    assert "depends on that set" in str(found.flags["universal"])
    waveform = found.flags["waveform"]
    assert isinstance(waveform, Tensor)
    assert torch.equal(apply(waveform, half).x, found.x)
    applied = apply(waveform, other)
    delta = applied.x - other.x
    # Float32 rounding of samples up to 2.
    torch.testing.assert_close(delta, delta[:1].expand_as(delta), rtol=0, atol=3e-7)
    assert torch.equal(applied.margin, other.margins(applied.x))
    # What it minimises is how many are right on its own set; to others nothing is promised.
    clean_right = (half.margins(half.x) >= 0.0).sum()
    assert (~found.success).sum() < clean_right
    with pytest.raises(UsageError, match="same length"):
        apply(waveform[:-1], other)


class Wave(nn.Module):
    """Logits (f(size of the input), 0): broken exactly where f is negative."""

    def __init__(self, broken: tuple[tuple[float, float], ...]) -> None:
        super().__init__()
        self.broken = broken

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        size = x.double().square().mean((1, 2)).sqrt()
        hit = torch.zeros_like(size, dtype=torch.bool)
        for low, high in self.broken:
            hit |= (size >= low) & (size < high)
        own = torch.where(hit, -1.0, 1.0) + 0.0 * size
        return torch.stack([own, torch.zeros_like(own)], dim=1)


def smallest(*broken: tuple[float, float], unit: str = "rms") -> Minimal:
    x, labels = torch.zeros(3, 16, 1), torch.zeros(3, dtype=torch.long)
    search = MinimalEps(Fourier(3), 0.1, 1.6, rungs=5, bisections=12, unit=unit)
    with Victim(Wave(broken)) as victim:  # type: ignore[arg-type]
        return search.find(Target(victim, x, labels, np.arange(3), 0, Budget(0.0)))


def test_minimal_eps_makes_no_assumption_of_monotonicity() -> None:
    for first, end, alternates in ((0.3, 9.0, False), (0.05, 9.0, False), (0.3, 0.5, True)):
        found = smallest((first, end))
        # A bracket of a factor 2, halved 11 times in logarithm (once more above the lowest rung).
        np.testing.assert_allclose(found.eps.numpy(), first, rtol=3.5e-4)
        assert (found.not_monotone == alternates).all() and not found.not_found.any()
    nowhere = smallest((5.0, 6.0))
    assert torch.isinf(nowhere.eps).all() and nowhere.not_found.all()
    # In dB strength grows downwards: wrong as it is, at inf, is found; -inf is not.
    for broken, end, right in (((2.0, 9.0), -math.inf, True), ((0.0, 9.0), math.inf, False)):
        x, labels = torch.ones(3, 16, 1), torch.zeros(3, dtype=torch.long)
        search = MinimalEps(Fourier(3), 30.0, 10.0, rungs=3, unit="snr-db")
        with Victim(Wave((broken,))) as victim:  # type: ignore[arg-type]
            found = search.find(Target(victim, x, labels, np.arange(3), 0, Budget(0.0)))
        assert (found.eps == end).all() and (found.not_found == right).all()
    at_zero = smallest((-1.0, 0.2))
    assert (at_zero.eps == 0.0).all() and at_zero.not_monotone.all()


def test_minimal_eps_of_an_adversary(victim: Victim) -> None:
    a = BandPGD(LOW, HIGH, steps=4, loss="margin")
    search = MinimalEps(a, 0.02, 0.5, rungs=4, bisections=3)
    found = search.find(target(victim))
    for row in (3, 40):  # the strength found breaks the sample indeed
        eps = float(found.eps[row])
        one = target(victim, Budget(min(eps, 1e3))).select(torch.tensor([row]))
        assert math.isinf(eps) or bool(a.attack(one).success)
    for bad in ({"first": 1.0, "last": 0.1}, {"rungs": 0}, {"unit": "snr-db"}):
        with pytest.raises(UsageError):
            MinimalEps(a, **bad)
    with pytest.raises(UsageError, match="all samples together"):
        MinimalEps(Universal(LOW, HIGH))
    with pytest.raises(UsageError, match="no strengths between"):
        MinimalEps(Discretization("zoh"), unit="mix")


def test_minimal_eps_of_a_change_of_the_model(victim: Victim) -> None:
    search = MinimalEps(StepSize(), 0.1, 3.0, rungs=4, bisections=2, unit="octaves")
    found = search.find(target(victim), "model")
    assert 0 < int(found.not_found.sum()) + int(torch.isfinite(found.eps).sum()) == len(X)
    row = int(torch.nonzero(torch.isfinite(found.eps) & (found.eps > 0.0))[0])
    budget = Budget(float(found.eps[row]), "octaves")
    with StepSize().applied(victim.network, budget):
        assert float(victim.margins(X, LABELS)[row]) <= 0.0
    with pytest.raises(UsageError, match="acts at model"):
        search.find(target(victim))


class Masked(nn.Module):
    """A network whose gradient is destroyed by rounding its input."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x * 64.0).round() / 64.0)
        return logits


def test_diagnostics(victim: Victim) -> None:
    adversaries = BandPGD(LOW, HIGH, steps=8), RandomSearch(LOW, HIGH, queries=40)
    sound = diagnose(target(victim), *adversaries)
    assert sound.zero == sound.nonfinite == sound.unrepeatable == 0
    assert sound.white <= sound.black <= sound.clean and sound.unlimited <= sound.chance
    assert not any("masked" in line or "zero" in line for line in sound.warnings())
    with Victim(Masked(victim.network)) as other:  # type: ignore[arg-type]
        masked = diagnose(target(other), *adversaries)
    assert masked.zero == len(X)
    assert any("exactly zero" in line for line in masked.warnings())


def test_checkpoints_are_those_of_the_paper() -> None:
    # p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 (section 3).
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize(
    "cls, bad",
    [
        (BandPGD, {"steps": 0}),
        (BandPGD, {"loss": "mse"}),
        (BandPGD, {"start": "x"}),
        (RandomSearch, {"queries": 5}),
        (Universal, {"floor": math.nan}),
    ],
)
def test_impossible_settings(cls: type[Adversary], bad: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        cls(1, 4, **bad)


def test_margin() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0]]).expand(3, 3)
    assert margin(logits, torch.arange(3)).tolist() == [-2.0, 1.0, -1.0]
