"""Changed weights: what each family promises of a tensor, and that draws are counter-based."""

import copy
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustssm.attacks import (
    BitFlip,
    Budget,
    ModelChange,
    Precision,
    Site,
    WeightNoise,
    WeightQuantise,
    parse_perturbation,
    perturbed_logits,
)
from robustssm.checkpoints.model_names import resolve
from robustssm.errors import UsageError
from robustssm.evaluations.sweep.noises import Noise
from robustssm.evaluations.sweep.planning import make_plan
from robustssm.evaluations.sweep.run import Execution, run_sweep
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.networks.foreign import Blueprint, SequenceModel
from robustssm.networks.inference import logits
from robustssm.networks.network import Architecture, Network, build_network
from robustssm.networks.weight_groups import GROUPS, groups_of, weights
from tests.attacks.cases import signal

FULL = Budget(1.0, "mix")
NAMES = ("s4", "s4d", "dss", "s5", "lru", "linoss-imex", "dlinoss", "s4d:sobolev=0.5")
CHANGES = (
    *(WeightNoise(), WeightQuantise(5), WeightQuantise(5, "channel"), BitFlip(9)),
    *(Precision("bf16"), Precision("fp16", "step"), Precision("float32", "step")),
)


def network(name: str = "s4d", **options: bool) -> Network:
    shape = Architecture(name, n=8, d_model=6, layers=2, d_input=3, **options)  # type: ignore[arg-type]
    return build_network(shape).eval()


def foreign(kind: str) -> SequenceModel:
    size = {"inner": 8, "n": 4, "conv": 3, "rank": 2} if kind == "mamba" else {"n": 4}
    mixers = ({"kind": kind, **size},) * 2
    torch.manual_seed(0)
    net = SequenceModel(Blueprint("test", 3, 4, 10, mixers)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.rand_like(parameter) - 0.7)
    return net


def changed(net: Network, p: ModelChange, seed: int = 0, eps: float = 1.0) -> torch.Tensor:
    x = signal(4, 32, torch.float32)
    given = Budget(eps, p.unit), np.arange(4), seed
    return perturbed_logits(net, x, p, *given, inject="model", site=Site())[0]


def values(net: torch.nn.Module, group: str = "all") -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in weights(net, group).items()}


@pytest.mark.parametrize("name", NAMES)
def test_groups_part_the_weights(name: str) -> None:
    net = network(name, feedthrough=True)
    parts = [set(weights(net, group)) for group in GROUPS[1:]]
    assert set.union(*parts) == {key for key, _ in net.named_parameters()}
    assert all(not a & b for a, b in itertools.combinations(parts, 2))
    lacking = {"lru": {"dt"}}.get(name, set())
    assert groups_of(net) == tuple(group for group in GROUPS if group not in lacking)
    for layer in range(2):
        assert f"blocks.{layer}.ssm.B" in weights(net, "B")
        assert f"blocks.{layer}.output.weight" in weights(net, "mixing")


def test_groups_of_other_networks() -> None:
    assert groups_of(foreign("diagonal")) == GROUPS
    mamba = foreign("mamba")
    # B, C and dt of a step are made of its input: maps that mix, but for the last one of dt.
    assert groups_of(mamba) == ("all", "A", "D", "dt", "mixing", "norms")
    assert "blocks.1.ssm.A_log" in weights(mamba, "A")
    assert {"blocks.0.ssm.dt_proj.weight", "blocks.0.ssm.dt_proj.bias"} <= set(weights(mamba, "dt"))
    assert "blocks.0.ssm.x_proj.weight" in weights(mamba, "mixing")


@pytest.mark.parametrize("p", CHANGES, ids=repr)
@pytest.mark.parametrize("name", ["s4", "s4d", "s5", "linoss-imex"])
def test_the_network_is_restored_to_the_last_bit(name: str, p: ModelChange) -> None:
    net, x = network(name), signal(4, 32, torch.float32)
    before, clean = values(net), logits(net, x)
    first = changed(net, p)
    assert torch.equal(changed(net, p), first) or not torch.isfinite(first).all()
    with pytest.raises(RuntimeError, match="body"), p.applied(net, FULL):
        raise RuntimeError("body")
    assert all(torch.equal(value, before[key]) for key, value in values(net).items())
    assert torch.equal(logits(net, x), clean)
    assert not [part._forward_hooks for part in net.modules() if part._forward_hooks]
    assert all(not layer.storage and not layer.stepwise for layer in net.ssm_layers())


@pytest.mark.parametrize(
    ("p", "eps"),
    [
        *((p, 0.0) for p in CHANGES),
        *((p, 1.0) for p in (WeightQuantise(32), BitFlip(0), Precision("float32"))),
    ],
    ids=repr,
)
def test_nothing_is_the_clean_result_bit_for_bit(p: ModelChange, eps: float) -> None:
    net = network()
    assert torch.equal(changed(net, p, eps=eps), logits(net, signal(4, 32, torch.float32)))


@settings(max_examples=40, deadline=None)
@given(
    eps=st.floats(1e-6, 1.0),
    seed=st.integers(0, 2**40),
    group=st.sampled_from([group for group in GROUPS if group != "D"]),
)
def test_noise_has_the_norm_that_is_asked_for(eps: float, seed: int, group: str) -> None:
    net = network().double()
    before = values(net)
    with WeightNoise(group).applied(net, Budget(eps, "mix"), seed):
        after = values(net)
    for name, old in before.items():
        size = float((after[name] - old).norm())
        wanted = eps * float(old.norm()) if name in weights(net, group) else 0.0
        # Each entry is rounded by 1e-16 of itself.
        assert size == pytest.approx(wanted, abs=1e-14 * float(old.norm()))


def test_draws_depend_on_seed_name_and_what_it_is_called() -> None:
    net = network().double()

    def drawn(p: WeightNoise, seed: int) -> dict[str, torch.Tensor]:
        before = values(net)
        with p.applied(net, Budget(0.5, "mix"), seed):
            return {k: (v - before[k]) / before[k].norm() for k, v in values(net, p.group).items()}

    one, other = drawn(WeightNoise("C"), 0), drawn(WeightNoise("C"), 1)
    again = drawn(WeightNoise("C"), 0)
    a, b = one.values()
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert a.shape == b.shape and not torch.allclose(a, b)
    assert not any(torch.allclose(one[key], other[key]) for key in one)
    assert not torch.allclose(drawn(WeightNoise(), 0)["blocks.0.ssm.C"], a)
    # Gaussian: of 96 draws of deviation 0.5 / sqrt(96) none is beyond 5 deviations.
    assert float(a.abs().max()) < 5.0 * 0.5 / a.numel() ** 0.5


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_rounding_moves_no_weight_by_more_than_half_a_step(bits: int, per: str) -> None:
    net = network("s5").double()
    before = values(net)
    with WeightQuantise(bits, per).applied(net, FULL):
        after = values(net)
    for name, old in before.items():
        axes = tuple(range(1 if per == "channel" and old.ndim > 1 else 0, old.ndim))
        m = old.abs().amax(axes, keepdim=True)
        step = m / (2 ** (bits - 1) - 1)
        # The product of level and step is rounded by 1e-16 of m.
        assert bool(((after[name] - old).abs() <= 0.5 * step + 1e-15 * m).all()), name
        levels = torch.where(step > 0, after[name] / step, 0.0)
        assert torch.allclose(levels, levels.round(), rtol=0.0, atol=1e-9)
        # Every largest modulus is a level itself.
        torch.testing.assert_close(after[name].abs().amax(axes, keepdim=True), m)
    again = {name: value.clone() for name, value in after.items()}
    for name, parameter in net.named_parameters():
        parameter.data.copy_(after[name])
    with WeightQuantise(bits, per).applied(net, FULL):
        for name, value in values(net).items():
            torch.testing.assert_close(value, again[name], rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_many_bits_are_flipped_as_are_drawn(dtype: torch.dtype) -> None:
    net = network().to(dtype)
    before = values(net, "B")
    words, mask = (torch.int32, 2**32 - 1) if dtype == torch.float32 else (torch.int64, 2**64 - 1)
    for seed in range(20):
        with BitFlip(3, "B").applied(net, FULL, seed):
            after = values(net)
        apart = [before[name].view(words) ^ after[name].view(words) for name in before]
        words_apart = [int(word) & mask for part in apart for word in part.flatten()]
        flipped = sum(word.bit_count() for word in words_apart)
        # Of 6144 bits and more three are seldom drawn twice; these seeds do not.
        assert flipped == 3
        rest = [name for name in after if name not in before]
        assert all(torch.equal(after[name], values(net)[name]) for name in rest)


def test_fewer_bits_of_a_step_do_more_harm() -> None:
    """The path in float32 is the network but for rounding; bf16 has 2^-9, fp16 2^-12."""
    for name in ("s4", "s4d", "s5", "lru", "linoss-imex"):
        net = network(name)
        clean = logits(net, signal(4, 32, torch.float32))
        off = {
            (form, path): float((changed(net, Precision(form, path)) - clean).abs().max())
            for form in ("float32", "fp16", "bf16")
            for path in ("conv", "step")
        }
        # Logits of order 1; 32 steps of rounding 6e-8 each.
        assert off["float32", "conv"] == 0.0 and 0.0 < off["float32", "step"] < 1e-4
        for path in ("conv", "step"):
            assert off["float32", path] < off["fp16", path] < off["bf16", path] < 1.0


def test_weights_are_rounded_as_torch_rounds_them() -> None:
    net = network("s5")
    by_hand = copy.deepcopy(net)
    with Precision("bf16").applied(net, FULL):
        inside = values(net)
    for name, parameter in by_hand.named_parameters():
        assert torch.equal(inside[name], parameter.detach().bfloat16().float())


def stored(
    folder: Path, noises: list[str], models: str, execution: Execution | None = None
) -> dict[str, bytes]:
    plan = make_plan(resolve(models), [Noise(noise, eps=(0.3,)) for noise in noises], limit=70)
    run_sweep(plan, RunDirectory(folder), execution)
    assert not [*folder.glob("errors/*")]
    return {path.name: path.read_bytes() for path in (folder / "cells").iterdir()}


@pytest.mark.parametrize("execution", [Execution(batch_size=7), Execution(jobs=2, batch_size=64)])
def test_bytes_do_not_depend_on_batch_or_worker(tmp_path: Path, execution: Execution) -> None:
    noises = ["WeightNoise('A')", "WeightQuantise(6)", "BitFlip(20)", "Precision('bf16')"]
    noises += ["Precision('fp16', 'step')"]
    whole = stored(tmp_path / "whole", noises, "s4d,s5")
    assert len(whole) == 12
    assert stored(tmp_path / "other", noises[::-1], "s5,s4d", execution) == whole


def test_answers_that_are_no_numbers_count_as_wrong(tmp_path: Path) -> None:
    """Half the bits of A flipped leave nothing finite."""
    stored(tmp_path / "run", ["BitFlip(50000, 'A')"], "s4d")
    tables = [pd.read_parquet(path) for path in (tmp_path / "run" / "cells").iterdir()]
    broken = next(table for table in tables if not table["correct"].any())
    assert (broken["margin"] == 0.0).all() and np.allclose(broken["loss"], np.log(10.0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WeightQuantise(0), "WeightQuantise: bits is 0, expected 2 to 32"),
        (lambda: WeightQuantise(33), "expected 2 to 32"),
        (lambda: BitFlip(-1), "BitFlip: count is -1, expected 0 to 1,000,000"),
        (lambda: WeightNoise("E"), "WeightNoise: group .*'E'.*all, A, B, C, D, dt, mixing, norms"),
        (lambda: WeightQuantise(8, "row"), "per .*'row'.*tensor, channel"),
        (lambda: Precision("int8"), "format .*'int8'.*bf16, fp16, float32"),
        (lambda: Precision("bf16", "scan"), "path .*'scan'.*conv, step"),
        (lambda: parse_perturbation("WeightQuantise(8, eps=0.5)"), "expected 0 or 1"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_group_that_a_model_lacks_is_found_when_the_sweep_is_planned() -> None:
    words = "WeightNoise: group of s4d/0 is 'D', expected one of all, A, B, C, dt, mixing, norms"
    with pytest.raises(UsageError, match=words) as caught:
        make_plan(resolve("s4d"), Noise("WeightNoise('D')"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="group of the network is 'D'"):
        changed(network(), WeightNoise("D"))


@pytest.mark.parametrize("p", [*CHANGES, WeightNoise("dt"), BitFlip(3, "norms")], ids=repr)
def test_they_can_be_typed_back(p: ModelChange) -> None:
    assert parse_perturbation(repr(p)) == (p, FULL)
