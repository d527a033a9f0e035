"""Adversarial training: what it makes small, that it helps, and that it goes on exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from robustssm.attacks.adversarial import SCHEMES, Adversarial, Divergence, divergence, objective_of
from robustssm.attacks.adversaries import BandPGD, Target, Victim
from robustssm.attacks.base import Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.units import UNITS
from robustssm.checkpoints import load_checkpoint
from robustssm.cli import main
from robustssm.errors import UsageError
from robustssm.networks.network import Architecture, build_network
from robustssm.tasks import load_task
from robustssm.training.config import TrainingConfig
from robustssm.training.loop import last, train
from robustssm.training.objective import Batch

TASK = "digits:side=8"
DATA = load_task(TASK)
SMALL = Architecture("s4d", n=8, d_model=8, layers=1)
TEXT = "BandPGD(1, 16, steps=2)"
ON: dict[str, Any] = {"adversary": TEXT, "eps": 0.3}


def trained(path: Path, architecture: Architecture = SMALL, **settings: Any) -> Any:
    config = TrainingConfig(**settings)
    return train(
        architecture, TASK, config, path, command="c", objective=objective_of(config, DATA)
    )


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("off", [{"eps": 0.0}, {"scheme": "trades", "beta": 0.0}])
def test_no_strength_or_no_weight_is_ordinary_training(
    off: dict[str, Any], norm: str, tmp_path: Path
) -> None:
    """Dropout is on, so that the global generator must be where it was."""
    shape = Architecture("s4d", n=8, d_model=8, layers=1, norm=norm)
    ordinary, attacked = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    trained(ordinary, shape, epochs=2)
    trained(attacked, shape, epochs=2, **{**ON, **off})
    assert same(last(attacked), ordinary)
    trained(tmp_path / "c.safetensors", shape, epochs=2, **{**ON, **off, "eps": 0.3, "beta": 1.0})
    assert not same(last(tmp_path / "c.safetensors"), ordinary)


@pytest.mark.parametrize("scheme", ["pgd", "trades"])
def test_an_interrupted_run_ends_in_the_same_bytes(scheme: str, tmp_path: Path) -> None:
    settings = {**ON, "scheme": scheme, "epochs": 3, "eps_warmup": 0.5}
    straight, broken = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    trained(straight, **settings)
    config = TrainingConfig(**settings)
    for stop in (1, 2):
        objective = objective_of(config, DATA)
        assert train(SMALL, TASK, config, broken, command="c", stop_after=stop,
                     objective=objective) is None  # fmt: skip
    trained(broken, **settings)
    assert straight.read_bytes() == broken.read_bytes()
    assert last(straight).read_bytes() == last(broken).read_bytes()
    other = tmp_path / "b.safetensors"
    other.unlink()
    train(SMALL, TASK, config, other, command="c", stop_after=1,
          objective=objective_of(config, DATA))  # fmt: skip
    with pytest.raises(UsageError, match="other settings"):
        trained(other, **{**settings, "eps": 0.2})


def test_training_raises_what_the_adversary_leaves_and_the_card_says_both(tmp_path: Path) -> None:
    shape = Architecture("s4d", n=8, d_model=8, layers=1)
    judge = Adversarial(TrainingConfig(adversary=TEXT, eps=0.4), DATA)
    scores = {}
    for name, settings in {"ordinary": {}, "pgd": {"adversary": TEXT, "eps": 0.4}}.items():
        path = tmp_path / f"{name}.safetensors"
        card = trained(path, shape, epochs=6, lr=5e-2, **settings)
        scores[name] = judge.robust(load_checkpoint(path).own)
    assert scores["pgd"] > scores["ordinary"] + 0.05
    facts = card.training
    final = judge.robust(load_checkpoint(last(path)).own)
    assert (facts["robust_best"], facts["robust_last"]) == (scores["pgd"], final)
    assert final <= scores["pgd"] and facts["best_epoch"] in {*range(1, 7)}
    assert (facts["adversary"], facts["eps"]) == (TEXT, 0.4)


def batch(network: Any, done: float = 1.0, rows: slice = slice(0, 16)) -> Batch:
    part = DATA.splits["train"].rows(rows)
    x, labels = torch.from_numpy(part.inputs), torch.from_numpy(part.labels)
    return Batch(network, x, labels, part.sample_id, DATA.kind, seed=7, done=done)


def network() -> Any:
    made = build_network(SMALL)
    made.standardise(DATA)
    return made


def test_both_losses_are_those_of_the_papers() -> None:
    """Without dropout: cross entropy of the attacked; clean loss and the divergence, by hand."""
    net = network().eval()
    own = Adversarial(TrainingConfig(**ON, beta=2.5), DATA)
    part = batch(net)
    with Victim(net, 16) as victim:
        target = Target(victim, part.x, part.targets, part.sample_id, 7, own.budget, own.site)
        after = BandPGD(1, 16, steps=2).attack(target).x
        clean = victim.logits(part.x)
    expected = torch.nn.functional.cross_entropy(net(after), part.targets)
    assert torch.equal(own.pgd(part), expected) and expected.requires_grad
    with Victim(net, 16, Divergence()) as victim:
        target = Target(victim, part.x, clean, part.sample_id, 7, own.budget, own.site)
        found = BandPGD(1, 16, steps=2).attack(target)
    p, q = net(part.x).softmax(1), net(found.x).softmax(1)
    kl = (p * (p.log() - q.log())).sum(1)
    ordinary = torch.nn.functional.cross_entropy(net(part.x), part.targets)
    # float32 logarithms of probabilities.
    torch.testing.assert_close(own.trades(part), ordinary + 2.5 * kl.mean(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(-found.margin.log().float(), kl, rtol=1e-3, atol=1e-6)
    assert (kl > 0).all()


def test_the_search_for_divergence_starts_where_its_gradient_is_zero_and_still_moves() -> None:
    net, part = network().eval(), batch(network())
    with Victim(net, 16, Divergence()) as victim:
        clean = victim.logits(part.x)
        margins, losses, slopes = victim.slopes(part.x, clean, "ce")
        assert torch.equal(margins, torch.ones(16, dtype=torch.float64)) and not losses.any()
        # Rounding of float32 programs: a gradient of random direction at most.
        assert float(slopes.abs().max()) < 1e-6
        target = Target(victim, part.x, clean, part.sample_id, 1, Budget(0.3), Site(
            scale=torch.from_numpy(DATA.std)))  # fmt: skip
        assert bool((BandPGD(1, 16, steps=2).attack(target).margin < 1.0).all())


def test_divergence_is_that_of_the_definition() -> None:
    clean, attacked = torch.randn(2, 5, 4, dtype=torch.float64)
    p, q = (torch.distributions.Categorical(logits=v) for v in (clean, attacked))
    expected = torch.distributions.kl_divergence(p, q)
    # Sums of four terms in float64.
    torch.testing.assert_close(divergence(clean, attacked), expected, rtol=1e-12, atol=1e-12)


def test_the_warm_up_is_linear_and_draws_are_those_of_the_sample(
    checkpoints: dict[str, Path],
) -> None:
    net = load_checkpoint(checkpoints["s4d"]).own
    text = "BandPGD(1, 16, steps=2, loss='margin', start='random')"
    own = Adversarial(TrainingConfig(adversary=text, eps=0.3, eps_warmup=0.5), DATA)
    scale = torch.from_numpy(DATA.std)
    sizes = []
    for done in (0.0, 0.25, 0.5, 1.0):
        part = batch(net, done)
        with Victim(net, 16) as victim:
            after = own._attacked(victim, part, part.targets)
        rms = ((after - part.x).double() / scale).square().mean((1, 2)).sqrt()
        sizes.append(rms)
    shares = torch.stack(sizes) / 0.3
    expected = torch.tensor([0.0, 0.5, 1.0, 1.0], dtype=torch.float64)[:, None].expand(4, 16)
    # Inputs of order 1 in float32; the adversary is at the surface of its ball.
    torch.testing.assert_close(shares, expected, rtol=1e-4, atol=1e-6)
    alone = batch(net, rows=slice(3, 4))
    with Victim(net, 16) as victim:
        assert torch.equal(own._attacked(victim, alone, alone.targets)[0], after[3])


@pytest.mark.parametrize("unit", ["std", "rms", "l2", "linf", "snr-db"])
def test_a_share_of_a_strength_is_that_share_of_what_is_added(unit: str) -> None:
    x = torch.rand(3, 8, 2, dtype=torch.float64)
    norm, eps = UNITS[unit], 0.4
    assert norm.share(eps, 0.0) == norm.nothing and norm.share(eps, 1.0) == eps
    half = Budget(norm.share(eps, 0.5), unit).target(x, "")
    torch.testing.assert_close(half, 0.5 * Budget(eps, unit).target(x, ""), rtol=1e-12, atol=0.0)


def test_values_are_attacked_by_their_squared_error_but_have_no_divergence(tmp_path: Path) -> None:
    spec = "sinusoids:train=64:validation=32:test=32:length=32"
    task = load_task(spec)
    config = TrainingConfig(epochs=1, adversary="BandPGD(1, 4, steps=2)", eps=0.3)
    shape = Architecture.for_task("s4d", task, n=8, d_model=8, layers=1)
    path = tmp_path / "a.safetensors"
    card = train(shape, spec, config, path, command="c", objective=objective_of(config, task))
    assert card is not None and float(str(card.training["robust_best"])) > 0.0
    with pytest.raises(UsageError, match="trades compares probabilities of classes"):
        objective_of(TrainingConfig(**ON, scheme="trades"), task)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"adversary": "Universal(1, 4)"}, "Universal does not search for each sample by itself"),
        ({"adversary": "Fourier(3)"}, "Fourier does not search .* expected one of Guided, BandPGD"),
        ({"adversary": "BandPGD(1, 4, eps=1)"}, "has an eps of its own"),
        ({"adversary": "BandPGD(1, 400)"}, "BandPGD: band is '1-400', expected bins within 0-32"),
        ({"adversary": "Nothing(3)"}, "'Nothing' is unknown"),
        ({"adversary": TEXT, "eps": -1.0}, "eps is -1.0"),
    ],
)
def test_what_cannot_attack_training(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        objective_of(TrainingConfig(**{"eps": 0.3, **settings}), DATA)
    assert "\n" not in str(caught.value)


def test_settings_that_cannot_be() -> None:
    for bad in ({"scheme": "x"}, {"beta": -1.0}, {"eps_warmup": 1.5}, {"robust_every": 0}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            TrainingConfig(**bad)
    with pytest.raises(UsageError, match="both given"):
        TrainingConfig(adversary=TEXT, augment="Fourier(3, eps=1)")
    with pytest.raises(UsageError, match="go together"):
        train(SMALL, TASK, TrainingConfig(**ON), Path("x"), command="c")


def test_the_command_says_the_cost_before_and_both_scores_after(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    result = CliRunner().invoke(main, [
        "train", "--init", "s4d", "-d", TASK, "--n", "8", "--d-model", "8", "--layers", "1",
        "--epochs", "2", "--adversary", TEXT, "--eps", "0.3", "--scheme", "trades",
        "--robust-every", "2", "-o", str(path),
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    # A search of two steps: 2 + (2 * 2 + 1) passes to and fro.
    assert "adversarial training: attacks take 7 passes per sample" in result.stderr
    assert "best robust validation accuracy" in result.stdout and "a.last.safetensors" in (
        result.stdout
    )
    card = load_checkpoint(path).card
    assert card.training["best_epoch"] == 2 and card.training["scheme"] == "trades"
    assert np.isfinite(load_checkpoint(last(path)).card.clean_accuracy or np.nan)
    assert set(SCHEMES) == {"pgd", "trades"}
