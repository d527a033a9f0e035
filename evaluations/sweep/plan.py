"""The plan of a sweep: a frozen list of cells, each identified by the content of what it uses."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.attacks.expressions import origin
from robustssm.checkpoints.cards import Card
from robustssm.checkpoints.model_names import ModelRef
from robustssm.evaluations.sweep.condition_names import CLEAN_NAMES
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.plain_text import first_line
from robustssm.tasks import Task

# Raised when the meaning of a stored row changes: old cells are then not taken for new ones.
SCHEMA = 3
# What a stored plan has in place of the perturbation of the clean evaluation.
_NO_PERTURBATION = {"perturbation": "None"}


@dataclass(frozen=True)
class Model:
    """A model of a sweep: what a plan needs to know of it, without its weights.

    Parameters
    ----------
    ref : ModelRef
        How the user named it.
    card : Card
        What the checkpoint says of itself.
    content_hash : str
        Hash of weights and architecture: the same content has the same cells.
    state_size : int or None
        State size n of its SSM layers, None if it is not known.
    layers : int
        Number of SSM layers with a step size, at whose inputs noise can be added.
    tokens : int or None
        Size of the vocabulary if the model embeds tokens.
    notes : tuple of str
        How the file was read, one line each.
    groups : tuple of str
        Groups of its weights, as in `robustssm.networks.weight_groups`.
    """

    ref: ModelRef
    card: Card
    content_hash: str
    state_size: int | None
    layers: int
    tokens: int | None = None
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def train_seed(self) -> int:
        """The training seed on the card."""
        return self.card.train_seed


@dataclass(frozen=True)
class Cell:
    """One condition on one model. It holds no arrays, so that it is cheap to send to a worker.

    Parameters
    ----------
    model : Model
        The model.
    task, task_hash : str
        Name and content hash of the data.
    condition : Condition or None
        What is done to the inputs; None evaluates them as they are.
    seed : int
        Seed of the noise.
    limit : int or None
        Number of samples, the first ones of the test split; None takes all.
    device : str
        `cpu`, or the kind of GPU, whose results have other low-order bits.
    """

    model: Model
    task: str
    task_hash: str
    condition: Condition | None
    seed: int
    limit: int | None
    device: str = "cpu"

    @cached_property
    def id(self) -> str:
        """Hash of everything that fixes the cell's rows, 16 hexadecimal digits."""
        content = [SCHEMA, self.model.content_hash, self.task_hash, "test", self.limit]
        dense = False
        if self.condition is None:
            content += [None, None]
        else:
            attack = self.condition.attack
            content += [repr(attack), repr(self.condition.budget), self.inject, self.seed]
            content += filter(None, [origin(attack)])
            dense = self.inject == "layers" and getattr(attack, "dense", False)
        content += [self.device] if self.device != "cpu" else []
        content += ["dense draws"] if dense else []
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def inject(self) -> str:
        """`input`, `layers` or `model`; empty for the clean evaluation."""
        return self.condition.inject if self.condition else ""

    @property
    def names(self) -> dict[str, Any]:
        """What names the cell's condition in tables: the columns CONDITION."""
        return self.condition.names if self.condition else CLEAN_NAMES

    def to_row(self) -> dict[str, Any]:
        """Return the cell's row of a stored plan; `limit` is -1 if all samples are used."""
        return {
            "cell": self.id,
            "model": self.model.ref.label,
            "train_seed": self.model.train_seed,
            "checkpoint": self.model.content_hash,
            "task": self.task,
            **(self.condition.to_row() if self.condition else {**CLEAN_NAMES, **_NO_PERTURBATION}),
            "seed": self.seed,
            "limit": -1 if self.limit is None else self.limit,
        }


@dataclass(frozen=True)
class Plan:
    """All cells of a sweep; the first ones are the clean evaluation of each model.

    Parameters
    ----------
    noises : tuple of str
        The noises as the user named them.
    models : tuple of Model
        The models.
    cells : tuple of Cell
        One cell per model, condition and seed of the noise.
    task : Task
        The data.
    """

    noises: tuple[str, ...]
    models: tuple[Model, ...]
    cells: tuple[Cell, ...]
    task: Task = field(repr=False)

    @property
    def seed(self) -> int:
        """Seed of the noise, the first if there are replicates."""
        return self.cells[0].seed

    @property
    def noise_seeds(self) -> int:
        """Number of seeds of the noise, which follow each other."""
        return len({cell.seed for cell in self.cells})

    @property
    def limit(self) -> int | None:
        """Number of samples where not all are used."""
        return self.cells[0].limit

    @cached_property
    def unique(self) -> dict[str, Cell]:
        """Cells by their id; models that are the same under two names share them."""
        return {cell.id: cell for cell in self.cells}

    @property
    def id(self) -> str:
        """Hash of what is computed, 8 digits: names of files and models play no part."""
        return hashlib.sha256(json.dumps(sorted(self.unique)).encode()).hexdigest()[:8]

    @property
    def samples(self) -> int:
        """Number of samples that each cell evaluates."""
        return len(self.task.splits["test"].first(self.limit))

    def identity(self) -> dict[str, Any]:
        """Return what the manifest of a run directory says of the plan."""
        attacks = [cell.condition.attack for cell in self.cells if cell.condition]
        kinds, plugins = dict.fromkeys(map(type, attacks)), {*map(origin, attacks)} - {""}
        return {
            "schema": SCHEMA,
            "plan": self.id,
            "noise": list(self.noises),
            "task": self.task.spec,
            "task_hash": self.task.content_hash,
            **self.task.kind.facts(self.task.classes, self.task.chance),
            "length": self.task.length,
            "seed": self.seed,
            **({"noise_seeds": self.noise_seeds} if self.noise_seeds > 1 else {}),
            "limit": self.limit,
            "device": self.cells[0].device,
            "partial": self.limit is not None,
            "models": [
                {"name": str(m.ref), "content_hash": m.content_hash, "architecture": m.card.shape}
                for m in self.models
            ],
            "attacks": {kind.__name__: first_line(kind.__doc__) for kind in kinds},
            **({"plugins": sorted(plugins)} if plugins else {}),
            "cells": len(self.unique),
        }

    def frame(self) -> pd.DataFrame:
        """Return the plan as it is stored: one row per cell."""
        return pd.DataFrame(cell.to_row() for cell in self.cells)


def default_output(plan: Plan) -> Path:
    """Return `runs/<task>-<noise>-<id>`, so that another sweep has another directory.

    Parameters
    ----------
    plan : Plan
        The sweep; of more than four noises the first three are named, and the rest counted.
    """
    names = [name.partition("(")[0].lower() for name in plan.noises]
    if len(names) > 4:
        names[3:] = [f"and-{len(names) - 3}-more"]
    return Path("runs") / "-".join([plan.task.spec.partition(":")[0], *names, plan.id])
