"""What a cell does to each sample: clean, perturbed or attacked logits, one row per sample."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from robustssm.attacks import Delivered, ModelChange, Perturbation, Site, perturbed_logits
from robustssm.attacks.adversaries import Adversary, Target, Victim
from robustssm.attacks.base import input_site
from robustssm.errors import UsageError
from robustssm.evaluations.sweep.plan import Cell
from robustssm.networks.classifier import Classifier
from robustssm.networks.inference import at_a_time, input_std, logits, programmed
from robustssm.targets import CLASSES, Kind
from robustssm.tasks import Split, Task

# Samples that an adversary works on at a time; it has several arrays of their size.
_ADVERSARY_SAMPLES = 1024

# Samples that another network than ours gets at a time.
_OTHERS = 1024

# Columns of a cell by name, each (samples,).
Columns = dict[str, npt.NDArray[Any]]


@torch.no_grad()
def cell_columns(network: Classifier, cell: Cell, task: Task, batch_size: int) -> Columns:
    """Return the columns of a cell's rows, by ascending sample id; the network stays the same.

    They are those of the kind of target; forwards and backwards: passes spent on the sample.
    """
    condition, split = cell.condition, task.splits["test"].first(cell.limit)
    network, device = network.answering(task.kind.every_step), network.mean.device
    site = replace(input_site(task), scale=input_std(network, task).to(device))
    # A module from elsewhere is called on batches of one size, whatever is asked for: its matrix
    # products may round a row by its place.
    attack = None if condition is None else condition.attack
    whole = programmed(network) and not (isinstance(attack, ModelChange) and attack.called)
    size = batch_size if whole else _OTHERS
    if isinstance(attack, Adversary):
        size = len(split) if attack.joint else _ADVERSARY_SAMPLES
    if not getattr(attack, "joint", False):
        size = at_a_time(network, task.length, size)
    parts: list[Columns] = []
    for start in range(0, len(split), size):
        part = split.rows(slice(start, start + size))
        x = torch.from_numpy(part.inputs).to(device)
        lengths = None if part.lengths is None else torch.from_numpy(part.lengths).to(device)
        if task.tokens is not None:
            x = network.embed(x)
        if condition is None:
            given = logits(network, x, lengths=lengths), part, Delivered(len(x))
            parts.append(_columns(task, *given))
        elif isinstance(attack, Adversary):
            parts.append(_attacked(network, cell, task, site, part, x, batch_size))
        else:
            parts.append(_perturbed(network, cell, task, site, part, x, lengths))
    order = np.argsort(split.sample_id, kind="stable")
    names = dict.fromkeys((*task.kind.columns, *parts[0]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in names}


def _perturbed(
    network: Classifier,
    cell: Cell,
    task: Task,
    site: Site,
    part: Split,
    x: Tensor,
    lengths: Tensor | None,
) -> Columns:
    """Return the rows of a perturbation; the worst of its alternatives for each sample."""
    condition = cell.condition
    assert condition is not None and isinstance(condition.attack, Perturbation)
    tried = []
    for perturbation in condition.attack.alternatives():
        values, delivered = perturbed_logits(
            network,
            x,
            perturbation,
            condition.budget,
            part.sample_id,
            cell.seed,
            inject=condition.inject,
            site=site,
            lengths=lengths,
        )
        if isinstance(perturbation, ModelChange) and perturbation.breaks and task.kind is CLASSES:
            values = torch.where(torch.isfinite(values).all(1, keepdim=True), values, 0.0)  # a tie
        tried.append(_columns(task, values, part, delivered))
    columns = worst_rows(tried, task.kind)
    columns["forwards"] = np.full(len(part), float(len(tried)))
    return columns


def _attacked(
    network: Classifier,
    cell: Cell,
    task: Task,
    site: Site,
    part: Split,
    x: Tensor,
    batch_size: int,
) -> Columns:
    """Return the rows of an adversary; its inputs are sent through the network once more."""
    condition = cell.condition
    assert condition is not None and isinstance(condition.attack, Adversary)
    with Victim(network, batch_size, task.kind) as victim:
        labels = torch.from_numpy(part.labels).to(x.device)
        found = condition.attack.attack(
            Target(victim, x, labels, part.sample_id, cell.seed, condition.budget, site)
        )
        victim.check_mode()
    delivered = Delivered(len(x))
    delivered.add(x, found.x, condition.attack, site)
    columns = _columns(task, logits(network, found.x), part, delivered)
    columns["forwards"] = np.full(len(x), found.forwards / len(x))
    columns["backwards"] = np.full(len(x), found.backwards / len(x))
    suspect = found.flags.get("suspect")
    if isinstance(suspect, Tensor) and task.kind.judges:
        columns["suspect"] = suspect.double().cpu().numpy()
    return columns


def worst_rows(tried: Sequence[Columns], kind: Kind = CLASSES) -> Columns:
    """Return for each sample the row of the greatest harm, the first if equal."""
    if len(tried) == 1:
        return tried[0]
    harm = [-kind.sign * columns[kind.grade] for columns in tried]
    chosen = np.argmax(np.stack(harm), axis=0)
    rows = np.arange(len(chosen))
    return {name: np.stack([columns[name] for columns in tried])[chosen, rows] for name in tried[0]}


def _columns(task: Task, values: Tensor, part: Split, delivered: Delivered) -> Columns:
    values = values.double().cpu()
    task.kind.check_answers("network", tuple(values.shape), part.labels, task.classes)
    broken = int((~torch.isfinite(values)).flatten(1).any(1).sum())
    if broken:
        raise UsageError(
            f"{task.kind.answers} of {broken} in {len(values)} samples are not finite; use a "
            "smaller eps, or look at the checkpoint"
        )
    given = values, part.labels, part.lengths
    return {
        "sample_id": part.sample_id,
        **task.kind.samples(given, task.centre, task.names, task.scaler),
        "delivered_l2": delivered.l2,
        "delivered_linf": delivered.largest,
        "delivered_rms": delivered.rms,
        "delivered_snr_db": delivered.snr_db,
        "in_band_share": delivered.share,
        "forwards": np.ones(len(values)),
        "backwards": np.zeros(len(values)),
    }
