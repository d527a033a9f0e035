"""Changes of the model: what an edit by hand does, put back to the last bit."""

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from robustssm.attacks import (
    Budget,
    Discretization,
    Fourier,
    ModelChange,
    Resample,
    Site,
    StepSize,
    parse_perturbation,
    perturbed_logits,
)
from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import zoo_path
from robustssm.errors import UsageError
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.tasks import load_task
from tests.attacks.cases import signal

IDS = np.arange(4)
DIAGONAL = ("s4d", "s4d-lin", "s5")
NAMES = (*DIAGONAL, "s4", "dss")


def network(name: str, discretization: str = "default") -> Network:
    a = Architecture(name, n=8, d_model=6, layers=2, d_input=3, discretization=discretization)
    return build_network(a).eval()


def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net(x)


def changed(net: Network, p: ModelChange, budget: Budget, x: torch.Tensor) -> torch.Tensor:
    result, delivered = perturbed_logits(
        net, x, p, budget, np.arange(len(x)), 0, inject="model", site=Site()
    )
    assert not delivered.energy.any() and (delivered.share == 1.0).all()
    return result


@pytest.fixture(
    params=[*((n, StepSize()) for n in NAMES), *((n, Discretization("bilinear")) for n in DIAGONAL)]
)
def change(request: pytest.FixtureRequest) -> Iterator[tuple[Network, ModelChange]]:
    """Yield a network and a change; afterwards its parameters have the bits that they had."""
    name, p = request.param
    net = network(name).double()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    yield net, p
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


def test_no_strength_is_the_network_itself(change: tuple[Network, ModelChange]) -> None:
    net, p = change
    x = signal(4, 32)
    versions = [q._version for q in net.parameters()]
    with p.applied(net, Budget(0.0, p.unit)) as same:
        assert same is net and [q._version for q in net.parameters()] == versions
    assert torch.equal(changed(net, p, Budget(0.0, p.unit), x), logits(net, x.repeat(4, 1, 1))[:4])


def test_the_network_is_restored_with_its_kernels(change: tuple[Network, ModelChange]) -> None:
    net, p = change
    x = signal(4, 32)
    clean = logits(net, x)
    budget = Budget(1.0, p.unit)
    with p.applied(net, budget):
        inside, own = logits(net, x), forward(net, x)
    assert torch.equal(logits(net, x), clean)
    # Logits of order 1 in float64, in another order of summation.
    torch.testing.assert_close(inside, own, rtol=0.0, atol=1e-13)
    # Logits of order 1 are rounded by 1e-15: this is a change, not rounding.
    assert (inside - clean).abs().max() > 1e-6
    with pytest.raises(RuntimeError, match="body"), p.applied(net, budget):
        raise RuntimeError("body")
    assert torch.equal(logits(net, x), clean)


def test_the_change_is_made_again_after_a_change(change: tuple[Network, ModelChange]) -> None:
    net, p = change
    x = signal(4, 32)
    first = changed(net, p, Budget(1.0, p.unit), x)
    assert torch.equal(changed(net, p, Budget(1.0, p.unit), x), first)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("to", "sign"), [("longer", 1.0), ("shorter", -1.0)])
def test_step_sizes_are_those_of_an_edit_by_hand(name: str, to: str, sign: float) -> None:
    net = network(name)
    x = signal(16, 32, torch.float32)
    by_hand = copy.deepcopy(net)
    with torch.no_grad():
        for layer in by_hand.ssm_layers():
            layer.log_dt += sign * 1.5 * math.log(2.0)  # type: ignore[operator, assignment]
    assert torch.equal(
        changed(net, StepSize(to), Budget(1.5, "octaves"), x[:4]), logits(by_hand, x)[:4]
    )
    with StepSize(to).applied(net, Budget(1.5, "octaves")):
        during = [layer.step_size() for layer in net.ssm_layers()]
    for now, layer in zip(during, net.ssm_layers(), strict=True):
        # log dt of about 7 in float32: rounded by 5e-7.
        torch.testing.assert_close(
            now, layer.step_size() * 2.0 ** (sign * 1.5), rtol=1e-6, atol=0.0
        )


@pytest.mark.parametrize("name", DIAGONAL)
@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_a_discretisation_is_that_of_a_network_built_with_it(name: str, method: str) -> None:
    other = {"zoh": "bilinear", "bilinear": "zoh"}[method]
    net, built = network(name, other), network(name, method)
    x = signal(16, 32, torch.float32)
    after = changed(net, Discretization(method), Budget(1.0, "mix"), x[:4])
    assert torch.equal(after, logits(built, x)[:4])
    assert all(layer.discretization == other for layer in net.ssm_layers())


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_at_half_the_rate_wants_half_the_step(name: str) -> None:
    def errors(L: int) -> tuple[float, float]:
        t = (torch.arange(L, dtype=torch.float64) + 0.5) / L
        k = torch.arange(1, 7, dtype=torch.float64)[:, None, None]
        x = 0.4 + 0.3 * torch.cos(2.0 * math.pi * k * t[:, None] + k).expand(6, L, 3)
        net = network(name).double()
        slow = Resample(0.5).perturb(
            x, None, np.arange(6), 0, budget=Budget(1.0, "mix"), site=Site()
        )
        wanted = logits(net, x[:, : L // 2])
        with StepSize("shorter").applied(net, Budget(1.0, "octaves")):
            there = logits(net, slow)
        unchanged = logits(net, slow)
        return float((there - wanted).abs().max()), float((unchanged - wanted).abs().max())

    # The system is the same and read at twice as many points: what is left is the error of the
    # discretisation and of the mean over steps, of order 1 / L.
    coarse, fine = errors(64)[0], errors(512)[0]
    assert fine < coarse / 3.0
    assert fine < 0.05 * errors(512)[1]


def test_trained_networks_follow_the_rate_too() -> None:
    net = load_checkpoint(zoo_path("s4d", 0)).own.eval()
    t = (torch.arange(512, dtype=torch.float64) + 0.5) / 512
    x = (0.4 + 0.3 * torch.cos(6.0 * math.pi * t))[None, :, None].float().expand(16, 512, 1)
    slow = Resample(0.5).perturb(x, None, np.arange(16), 0, budget=Budget(1.0, "mix"), site=Site())
    wanted = logits(net, x[:, :256])
    there = changed(net, StepSize("shorter"), Budget(1.0, "octaves"), slow[:4])
    # Logits of order 10, first order in steps of dt up to 0.1.
    assert (there - wanted[:4]).abs().max() < 0.25
    assert (logits(net, slow) - wanted).abs().max() > 2.0


def test_digits_at_twice_the_rate_are_read_with_half_the_step() -> None:
    net = load_checkpoint(zoo_path("s4d", 0)).own.eval()
    split = load_task("digits").splits["test"].first(128)
    x = torch.from_numpy(split.inputs).transpose(1, 2)
    twice = torch.nn.functional.interpolate(x, scale_factor=2, mode="linear").transpose(1, 2)
    right = []
    for eps in (0.0, 1.0):
        after = changed(net, StepSize("shorter"), Budget(eps, "octaves"), twice)
        right.append(float((after.argmax(1).numpy() == split.labels).mean()))
    # Measured 0.13 and 0.99 on the whole test split.
    assert right[0] < 0.4 and right[1] > 0.9


@pytest.mark.parametrize(
    ("name", "method", "words"),
    [
        ("s4", "zoh", "layer 0 \\(S4\\): knows no other discretisation than bilinear"),
        ("s4", "bilinear", "knows no other"),
        ("dss", "bilinear", "layer 0 \\(DSS\\): knows no other discretisation than zoh"),
        ("s4d", "zoh", "is zoh already"),
    ],
)
def test_what_a_layer_does_not_have_is_refused(name: str, method: str, words: str) -> None:
    net = network(name)
    with (
        pytest.raises(UsageError, match=words) as caught,
        Discretization(method).applied(net, Budget(1.0, "mix")),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_network_is_restored_where_a_later_layer_refuses() -> None:
    net = network("s4d")
    net.ssm_layers()[1].discretization = "bilinear"
    with (
        pytest.raises(UsageError, match="layer 1"),
        Discretization("bilinear").applied(net, Budget(1.0, "mix")),
    ):
        pass
    assert [layer.discretization for layer in net.ssm_layers()] == ["zoh", "bilinear"]


def test_places_and_units_are_checked() -> None:
    net, x, octave = network("s4d"), signal(2, 32, torch.float32), Budget(1.0, "octaves")
    for inject, p, budget, words in (
        ("input", StepSize(), octave, "acts at model, not at 'input'"),
        ("layers", StepSize(), octave, "acts at model, not at 'layers'"),
        ("model", Fourier(3), Budget(1.0, "rms"), "acts at input or layers, not at 'model'"),
        ("model", StepSize(), Budget(1.0, "rms"), "eps in rms is not its own, expected octaves"),
        ("model", StepSize(), Budget(1.0, "octaves", "hard", 0.0, 1.0), "drop clip"),
        ("model", Discretization("bilinear"), Budget(0.5, "mix"), "expected 0 or 1"),
        ("input", Fourier(3), octave, "changes of the model"),
        ("model", StepSize(), Budget(1100.0, "octaves"), "smaller eps"),
    ):
        with pytest.raises(UsageError, match=words):
            perturbed_logits(net, x, p, budget, IDS[:2], 0, inject=inject, site=Site())
    with pytest.raises(UsageError, match="longer, shorter"):
        StepSize("up")
    with pytest.raises(UsageError, match="zoh, bilinear"):
        Discretization("euler")


@pytest.mark.parametrize("text", ["StepSize(to='shorter')", "Discretization(method='zoh')"])
def test_changes_can_be_typed_back(text: str) -> None:
    unit = "octaves" if "Step" in text else "mix"
    p, budget = parse_perturbation(f"{text[:-1]}, eps=1.0)")
    assert repr(p) == text and budget == Budget(1.0, unit)
