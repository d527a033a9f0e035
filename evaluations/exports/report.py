"""A Markdown report of a run that stands alone; equal runs give equal bytes."""

import os
import shlex
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from robustssm.attacks.adversaries.table import ADVERSARIES
from robustssm.attacks.families import FAMILIES
from robustssm.evaluations.exports.markdown import markdown_table, numbers
from robustssm.evaluations.inspection import Inspection, model_names
from robustssm.evaluations.reading import CONDITION
from robustssm.evaluations.results import ALPHA
from robustssm.evaluations.significance import verdicts
from robustssm.evaluations.tables import Tables, read_tables

# Worst modes listed a model, noise and strength.
_WORST = 5
# Missing cells that are named one by one; more are counted.
_NAMED = 10
_GROUP = [name for name in CONDITION if name not in ("mode", "mode_unit")]


def report(state: Inspection, output: Path) -> str:
    """Return the report of a run as Markdown, ending in a newline.

    output: where it will lie; figures are named relative to it. There is no time and no name of a
    machine in it.
    """
    tables = read_tables(state)
    sections = [
        _title(state),
        _what_was_run(state),
        _overview(tables.overview),
        _curves(tables.summary),
        _verdicts(tables),
        _figures(state, output),
        _not_known(state),
        _going_on(state),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(state: Inspection) -> str:
    names = [name.partition("/")[0] for name in model_names(state.manifest)] or ["models"]
    noises = [str(noise) for noise in state.manifest.get("noise") or ["noise"]]
    marks = [f"PARTIAL: first {state.manifest.get('limit')} samples only"] * state.partial
    marks += ["UNFINISHED"] * (not state.complete)
    end = f" ({'; '.join(marks)})" if marks else ""
    counts = state.counts
    return (
        f"# Robustness of {', '.join(dict.fromkeys(names))} under {', '.join(noises)}{end}\n\n"
        f"{counts['done']} of {counts['cells']} cells are finished, {counts['failed']} failed, "
        f"{counts['missing']} are missing."
    )


def _what_was_run(state: Inspection) -> str:
    content = state.manifest
    versions = content.get("versions") or {}
    argv = [str(word) for word in content.get("argv") or []]
    plan = state.run.plan() if state.planned else pd.DataFrame()
    facts = {
        "command": f"`{shlex.join(['robustssm', *argv])}`" if argv else "none on record",
        "task": content.get("task"),
        "data hash": content.get("task_hash"),
        "sequence length": content.get("length"),
        "classes": content.get("classes"),
        "accuracy of the best constant answer": _number(content.get("chance")),
        "samples": f"the first {content.get('limit')} of the test split"
        if state.partial
        else "the whole test split" * bool(content),
        "seed of the noise": numbers(plan["seed"]) if len(plan) else content.get("seed"),
        "device": content.get("device"),
        "plan": content.get("plan"),
        "schema of the cells": content.get("schema"),
        "versions": ", ".join(f"{name} {value}" for name, value in sorted(versions.items())),
    }
    rows = [(name, value) for name, value in facts.items() if value not in (None, "")]
    parts = ["## What was run", markdown_table(["what", "value"], rows)]
    if len(plan):
        models = plan[["model", "train_seed", "checkpoint"]].drop_duplicates().to_numpy().tolist()
        columns = ["model", "training seed", "content hash of the checkpoint"]
        parts.append(markdown_table(columns, models))
        columns = ["noise", "what it is", "at", "modes", "eps", "clip"]
        parts.append(markdown_table(columns, _noises(plan)))
    return "\n\n".join(parts)


def _noises(plan: pd.DataFrame) -> list[list[str]]:
    """Return a row a noise: what it is, in words, its place, modes and strengths."""
    rows = []
    keys = [name for name in CONDITION if name not in ("mode", "eps")]
    noisy = plan[plan["noise"] != "clean"]
    for values, group in noisy.groupby(keys, sort=False):
        noise, inject, unit, eps_unit, clip = values
        name = str(group["perturbation"].iloc[0]).partition("(")[0]
        kind = FAMILIES.get(name) or ADVERSARIES.get(name)
        words = ((kind.__doc__ if kind else "") or "").partition("\n")[0].rstrip(".")
        modes = f"{numbers(group['mode'])} ({unit})" if unit else "-"
        rows.append(
            [noise, words or name, inject, modes, f"{numbers(group['eps'])} {eps_unit}", clip]
        )
    return rows


def _overview(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "## Overview\n\nNo perturbed condition has results."
    columns = ["model", "noise", "at", "eps", "seeds", "n", "clean", "mean over modes"]
    columns += ["worst (naive)", "its mode", "worst, cross-fitted", "95% interval", "interval of"]
    rows = [
        [
            *(row.model, _noise(row.noise, row.clip), row.inject),
            *(f"{row.eps:g} {row.eps_unit}", row.seeds, row.n),
            *(_number(row.clean_accuracy), _number(row.acc_mean_over_modes)),
            _number(row.acc_worst_over_modes),
            f"{row.worst_mode:g} ({row.mode_unit})" if row.mode_unit else "-",
            _number(row.acc_worst_crossfit),
            f"[{_number(row.ci_low)}, {_number(row.ci_high)}]" if row.interval else "-",
            row.interval or "-",
        ]
        for row in frame.itertuples()
    ]
    return "\n\n".join(
        [
            "## Overview",
            markdown_table(columns, rows),
            "Accuracies are shares of the n samples, means over training seeds. The naive worst "
            "mode is chosen and read on the same samples, which biases its accuracy downwards "
            "where many modes were tried, and has no interval. Cross-fitted: each half of the "
            "samples chooses the worst mode, the other half is read; the interval is of that "
            "value, and holds for the modes chosen.",
        ]
    )


def _curves(summary: pd.DataFrame) -> str:
    """Return a table a model: the modes of the lowest accuracy, noise by noise, eps by eps."""
    if summary.empty or (summary["noise"] == "clean").all():
        return ""
    noisy = summary[summary["noise"] != "clean"]
    parts = ["## Worst modes of each model"]
    for model, own in noisy.groupby("model", sort=False):
        curve = own.groupby([*_GROUP, "mode", "mode_unit"], sort=False, as_index=False).agg(
            accuracy=("accuracy", "mean"),
            lowest=("accuracy", "min"),
            highest=("accuracy", "max"),
            clean=("clean_accuracy", "mean"),
            seeds=("accuracy", "size"),
            n=("n", "min"),
            low=("ci_low", "min"),
            high=("ci_high", "max"),
        )
        worst = curve.sort_values([*_GROUP, "accuracy", "mode"], kind="stable").groupby(_GROUP)
        rows = [
            [
                *(_noise(row.noise, row.clip), row.inject, f"{row.eps:g} {row.eps_unit}"),
                f"{row.mode:g} ({row.mode_unit})" if row.mode_unit else "-",
                *(_number(row.accuracy), _number(row.clean - row.accuracy)),
                f"[{_number(row.low)}, {_number(row.high)}] (samples, Wilson 95%)"
                if row.seeds == 1
                else f"{_number(row.lowest)}..{_number(row.highest)} (over seeds)",
                *(row.seeds, row.n),
            ]
            for row in worst.head(_WORST).itertuples()
        ]
        columns = ["noise", "at", "eps", "mode", "accuracy", "fall", "range", "seeds", "n"]
        parts += [f"### {model}", markdown_table(columns, rows)]
    return "\n\n".join(parts)


def _verdicts(tables: Tables) -> str:
    """Return what the paired tests say, a row a pair of models."""
    head = "## Paired comparison"
    if tables.stale:
        return (
            f"{head}\n\ntests.csv is not up to date with the cells; a sweep writes it when it ends."
        )
    if tables.tests.empty:
        return f"{head}\n\nThere are no two models to compare."
    rows = []
    noisy = tables.tests[tables.tests["noise"] != "clean"]
    for row in verdicts(noisy, ALPHA).itertuples():
        a, b = row.model_a, row.model_b
        group = noisy[(noisy["model_a"] == a) & (noisy["model_b"] == b)]
        most = group.loc[group["difference"].abs().idxmax()]
        where = f"{most['noise']}, mode {most['mode']:g}" if most["mode_unit"] else most["noise"]
        worst = f"{most['difference']:+.3f} ({where}, eps {most['eps']:g}, n = {most['n']})"
        counts = (row.pairs, row.conditions, row.a_better, row.b_better, row.opposite)
        rows.append([a, b, *counts, worst])
    columns = ["a", "b", "pairs of checkpoints", "conditions", "a better", "b better"]
    columns.append("opposite signs")
    return "\n\n".join(
        [
            head,
            markdown_table([*columns, "largest difference a - b"], rows),
            "McNemar's exact test on the same perturbed samples, Holm-adjusted over all tests of "
            f"the run, p < {ALPHA:g}. A condition counts as better where every pair of checkpoints "
            "says so. It compares these checkpoints, not ways of training.",
        ]
    )


def _figures(state: Inspection, output: Path) -> str:
    base = output.parent.resolve()
    lines = []
    for path in sorted((state.run.path / "figures").glob("*.png")):
        links = {
            other.suffix[1:]: quote(Path(os.path.relpath(other.resolve(), base)).as_posix())
            for other in (path, path.with_suffix(".pdf"), path.with_suffix(".csv"))
            if other.is_file()
        }
        others = ", ".join(f"[{kind}]({link})" for kind, link in links.items() if kind != "png")
        lines.append(f"![{path.stem}]({links['png']})" + (f"\n\n{others}" if others else ""))
    return "\n\n".join(["## Figures", *lines]) if lines else ""


def _not_known(state: Inspection) -> str:
    lines = []
    if state.partial:
        lines.append(
            f"- Only the first {state.manifest.get('limit')} samples were used (`--limit`): every "
            "number here is of these."
        )
    lines += [f"- Damaged: `{name}`: {reason}." for name, reason in sorted(state.damaged.items())]
    said: dict[str, int] = {}
    for failure in state.failed.values():
        said[failure.line] = said.get(failure.line, 0) + 1
    lines += [f"- Failed, {_cells(count)}: {line}" for line, count in sorted(said.items())]
    lines += _missing(state)
    if not lines:
        lines = ["Every planned cell is there; nothing was left out."]
    return "\n\n".join(["## What is not known", "\n".join(lines)])


def _missing(state: Inspection) -> list[str]:
    """Return a line a model, noise and strength with missing cells."""
    if not state.missing:
        return []
    plan = state.run.plan()
    gone = plan[plan["cell"].isin(state.missing)]
    keys = ["model", "train_seed", *_GROUP]
    lines = []
    for (model, seed, *condition), group in gone.groupby(keys, sort=True):
        row = dict(zip(_GROUP, condition, strict=True))
        what = _noise(row["noise"], row["clip"])
        if what != "clean":
            what += f", eps {row['eps']:g} {row['eps_unit']}"
        modes = f", modes {numbers(group['mode'])}" if group["mode_unit"].iloc[0] else ""
        lines.append(f"- Missing, {_cells(len(group))}: {model}/{seed}, {what}{modes}.")
    if len(lines) > _NAMED:
        rest = len(lines) - _NAMED
        lines = [*lines[:_NAMED], f"- Missing: {rest} more groups of conditions."]
    return lines


def _going_on(state: Inspection) -> str:
    command = state.resume()
    if not command:
        return ""
    text = (
        "The sweep goes on, and computes only what is missing, by"
        if not state.complete
        else ("Every cell is there: the same command computes nothing again. It was")
    )
    return f"## How to go on\n\n{text}\n\n    {command}"


def _noise(noise: str, clip: str) -> str:
    """Return the name of a noise, with how it is clipped where it is."""
    return noise if clip in ("", "none") else f"{noise}, clip {clip}"


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _number(value: object) -> str:
    """Return a share to three digits; a dash where it is not known."""
    return f"{value:.3f}" if isinstance(value, float) and value == value else "-"
