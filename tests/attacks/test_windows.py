"""Windows: nothing outside, inside what the other does to the part as a sample of its own."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import BandPGD, Fourier, SpectralAutoAttack, Window, perturbed_logits
from robustssm.attacks.adversaries import Target, Victim
from robustssm.attacks.adversaries.ball import Band
from robustssm.attacks.base import Attack, Perturbation, Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.expressions import parse_expression, parse_perturbation
from robustssm.errors import UsageError
from robustssm.evaluations.sweep.noises import Noise, conditions
from robustssm.networks.network import build_network
from robustssm.tasks import load_task
from tests.attacks.cases import CASES, Case, signal
from tests.conftest import small_architecture

IDS = np.array([3, 2**40, 7, 0])
L = 64
# Of signals that keep their length, in any layout.
INSIDE = [case for case in CASES if not (case.image or case.text.startswith("NoisePadding"))]


def windowed(case: Case, first: float, last: float) -> tuple[Window, int, int, Site]:
    window = Window(first, last, case.perturbation)
    steps = window.steps(L)
    return window, steps.start, steps.stop, case.site(L)


@settings(max_examples=150, deadline=None)
@given(
    case=st.sampled_from(INSIDE),
    ends=st.tuples(st.integers(0, L - 1), st.integers(1, L)).filter(lambda e: e[0] < e[1]),
    eps=st.sampled_from((0.1, 0.5, 1.0)),
)
def test_outside_nothing_and_inside_what_the_other_does(
    case: Case, ends: tuple[int, int], eps: float
) -> None:
    window, first, last, site = windowed(case, ends[0] / L, ends[1] / L)
    assert isinstance(window, Perturbation) and (first, last) == ends
    x, unit = signal(4, L), window.default_unit(site.name)
    budget = Budget(eps, unit)
    try:
        inside = case.perturbation.perturb(x[:, first:last], None, IDS, 5, budget=budget, site=site)
    except UsageError:  # a band that so few steps do not have
        with pytest.raises(UsageError):
            window.perturb(x, None, IDS, 5, budget=budget, site=site)
        return
    after = window.perturb(x, None, IDS, 5, budget=budget, site=site)
    assert torch.equal(after[:, :first], x[:, :first]) and torch.equal(after[:, last:], x[:, last:])
    # Sums over other strides may round otherwise: 1e-15 of values below 10, squared and summed.
    torch.testing.assert_close(after[:, first:last], inside, rtol=1e-11, atol=1e-11)
    one = window.perturb(x[2:3], None, IDS[2:3], 5, budget=budget, site=site)
    assert torch.equal(one[0], after[2])


def test_the_same_draws_and_the_same_energy_wherever_it_lies() -> None:
    x, site, budget = torch.zeros(4, L, 3), Site(), Budget(0.7, "rms")
    noise = Fourier(3)
    deltas = []
    for first in (0.0, 0.25, 0.75):
        after = Window(first, first + 0.25, noise).perturb(  # type: ignore[attr-defined]
            x, None, IDS, 1, budget=budget, site=site
        )
        deltas.append(after[:, int(first * L) : int((first + 0.25) * L)])
    assert all(torch.equal(delta, deltas[0]) for delta in deltas)
    power = deltas[0].double().square().mean((1, 2)).sqrt()
    # float32 values.
    torch.testing.assert_close(power, torch.full_like(power, 0.7), rtol=1e-6, atol=0.0)


def test_a_sample_that_ends_early_has_its_own_window() -> None:
    x, lengths = signal(4, L), torch.tensor([64, 40, 20, 64])
    window = Window(0.75, 1.0, parse_expression("ColouredNoise(0)")[0])
    assert isinstance(window, Perturbation)
    after = window.perturb(x, lengths, IDS, 0, budget=Budget(1.0, "rms"), site=Site())
    changed = (after != x).any(2)
    for row, length in enumerate(lengths.tolist()):
        steps = torch.nonzero(changed[row]).flatten().tolist()
        assert steps == [*range(round(0.75 * length), length)]


def test_layers_are_perturbed_in_the_window_alone_and_programs_agree_with_calls() -> None:
    network = build_network(small_architecture("s4d")).eval()
    x, ids = torch.rand(4, L, 1), IDS
    perturbation, budget = parse_perturbation("Window(0.5, 1, BandNoise(1, 9), eps=0.5)", "layers")
    given = {"inject": "layers", "site": Site()}
    found, delivered = perturbed_logits(network, x, perturbation, budget, ids, 0, **given)  # type: ignore[arg-type]
    whole = perturbed_logits(network, x, perturbation.of, budget, ids, 0, **given)[1]  # type: ignore[attr-defined, arg-type]
    # Half of the steps at the same root mean square: half of the energy, to float32 rounding.
    np.testing.assert_allclose(delivered.energy, whole.energy / 2.0, rtol=1e-5)
    alone = perturbed_logits(network, x[1:2], perturbation, budget, ids[1:2], 0, **given)[0]  # type: ignore[arg-type]
    assert torch.equal(alone[0], found[1])
    assert not torch.equal(found, network(x))


class Linear(torch.nn.Module):
    """Two logits, w.x and 0, so that the margin of class 0 is w.x."""

    tokens, d_output, every_step = None, 2, False

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = (x * self.w).sum((1, 2))
        return torch.stack([own, torch.zeros_like(own)], dim=1)


def test_the_ensemble_breaks_in_a_window_what_can_be_broken_there() -> None:
    torch.manual_seed(0)
    w, x = torch.randn(L, 1, dtype=torch.float64), torch.randn(24, L, 1, dtype=torch.float64)
    labels = ((x * w).sum((1, 2)) < 0.0).long()
    parts = ("apgd-ce", "apgd-t", "fab-t", "square")
    ensemble = SpectralAutoAttack(1, 3, "custom", parts, steps=20, queries=40)
    target = Target(
        Victim(Linear(w)),  # type: ignore[arg-type]
        x, labels, np.arange(24), 0, Budget(2.5, "l2"),
    )  # fmt: skip
    found = Window(0.25, 0.75, ensemble).attack(target)  # type: ignore[attr-defined]
    least = (x * w).sum((1, 2)).abs() - 2.5 * Band(1, 3, 32).analyse(w[None, 16:48]).norm()
    assert torch.equal(found.success, least <= 0.0) and 4 < int(found.success.sum()) < 20
    assert torch.equal(found.margin, target.margins(found.x))
    inside = torch.nonzero((found.x != x).any(0).flatten()).flatten().tolist()
    assert inside == [*range(16, 48)]


def test_windowed_search_on_a_linear_model_is_the_closed_form() -> None:
    """The margin falls by eps times the norm of the weight's part in window and band."""
    torch.manual_seed(0)
    w, x = torch.randn(L, 1, dtype=torch.float64), torch.randn(5, L, 1, dtype=torch.float64)
    eps, (low, high), (first, last) = 0.8, (1, 3), (16, 48)
    window = Window(first / L, last / L, BandPGD(low, high, steps=4))
    assert repr(window) == ("Window(first=0.25, last=0.75, of=BandPGD(low=1, high=3, steps=4))")
    victim = Victim(Linear(w))  # type: ignore[arg-type]
    labels = torch.zeros(5, dtype=torch.int64)
    target = Target(victim, x, labels, np.arange(5), 0, Budget(eps, "l2"))
    found = window.attack(target)  # type: ignore[attr-defined]
    part = Band(low, high, last - first).analyse(w[None, first:last])
    expected = (x * w).sum((1, 2)) - eps * part.norm()
    # Coordinates of a band are orthonormal to 1e-15.
    torch.testing.assert_close(found.margin, expected, rtol=1e-11, atol=1e-11)
    changed = (found.x != x).any(0).flatten()
    assert torch.nonzero(changed).flatten().tolist() == [*range(first, last)]
    torch.testing.assert_close(Victim(Linear(w)).margins(found.x, labels), found.margin)  # type: ignore[arg-type]
    one = window.attack(target.select(torch.tensor([3])))  # type: ignore[attr-defined]
    assert torch.equal(one.x[0], found.x[3])


@pytest.mark.parametrize(
    "text",
    [
        "Window(0.75, 1, Fourier(3, phase='cosine'))",
        "Window(first=0.0, last=0.5, of=BandPGD(low=1, high=16))",
        "Window(0, 1, Impulses())",
        "Window(0.1, 0.2, Universal(1, 4))",
    ],
)
def test_it_can_be_typed_back_and_sent_to_workers(text: str) -> None:
    attack = parse_expression(text)[0]
    assert isinstance(attack, Window)
    assert parse_expression(repr(attack))[0] == attack and hash(attack) == hash(attack)
    assert pickle.loads(pickle.dumps(attack)) == attack
    assert attack.sites == attack.of.sites and attack.unit == attack.of.unit
    assert getattr(attack, "joint", None) == getattr(attack.of, "joint", None)


def test_modes_of_what_is_inside_are_swept_in_its_unit() -> None:
    task = load_task("digits:side=8")
    noise = Noise("Window(0.5, 1, Fourier(mode))", modes="1-3", eps=(0.3,))
    found = conditions(noise, task, None, "m")
    assert [c.attack for c in found] == [Window(0.5, 1, Fourier(k)) for k in (1, 2, 3)]
    cycles = Noise("Window(0.5, 1, Fourier(mode))", modes="0.1", mode_unit="cycles", eps=(0.3,))
    (one,) = conditions(cycles, task, None, "m")
    assert one.attack == Window(0.5, 1, Fourier(0.1, frequency_unit="cycles"))
    assert type(one).from_row(one.to_row()) == one
    beyond = Noise("Window(0.5, 1, Fourier(mode))", modes=(17,), eps=(0.3,))
    with pytest.raises(UsageError, match=r"mode 17 .*16"):
        conditions(beyond, task, None, "m")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Window(0.5, 0.5, Fourier(3))", "first is 0.5, expected 0 <= first < last <= 1"),
        ("Window(0, 64, Fourier(3))", "expected 0 <= first < last <= 1"),
        ("Window(0, 1, 3)", "Window: of is 3, expected Attack"),
        ("Window(0, 1, StepSize())", "StepSize is no change of given steps"),
        ("Window(0, 1, NoisePadding(3))", "NoisePadding is no change of given steps"),
        ("Window(0, 1, Window(0, 1, Fourier(3)))", "Window is no change of given steps"),
        ("Window(0, 1, Fourier(3, eps=1))", "its strength is given outside"),
        ("Window(0, 1, Nothing(3))", "not understood"),
        ("Window(0, 1)", "does not fit Window"),
    ],
)
def test_what_is_no_window(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_expression(text)


def test_a_window_without_a_step_is_refused() -> None:
    window: Attack = Window(0.5, 0.501, Fourier(0))
    with pytest.raises(UsageError, match=r"0\.5 to 0\.501 of 64 steps holds none"):
        window.check_length(64, Site(length=64))
