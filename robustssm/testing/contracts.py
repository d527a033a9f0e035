"""Checks that raise AssertionError, with what does not hold; tests of this project call them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustssm import philox
from robustssm.attacks.base import Perturbation, Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.expressions import parse_expression
from robustssm.attacks.units import UNITS
from robustssm.checkpoints.importers import Importer
from robustssm.checkpoints.native import weights_hash
from robustssm.errors import RobustssmError
from robustssm.file_formats import read_contents
from robustssm.networks.inference import logits
from robustssm.targets import CLASSES, TOKENS
from robustssm.tasks import Task, load_task
from robustssm.tasks.base import SPLITS
from robustssm.tasks.registry import made

_IDS = np.array([3, 2**40, 7, 0, 12])


def check_perturbation(
    perturbation: Perturbation,
    site: Site | None = None,
    length: int = 64,
    least_valid: int = 40,
    device: str = "cpu",
) -> None:
    """Check that a perturbation is a function of sample, seed and budget, and keeps the budget.

    Parameters
    ----------
    perturbation : Perturbation
        One that acts on a signal.
    site : Site, optional
        Where it acts, on three channels; by default the input, or layer 1.
    length, least_valid : int
        Steps, and those of the shortest sample, `length` if it needs whole ones.
    device : str
        Of the signals.
    """
    p, draw = perturbation, philox.normal_tensor("check", np.arange(5), 3 * length)
    x = (2.0 * draw + 0.5).reshape(5, length, 3).to(device)
    if site is None:
        dt = torch.tensor([0.003, 0.02, 0.1], dtype=torch.float64)
        scale = torch.tensor([0.25, 2.0, 1.0], dtype=torch.float64)
        site = Site(1, dt=dt) if p.sites[0] == "layers" else Site(scale=scale, rate=100.0)
    unit = p.default_unit(site.name)
    strongest = {"mix": 0.7, "snr-db": 14.0}.get(unit, 0.3)
    budget = Budget(p.strengths[0] if p.strengths else strongest, unit)

    def run(
        x: Tensor, ids: np.ndarray = _IDS, ends: Tensor | None = None, budget: Budget = budget
    ) -> Tensor:
        return p.perturb(x, ends, ids, 0, budget=budget, site=site)

    assert parse_expression(repr(p))[0] == p, f"{p!r} cannot be typed back"
    before, state = x.clone(), torch.random.get_rng_state()
    whole = run(x)
    assert torch.equal(x, before), "the input is written to"
    assert torch.equal(state, torch.random.get_rng_state()), "the global generator is moved"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        assert torch.equal(run(x), whole), "it draws from something else than `draws`"
    assert whole.dtype == x.dtype and torch.isfinite(whole).all(), "values are lost"
    order = [4, 0, 3, 1, 2]
    assert torch.equal(run(x[order], _IDS[order]), whole[order]), "the order of samples counts"
    alone = [run(x[k : k + 1], _IDS[k : k + 1]) for k in range(5)]
    assert torch.equal(torch.cat(alone), whole), "a sample depends on its batch"
    nothing = Budget(UNITS[unit].nothing, unit)
    assert torch.equal(run(x, budget=nothing), x), "no strength is not the input"
    if unit != "mix":
        extended = p.extended(x)
        size = budget.norm.size(whole - extended, site.scale)
        most = budget.target(extended, "") if p.fills else torch.full_like(size, budget.eps)
        assert bool((size <= most * (1.0 + 1e-6)).all()), "more is delivered than the budget"
    if least_valid < length:
        ends = torch.tensor([least_valid, length])
        after, other = run(x[:2], _IDS[:2], ends), x[:2].clone()
        assert torch.equal(after[0, least_valid:], x[0, least_valid:]), "padding is touched"
        other[0, least_valid:] = 1e3
        again = run(other, _IDS[:2], ends)
        same = torch.equal(again[0, :least_valid], after[0, :least_valid])
        assert same and torch.equal(again[1], after[1]), "padding plays a part"


def check_task(spec: str) -> Task:
    """Return a task after checking that its name makes the same samples again.

    Parameters
    ----------
    spec : str
        Its name with parameters, as `load_task` takes it.
    """
    task = load_task(spec)
    for other in (spec, task.spec):
        assert made(other).content_hash == task.content_hash, f"{other} makes other samples"
    ids = np.concatenate([task.splits[name].sample_id for name in SPLITS])
    assert len(np.unique(ids)) == len(ids), "a sample_id is there twice"
    assert len(task.splits["train"]) and len(task.splits["test"]), "a split is empty"
    for name in SPLITS:
        part = task.splits[name]
        expected = np.int64 if task.tokens is not None else np.float32
        assert part.inputs.dtype == expected, f"inputs are {part.inputs.dtype}, not {expected}"
        assert part.inputs.shape[:2] == (len(part), task.length), "splits differ in length"
        assert np.isfinite(part.inputs).all(), "inputs are not finite"
        if task.kind is not CLASSES:
            wanted = task.length if task.kind is TOKENS else task.classes
            assert part.labels.shape[-1] == wanted, "targets are not of so many outputs"
        elif len(part):
            assert part.labels.min() >= 0 and part.labels.max() < task.classes, "labels beyond"
        if len(part) and task.tokens is not None:
            assert part.inputs.min() >= 0 and part.inputs.max() < task.tokens, "tokens beyond"
        if len(part) and part.lengths is not None:
            assert part.lengths.min() >= 1 and part.lengths.max() <= task.length, "lengths beyond"
    return task


def check_importer(
    importer: Importer, path: Path, settings: Mapping[str, str], x: Tensor, others: Path
) -> None:
    """Check that an importer knows its own files, and builds the same network from one each time.

    Parameters
    ----------
    importer : Importer
        The importer.
    path : Path
        A checkpoint that it reads.
    settings : mapping
        What the file does not say.
    x : Tensor
        Inputs of the network.
    others : Path
        A checkpoint that is not its own.
    """
    contents = read_contents(path)
    assert importer.recognises(contents), f"{path} is not recognised"
    assert not importer.recognises(read_contents(others)), f"{others} is taken for its own"
    first, second = (importer.build(read_contents(path), settings) for _ in range(2))
    hashes = [weights_hash(one.network.state_dict()) for one in (first, second)]
    assert hashes[0] == hashes[1], "the same file gives other weights"
    values = logits(first.network, x)
    assert values.shape == (len(x), first.network.d_output), f"logits are {tuple(values.shape)}"
    assert torch.equal(values, logits(second.network, x)), "the same weights give other logits"
    try:
        importer.build(read_contents(path), {**settings, "no_such_setting": "1"})
    except RobustssmError:
        return
    raise AssertionError("a setting that nobody reads is taken")
