"""Warm-up, accumulation, moving average, precision and clipping: what each of them is."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustssm.attacks.augmentation import Augmentation
from robustssm.checkpoints import load_checkpoint
from robustssm.errors import UsageError
from robustssm.hippo.initializations import EVERY
from robustssm.networks.inference import accuracy
from robustssm.networks.network import Architecture, build_network
from robustssm.tasks import load_task
from robustssm.training import loop
from robustssm.training.loop import EpochRecord, TrainingConfig, train
from robustssm.training.objective import Batch, Objective

SMALL = Architecture("s4d", n=4, d_model=4, layers=1, dropout=0.0)
TASK = "digits:side=8"
ALL: dict[str, Any] = {
    "warmup_steps": 9,
    "accumulate": 3,
    "ema": 0.9,
    "precision": "bfloat16",
    "clip": 0.5,
}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).network.state_dict()


def run(folder: Path, shape: Architecture = SMALL, **config: Any) -> dict[str, torch.Tensor]:
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    train(shape, TASK, TrainingConfig(**{"epochs": 1, **config}), path, command="c")
    return weights(path)


def test_warm_up_rises_to_the_peak_and_the_cosine_takes_the_rest() -> None:
    config = TrainingConfig(epochs=5, warmup_steps=10)  # of 5 x 8 = 40 steps
    found = [config.factor(step // 8, step % 8, 8) for step in range(41)]
    assert found[:11] == [step / 10 for step in range(11)]
    # 30 steps of cosine: half of it at step 25, nothing left at step 40; cos rounds to 1e-16.
    assert found[25] == pytest.approx(0.5, abs=1e-15)
    assert found[40] == pytest.approx(0.0, abs=1e-15)
    assert all(a > b for a, b in pairwise(found[10:]))


@given(
    epochs=st.integers(1, 50),
    batches=st.integers(1, 50),
    share=st.floats(0.0, 0.99),
    where=st.floats(0.0, 1.0, exclude_max=True),
)
def test_rates_lie_between_zero_and_their_peaks(
    epochs: int, batches: int, share: float, where: float
) -> None:
    config = TrainingConfig(epochs=epochs, warmup_steps=int(share * epochs * batches))
    config.check_steps(batches)
    step = int(where * epochs * batches)
    factor = config.factor(step // batches, step % batches, batches)
    assert 0.0 <= factor <= 1.0
    # A step in warm-up has the rate of its number alone, whatever epoch it is in.
    if step < config.warmup_steps:
        assert factor == step / config.warmup_steps


def test_without_warm_up_the_rates_are_those_of_older_runs() -> None:
    config = TrainingConfig(epochs=7, lr=0.013)
    for epoch in range(7):
        for number in range(3):
            progress = (epoch + number / 3) / 7
            old = 0.013 * 0.5 * (1.0 + math.cos(math.pi * progress))
            assert 0.013 * config.factor(epoch, number, 3) == old


def test_a_warm_up_that_takes_the_whole_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"warmup_steps is 99, expected fewer .* 17 steps"):
        run(tmp_path, warmup_steps=99)


def test_both_rates_are_recorded_as_they_were(tmp_path: Path) -> None:
    records: list[EpochRecord] = []
    config = TrainingConfig(epochs=2, lr=0.01, ssm_lr=0.002, warmup_steps=20)
    train(SMALL, TASK, config, tmp_path / "a.safetensors", command="c",
          logs=[lambda done: records.append])  # fmt: skip
    # 1078 training samples: 17 steps an epoch, the last of them is step 16.
    assert [record.steps for record in records] == [17, 34]
    assert records[0].lr == 0.01 * 16 / 20 and records[0].ssm_lr == 0.002 * 16 / 20
    assert records[1].lr == 0.01 * config.factor(1, 16, 17)


def test_parts_of_a_batch_add_up_to_the_batch(tmp_path: Path) -> None:
    # 64 = 2 x 32, and 64 = 22 + 21 + 21: gradients are means over the samples of the whole batch.
    whole = run(tmp_path, lr=1e-3)
    for parts in (2, 3):
        found = run(tmp_path, lr=1e-3, accumulate=parts)
        for name, value in whole.items():
            # 17 steps of at most 1e-3. Sums of float32 in another order differ by 1e-7 of their
            # terms, so by 1e-3 of a gradient where they cancel to 1e-4: 1e-6 a step.
            assert torch.allclose(found[name], value, rtol=0.0, atol=17e-6), name


def test_parts_see_their_own_statistics_with_norm_batch(tmp_path: Path) -> None:
    shape = Architecture("s4d", n=4, d_model=4, layers=1, dropout=0.0, norm="batch")
    whole, parts = run(tmp_path, shape), run(tmp_path, shape, accumulate=2)
    key = "blocks.0.norm.norm.num_batches_tracked"
    assert int(parts[key]) == 2 * int(whole[key])


def test_the_average_is_what_its_equation_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *parts: Any) -> Any:
        result = step(self, *parts)
        values = [p.detach().clone() for group in self.param_groups for p in group["params"]]
        seen.append({str(k): value for k, value in enumerate(values)})
        return result

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", watched)
        averaged = run(tmp_path, ema=0.75)
    plain = run(tmp_path)
    network = build_network(SMALL)
    groups = loop.parameter_groups(network, TrainingConfig())
    names = {id(p): name for name, p in network.named_parameters()}
    order = [names[id(p)] for group in groups for p in group["params"]]  # type: ignore[attr-defined]
    for k, name in enumerate(order):
        expected = seen[0][str(k)].double()
        for later in seen[1:]:
            expected = 0.75 * expected + 0.25 * later[str(k)].double()
        # 17 roundings of float32.
        assert torch.allclose(averaged[name].double(), expected, rtol=1e-5, atol=1e-6), name
        # Averaging does not touch the training itself.
        assert torch.equal(seen[-1][str(k)], plain[name])


def test_the_average_is_what_is_validated_kept_and_saved(tmp_path: Path) -> None:
    kept: list[dict[str, torch.Tensor]] = []
    path = tmp_path / "a.safetensors"
    card = train(SMALL, TASK, TrainingConfig(epochs=1, ema=0.9), path, command="c",
                 keep=lambda epoch, network, card: kept.append(
                     {k: v.clone() for k, v in network.state_dict().items()}))  # fmt: skip
    saved = weights(path)
    assert all(torch.equal(kept[-1][k], saved[k]) for k in saved)
    assert not all(torch.equal(kept[0][k], saved[k]) for k in saved)
    assert card is not None
    network = load_checkpoint(path).network
    assert card.clean_accuracy == accuracy(network, load_task(TASK).splits["test"])


def test_clipping_bounds_the_gradient_that_a_step_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *parts: Any) -> Any:
        found = [p.grad.norm() for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.stack(found).norm()))
        return step(self, *parts)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run(tmp_path)
    free, norms[:] = list(norms), []
    run(tmp_path, clip=0.1)
    # float32 rounding of a norm that is scaled to 0.1.
    assert max(free) > 0.2 and max(norms) <= 0.1 * (1.0 + 1e-5)


@pytest.mark.parametrize("init", EVERY)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_ssm_layers_compute_in_float32_whatever_arrives(init: str, bidirectional: bool) -> None:
    shape = Architecture(init, n=4, d_model=4, layers=1, feedthrough=True,
                         bidirectional=bidirectional)  # fmt: skip
    layer = build_network(shape).ssm_layers()[0].train()
    u = torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nn.functional.linear(u, torch.eye(4)).dtype == torch.bfloat16
        found, half = layer(u), layer(u.bfloat16())
    assert torch.equal(found, layer(u)) and found.dtype == torch.float32
    assert torch.equal(half, layer(u.bfloat16().float())) and half.dtype == torch.float32


def test_half_precision_is_near_and_not_the_same(tmp_path: Path) -> None:
    single = run(tmp_path, lr=1e-3)
    half = run(tmp_path, lr=1e-3, precision="bfloat16")
    assert all(value.dtype != torch.bfloat16 for value in half.values())
    moved = torch.cat([(half[k] - single[k]).flatten().float() for k in single])
    # 17 steps of Adam move a weight by 17 x 1e-3 at most, in either direction.
    assert 0.0 < float(moved.abs().max()) < 2 * 17e-3


def test_a_precision_that_torch_cannot_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: False)
    with pytest.raises(UsageError, match=r"precision is bfloat16.*cannot do on cpu"):
        run(tmp_path, precision="bfloat16")


@pytest.mark.parametrize(
    ("options", "norm"),
    [({key: value}, "batch") for key, value in ALL.items()] + [(ALL, "layer"), (ALL, "batch")],
)
def test_a_run_that_is_broken_off_ends_in_the_same_bytes(
    options: dict[str, Any], norm: str, tmp_path: Path
) -> None:
    shape = Architecture("s5", n=4, d_model=4, layers=1, norm=norm)
    config = TrainingConfig(epochs=3, batch_size=256, **{**options, "warmup_steps": 4})
    straight, broken = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    train(shape, TASK, config, straight, command="c")
    for stop in (1, 2):
        assert train(shape, TASK, config, broken, command="c", stop_after=stop) is None
    train(shape, TASK, config, broken, command="c")
    assert straight.read_bytes() == broken.read_bytes()


def test_what_is_off_is_not_told(tmp_path: Path) -> None:
    old = {"epochs", "batch_size", "lr", "ssm_lr", "weight_decay", "seed", "augment"}
    assert set(TrainingConfig().to_dict()) == old
    assert set(TrainingConfig(**ALL).to_dict()) == old | set(ALL)
    fields: dict[str, Any] = TrainingConfig(**ALL).to_dict()
    assert TrainingConfig(**fields) == TrainingConfig(**ALL)
    path = tmp_path / "a.safetensors"
    train(SMALL, TASK, TrainingConfig(epochs=2), path, command="c", stop_after=1)
    with safetensors.safe_open(tmp_path / "a.safetensors.state", framework="pt") as file:
        identity = json.loads(file.metadata()["identity"])
    assert set(identity["config"]) == old


def test_a_state_with_an_average_is_not_one_without(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    train(SMALL, TASK, TrainingConfig(epochs=2, ema=0.9), path, command="c", stop_after=1)
    with pytest.raises(UsageError, match="other settings"):
        train(SMALL, TASK, TrainingConfig(epochs=2), path, command="c")


def test_impossible_options() -> None:
    for bad in (
        {"warmup_steps": -1},
        {"accumulate": 0},
        {"accumulate": 65},
        {"ema": 1.0},
        {"ema": -0.1},
        {"ema": math.nan},
        {"clip": -1.0},
        {"clip": math.inf},
        {"precision": "float16"},
    ):
        with pytest.raises(UsageError, match=f"{next(iter(bad))} .*(is|unknown)"):
            TrainingConfig(**bad)


def test_augmentation_is_the_same_for_a_sample_whatever_part_it_is_in(tmp_path: Path) -> None:
    text = "BandNoise(1, 16, eps=0.3)"
    made = Augmentation(text, load_task(TASK))
    inputs: dict[int, dict[int, torch.Tensor]] = {}

    class Watched:
        def __init__(self, parts: int) -> None:
            self.parts = parts

        def loss(self, batch: Batch) -> torch.Tensor:
            ids = batch.sample_id
            with made.applied(batch.network, batch.x, ids, batch.seed) as found:
                own = inputs.setdefault(self.parts, {})
                own |= {int(i): row.clone() for i, row in zip(ids, found, strict=True)}
                return batch.loss(batch.answers(found))

    for parts in (1, 3):
        config = TrainingConfig(epochs=1, augment=text, accumulate=parts)
        train(SMALL, TASK, config, tmp_path / f"{parts}.safetensors", command="c",
              objective=Objective(Watched(parts).loss))  # fmt: skip
    assert inputs[1].keys() == inputs[3].keys()
    assert all(torch.equal(inputs[1][i], inputs[3][i]) for i in inputs[1])
