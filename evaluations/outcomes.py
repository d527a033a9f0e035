"""What a cell does to each sample: clean, perturbed or attacked logits, one row a sample."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from robustssm.attacks import Delivered, Perturbation, perturbed_logits
from robustssm.attacks.adversaries.base import Adversary, Victim, margin
from robustssm.attacks.injection import input_site
from robustssm.errors import UsageError
from robustssm.evaluations.conditions import Condition
from robustssm.evaluations.plan import Cell
from robustssm.evaluations.store import COLUMNS
from robustssm.inference import padded
from robustssm.network import Network
from robustssm.tasks import Split, Task

# Samples that an adversary works on at a time; it has several arrays of their size.
_ADVERSARY_SAMPLES = 1024


@torch.no_grad()
def evaluate(network: Network, cell: Cell, task: Task, batch_size: int) -> pd.DataFrame:
    """Return the rows of a cell: prediction, margin, loss and what was delivered, per sample.

    margin: logit of the label minus the largest other one; forwards and backwards: passes spent
    on the sample. The network is not changed.
    """
    condition, split = cell.condition, task.splits["test"].first(cell.limit)
    size = batch_size
    if condition is not None and isinstance(condition.attack, Adversary):
        size = len(split) if condition.attack.joint else _ADVERSARY_SAMPLES
    frames = []
    for start in range(0, len(split), size):
        part = split.rows(slice(start, start + size))
        if condition is None:
            x = torch.from_numpy(part.inputs)
            frames.append(_rows(network(padded(x))[: len(x)], part, Delivered(len(x))))
        elif isinstance(condition.attack, Adversary):
            frames.append(_attacked(network, condition, task, cell.seed, part, batch_size))
        else:
            frames.append(_perturbed(network, condition, task, cell.seed, part))
    rows = pd.concat(frames, ignore_index=True).sort_values("sample_id", ignore_index=True)
    return rows[list(COLUMNS)]


def _perturbed(
    network: Network, condition: Condition, task: Task, seed: int, part: Split
) -> pd.DataFrame:
    """Return the rows of a perturbation; the worst of its alternatives for each sample."""
    assert isinstance(condition.attack, Perturbation)
    tried = []
    for perturbation in condition.attack.alternatives():
        logits, delivered = perturbed_logits(
            network,
            torch.from_numpy(part.inputs),
            perturbation,
            condition.budget,
            part.sample_id,
            seed,
            inject=condition.inject,
            site=input_site(task),
        )
        tried.append(_rows(logits, part, delivered))
    rows = worst_rows(tried)
    rows["forwards"] = float(len(tried))
    return rows


def _attacked(
    network: Network,
    condition: Condition,
    task: Task,
    seed: int,
    part: Split,
    batch_size: int,
) -> pd.DataFrame:
    """Return the rows of an adversary; its inputs are sent through the network once more."""
    assert isinstance(condition.attack, Adversary)
    x, site = torch.from_numpy(part.inputs), input_site(task)
    with Victim(network, batch_size) as victim:
        found = condition.attack.attack(
            victim,
            x,
            torch.from_numpy(part.labels),
            part.sample_id,
            seed,
            budget=condition.budget,
            site=site,
        )
        logits = victim.logits(found.x)
    delivered = Delivered(len(x))
    delivered.add(x, found.x, condition.attack, site)
    rows = _rows(logits, part, delivered)
    rows["forwards"] = found.forwards / len(x)
    rows["backwards"] = found.backwards / len(x)
    return rows


def worst_rows(tried: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return for each sample the row with the smallest margin, the first where equal."""
    margins = np.stack([frame["margin"].to_numpy() for frame in tried])
    chosen = np.argmin(margins, axis=0)
    together = pd.concat(tried, ignore_index=True)
    return together.iloc[chosen * len(chosen) + np.arange(len(chosen))].reset_index(drop=True)


def _rows(logits: Tensor, part: Split, delivered: Delivered) -> pd.DataFrame:
    logits, target = logits.double(), torch.from_numpy(part.labels)
    broken = int((~torch.isfinite(logits)).any(1).sum())
    if broken:
        raise UsageError(
            f"logits of {broken} in {len(logits)} samples are not finite; use a smaller eps, or "
            "look at the checkpoint"
        )
    prediction = logits.argmax(1).numpy()
    values = margin(logits, target)
    return pd.DataFrame(
        {
            "sample_id": part.sample_id,
            "label": part.labels,
            "prediction": prediction,
            "margin": values.numpy(),
            "loss": nn.functional.cross_entropy(logits, target, reduction="none").numpy(),
            # A tie is no right answer, though argmax may name the label.
            "correct": (values > 0.0).numpy(),
            "delivered_l2": delivered.l2,
            "delivered_linf": delivered.largest,
            "delivered_rms": delivered.rms,
            "delivered_snr_db": delivered.snr_db,
            "in_band_share": delivered.share,
            "forwards": 1.0,
            "backwards": 0.0,
        }
    )
