"""Bundled checkpoints under sinusoids of many frequencies, and white noise of the same energy.

All of it acts at the input of every SSM layer, as the paper's own test does. Cells are those of a
sweep, in a run directory of the step, so that a killed one goes on.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from robustssm.attacks import BandNoise, Budget, Resonance
from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import ModelRef
from robustssm.evaluations.paper.fig3_accuracy import CLEAN, swept
from robustssm.evaluations.paper.reproduction import Context
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.planning import plan_conditions
from robustssm.hippo.spectrum import spikes
from robustssm.tasks import load_task
from robustssm.training.zoo import TASK

GRID, SPIKE, OCTAVE = "grid", "spike", "octave"
SINUSOID, WHITE = "sinusoid", "white"
# Root mean square of r cos(.), r uniform on [0, 1): sqrt(E r^2 / 2) = sqrt(1 / 6).
RMS = 1.0 / math.sqrt(6.0)


def frequencies(settings: Any) -> pd.DataFrame:
    """Return the frequencies of the sweep in ascending order: omega, kind, number of a spike.

    omega: rad per unit of a layer's own time. Log-spaced from low to high, the `spikes` highest
    eigenfrequencies of S4D-LegS of size n, and `octave` points from half of each of the highest
    `around` of them to twice it.
    """
    peaks = spikes(settings["n"], settings["spikes"])
    grid = np.geomspace(settings["low"], settings["high"], settings["count"])
    shifts = np.delete(np.linspace(-1.0, 1.0, settings["octave"]), settings["octave"] // 2)
    near = np.outer(peaks[: settings["around"]], 2.0**shifts).ravel()
    parts = [
        pd.DataFrame({"omega": peaks, "kind": SPIKE, "number": np.arange(1, len(peaks) + 1)}),
        pd.DataFrame({"omega": near, "kind": OCTAVE, "number": 0}),
        pd.DataFrame({"omega": grid, "kind": GRID, "number": 0}),
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["omega"] = [Resonance(omega).omega for omega in frame["omega"]]
    return frame.drop_duplicates("omega").sort_values("omega", ignore_index=True)


def evaluated(settings: Any, found: Sequence[Condition], folder: Path, jobs: int) -> pd.DataFrame:
    """Return one row per model, training seed and condition, the clean ones first.

    Columns model, seed, noise, omega, eps, unit, n (samples), correct, accuracy, delivered_l2 (mean
    over samples of the norm over all layers), delivered_low, delivered_high, right (one bit a
    sample). Raises StabilityError if a cell cannot be computed.
    """
    refs = [
        ModelRef(model, zoo_path(model, seed), seed)
        for model in settings["models"]
        for seed in settings["seeds"]
    ]
    plan = plan_conditions(refs, found, task=TASK, limit=settings["limit"])
    run = swept(plan, folder, jobs)
    rows = []
    for cell in plan.cells:
        columns = run.arrays(cell.id, ["correct", "delivered_l2"])
        right, size = columns["correct"].astype(bool), columns["delivered_l2"]
        condition = cell.condition
        rows.append(
            {
                "model": cell.model.ref.label,
                "seed": cell.model.train_seed,
                "noise": condition.noise if condition else CLEAN,
                "omega": condition.mode if condition and condition.mode_unit else np.nan,
                "eps": condition.budget.eps if condition else 0.0,
                "unit": condition.budget.unit if condition else "",
                "n": len(right),
                "correct": int(right.sum()),
                "accuracy": float(right.mean()),
                "delivered_l2": float(size.mean()),
                "delivered_low": float(size.min()),
                "delivered_high": float(size.max()),
                "right": np.packbits(right).tobytes(),
            }
        )
    return pd.DataFrame(rows)


def sinusoid(omega: float, budget: Budget) -> Condition:
    """Return the paper's test at a frequency."""
    return Condition(SINUSOID, Resonance(omega), budget, "layers", omega, "omega")


def sweep(context: Context) -> pd.DataFrame:
    """Return `evaluated` of every frequency and strength, with the kind and number of each.

    eps: largest amplitude, as released.
    """
    settings = context.settings
    known = frequencies(settings)
    found = [
        sinusoid(omega, Budget(eps, "linf")) for eps in settings["eps"] for omega in known.omega
    ]
    frame = evaluated(settings, found, context.folder, context.jobs)
    frame = frame.merge(known, on="omega", how="left")
    frame["kind"] = frame["kind"].fillna("")
    return frame.assign(number=frame["number"].fillna(0).astype(np.int64))


def energy(context: Context) -> pd.DataFrame:
    """Return `evaluated` of sinusoids and of white noise, every sample at one root mean square.

    White: independent Gaussian noise in all DFT bins of every channel. Sinusoids: at the highest
    spike, and two octaves below. Both bring eps sqrt(1/6) to each layer's input of each sample,
    the mean of what the sweep brings at amplitude eps; amplitude says that eps.
    """
    settings = context.settings
    task = load_task(TASK)
    top = float(spikes(settings["n"], 1)[0])
    found = []
    for eps in settings["energies"]:
        budget = Budget(eps * RMS, "rms")
        found += [sinusoid(Resonance(omega).omega, budget) for omega in (top, top / 4.0)]
        found.append(Condition(WHITE, BandNoise(0, task.length // 2), budget, "layers"))
    frame = evaluated(settings, found, context.folder, context.jobs)
    return frame.assign(amplitude=(frame["eps"] / RMS).round(12))
