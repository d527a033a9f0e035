"""Shared trainings: every epoch's network, run once; a kill or more jobs change no byte."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robustssm.checkpoints import Card, load_checkpoint, read_card, save_checkpoint
from robustssm.errors import UsageError
from robustssm.evaluations.paper import running, trainings
from robustssm.evaluations.paper.trainings import Training, other_data, snapshots
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.training.loop import TrainingConfig, train

ONE = Training("s4d", 0, 3, task="digits:side=8", n=8, d_model=8, layers=1)


class KilledError(Exception):
    """Stands for a kill after an epoch."""


def contents(paths: list[Path]) -> list[bytes]:
    """Return what the files hold."""
    return [path.read_bytes() for path in paths]


def test_every_epoch_is_a_checkpoint_from_untrained_to_trained(tmp_path: Path) -> None:
    paths = snapshots([ONE], tmp_path)[ONE]
    assert len(paths) == ONE.epochs + 1 and len({p.read_bytes() for p in paths}) == len(paths)
    assert paths[0].parent.parent == tmp_path / "trainings"
    architecture = Architecture("s4d", n=8, d_model=8, layers=1)
    fresh = build_network(architecture, ONE.seed).state_dict()
    untrained = load_checkpoint(paths[0]).network.state_dict()
    for name, value in untrained.items():
        if name not in ("mean", "std"):  # of the data, not drawn
            assert torch.equal(value, fresh[name]), name
    # The trained one is what `robustssm train` writes, by its own route.
    plain = tmp_path / "plain.safetensors"
    config = TrainingConfig(epochs=ONE.epochs, lr=ONE.lr, ssm_lr=ONE.ssm_lr, seed=ONE.seed)
    card = train(architecture, ONE.task, config, plain, command="c")
    assert card is not None
    assert read_card(paths[-1]).weights_sha256 == card.weights_sha256


def test_a_finished_training_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = snapshots([ONE, ONE], tmp_path)
    monkeypatch.setattr(trainings, "train", None)
    assert snapshots([ONE], tmp_path) == first


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_killed_training_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    straight = contents(snapshots([ONE], tmp_path / "a")[ONE])

    def killed(path: Path, network: Network, card: Card) -> Card:
        if path.name == f"epoch-{epoch:03d}.safetensors":
            raise KilledError
        return save_checkpoint(path, network, card)

    monkeypatch.setattr(trainings, "save_checkpoint", killed)
    with pytest.raises(KilledError):
        snapshots([ONE], tmp_path / "b")
    monkeypatch.undo()
    broken = snapshots([ONE], tmp_path / "b")[ONE]
    assert contents(broken) == straight
    assert not [p for p in broken[0].parent.iterdir() if p.suffix in (".state", ".part")]


def test_processes_change_no_byte(tmp_path: Path) -> None:
    both = [replace(ONE, epochs=1), replace(ONE, epochs=1, seed=1)]
    alone = snapshots(both, tmp_path / "a", jobs=1)
    beside = snapshots(both, tmp_path / "b", jobs=2)
    for one in both:
        assert contents(alone[one]) == contents(beside[one])


def test_other_settings_and_other_data_are_other_trainings() -> None:
    others = [replace(ONE, seed=1), replace(ONE, epochs=4), replace(ONE, ssm_lr=2e-3)]
    others += [replace(ONE, init="s4d-lin"), replace(ONE, task="digits:side=16")]
    assert len({one.identity() for one in (ONE, *others)}) == len(others) + 1
    name = replace(ONE, init="s4ptd-rank1:tau=0.05").folder(Path()).name
    assert name.startswith("s4ptd-rank1-tau0.05-0-")


def test_other_data_are_for_recipes_that_train() -> None:
    known = running.reproductions()
    found = other_data([known["fig3ab"], known["fig3c"]], "digits:side=8")
    assert found["task"] == "digits:side=8" and len(str(found["task_hash"])) == 64
    settings = {**known["fig3ab"].quick, **found}
    changed = known["fig3ab"].identity("accuracies", settings)
    assert changed != known["fig3ab"].identity("accuracies", {**settings, "task_hash": "other"})
    with pytest.raises(UsageError, match="not for bound, fig1, which"):
        other_data([known["bound"], known["fig3ab"], known["fig1"]], "digits")
    with pytest.raises(UsageError, match="unknown"):
        other_data([known["fig3ab"]], "no-such-task")


def test_data_that_cannot_be_trained_on_are_refused(tmp_path: Path) -> None:
    recipe = running.reproductions()["fig3ab"]
    labels = np.array([0, 1, 0, 1])
    tokens, plain = tmp_path / "tokens.npz", tmp_path / "plain.npz"
    np.savez(tokens, inputs=np.arange(12).reshape(4, 3), labels=labels)
    np.savez(plain, inputs=np.linspace(0.0, 1.0, 12).reshape(4, 3), labels=labels)
    with pytest.raises(UsageError, match="holds tokens"):
        other_data([recipe], f"file:{tokens}")
    with pytest.raises(UsageError, match="no labelled training samples"):
        other_data([recipe], f"file:{plain}")
