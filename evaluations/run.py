"""Running the cells of a plan: clean or perturbed logits, one file of rows a cell."""

import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from robustssm.attacks import Delivered, Site
from robustssm.checkpoints import Checkpoint, load_checkpoint
from robustssm.errors import RejectedInputError
from robustssm.evaluations.plan import Cell, Plan
from robustssm.evaluations.store import COLUMNS, RunDirectory, write_parquet
from robustssm.execution import one_thread
from robustssm.files import write_atomically
from robustssm.inference import padded
from robustssm.network import Network
from robustssm.tasks import Split
from robustssm.typing import IntArray

DEFAULT_BATCH = 64


@lru_cache(maxsize=8)
def _load(path: Path, expected_hash: str) -> Checkpoint:
    """Return a checkpoint, kept by each worker between its cells."""
    checkpoint = load_checkpoint(path)
    if checkpoint.content_hash != expected_hash:
        raise RejectedInputError(f"checkpoint {path}: has changed since the sweep was planned")
    return checkpoint


@contextmanager
def perturbed_layers(
    network: Network, cell: Cell, sample_id: IntArray, delivered: Delivered
) -> Iterator[None]:
    """Perturb the input of every SSM layer of the network while the body runs.

    Rows beyond len(sample_id) are padding of the batch and stay as they are.
    """
    perturbation = cell.perturbation
    assert perturbation is not None
    handles = []
    for number, layer in enumerate(network.ssm_layers()):
        dt = layer.step_size().cpu().numpy()
        site = Site(layer=number, dt=dt)

        def add(module: nn.Module, arguments: tuple[Tensor], site: Site = site) -> tuple[Tensor]:
            (u,) = arguments
            real = u[: len(sample_id)]
            after = perturbation.perturb(real, None, sample_id, cell.seed, eps=cell.eps, site=site)
            delivered.add(real, after, perturbation, site)
            return (torch.cat([after, u[len(sample_id) :]]),)

        handles.append(layer.register_forward_pre_hook(add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def evaluate(network: Network, cell: Cell, split: Split, batch_size: int) -> pd.DataFrame:
    """Return the rows of a cell: prediction, margin, loss and what was delivered, per sample.

    margin: logit of the label minus the largest other one. The network is not changed.
    """
    frames = []
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        x, sample_id = torch.from_numpy(split.inputs[part]), split.sample_id[part]
        delivered = Delivered.nothing(len(x))
        if cell.perturbation is None:
            logits = network(padded(x))
        elif cell.inject == "input":
            site = Site(scale=cell.task.std)
            after = cell.perturbation.perturb(
                x, None, sample_id, cell.seed, eps=cell.eps, site=site
            )
            delivered.add(x, after, cell.perturbation, site)
            logits = network(padded(after))
        else:
            with perturbed_layers(network, cell, sample_id, delivered):
                logits = network(padded(x))
        frames.append(_rows(logits[: len(x)].double(), split.labels[part], sample_id, delivered))
    rows = pd.concat(frames, ignore_index=True).sort_values("sample_id", ignore_index=True)
    return rows[list(COLUMNS)]


def _rows(
    logits: Tensor, labels: IntArray, sample_id: IntArray, delivered: Delivered
) -> pd.DataFrame:
    target = torch.from_numpy(labels)
    own = logits.gather(1, target[:, None])[:, 0]
    others = logits.scatter(1, target[:, None], -torch.inf).amax(1)
    prediction = logits.argmax(1).numpy()
    return pd.DataFrame(
        {
            "sample_id": sample_id,
            "label": labels,
            "prediction": prediction,
            "margin": (own - others).numpy(),
            "loss": nn.functional.cross_entropy(logits, target, reduction="none").numpy(),
            "correct": prediction == labels,
            "delivered_l2": delivered.l2,
            "delivered_linf": delivered.largest,
            "delivered_rms": delivered.rms,
            "in_band_share": delivered.share,
        }
    )


def run_cells(cells: Sequence[Cell], directory: Path, batch_size: int) -> list[tuple[str, str]]:
    """Compute and store cells; return (cell id, error message or "") for each.

    A cell that fails leaves its traceback in errors/ and does not stop the others.
    """
    run = RunDirectory(directory)
    outcomes = []
    with one_thread():
        for cell in cells:
            try:
                network = _load(cell.model.ref.path, cell.model.content_hash).network
                split = cell.task.splits["test"].first(cell.limit)
                write_parquet(run.cell_path(cell.id), evaluate(network, cell, split, batch_size))
            except Exception as error:
                content = {
                    "cell": cell.id,
                    "error": repr(error),
                    "traceback": traceback.format_exc(),
                }
                write_atomically(run.error_path(cell.id), json.dumps(content, indent=1).encode())
                outcomes.append((cell.id, repr(error)))
            else:
                run.error_path(cell.id).unlink(missing_ok=True)
                outcomes.append((cell.id, ""))
    return outcomes


def run_sweep(
    plan: Plan,
    run: RunDirectory,
    *,
    jobs: int = 1,
    batch_size: int = DEFAULT_BATCH,
    report: Callable[[str, str], None] = lambda cell, error: None,
) -> dict[str, str]:
    """Compute the plan's missing cells; return the errors by cell id.

    `report(cell id, error or "")` is called as cells finish. Cells of one model stay together,
    so that a worker loads a model once.
    """
    missing = run.missing(plan)
    order = np.argsort([plan.models.index(cell.model) for cell in missing], kind="stable")
    missing = [missing[i] for i in order]
    size = max(1, min(8, len(missing) // max(1, 4 * jobs)))
    chunks = [missing[i : i + size] for i in range(0, len(missing), size)]
    errors: dict[str, str] = {}
    if not chunks:
        return errors
    workers = min(jobs, len(chunks))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    tasks = (joblib.delayed(run_cells)(chunk, run.path, batch_size) for chunk in chunks)
    for outcomes in parallel(tasks):
        for cell_id, error in outcomes:
            if error:
                errors[cell_id] = error
            report(cell_id, error)
    return errors
