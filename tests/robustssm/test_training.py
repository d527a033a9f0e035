"""Training: the same bytes twice, and after an interruption."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from robustssm.attacks.adversarial import objective_of
from robustssm.checkpoints import load_checkpoint
from robustssm.errors import StabilityError, UsageError
from robustssm.networks.network import Architecture, build_network
from robustssm.storage.writing import write_atomically
from robustssm.tasks import Split, Task, registry
from robustssm.training.loop import EpochRecord, TrainingConfig, adamw, parameter_groups, train
from robustssm.training.state import restore, save_state
from tests.conftest import STORED, small_architecture

SMALL = Architecture("s4d", n=8, d_model=8, layers=1)
TASK = "digits:side=8"


def test_interrupted_training_ends_in_the_same_bytes(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=3)
    straight, broken = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    records: list[EpochRecord] = []
    train(SMALL, TASK, config, straight, command="c", logs=[lambda done: records.append])
    assert records[-1].loss < records[0].loss
    assert train(SMALL, TASK, config, broken, command="c", stop_after=1) is None
    assert not broken.exists()
    assert train(SMALL, TASK, config, broken, command="c", stop_after=2) is None
    train(SMALL, TASK, config, broken, command="c")
    assert broken.read_bytes() == straight.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".state")] == []


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    train(SMALL, TASK, TrainingConfig(epochs=3), path, command="c", stop_after=1)
    with pytest.raises(UsageError, match="other settings"):
        train(SMALL, TASK, TrainingConfig(epochs=4), path, command="c")
    state = tmp_path / "a.safetensors.state"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(UsageError, match="damaged"):
        train(SMALL, TASK, TrainingConfig(epochs=3), path, command="c")


def test_a_state_of_an_older_optimiser_is_read(tmp_path: Path) -> None:
    """Its steps are those of torch's default AdamW, to rounding."""
    config, x = TrainingConfig(epochs=3), torch.rand(4, 16, 1)
    networks = [build_network(SMALL) for _ in range(2)]
    old = torch.optim.AdamW(parameter_groups(networks[0], config))
    new = adamw(networks[1], config)
    for step in range(4):
        if step == 2:
            save_state(tmp_path / "old.state", "run", 1, networks[0], old)
            assert restore(tmp_path / "old.state", "run", networks[1], new) == 1
        for network, optimizer in zip(networks, (old, new), strict=True):
            torch.manual_seed(step)
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_dynamics_have_their_own_rate_and_no_decay() -> None:
    rest, dynamics = parameter_groups(build_network(SMALL), TrainingConfig())
    assert (rest["peak"], dynamics["peak"], dynamics["weight_decay"]) == (1e-2, 1e-3, 0.0)
    names = {id(p): n for n, p in build_network(SMALL).named_parameters()}
    assert len(rest["params"]) + len(dynamics["params"]) == len(names)  # type: ignore[arg-type]
    assert len(dynamics["params"]) == 4  # type: ignore[arg-type]  # dt, Re A, Im A, B


def test_the_card_says_what_was_done(checkpoints: dict[str, Path]) -> None:
    card = load_checkpoint(checkpoints["s4ptd-rank1"]).card
    assert card.architecture["init"] == "s4ptd-rank1"
    assert card.init_diagnostics["max_real"] < -0.5
    assert (card.task, card.train_seed, card.n_test) == ("digits:side=8", 0, 539)
    assert card.clean_accuracy is not None
    assert 0.1 < card.clean_accuracy < 1.0
    assert card.training["epochs"] == 2 and "torch" in card.versions


@pytest.mark.parametrize("init", ["s4d", "s4ptd-rank1"])
def test_the_stored_checkpoints_are_what_training_gives(init: str, tmp_path: Path) -> None:
    """Where the meaning of a setting changes, write them again by the same call of `train`."""
    path = tmp_path / f"{init}.safetensors"
    config = TrainingConfig(epochs=2)
    train(small_architecture(init), TASK, config, path, command="test")
    trained, stored = load_checkpoint(path), load_checkpoint(STORED / path.name)
    expected = stored.network.state_dict()
    for name, value in trained.network.state_dict().items():
        # Another processor rounds float32 otherwise: 3e-7 with and without AVX, over 40 steps.
        torch.testing.assert_close(value, expected[name], rtol=0.0, atol=1e-4)
    for field in ("architecture", "training", "task", "task_hash", "train_seed", "n_test"):
        assert getattr(trained.card, field) == getattr(stored.card, field)


def test_impossible_settings() -> None:
    with pytest.raises(UsageError, match="epochs is 0"):
        TrainingConfig(epochs=0)
    for bad in (
        {"lr": math.inf},
        {"ssm_lr": math.nan},
        {"weight_decay": -0.1},
        {"weight_decay": math.nan},
        {"seed": -1},
        {"seed": 2**63},
    ):
        with pytest.raises(UsageError, match=f"{next(iter(bad))} is"):
            TrainingConfig(**bad)
    for dropout in (-0.1, 1.0, math.nan):
        with pytest.raises(UsageError, match="dropout is"):
            Architecture("s4d", dropout=dropout)


def test_a_diverged_training_leaves_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(StabilityError, match=r"not finite|loss is nan"):
        train(SMALL, TASK, TrainingConfig(epochs=1, lr=1e30), path, command="c")
    assert not list(tmp_path.iterdir())


def test_the_output_is_tried_before_the_first_epoch(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    records: list[EpochRecord] = []
    for output in (tmp_path, tmp_path / "file" / "a.safetensors", Path()):
        with pytest.raises(OSError) as caught:
            train(SMALL, TASK, TrainingConfig(epochs=1), output, command="c",
                  logs=[lambda done: records.append])  # fmt: skip
        assert not records and caught.value.filename in map(str, (output, output.parent))


def test_files_are_named_by_their_final_names(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300)
    for wrong in (tmp_path, path, Path()):
        with pytest.raises(OSError) as caught:
            write_atomically(wrong, b"")
        assert caught.value.filename == str(wrong)
    write_atomically(tmp_path / "new" / "a", b"1")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a"]


def ending(fill: float, tokens: int = 0, classes: int = 2, silence: int = 0) -> Task:
    """Sequences that end after 5 to 8 of 8 steps, `fill` behind, and `silence` more steps of it."""
    generator = np.random.Generator(np.random.Philox(0))
    lengths = 5 + np.arange(12) % 4
    x = generator.standard_normal((12, 8, 1)).astype(np.float32)
    x[np.arange(8) >= lengths[:, None]] = fill
    x = np.pad(x, ((0, 0), (0, silence), (0, 0)), constant_values=fill)
    inputs = np.zeros((12, 8), dtype=np.int64) if tokens else x
    split = Split(inputs, np.arange(12) % classes, np.arange(12), lengths)
    splits = dict.fromkeys(("train", "validation", "test"), split)
    return Task(f"ending:fill={fill}", 2, splits, tokens=tokens or None)


@pytest.mark.parametrize("augment", ["", "BandNoise(1, 2, eps=0.5)", "Resonance(1.0, eps=0.5)"])
def test_what_is_behind_the_end_of_a_sample_teaches_nothing(
    augment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what it is nor how much of it there is, to the last bit."""
    monkeypatch.setitem(registry.TASKS._built_in, "ending", f"{__name__}:ending")
    shape = Architecture("s4d", n=4, d_model=4, layers=1, d_output=2)
    found = []
    for number, ends in enumerate(("fill=0", "fill=7", "fill=0:silence=5", "fill=7:silence=5")):
        path, task = tmp_path / f"{number}.safetensors", f"ending:{ends}"
        config = TrainingConfig(epochs=2, augment=augment)
        objective = objective_of(config, registry.load_task(task))
        train(shape, task, config, path, command="c", objective=objective)
        found.append(load_checkpoint(path).network.state_dict())
    first = found[0]
    assert all(torch.equal(first[name], one[name]) for one in found for name in first)


@pytest.mark.parametrize(
    ("option", "words"), [("tokens=3", "has 3 tokens"), ("classes=1", "label")]
)
def test_tasks_without_anything_to_learn(
    option: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.TASKS._built_in, "ending", f"{__name__}:ending")
    shape = Architecture("s4d", n=4, d_model=4, layers=1, d_output=2)
    with pytest.raises(UsageError, match=words):
        train(shape, f"ending:fill=0:{option}", TrainingConfig(), tmp_path / "a", command="c")
