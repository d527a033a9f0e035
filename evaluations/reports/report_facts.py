"""What a report of a run says besides its results: title, question, models, facts, gaps."""

from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.evaluations.reports.parts import Picture, Table
from robustssm.evaluations.reports.report_rows import DASH, condition, noise_name, numbers, share
from robustssm.evaluations.results.inspection import Inspection, model_names
from robustssm.evaluations.results.summary import perturbed
from robustssm.evaluations.results.tables import Tables
from robustssm.evaluations.sweep.condition_names import CONDITION, NOISE
from robustssm.targets import CLASSES, Kind, of_manifest

# Failed cells that are listed one by one; errors/ has all of them.
MOST_FAILURES = 200
# Groups of missing cells that are named; more are counted.
_NAMED = 10
# Digits of a hash that a report shows, and models that a title spells out.
_DIGITS = 12
_SPELT = 6
_NOT_KNOWN = "not on record"
# Figures by how their files begin, in the order of a report, and noises in words.
_FIGURES = {
    "robustness": "Accuracy",
    "worst-case": "Accuracy at the worst mode",
    "heat-map": "Accuracy by mode and strength",
    "difference": "Difference of accuracies",
    "layer-response": "Loss of accuracy, and gain of the layers",
}
_WORDS = {"fourier": "a single Fourier mode", "resonance": "a sinusoid in every layer"}


def _names(state: Inspection, plan: pd.DataFrame) -> str:
    """Return the models of a run in words, without training seeds; how many where many."""
    named = [name.rpartition("/")[0] or name for name in model_names(state.manifest)]
    unique = list(dict.fromkeys(map(str, plan["model"]) if len(plan) else named))
    return f"{len(unique)} models" if len(unique) > _SPELT else ", ".join(unique) or "models"


def _noises(state: Inspection, plan: pd.DataFrame) -> str:
    found = perturbed(plan)["noise"] if len(plan) else []
    given = [str(noise) for noise in state.manifest.get("noise") or []]
    names = list(dict.fromkeys(map(str, found))) or given or ["noise"]
    return ", ".join(_WORDS.get(name, name) for name in names)


def title(state: Inspection, plan: pd.DataFrame) -> str:
    """Return the title of the report, with its marks."""
    words = [f"PARTIAL: first {state.manifest.get('limit')} samples only"] * state.partial
    words += ["UNFINISHED"] * (not state.complete)
    end = f" ({'; '.join(words)})" if words else ""
    return f"Robustness of {_names(state, plan)} under {_noises(state, plan)}{end}"


def question(state: Inspection, plan: pd.DataFrame) -> str:
    """Return the question of the run in one sentence."""
    task = state.manifest.get("task") or "the task"
    how, end = f"How much of their accuracy on {task} do", "keep"
    of = of_manifest(state.manifest)
    if of is not CLASSES:
        how, end = f"By how much does the {of.meaning} on {task} of", "grow"
    return (
        f"{how} {_names(state, plan)} {end} when "
        f"{_noises(state, plan)} perturbs them, mode by mode and strength by strength?"
    )


def marks(state: Inspection) -> list[str]:
    """Return what a reader has to know of every number."""
    found = []
    if state.partial:
        found.append(
            f"PARTIAL: only the first {state.manifest.get('limit')} samples were used (--limit); "
            "every number here is of these."
        )
    if not state.complete:
        found.append(
            "UNFINISHED: cells are missing or failed; means and worst modes are of the others."
        )
    if state.damaged:
        found.append(f"DAMAGED: {_count(len(state.damaged), 'file')} of the run cannot be read.")
    return found


def counts(state: Inspection) -> str:
    """Return how many cells of the plan have results, in a sentence."""
    found = state.counts
    return (
        f"{found['done']} of {found['cells']} cells are finished, {found['failed']} failed, "
        f"{found['missing']} are missing."
    )


def cards(state: Inspection, plan: pd.DataFrame, summary: pd.DataFrame) -> Table:
    """Return one row per checkpoint: training seed, clean accuracy, architecture, task, hash."""
    task, listed = str(state.manifest.get("task") or DASH), state.manifest.get("models", [])
    if len(plan):
        columns = ["model", "train_seed", "checkpoint"]
        models = plan[columns].drop_duplicates().itertuples(index=False, name=None)
    else:
        models = ((m.get("name"), DASH, m.get("content_hash", DASH)) for m in listed)
    of = of_manifest(state.manifest)
    clean = summary[summary["noise"] == "clean"] if len(summary) else summary
    accuracy = {
        (str(row["model"]), str(row["train_seed"])): f"{share(row[of.score], of.digits)} "
        f"(n = {row['n']})"
        for row in clean.to_dict("records")
    }
    recorded = {m.get("content_hash"): m.get("architecture") for m in listed}
    rows = [
        (
            *(str(model), str(seed), accuracy.get((str(model), str(seed)), DASH)),
            *(recorded.get(str(found)) or _NOT_KNOWN, task, str(found)[:_DIGITS]),
        )
        for model, seed, found in models
    ]
    clean_score = f"clean {of.words}"
    columns = ["model", "training seed", clean_score, "architecture", "task", "content hash"]
    note = (
        f"Clean {of.words}: on the samples of this run, unperturbed. Hashes are shortened; "
        "plan.parquet and manifest.json have all their digits."
    )
    return Table("The checkpoints", columns, rows, note=note)


def facts(state: Inspection, plan: pd.DataFrame) -> Table:
    """Return what is on record of the run: data, samples, seeds, device, versions."""
    content, of = state.manifest, of_manifest(state.manifest)
    versions = sorted(content.get("versions", {}).items())
    whole = "the whole test split" if content else ""
    chance = content.get("chance")
    found: dict[str, Any] = {
        "task": content.get("task"),
        "data hash": str(content.get("task_hash") or "")[:_DIGITS],
        "sequence length": content.get("length"),
        "classes": content.get("classes"),
        "outputs": content.get("outputs"),
        f"{of.words} of the best constant answer": chance and share(chance, of.digits),
        "samples": f"PARTIAL: the first {content.get('limit')} of the test split"
        if state.partial
        else whole,
        "seed of the noise": numbers(plan["seed"]) if len(plan) else content.get("seed"),
        "device": content.get("device"),
        "plan": content.get("plan"),
        "schema of the cells": content.get("schema"),
        **{f"version of {name}": value for name, value in versions},
    }
    rows = [(name, str(value)) for name, value in found.items() if value not in (None, "")]
    return Table("On record", ("what", "value"), rows)


def noises(state: Inspection, plan: pd.DataFrame) -> Table:
    """Return one row per noise of a plan: what it is, its place, modes, strengths and clipping."""
    columns = ("noise", "what it is", "at", "modes", "eps", "clip")
    if plan.empty:
        return Table("", columns, ())
    known: dict[str, str] = state.manifest.get("attacks") or {}
    rows = []
    for values, group in perturbed(plan).groupby(NOISE, sort=False):
        row = dict(zip(NOISE, map(str, values), strict=True))
        unit = row["mode_unit"]
        name = str(group["perturbation"].iloc[0]).partition("(")[0]
        words = known.get(name, name)
        modes = f"{numbers(group['mode'])} ({unit})" if unit else DASH
        strengths = f"{numbers(group['eps'])} {row['eps_unit']}"
        rows.append((row["noise"], words, row["inject"], modes, strengths, row["clip"]))
    return Table("The noises", columns, rows)


def no_pairs(plan: pd.DataFrame, tables: Tables) -> str:
    """Return why there are no paired tests to show; empty if there are some."""
    models = set(plan["model"] if len(plan) else tables.summary.get("model", ()))
    if len(models) < 2:
        return "There are no two models to compare."
    if tables.stale:
        return "tests.csv is not up to date with the cells; a sweep writes it when it ends."
    return "tests.csv holds no perturbed condition." if perturbed(tables.tests).empty else ""


def failures(state: Inspection) -> Table:
    """Return one row per failed cell and model, with the first line of its error."""
    columns = ("model", "condition", "first line of the error", "cell")
    if not state.failed:
        return Table("", columns, ())
    plan = state.run.plan()
    gone = plan[plan["cell"].isin(state.failed.keys())]
    rows = [
        (
            f"{row.model}/{row.train_seed}",
            condition(row.noise, row.mode, row.mode_unit, row.eps, row.eps_unit),
            state.failed[row.cell].line,
            str(row.cell),
        )
        for row in gone.head(MOST_FAILURES).itertuples()
    ]
    return Table("Failed cells", columns, rows, len(gone) - len(rows))


def unknown(state: Inspection) -> list[str]:
    """Return what is not known, one line each: damaged files, failed and missing cells."""
    lines = [f"Damaged: {name}: {reason}." for name, reason in sorted(state.damaged.items())]
    said: dict[str, int] = {}
    for failure in state.failed.values():
        said[failure.line] = said.get(failure.line, 0) + 1
    lines += [f"Failed, {_count(count, 'cell')}: {line}" for line, count in sorted(said.items())]
    return lines + _missing(state)


def _missing(state: Inspection) -> list[str]:
    if not state.missing:
        return []
    plan = state.run.plan()
    gone = plan[plan["cell"].isin(state.missing)]
    group = [name for name in CONDITION if name not in ("mode", "mode_unit")]
    lines = []
    for (model, seed, *values), own in gone.groupby(["model", "train_seed", *group], sort=True):
        row = dict(zip(group, values, strict=True))
        what = noise_name(row["noise"], row["clip"])
        if what != "clean":
            what += f", eps {row['eps']:g} {row['eps_unit']}"
        modes = f", modes {numbers(own['mode'])}" if own["mode_unit"].iloc[0] else ""
        lines.append(f"Missing, {_count(len(own), 'cell')}: {model}/{seed}, {what}{modes}.")
    if len(lines) > _NAMED:
        rest = len(lines) - _NAMED
        lines = [*lines[:_NAMED], f"Missing: {rest} more groups of conditions."]
    return lines


def pictures(folder: Path, of: Kind = CLASSES) -> list[Picture]:
    """Return the figures in a folder, by name, the kinds in the order of a report."""
    kinds = list(_FIGURES)
    found = []
    for path in sorted(folder.glob("*.png")):
        kind = next((k for k, start in enumerate(kinds) if path.stem.startswith(start)), len(kinds))
        tail = path.stem.removeprefix([*kinds, ""][kind]).strip("-")
        name = f"{_FIGURES[kinds[kind]]}{tail and f', {tail}'}" if kind < len(kinds) else tail
        if of is not CLASSES:
            words = of.words[:1].upper() + of.words[1:]
            name = name.replace("Accuracy", words).replace("accuracies", of.words)
        words = f"{name or path.stem}; the tables of this page hold its numbers."
        found.append((kind, Picture(path, name, words)))
    return [picture for _, picture in sorted(found, key=lambda pair: pair[0])]


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
