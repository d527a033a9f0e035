"""Pulses at one of several places.

A perturbation, a task and an importer, as a package adds them to robustssm.
"""

import numpy as np
import torch
from torch import nn

from robustssm.attacks import Perturbation
from robustssm.attacks.base import family
from robustssm.checkpoints.factory import FactoryModel
from robustssm.checkpoints.imported import Imported
from robustssm.checkpoints.importers import Importer
from robustssm.checkpoints.overrides import Overrides
from robustssm.tasks import Split, Task
from robustssm.tasks.base import spec_of


@family
class Square(Perturbation):
    """A square wave of `period` steps, its phase drawn for each sample."""

    period: int

    def direction(self, x, sample_id, seed, site):
        """Return the wave, the same in every channel; its size is the budget's."""
        shift = self.draws(1, x, sample_id, seed, site)
        t = torch.arange(x.shape[1], device=x.device)
        wave = torch.sin(2 * torch.pi * (t / self.period + shift)).sign()
        return wave[:, :, None].double()


def pulses(length: int = 32, noise: float = 0.1) -> Task:
    """Return 60 samples, each with a pulse in the first, second or last third."""
    rng, label = np.random.default_rng(0), np.arange(60) % 3
    x = noise * rng.normal(size=(60, length, 1))
    x[np.arange(60), label * length // 3 + rng.integers(0, length // 3, 60)] += 1.0
    whole = Split(x.astype(np.float32), label, np.arange(60))
    parts = {"train": slice(30), "validation": slice(30, 40), "test": slice(40, 60)}
    spec = spec_of("pulses", {"length": length, "noise": noise}, pulses)
    return Task(spec, 3, {name: whole.rows(part) for name, part in parts.items()})


class MeanLinear(nn.Module):
    """A linear map of the mean over time; docs/own-modules.md says what more a module may have."""

    def __init__(self, channels, classes):
        super().__init__()
        self.d_input, self.d_output = channels, classes
        self.map = nn.Linear(channels, classes)

    def forward(self, x):
        """Return logits (batch, classes) of x (batch, length, channels)."""
        return self.map(x.mean(1))


def build(contents, settings):
    """Return the network of a file with tensors map.weight and map.bias."""
    Overrides(settings, "mean-linear", contents.path).finish()
    classes, channels = contents.tensors["map.weight"].shape
    module = MeanLinear(channels, classes)
    module.load_state_dict(contents.tensors)
    return Imported(FactoryModel(module, {"source": "mean-linear"}), (), "")


TENSORS = {"map.weight", "map.bias"}
IMPORTER = Importer("mean-linear", lambda contents: {*contents.tensors} == TENSORS, build)
