"""Where in time an input counts: the derivative of the answers by each step, over samples."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from robustssm.attacks.adversaries import Target, Victim
from robustssm.attacks.budget import Budget
from robustssm.checkpoints.model_names import ModelRef
from robustssm.errors import UsageError
from robustssm.networks.classifier import Classifier
from robustssm.targets import Kind
from robustssm.targets.kind import Loss
from robustssm.tasks import Task
from robustssm.typing import FloatArray

QUARTILES = {"low": 0.25, "median": 0.5, "high": 0.75}


class _Answer(Kind):
    """The answer of the number that is the target."""

    def margins(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return that answer of each sample, (batch,), float64."""
        return answers.double().gather(1, targets[:, None])[:, 0]

    def loss(self, name: str) -> Loss:
        """Return the same, by whatever name."""
        return self.margins


def influence(network: Classifier, task: Task, limit: int | None = None) -> FloatArray:
    """Return |d answers / d x_t| of test samples, (samples, length), Frobenius's norm.

    Over answers (logits, or values) and channels, per unit of the input; of tokens per unit of
    their embeddings. In evaluation mode, one pass back per answer. UsageError for samples with
    lengths of their own, or answers at every step.
    """
    if task.kind.every_step:
        raise UsageError(f"influence: {task.spec} has answers at every step, expected one a sample")
    with Victim(network, kind=_Answer()) as victim:
        target = Target.of(victim, task, Budget(0.0), limit=limit)
        squares = torch.zeros(target.x.shape[:2], dtype=torch.float64)
        for number in range(task.classes):
            own = torch.full((len(target),), number)
            squares += victim.slopes(target.x, own, "")[2].square().sum(2)
    return np.asarray(squares.sqrt())


def profiles(refs: Sequence[ModelRef], task: Task, limit: int | None = None) -> pd.DataFrame:
    """Return a row per model and step t, from 0: median and quartiles of influence over n samples.

    Each sample's profile has mean 1 over its steps, so that models with larger logits compare;
    mean: the median over samples of what it was divided by.
    """
    parts = []
    for ref in refs:
        found = influence(ref.load().network, task, limit)
        mean = found.mean(1, keepdims=True)
        relative = found / np.where(mean > 0.0, mean, 1.0)
        rows = {name: np.quantile(relative, q, axis=0) for name, q in QUARTILES.items()}
        facts = {"model": str(ref), "n": len(found)}
        steps = np.arange(found.shape[1])
        parts.append(pd.DataFrame({**facts, "t": steps, **rows, "mean": np.median(mean)}))
    return pd.concat(parts, ignore_index=True)
