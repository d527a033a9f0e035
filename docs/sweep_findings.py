"""The numbers of finished sweeps: accuracies over seeds, adversaries, differences of each seed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from docs.data_files import AGAIN
from docs.paper_findings import Numbers, mean
from robustssm.evaluations.statistics.intervals import seed_interval
from robustssm.evaluations.sweep.run_directory import RunDirectory

# Noises of the sweeps -> how perturbations.csv calls them; of Fourier modes mean and worst.
NOISES = {
    "fourier": ("mean over Fourier modes 0 to 128", "worst Fourier mode of each seed"),
    "BandNoise(1, 16)": ("noise in bins 1 to 16",),
    "BandNoise(17, 128)": ("noise in bins 17 to 128",),
    "Guided(1, 128)": ("`Guided`: a sinusoid a sample",),
    "BandPGD(1, 128, drop=True)": ("`BandPGD`, modes 1 to 128",),
    "Resonance(325.426)": ("resonance at layers",),
}
SEARCHES = {
    "Guided(1, 128)": "`Guided`: one sinusoid a sample",
    "RandomSearch(1, 128, queries=200)": "`RandomSearch`, 200 queries, no gradients",
    "BandPGD(1, 128, drop=True)": "`BandPGD`, stopped once misclassified",
}
# Units of the modes of resonance -> how resonance.csv calls its two frequencies.
PLACES = {"spike": "spike", "omega": "octave below"}
# Samples and strength of adversaries.csv, and the strength of the differences.
FIRST, STRENGTH = 128, 0.3
SEEDS = ["accuracy", "low", "high"]


def _over_seeds(key: tuple[object, ...], seeds: pd.Series) -> tuple[object, ...]:
    return (*key, seeds.mean(), *seed_interval(seeds))


def perturbations(summary: pd.DataFrame) -> pd.DataFrame:
    """Return rows of perturbations.csv; summary: without the clean evaluation."""
    rows = []
    for (noise, eps, model), part in summary.groupby(["noise", "eps", "model"], sort=False):
        over_modes = part.groupby("train_seed")["accuracy"]
        both = over_modes.mean(), over_modes.min()
        for name, seeds in zip(NOISES.get(noise, ()), both, strict=False):
            rows.append((*_over_seeds((name, eps, model), seeds), AGAIN))
    return pd.DataFrame(rows, columns=["perturbation", "eps", "model", *SEEDS, "source"])


def resonance(summary: pd.DataFrame) -> pd.DataFrame:
    """Return rows of resonance.csv, the clean accuracies among them; summary: with these."""
    noisy = summary[summary["noise"] == "resonance"]
    if noisy.empty:
        return pd.DataFrame(columns=["where", "eps", "model", *SEEDS])
    both = [summary[summary["noise"] == "clean"].assign(where="clean")]
    both.append(noisy.assign(where=noisy["mode_unit"].map(PLACES)))
    groups = pd.concat(both).groupby(["where", "eps", "model"], sort=False)["accuracy"]
    rows = [_over_seeds(key, seeds) for key, seeds in groups]
    return pd.DataFrame(rows, columns=["where", "eps", "model", *SEEDS])


def differences(summary: pd.DataFrame) -> Numbers:
    """Return what claims.csv compares of s4d and s4ptd, each training seed with its own."""
    found: Numbers = {}
    for (noise, unit, eps), part in summary.groupby(["noise", "mode_unit", "eps"]):
        wide = part.pivot_table("accuracy", ["train_seed", "mode"], "model")
        if not {"s4d", "s4ptd"} <= set(wide):
            continue
        of_seed = wide[["s4d", "s4ptd"]].groupby("train_seed")
        if (noise, unit, eps) == ("resonance", "spike", 1.0):
            found["s4ptd - s4d at the spike, eps 1"] = _gap(of_seed.mean(), "s4ptd", "s4d")
        elif (noise, eps) == ("fourier", STRENGTH):
            lowest, whole = of_seed.min(), of_seed.mean()
            found["s4d - s4ptd at the worst Fourier mode"] = _gap(lowest, "s4d", "s4ptd")
            found["s4ptd - s4d over Fourier modes"] = _gap(whole, "s4ptd", "s4d")
    return found


def _gap(frame: pd.DataFrame, a: str, b: str) -> tuple[float, float, float]:
    return mean(frame[a] - frame[b])


def adversaries(run: RunDirectory) -> pd.DataFrame:
    """Return rows of adversaries.csv: means of `correct` over the first samples of the cells."""
    plan = run.plan()
    rows = []
    for (noise, model), part in plan[plan["eps"] == STRENGTH].groupby(["noise", "model"]):
        found: dict[str, list[float]] = {}
        for _, cells in part.groupby("train_seed"):
            right = np.array([run.rows(cell)["correct"][:FIRST] for cell in cells["cell"]])
            for name, share in _searched(str(noise), right).items():
                found.setdefault(name, []).append(share)
        rows += [(name, model, float(np.mean(seeds)), AGAIN) for name, seeds in found.items()]
    return pd.DataFrame(rows, columns=["search", "model", "accuracy", "source"])


def _searched(noise: str, right: np.ndarray) -> Mapping[str, float]:
    if noise != "fourier":
        return {SEARCHES[noise]: right.mean()} if noise in SEARCHES else {}
    return {
        "worst mode, one for all samples": right.mean(axis=1).min(),
        "worst mode of each sample, random phase": right.all(axis=0).mean(),
    }
