"""Augmentation: the perturbation as it stands, new draws an epoch, exact gradients at layers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from robustssm.attacks import Fourier
from robustssm.attacks.augmentation import Augmentation
from robustssm.attacks.base import input_site
from robustssm.attacks.budget import Budget
from robustssm.checkpoints import load_checkpoint
from robustssm.errors import UsageError
from robustssm.networks.network import build_network
from robustssm.tasks import load_task
from robustssm.training.loop import TrainingConfig, train
from robustssm.training.objective import Objective
from tests.conftest import small_architecture

TASK = load_task("digits:side=8")
IDS = np.arange(4)


def test_the_input_is_that_of_the_perturbation_and_new_every_epoch() -> None:
    x, network = torch.rand(4, 64, 1), build_network(small_architecture("s4d"))
    augmentation = Augmentation("Fourier(3, eps=0.5)", TASK)
    given = []
    for seed in (5, 6):
        with augmentation.applied(network, x, IDS, seed) as perturbed:
            given.append(perturbed)
    expected = Fourier(3).perturb(x, None, IDS, 5, budget=Budget(0.5, "std"), site=input_site(TASK))
    assert torch.equal(given[0], expected) and not torch.equal(given[1], expected)


def test_at_layers_the_gradient_is_that_of_a_constant() -> None:
    """Against finite differences of the loss in a parameter before the perturbed layers."""
    x = torch.rand(4, 64, 1, dtype=torch.float64)
    network = build_network(small_architecture("s4d")).double().eval()
    augmentation = Augmentation("Resonance(30.0, eps=0.5)", TASK)

    def loss() -> torch.Tensor:
        with augmentation.applied(network, x, IDS, 0) as given:
            return network(given).square().sum()

    value = loss()
    (slope,) = torch.autograd.grad(value, network.input_weight)
    with torch.no_grad():
        clean = network(x).square().sum()
        assert not torch.equal(clean, value)
        step = 1e-6
        network.input_weight[0, 0] += step
        up = loss()
        network.input_weight[0, 0] -= 2 * step
        down = loss()
    difference = (up - down) / (2 * step)
    # Central differences: step^2 of the third derivative, and 1e-16 / step of rounding.
    torch.testing.assert_close(slope[0, 0], difference, rtol=1e-5, atol=1e-7)


def test_training_with_augmentation_is_on_the_card_and_can_be_repeated(tmp_path: Path) -> None:
    text = "BandNoise(1, 8, eps=0.5)"
    hashes = set()
    for name, augment in (("a", text), ("b", text), ("c", "")):
        config = TrainingConfig(epochs=1, augment=augment)
        card = train(
            small_architecture("s4d"),
            "digits:side=8",
            config,
            tmp_path / f"{name}.safetensors",
            command="test",
            objective=Objective(Augmentation(augment, TASK).loss) if augment else None,
        )
        assert card is not None and card.training["augment"] == augment
        hashes.add(load_checkpoint(tmp_path / f"{name}.safetensors").content_hash)
    assert len(hashes) == 2
    with pytest.raises(UsageError, match="go together"):
        train(
            small_architecture("s4d"), "digits:side=8", config, tmp_path / "d", command="",
            objective=Objective(Augmentation(text, TASK).loss),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("StepSize(eps=1)", "changes the model"),
        ("Fourier(3, phase='worst:4', eps=1)", "needs a model"),
        ("Fourier(3)", "add eps="),
    ],
)
def test_what_cannot_augment(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Augmentation(text, TASK)
