"""The ensemble: its union, exact answers on linear classifiers, planted failures, what it costs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustssm.attacks.adversaries import BandPGD, RandomSearch, SpectralAutoAttack, Target, Victim
from robustssm.attacks.adversaries.auto_attack import PARTS
from robustssm.attacks.adversaries.ball import Band
from robustssm.attacks.adversaries.base import Found
from robustssm.attacks.adversaries.fab import Boundary
from robustssm.attacks.adversaries.signs import Signs
from robustssm.attacks.base import Site
from robustssm.attacks.budget import Budget
from robustssm.checkpoints import load_checkpoint
from robustssm.errors import UsageError
from robustssm.targets import CLASSES, STEPS, TOKENS, VALUES, Kind, Values
from robustssm.tasks import load_task

TASK = load_task("digits:side=8")
SITE = Site(scale=torch.from_numpy(TASK.std))
SPLIT = TASK.splits["test"].first(48)
X, LABELS, IDS = torch.from_numpy(SPLIT.inputs), torch.from_numpy(SPLIT.labels), SPLIT.sample_id
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
SMALL = {"steps": 8, "targets": 3, "queries": 60}
L = 32


@pytest.fixture
def victim(checkpoints: dict[str, Path]) -> Iterator[Victim]:
    with Victim(load_checkpoint(checkpoints["s4d"]).network) as victim:
        yield victim


def custom(low: int, high: int, *parts: str, **settings: int) -> SpectralAutoAttack:
    return SpectralAutoAttack(low, high, "custom", parts, **settings)


@pytest.mark.parametrize("unit, eps, low, high", [("l2", 0.6, 0, 32), ("linf", 0.12, 2, 9)])
def test_a_sample_is_broken_by_the_first_part_that_breaks_it_alone(
    unit: str, eps: float, low: int, high: int, victim: Victim
) -> None:
    target = Target(victim, X, LABELS, IDS, 3, Budget(eps, unit), SITE)
    whole = custom(low, high, *STANDARD, **SMALL).attack(target)
    alone = {part: custom(low, high, part, **SMALL).attack(target) for part in STANDARD}
    assert 0 < int(whole.success.sum()) < len(X)
    for row, by in enumerate(whole.flags["broken_by"]):  # type: ignore[arg-type,var-annotated]
        able = [part for part in STANDARD if bool(alone[part].success[row])]
        clean = bool(victim.margins(X[row : row + 1], LABELS[row : row + 1])[0] <= 0.0)
        assert by == ("clean" if clean else next(iter(able), ""))
    for part in STANDARD:
        assert not (alone[part].success & ~whole.success).any()
    descent = BandPGD(low, high, SMALL["steps"], start="random").attack(target)
    assert torch.equal(descent.success, alone["apgd-ce"].success)
    change = "windows" if unit == "linf" else "slope"
    search = RandomSearch(low, high, SMALL["queries"], change=change).attack(target)
    assert torch.equal(search.success, alone["square"].success)

    def cost(found: Found) -> int:
        return found.forwards + found.backwards

    assert cost(whole) <= 1.1 * sum(map(cost, alone.values()))
    spent = np.sum(list(whole.flags["passes"].values()))  # type: ignore[attr-defined]
    # Beside its parts: the signs, an attack without limit on what is left among them.
    assert spent <= cost(whole) <= spent + len(X) * 6 + int((~whole.success).sum()) * 20


class Linear(nn.Module):
    """Logits W x + b in float64."""

    def __init__(self, classes: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(classes, L, dtype=torch.float64, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 0] @ self.weight.T


def margins_at(network: Linear, x: Tensor, labels: Tensor, size: Callable[[Tensor], Tensor]
               ) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return label logit minus others' (batch, classes - 1), and by how much eps = 1 lowers it."""
    logits, rows = network(x), []
    for one, label in zip(logits, labels.tolist(), strict=True):
        others = [k for k in range(len(one)) if k != label]
        own = network.weight[label] - network.weight[others]
        rows.append((one[label] - one[others], size(own)))
    values, slopes = zip(*rows, strict=True)
    return torch.stack(values), torch.stack(slopes)


def linear(
    classes: int, dual: Callable[[Tensor], Tensor], count: int = 6
) -> tuple[Linear, Tensor, Tensor]:
    """Return a classifier, and samples (count, L, 1) that eps = 1 just breaks."""
    network = Linear(classes)
    x = torch.randn(count, L, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = network(x).argmax(1)
    values, slopes = margins_at(network, x, labels, dual)
    return network, x / (values / slopes).amin(1)[:, None, None], labels


def in_band(low: int, high: int) -> Callable[[Tensor], Tensor]:
    """Return the dual norm of l2 in a band: the Euclidean norm of the part within it."""
    return lambda w: Band(low, high, L).analyse(w[..., None]).flatten(1).norm(dim=1)


def total(w: Tensor) -> Tensor:
    return w.abs().sum(1)


def pattern(k: int) -> Callable[[Tensor], Tensor]:
    """Return the dual norm of linf in bin 0 or L/2, where signals are c cos(2 pi k t / L)."""
    wave = torch.cos(2.0 * torch.pi * k / L * torch.arange(L, dtype=torch.float64))
    return lambda w: (w @ wave).abs()


EXACT = [
    *(("l2", low, high, in_band(low, high)) for low, high in ((3, 3), (0, 0), (2, 9), (0, 16))),
    *(("linf", k, k, pattern(k)) for k in (0, 16)),
    ("linf", 0, 16, total),
]


@pytest.mark.parametrize("unit, low, high, dual", EXACT)
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_linear_classifiers_have_the_exact_answer(
    unit: str, low: int, high: int, dual: Callable[[Tensor], Tensor], classes: int
) -> None:
    network, x, labels = linear(classes, dual)
    values, slopes = margins_at(network, x, labels, dual)
    attack = custom(low, high, "apgd-ce", "apgd-t", "fab-t", steps=60)
    with Victim(network) as victim:  # type: ignore[arg-type]

        def at(eps: float) -> Found:
            return attack.attack(Target(victim, x, labels, np.arange(6), 0, Budget(eps, unit)))

        assert at(1.0 + 1e-6).success.all() and not at(1.0 - 1e-6).success.any()
        worst, found = (values - 0.7 * slopes).amin(1), at(0.7).margin
    if classes < 4:
        torch.testing.assert_close(found, worst, rtol=1e-6, atol=1e-6 * float(values.max()))
    # Where the ratio of differences of logits is least the margin need not be, but it is no less.
    assert (found >= worst - 1e-9 * values.max()).all()


@pytest.mark.parametrize("unit, low, high, dual", EXACT)
def test_the_first_step_to_the_boundary_is_the_shortest(
    unit: str, low: int, high: int, dual: Callable[[Tensor], Tensor]
) -> None:
    network, x, labels = linear(2, dual)
    with Victim(network) as victim:  # type: ignore[arg-type]

        def broken(eps: float, steps: int) -> Tensor:
            target = Target(victim, x, labels, np.arange(6), 0, Budget(eps, unit))
            return Boundary(low, high, steps).attack(target).success

        # Overshoot 1.05; later steps go back to a share q <= 1 and land at 1.05 - 0.05 q. The pull
        # to the sample changes nothing, as both projections are one point here.
        assert broken(1.05 * (1 + 1e-9), 1).all() and not broken(1.05 * (1 - 1e-9), 1).any()
        assert broken(1.006, 30).all() and not broken(1.0 - 1e-9, 30).any()


def said(found: Found) -> list[str]:
    signs = found.flags["signs"]
    assert isinstance(signs, Signs)
    return signs.warnings()


class Planted(nn.Module):
    """A network whose input or logits are changed."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor] = lambda x: x,
                 after: Callable[[Tensor], Tensor] = lambda y: y) -> None:  # fmt: skip
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.after(self.network(self.before(x)))
        return logits


class Rounded(torch.autograd.Function):
    """Rounding whose gradient has the wrong sign: it is there, but leads astray."""

    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return (x * 16.0).round() / 16.0

    @staticmethod
    def backward(context: object, slope: Tensor) -> Tensor:
        return -slope


def drawn(y: Tensor) -> Tensor:
    torch.rand(1)
    return y


FAILURES = {
    "rounded": (lambda x: (x * 16.0).round() / 16.0, None, "exactly zero"),
    "astray": (Rounded.apply, None, "without gradients"),
    "saturated": (None, lambda y: torch.tanh(1e4 * y).round(), "exactly zero"),
    "constant": (None, lambda y: 0.0 * y + torch.eye(10)[LABELS[0]], "exactly zero"),
    "random": (lambda x: x + 0.05 * torch.randn_like(x), None, "draws random numbers"),
    "drawn": (None, drawn, "a part of the network draws random numbers"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_planted_failures_are_flagged(name: str, victim: Victim) -> None:
    before, after, sign = FAILURES[name]
    changes = {"before": before, "after": after}
    network = Planted(victim.network, **{k: v for k, v in changes.items() if v})
    attack = custom(0, 32, *STANDARD, steps=5, targets=2, queries=200)
    with Victim(network) as other:  # type: ignore[arg-type]
        found = attack.attack(Target(other, X, LABELS, IDS, 0, Budget(0.8, "l2"), SITE))
    lines = said(found)
    assert any(sign in line for line in lines), (lines, found.flags["broken_by"])
    sound = custom(0, 32, *STANDARD, **SMALL)
    target = Target(victim, X, LABELS, IDS, 0, Budget(0.4, "l2"), SITE)
    assert not said(sound.attack(target))


def test_a_strength_without_effect_is_flagged() -> None:
    class Deaf(Linear):
        """Nothing of the input beyond 1 gets through, and all samples are of one class more."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.clamp(-1.0, 1.0)) + 1e3 * torch.eye(6)[x[:, 0, 0].long() % 6]

    x = torch.zeros(12, L, 1, dtype=torch.float64)
    x[:, 0, 0] = torch.arange(12) + 0.5
    labels = torch.arange(12) % 6
    with Victim(Deaf(6)) as victim:  # type: ignore[arg-type]
        target = Target(victim, x, labels, np.arange(12), 0, Budget(0.1, "linf"))
        found = custom(3, 3, "apgd-ce", steps=4).attack(target)
    assert not found.success.any()
    assert any("an attack without limit" in line for line in said(found))


def test_gradients_of_a_random_network_are_averaged() -> None:
    network, x, labels = linear(6, in_band(0, 16), 8)
    noisy = Planted(network, lambda x: x + 0.3 * torch.randn_like(x))
    with Victim(noisy) as victim:  # type: ignore[arg-type]
        target = Target(victim, x, labels, np.arange(8), 0, Budget(0.6, "l2"))
        before = torch.get_rng_state()
        first, again = (SpectralAutoAttack(0, 16, "rand").attack(target) for _ in range(2))
    assert torch.equal(first.x, again.x) and torch.equal(before, torch.get_rng_state())
    passes = first.flags["passes"]
    assert isinstance(passes, dict) and set(passes) == {"apgd-ce", "apgd-dlr"}
    assert passes["apgd-ce"][1] % 20 == 0
    values, slopes = margins_at(network, x, labels, in_band(0, 16))
    # The mean margin is that of the network without noise, but for 0.3 |W| / sqrt(20), about 0.4.
    exact = (values - 0.6 * slopes).amin(1)
    torch.testing.assert_close(first.margin, exact, rtol=0.0, atol=3.0)
    assert any("draws random numbers" in line for line in said(first))


class Answers(nn.Module):
    """Values, values at every step, or logits of tokens, of a sample."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind, self.every_step, self.d_output = kind, kind.every_step, 3

    def answering(self, every_step: bool) -> "Answers":
        return self

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.cat([x, x.square(), x.sin()], dim=2).cumsum(1) / L
        return steps if self.every_step else steps[:, -1]


@pytest.mark.parametrize("kind", [VALUES, STEPS, TOKENS, Values("values", False, 0.05)])
def test_values_and_tokens_run_the_parts_that_need_no_classes(kind: Kind) -> None:
    x = torch.randn(6, L, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    network = Answers(kind)
    targets = network(x) + 0.1
    if kind is TOKENS:
        targets = targets.argmax(2)
    with Victim(network, kind=kind) as victim:  # type: ignore[arg-type]
        target = Target(victim, x, targets, np.arange(6), 0, Budget(0.5, "l2"))
        found = custom(0, 16, "apgd-ce", "square", **SMALL).attack(target)
        assert set(found.flags["passes"]) == {"apgd-ce", "square"}  # type: ignore[call-overload]
        assert SpectralAutoAttack(0, 16).names(kind) == ("apgd-ce", "square")
        assert SpectralAutoAttack(0, 16, "rand").names(kind) == ("apgd-ce",)
        assert (found.margin < target.margins(x)).all()
        for part in ("apgd-t", "fab-t", "apgd-dlr"):
            with pytest.raises(UsageError, match="needs classes"):
                custom(0, 16, part).attack(target)


def test_targeted_losses() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 0.5, -2.0]], dtype=torch.float64)
    label, aim = torch.tensor([0]), torch.tensor([1])
    assert CLASSES.loss("margin")(logits, label, aim).item() == 3.0
    # Equation (7): (z_y - z_t) / (z_1 - (z_3 + z_4) / 2).
    ratio = CLASSES.loss("dlr")(logits, label, aim).item()
    assert ratio == pytest.approx(3.0 / (4.0 - 0.75), rel=1e-11)
    with pytest.raises(UsageError, match="needs 4 classes"):
        CLASSES.loss("dlr")(logits[:, :3], label, aim)


@pytest.mark.parametrize("fields", [
    {"version": "plus"}, {"parts": ("square",)}, {"version": "rand", "steps": 3},
    {"version": "custom"}, {"version": "custom", "parts": ("pgd",)},
    {"version": "custom", "parts": PARTS, "queries": 0},
])  # fmt: skip
def test_impossible_settings(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SpectralAutoAttack(1, 4, **fields)  # type: ignore[arg-type]
