"""Write docs/data from what the commands named there have stored.

    python -m docs.recompute paper FOLDER         # robustssm reproduce all --quick -o FOLDER
    python -m docs.recompute sweeps RUN...        # the sweeps of perturbations.csv, resonance.csv
    python -m docs.recompute converge FILE        # what the command of converge.csv prints as CSV
    python -m docs.recompute baselines
    python -m docs.recompute tutorial FOLDER      # where the commands of docs/tutorial.md were run
    python -m docs.recompute calibration RUN...   # the sweeps of the detector in docs/tasks.md
    python -m docs.recompute study FOLDER         # robustssm theory ptd --study -n 16,32,64,128,256
    python -m docs.recompute pseudospectrum 64=FILE.csv 256=FILE.csv
    python -m docs.recompute output gain FILE     # a file that is what its command prints
    python -m docs.recompute authors FILE.mat...  # the matrices of the PTD authors
    pytest -s -k original | python -m docs.recompute checkpoints

A row that is found again by its leading columns gets new numbers, the others stay. What was a
number of a page is printed where the new one differs from it.
"""

import io
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import click
import pandas as pd
from click.testing import CliRunner

from docs import sweep_findings as findings
from docs.data_files import AGAIN, DATA, NAN, Number, measured, put
from docs.paper_findings import RECIPES, span
from robustssm.cli import main as robustssm
from robustssm.evaluations.initializations.convergence import fit
from robustssm.evaluations.paper import running
from robustssm.evaluations.results.summary import perturbed
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.hippo.matrix_files import load_initialization
from robustssm.tasks import load_task

# The task of docs/tasks.md, from 10 to 128 tokens.
LISTOPS = "listops:train=8000:validation=500:test=2000:min_length=10:max_length=128"


def printed(*words: str) -> pd.DataFrame:
    """Return what a command prints as CSV."""
    result = CliRunner().invoke(robustssm, [*words, "--format", "csv"], catch_exceptions=False)
    if result.exit_code:
        raise click.ClickException(result.stderr)
    return pd.read_csv(io.StringIO(result.stdout))


@click.group(help=(__doc__ or "").replace("\n\n    python", "\n\n\b\n    python"))
def main() -> None:
    """Write docs/data."""


@main.command("output")
@click.argument("name")
@click.argument("table", type=click.Path(path_type=Path))
def output(name: str, table: Path) -> None:
    """Write docs/data/NAME.csv from what the command in its comment printed into a file."""
    path = DATA / f"{name}.csv"
    comment = path.read_text().splitlines()[0]
    path.write_text(f"{comment}\n{table.read_text()}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Of a run without --quick: the bound alone.")
def paper(folder: Path, full: bool) -> None:
    """Write what `robustssm reproduce` found into measured.csv."""
    for name, numbers in RECIPES.items():
        (one,) = running.chosen(name)
        settings = one.full if full else one.quick
        paths = {s.name: running.stored_path(one, s, settings, folder) for s in one.steps}
        if not all(path.exists() for path in paths.values()):
            click.echo(f"{name}: not finished in {folder}, left as it is")
            continue
        found = numbers({step: running.read(path) for step, path in paths.items()})
        command = f"robustssm reproduce {name}"
        if full:
            measured(command, {f"full {key}": value for key, value in found.items()})
        else:
            measured(f"{command} --quick", found)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
def sweeps(runs: tuple[Path, ...]) -> None:
    """Write perturbations.csv, adversaries.csv and resonance.csv from finished sweeps."""
    for path in runs:
        known = pd.read_csv(DATA / "adversaries.csv", skiprows=1)[["search", "model", "passes"]]
        searched = findings.adversaries(RunDirectory(path))
        put("adversaries", ["search", "passes", "model"], known.merge(searched))
        if json.loads((path / "manifest.json").read_text()).get("partial"):
            continue  # --limit: the other files are of all samples
        whole = pd.read_csv(path / "summary.csv")
        summary = perturbed(whole)
        key = ["perturbation", "eps", "model"]
        shown = pd.read_csv(DATA / "perturbations.csv", skiprows=1)[key]
        put("perturbations", key, findings.perturbations(summary).merge(shown))
        put("resonance", ["where", "eps", "model"], findings.resonance(whole))
        facts = {"digits n": summary["n"].max(), "digits seeds": summary["train_seed"].nunique()}
        command = "robustssm sweep, as in perturbations.csv and resonance.csv"
        measured(command, facts | findings.differences(summary))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def tutorial(folder: Path) -> None:
    """Write tutorial.csv from the folder where the commands of the tutorial were run."""
    names = {"value": "value", "ci_low": "low", "ci_high": "high", "p": "p", "n": "n"}
    for run in ("layers", "input"):
        rows = printed("compare", str(folder / run), "--model", "mine,other")
        rows = rows[rows["table"] != "mode"].assign(run=run).rename(columns=names)
        key = ["run", "table", "model", "eps", "quantity"]
        put("tutorial", key, rows.fillna({"eps": 0.0})[[*key, *names.values()]])
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
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
def calibration(runs: tuple[Path, ...]) -> None:
    """Write calibration.csv: the detector's accuracy, and the closed form of each."""
    sys.path.insert(0, str(DATA.parents[1]))
    from tests.evaluations.calibration import theory

    rows = []
    for path in runs:
        summary = pd.read_csv(path / "summary.csv")
        std = float(load_task(str(summary["task"].iloc[0])).std[0])
        for row in summary.itertuples():
            radius, name = row.eps * std * 16.0, "nothing"  # sqrt of the length
            closed = theory.bayes_accuracy(3.0)
            if row.noise.startswith("ColouredNoise"):
                name, closed = "white noise", theory.accuracy_in_noise(radius, 3.0)
            elif row.mode == 8:
                name, closed = "mode 8, a class's own bin", theory.accuracy_in_mode(radius, 3.0)
            elif row.mode == 20:
                name = "mode 20, no class's bin"
            rows.append((name, row.eps, row.n, row.accuracy, row.ci_low, row.ci_high, closed))
    columns = ["added", "eps", "n", "accuracy", "low", "high", "closed_form"]
    table = pd.DataFrame(rows, columns=columns).drop_duplicates(["added", "eps"])
    put("calibration", ["added", "eps"], table)


@main.command()
@click.argument("table", type=click.Path(path_type=Path))
def converge(table: Path) -> None:
    """Write converge.csv, the fits of the errors that `theory converge --format csv` printed."""
    fits = fit(pd.read_csv(table, keep_default_na=False, na_values=[""]).fillna({"status": ""}))
    put("converge", ["init", "quantity"], fits)


@main.command()
def baselines() -> None:
    """Write small-baselines.csv: chance, and of ListOps what its first two tokens say."""
    rows = []
    for name, task in {
        "noise-padded": load_task("noise-padded"),
        "ListOps": load_task(LISTOPS),
    }.items():
        rows.append({"task": name, "n": len(task.splits["test"]), "chance": task.chance})
    first = {name: map(tuple, task.splits[name].inputs[:, :2]) for name in ("train", "test")}
    pairs = {
        name: pd.DataFrame({"first": list(tokens), "label": task.splits[name].labels})
        for name, tokens in first.items()
    }
    best = pairs["train"].groupby("first")["label"].agg(lambda labels: labels.mode()[0])
    right = pairs["test"]["first"].map(best) == pairs["test"]["label"]
    rows[-1] |= {"known": right.mean(), "how": "from the root operator and the token behind it"}
    put("small-baselines", ["task"], pd.DataFrame(rows).assign(source=AGAIN))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def study(folder: Path) -> None:
    """Write trade-off.csv, and the slopes of log kappa into measured.csv."""
    rows = pd.read_csv(folder / "study.csv").query("stable == True")
    best = rows[rows["method"] == "minimax"]
    corner = rows[rows["method"] == "corner"]
    chosen = {
        "rank1": best.assign(worst_error=best["rank_one_error"], ratio=1.0),
        "minimax": best,
        "clipped": rows.query("method == 'clipped' and settings == 'tau=0.3'"),
        "optimized": rows[rows["method"] == "optimized"],
        "corner": corner.loc[corner.groupby("n")["kappa"].idxmin()],
    }
    table = pd.concat(part.assign(method=name) for name, part in chosen.items())
    table = table.rename(columns={"worst_error": "error"})
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
@click.argument("tables", nargs=-1, required=True)
def pseudospectrum(tables: tuple[str, ...]) -> None:
    """Write what TABLES, such as 64=FILE, say beyond eigenvalues into measured.csv."""
    for table in tables:
        n, _, path = table.partition("=")
        rows = pd.read_csv(path).set_index("init")
        found: dict[str, float | Number] = {
            f"least sigma_min, n = {n}": 10.0 ** rows.loc["hippo", "min_log10_sigma"],
            f"numerical range of s4ptd, n = {n}": rows.loc["s4ptd", "numerical_abscissa"],
        }
        measured(f"robustssm theory pseudospectrum --n {n} --init hippo,s4ptd", found)


def _ptd(matrix: str, *words: str) -> dict[str, Any]:
    given = printed("ptd", *words).set_index("quantity")["value"]
    errors = [given.get(f"sup error, {of}", NAN) for of in ("worst unit readout", "readout e0")]
    names = ("matrix", "kappa", "max_real", "error", "e0_error")
    values = (matrix, given["kappa(V)"], given["max Re lambda"], *errors)
    return dict(zip(names, values, strict=True))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def authors(files: tuple[Path, ...]) -> None:
    """Write authors.csv: matrices of the PTD authors, and those of s4ptd of the same sizes."""
    rows = []
    for path in files:
        row = _ptd(f"`{path.name}`", str(path))
        n, ratio = len(load_initialization(path).B), NAN
        if float(row["max_real"]) < 0:
            words = ("ptd", "--study", "-n", str(n), "--matrix", f"theirs={path}")
            with TemporaryDirectory() as folder:
                rows_of = printed(*words, "-o", folder).set_index("method")
            ratio = rows_of.loc["given", "ratio"]
        rows.append({**row, "n": n, "ratio": ratio})
    mine = pd.read_csv(DATA / "trade-off.csv", skiprows=1).query("method == 'optimized'")
    for n, ratio in mine.set_index("n")["ratio"].items():
        if n in {row["n"] for row in rows}:
            made = _ptd("`s4ptd`", "--method", "optimized", "-n", str(n))
            rows.append({**made, "n": n, "ratio": ratio})
    put("authors", ["matrix", "n"], pd.DataFrame(rows).sort_values("n"))


@main.command()
@click.argument("lines", type=click.File(), default="-")
def checkpoints(lines: TextIO) -> None:
    """Write checkpoints.csv from what `pytest -s -k original` prints."""
    error, line = (
        r"float(32|64) (\S+) \(([^)]+)\)",
        r"([^\s.]\S*?)(?: \[(.*?)\] <(.*?)>)?: (float\d.*)",
    )
    rows = []
    for name, settings, source, rest in re.findall(line, lines.read()):
        if not name.endswith("_io.npz"):  # a file that is loaded another way as well
            row = {"file": name, "what": source or "one layer", "settings": settings or "-"}
            for bits, absolute, relative in re.findall(error, rest):
                row |= {f"float{bits}": float(absolute), f"relative{bits}": float(relative)}
            rows.append(row)
    put("checkpoints", ["file"], pd.DataFrame(rows))
    table = pd.DataFrame(rows)
    whole = table[~table["what"].str.endswith("one layer")]
    found: dict[str, float | Number] = {"checkpoint files": len(whole)}
    for bits in (32, 64):
        found[f"checkpoints float{bits}"] = whole[f"relative{bits}"].max()
    measured("pytest -s -k original", found)


if __name__ == "__main__":
    main()
