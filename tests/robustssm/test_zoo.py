"""The bundled checkpoints: all there, small, intact, as accurate as their cards say."""

import json

import pytest

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import BUNDLED, FOLDER, SEEDS, verify, zoo_path
from robustssm.training.zoo import recipe

# The poles of s4d-real do not oscillate; three layers of width 32 do not make up for that.
LESS_ACCURATE = {"s4d-real": 0.7}


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_name_and_seed_is_there_and_intact(name: str, seed: int) -> None:
    card = load_checkpoint(zoo_path(name, seed)).card
    assert (card.architecture["init"], card.train_seed, card.n_test) == (name, seed, 539)
    assert card.clean_accuracy is not None
    assert card.clean_accuracy >= LESS_ACCURATE.get(name, 0.95)
    config, command = recipe(name, seed)
    assert card.command == command
    assert card.training["epochs"] == config.epochs
    beside = json.loads(zoo_path(name, seed).with_suffix(".json").read_text())
    assert beside["weights_sha256"] == card.weights_sha256
    assert card.init_diagnostics["max_real"] <= -0.25


def test_the_zoo_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 4 * 2**20


@pytest.mark.parametrize("name", ["s4", "s5ptd"])
def test_cards_can_be_verified(name: str) -> None:
    checkpoint = load_checkpoint(zoo_path(name, 1))
    assert verify(checkpoint) == pytest.approx(checkpoint.card.clean_accuracy, abs=1.5 / 539)
