"""Bundled checkpoints under sinusoids of many frequencies, and white noise of the same energy.

Two models on the same perturbed samples are compared by training seed and frequency.

All of it acts at the input of every SSM layer, as the paper's own test does. Cells are those of a
sweep, in a run directory of the step, so that a killed one goes on.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustssm.attacks import BandNoise, Budget, Resonance
from robustssm.checkpoints.bundled import zoo_path
from robustssm.checkpoints.model_names import ModelRef
from robustssm.evaluations.paper.fig3_accuracy import CLEAN, seed_means, swept
from robustssm.evaluations.paper.reproduction import Context
from robustssm.evaluations.statistics.paired import holm, mcnemar
from robustssm.evaluations.sweep.conditions import Condition
from robustssm.evaluations.sweep.planning import plan_conditions
from robustssm.hippo.spectrum import spikes
from robustssm.tasks import load_task
from robustssm.training.zoo import TASK

GRID, SPIKE, OCTAVE = "grid", "spike", "octave"
SINUSOID, WHITE = "sinusoid", "white"
# Root mean square of r cos(.), r uniform on [0, 1): sqrt(E r^2 / 2) = sqrt(1 / 6).
RMS = 1.0 / math.sqrt(6.0)
# Level of Holm-adjusted tests.
ALPHA = 0.05


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
    """Return `evaluated` of every frequency and largest amplitude, with its kind and number."""
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


def bits(packed: pd.Series, n: int) -> npt.NDArray[np.bool_]:
    """Return which samples are right, (rows, n)."""
    held = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(len(packed), -1)
    return np.unpackbits(held, axis=1, count=n).astype(bool)


def paired(frame: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return McNemar's exact test of each pair, training seed, strength and frequency.

    frame: rows of `sweep`. Columns a, b, seed, eps, omega, kind, n, a_only,
    b_only (samples that one alone gets right), difference (accuracy of a minus b), p, p_holm
    (over the whole table).
    """
    noisy = frame[frame["noise"] != CLEAN]
    keys = ["seed", "eps", "omega", "kind", "n"]
    parts = []
    for a, b in pairs:
        one, other = (noisy[noisy["model"] == name][[*keys, "right"]] for name in (a, b))
        both = one.merge(other, on=keys, suffixes=("_a", "_b"), how="inner", validate="1:1")
        n = int(both["n"].iloc[0])
        first, second = bits(both["right_a"], n), bits(both["right_b"], n)
        alone = {"a_only": (first & ~second).sum(1), "b_only": (second & ~first).sum(1)}
        parts.append(both[keys].assign(a=a, b=b, **alone))
    tests = pd.concat(parts, ignore_index=True)
    tests["difference"] = (tests["a_only"] - tests["b_only"]) / tests["n"]
    tests["p"] = mcnemar(tests["a_only"], tests["b_only"])
    tests["p_holm"] = holm(tests["p"].to_numpy(np.float64))
    return tests[["a", "b", *keys, "a_only", "b_only", "difference", "p", "p_holm"]]


def by_frequency(tests: pd.DataFrame) -> pd.DataFrame:
    """Return the difference over seeds by pair, eps and omega; columns as of `seed_means`.

    And n (samples), says: 1 or -1 if every seed's Holm-adjusted test says that a, or b, is better,
    else 0; opposite: whether the tests of two seeds contradict each other.
    """
    by = ["a", "b", "eps", "omega", "n"]
    sign = np.sign(tests["difference"]).where(tests["p_holm"] < ALPHA, 0.0)
    ends = sign.groupby([tests[key] for key in by], sort=False).agg(["min", "max"])
    low, high = ends["min"].to_numpy(), ends["max"].to_numpy()
    return seed_means(tests, by, "difference").assign(
        says=((low > 0).astype(np.int64) - (high < 0)), opposite=(low < 0) & (high > 0)
    )
