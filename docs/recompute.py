"""Write docs/data from what the commands named there have printed or stored.

    python -m docs.recompute rows NAME FILE...    # NAME.csv is what its command prints as CSV
    python -m docs.recompute converge FILE        # what the command of converge.csv prints as JSON
    python -m docs.recompute sweeps RUN...        # perturbations.csv, resonance.csv, weights.csv
    python -m docs.recompute tutorial FOLDER      # where the commands of docs/tutorial.md were run
    python -m docs.recompute study FOLDER         # robustssm theory ptd --study -n 16,32,64,128,256
    pytest -s -k original | python -m docs.recompute checkpoints

A row that is found again by its leading columns gets new numbers, the others stay. What is in no
such list comes from the command in its file or row, and is entered by hand.
"""

import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import click
import numpy as np
import pandas as pd
from click.testing import CliRunner

from robustssm.cli import main as robustssm
from robustssm.evaluations.results.summary import perturbed
from robustssm.evaluations.statistics.intervals import seed_interval, student
from robustssm.evaluations.sweep.run_directory import RunDirectory

DATA = Path(__file__).parent / "data"
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
ONE_MODE, EACH_MODE = "worst mode, one for all samples", "worst mode of each sample, random phase"
# Units of the modes of resonance -> how resonance.csv calls its two frequencies.
PLACES = {"spike": "spike", "omega": "octave below"}
# Samples and strength of adversaries.csv.
FIRST, STRENGTH = 128, 0.3
# The claims of claims.csv about sweeps: noise and strength, which model less which other, and how
# the modes of a training seed become one number.
CLAIMS = (
    ("S4D breaks at its highest spike and PTD does not", "resonance", 1.0, "s4ptd", "s4d", "mean"),
    ("at low frequencies of the input PTD is hurt more", "fourier", 0.3, "s4d", "s4ptd", "min"),
    (
        "over all Fourier modes of the input S4D and PTD are alike",
        *("fourier", 0.3, "s4ptd", "s4d", "mean"),
    ),
)
INTERVAL = ["low", "high"]
AGAIN = "recomputed"
# value, low, high; NaN is what there is not.
Number = tuple[float, float, float]


def write(name: str, frame: pd.DataFrame) -> None:
    """Write docs/data/NAME.csv, its first line as it is."""
    path = DATA / f"{name}.csv"
    text = frame.to_csv(index=False, lineterminator="\n")
    path.write_text(f"{path.read_text().splitlines()[0]}\n{text}")


def put(name: str, key: Sequence[str], rows: pd.DataFrame) -> None:
    """Write rows into docs/data/NAME.csv, where each is found by its columns `key`."""
    stored = pd.read_csv(DATA / f"{name}.csv", skiprows=1)
    old, new = (frame.set_index(list(key)) for frame in (stored, rows))
    whole = old.reindex(dict.fromkeys([*old.index, *new.index]))
    whole.loc[new.index, new.columns] = new
    write(name, whole.reset_index())


def measured(command: str, numbers: Mapping[str, float | Number]) -> None:
    """Write single numbers into measured.csv."""
    rows = [
        (quantity, *(found if isinstance(found, tuple) else (found, math.nan, math.nan)), command)
        for quantity, found in numbers.items()
    ]
    frame = pd.DataFrame(rows, columns=["quantity", "value", *INTERVAL, "command"])
    put("measured", ["quantity"], frame.assign(source=AGAIN))


def span(values: Iterable[float]) -> Number:
    """Return the least and the largest value."""
    array = list(values)
    return math.nan, float(min(array)), float(max(array))


def printed(*words: str) -> pd.DataFrame:
    """Return what a command prints as CSV."""
    result = CliRunner().invoke(robustssm, [*words, "--format", "csv"], catch_exceptions=False)
    if result.exit_code:
        raise click.ClickException(result.stderr)
    return pd.read_csv(io.StringIO(result.stdout))


def by_seed(
    frame: pd.DataFrame, key: list[str], column: str = "accuracy", least: float = 0.0
) -> pd.DataFrame:
    """Return means over rows, one per training seed, and intervals in [least, 1], by group."""
    groups = frame.groupby(key, sort=False)[column]
    rows = [(*names, one.mean(), *seed_interval(one, (least, 1.0))) for names, one in groups]
    return pd.DataFrame(rows, columns=[*key, column, *INTERVAL])


def perturbations(summary: pd.DataFrame) -> pd.DataFrame:
    """Return rows of perturbations.csv; summary: without the clean evaluation."""
    seeds = summary.groupby(["noise", "eps", "model", "train_seed"], sort=False)["accuracy"]
    both = seeds.agg(["mean", "min"]).reset_index()
    parts = [
        both[both["noise"] == noise].assign(perturbation=name, accuracy=both[how])
        for noise, names in NOISES.items()
        for name, how in zip(names, ("mean", "min"), strict=False)
    ]
    return by_seed(pd.concat(parts), ["perturbation", "eps", "model"])


def losses(summary: pd.DataFrame) -> pd.DataFrame:
    """Return rows of weights.csv: accuracy lost, paired by training seed and sample."""
    rounded = summary[summary["noise"].str.startswith("WeightQuantise(mode")]
    group = rounded["noise"].str.extract("group='(.*)'")[0].fillna("all")
    lost = rounded["clean_accuracy"] - rounded["accuracy"]
    parts = rounded.assign(group=group, bits=rounded["mode"].astype(int), lost=lost)
    return by_seed(parts, ["group", "bits", "model"], "lost", -1.0)


def resonance(summary: pd.DataFrame) -> pd.DataFrame:
    """Return rows of resonance.csv, the clean accuracies among them; summary: with these."""
    where = summary["mode_unit"].map(PLACES).where(summary["noise"] == "resonance")
    where = where.mask(summary["noise"] == "clean", "clean")
    found = by_seed(summary.assign(where=where).dropna(subset="where"), ["where", "eps", "model"])
    return found if (summary["noise"] == "resonance").any() else found[:0]


def differences(summary: pd.DataFrame) -> pd.DataFrame:
    """Return claim, estimate, low and high of CLAIMS, each training seed with its own."""
    rows = []
    for claim, noise, eps, better, worse, how in CLAIMS:
        chosen = (summary["noise"] == noise) & (summary["eps"] == eps)
        part = summary[chosen & (summary["mode_unit"] != "omega")]
        one = part.pivot_table("accuracy", "train_seed", "model", aggfunc=how)
        if {better, worse} <= set(one):
            gaps = one[better] - one[worse]
            rows.append((claim, gaps.mean(), *student(gaps)))
    return pd.DataFrame(rows, columns=["claim", "estimate", *INTERVAL])


def adversaries(run: RunDirectory) -> pd.DataFrame:
    """Return rows of adversaries.csv: means of `correct` over the first samples of the cells."""
    plan = run.plan()
    rows = []
    by = ["noise", "model", "train_seed"]
    for (noise, model, _), cells in plan[plan["eps"] == STRENGTH].groupby(by):
        right = np.array([run.rows(cell)["correct"][:FIRST] for cell in cells["cell"]])
        if noise == "fourier":
            rows.append((ONE_MODE, model, right.mean(axis=1).min()))
            rows.append((EACH_MODE, model, right.all(axis=0).mean()))
        elif noise in SEARCHES:
            rows.append((SEARCHES[noise], model, right.mean()))
    found = pd.DataFrame(rows, columns=["search", "model", "accuracy"])
    return found.groupby(["search", "model"], sort=False, as_index=False).mean()


@click.group(help=(__doc__ or "").replace("\n\n    python", "\n\n\b\n    python"))
def main() -> None:
    """Write docs/data."""


@main.command()
@click.argument("name")
@click.argument("tables", nargs=-1, required=True, type=click.File())
def rows(name: str, tables: tuple[TextIO, ...]) -> None:
    """Write docs/data/NAME.csv from what the commands in its comment printed into files."""
    write(name, pd.concat(map(pd.read_csv, tables)))


@main.command()
@click.argument("fits", type=click.File())
def converge(fits: TextIO) -> None:
    """Write converge.csv, the fits that `theory converge --format json` printed."""
    put("converge", ["init", "quantity"], pd.DataFrame(json.load(fits)["fits"]))


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
def sweeps(runs: tuple[Path, ...]) -> None:
    """Write the files of perturbations, resonances, weights and claims from finished sweeps."""
    for path in runs:
        known = pd.read_csv(DATA / "adversaries.csv", skiprows=1)[["search", "model", "passes"]]
        searched = adversaries(RunDirectory(path))
        put("adversaries", ["search", "passes", "model"], known.merge(searched))
        if json.loads((path / "manifest.json").read_text()).get("partial"):
            continue  # --limit: the other files are of all samples
        whole = pd.read_csv(path / "summary.csv")
        summary = perturbed(whole)
        key = ["perturbation", "eps", "model"]
        shown = pd.read_csv(DATA / "perturbations.csv", skiprows=1)[key]
        put("perturbations", key, perturbations(summary).merge(shown))
        put("resonance", ["where", "eps", "model"], resonance(whole))
        put("weights", ["group", "bits", "model"], losses(summary))
        put("claims", ["claim"], differences(summary))
        facts = {"digits n": summary["n"].max(), "digits seeds": summary["train_seed"].nunique()}
        measured("robustssm sweep, as in perturbations.csv and resonance.csv", facts)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def tutorial(folder: Path) -> None:
    """Write tutorial.csv from the folder where the commands of the tutorial were run."""
    names = {"value": "value", "ci_low": "low", "ci_high": "high", "p": "p", "n": "n"}
    for run in ("layers", "input"):
        told = printed("compare", str(folder / run), "--model", "mine,other")
        told = told[told["table"] != "mode"].assign(run=run).rename(columns=names)
        key = ["run", "table", "model", "eps", "quantity"]
        put("tutorial", key, told.fillna({"eps": 0.0})[[*key, *names.values()]])
    model = str(folder / "mine.safetensors")
    layers, peaks = printed("inspect", model), printed("gain", f"mine={model}", "--no-figures")
    found: dict[str, float | Number] = {
        "tutorial largest real part": layers["largest_real"].max(),
        "tutorial aliased": span(layers["aliased"]),
        "tutorial gain": span(peaks["gain_low"]),
        "tutorial omega": span(peaks["omega"]),
        "tutorial near the spike": peaks["near_spike"].sum() / peaks["resolved"].sum(),
    }
    measured("robustssm inspect, robustssm gain, as in docs/tutorial.md", found)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def study(folder: Path) -> None:
    """Write trade-off.csv, and the slopes of log kappa into measured.csv."""
    stable = pd.read_csv(folder / "study.csv").query("stable == True")
    corner = stable[stable["method"] == "corner"]
    chosen = [
        stable.query("method == 'rank1' and settings == 'tau=0.1'"),
        stable.query("method == 'clipped' and settings == 'tau=0.3'"),
        stable[stable["method"] == "optimized"],
        corner.loc[corner.groupby("n")["kappa"].idxmin()],
    ]
    table = pd.concat(chosen).rename(columns={"worst_error": "error"})
    put("trade-off", ["method", "n"], table[["method", "n", "settings", "kappa", "error", "ratio"]])
    fits = pd.read_csv(folder / "slopes.csv")
    whole = fits[fits["range"] == "all"].groupby("method")["slope"]
    found: dict[str, float | Number] = {f"study slope {name}": span(part) for name, part in whole}
    last = fits[(fits["method"] == "random") & (fits["n"] == fits["n"].max())].set_index("range")
    for part in ("up to 0.01", "0.01 to 1"):
        name = f"study slope random {part}, n = {fits['n'].max()}"
        found[name] = tuple(last.loc[part, ["slope", "ci_low", "ci_high"]])
    measured("robustssm theory ptd --study -n 16,32,64,128,256", found)


@main.command()
@click.argument("lines", type=click.File(), default="-")
def checkpoints(lines: TextIO) -> None:
    """Write checkpoints.csv from what `pytest -s -k original` prints."""
    error = r"float(32|64) (\S+) \(([^)]+)\)"
    line = r"([^\s.]\S*?)(?: \[(.*?)\] <(.*?)>)?: (float\d.*)"
    told = []
    for name, settings, source, rest in re.findall(line, lines.read()):
        if not name.endswith("_io.npz"):  # a file that is loaded another way as well
            row = {"file": name, "what": source or "one layer", "settings": settings or "-"}
            for bits, absolute, relative in re.findall(error, rest):
                row |= {f"float{bits}": float(absolute), f"relative{bits}": float(relative)}
            told.append(row)
    table = pd.DataFrame(told)
    put("checkpoints", ["file"], table)
    whole = table[~table["what"].str.endswith("one layer")]
    found: dict[str, float | Number] = {"checkpoint files": len(whole)}
    for bits in (32, 64):
        found[f"checkpoints float{bits}"] = whole[f"relative{bits}"].max()
    measured("pytest -s -k original", found)


if __name__ == "__main__":
    main()
