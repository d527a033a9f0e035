"""What the study trains and measures, as docs/protocol.md lists it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from robustssm.attacks import Budget, Resonance
from robustssm.attacks.perturbations.fourier import Fourier
from robustssm.evaluations.paper.trainings import Training
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.hippo.spectrum import spikes
from robustssm.tasks import Task
from robustssm.typing import FloatArray, IntArray

MODELS = ("s4", "s4d", "s4ptd", "s4ptd-rank1", "s4ptd-random", "s5", "s5ptd")
# By length: epochs and batch size, so that all take 100 steps or more.
TASKS = {
    "ucr:name=ItalyPowerDemand": (100, 64),
    "ucr:name=JapaneseVowels": (60, 64),
    "mnist1d": (15, 64),
    "digits:side=8": (30, 64),
    "digits": (20, 64),
    "ucr:name=OSULeaf": (40, 16),
    "ucr:name=PLAID": (40, 16),
}
# Rates of A, B and dt that validation chooses from, at a seed of its own.
RATES = (1e-3, 4e-3)
SELECTION = 10
# What Q7 changes, one at a time, of the networks trained on VARIED.
VARIED = "digits:side=8"
VARIANTS: dict[str, dict[str, int]] = {
    **{f"n = {n}": {"n": n} for n in (16, 64, 128)},
    **{f"epochs = {epochs}": {"epochs": epochs} for epochs in (10, 90)},
}
VARIED_MODELS = ("s4d", "s4ptd-rank1")
LOW, HIGH = 0.3, 1.0
LIMIT = 256
MODES = 16
OCTAVES = tuple(2.0**k for k in range(-6, 2))
# Modes up to length / LOWEST are low ones, at least FEWEST of those measured.
LOWEST, FEWEST = 16, 3


def modes(length: int) -> IntArray:
    """Return the Fourier modes of the input that are tried, evenly spaced in log frequency."""
    spaced = np.geomspace(1.0, length // 2, MODES)
    return np.unique(np.round(spaced).astype(np.int64))


def low_modes(length: int) -> IntArray:
    """Return the low ones among `modes`."""
    tried = modes(length)
    return tried[: max(FEWEST, int((tried <= length / LOWEST).sum()))]


def frequencies(n: int) -> FloatArray:
    """Return the frequencies at layers, rad per unit of a layer's own time, the spike among them.

    n: state size, whose highest spike they are multiples of.
    """
    return float(spikes(n)[0]) * np.array(OCTAVES)


def conditions(task: Task, n: int) -> list[Condition]:
    """Return what is done to a task's networks of state size n."""
    strengths = (LOW, HIGH)
    at_input = [
        Condition("fourier", Fourier(mode), Budget(eps, "std"), "input", float(mode), "bin")
        for mode in modes(task.length).tolist()
        for eps in strengths
    ]
    at_layers = [
        Condition("resonance", Resonance(omega), Budget(eps, "linf"), "layers", omega, "omega")
        for omega in frequencies(n).tolist()
        for eps in strengths
    ]
    return at_input + at_layers


def label(task: str) -> str:
    """Return a task's short name."""
    return task.removeprefix("ucr:name=").replace(":side=", "-")


def trainings(
    settings: Mapping[str, Any], task: str, rate: float, seeds: Sequence[int]
) -> list[Training]:
    """Return a task's trainings of every model at each seed, all by the same recipe."""
    epochs, size = settings["tasks"][task]
    return [
        Training(init, seed, epochs, task=task, ssm_lr=rate, batch_size=size)
        for seed in seeds
        for init in settings["models"]
    ]


def variants(settings: Mapping[str, Any], rate: float) -> dict[Training, str]:
    """Return the trainings of Q7 and what each changes."""
    basis = trainings(settings, VARIED, rate, settings["seeds"])
    return {
        Training(**asdict(one) | change): name
        for name, change in settings["variants"].items()
        for one in basis
        if one.init in VARIED_MODELS
    }
