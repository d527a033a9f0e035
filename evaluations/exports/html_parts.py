"""What the HTML page of a run says besides its results: models, question, figures, gaps."""

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.evaluations.exports.markdown import numbers
from robustssm.evaluations.exports.report_rows import DASH, Table, share
from robustssm.evaluations.inspection import Inspection, model_names
from robustssm.evaluations.tables import read_csv

_NOT_KNOWN = "not on record"


def _names(state: Inspection, plan: pd.DataFrame) -> str:
    """Return the models of a run in words, without training seeds."""
    named = [name.rpartition("/")[0] or name for name in model_names(state.manifest)]
    found = list(dict.fromkeys(map(str, plan["model"]))) if len(plan) else named
    return ", ".join(dict.fromkeys(found)) or "models"


def _noises(state: Inspection, plan: pd.DataFrame) -> str:
    found = plan.loc[plan["noise"] != "clean", "noise"] if len(plan) else []
    given = [str(noise) for noise in state.manifest.get("noise") or []]
    return ", ".join(dict.fromkeys(map(str, found))) or ", ".join(given) or "noise"


def title(state: Inspection, plan: pd.DataFrame) -> str:
    """Return the title of the page, with its marks."""
    words = ["PARTIAL"] * state.partial + ["UNFINISHED"] * (not state.complete)
    end = f" ({', '.join(words)})" if words else ""
    return f"Robustness of {_names(state, plan)} under {_noises(state, plan)}{end}"


def question(state: Inspection, plan: pd.DataFrame) -> str:
    """Return the question of the run in one sentence."""
    task = state.manifest.get("task") or "the task"
    return (
        f"How much of their accuracy on {task} do {_names(state, plan)} keep when "
        f"{_noises(state, plan)} perturbs them, mode by mode and strength by strength?"
    )


def marks(state: Inspection) -> list[str]:
    """Return what a reader has to know before any number."""
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
        found.append(f"DAMAGED: {len(state.damaged)} files of the run cannot be read.")
    return found


def cards(state: Inspection, plan: pd.DataFrame, summary: pd.DataFrame) -> Table:
    """Return a row a checkpoint: architecture, task, training seed, clean accuracy, hash."""
    task = str(state.manifest.get("task") or DASH)
    if len(plan):
        columns = ["model", "train_seed", "checkpoint"]
        models = plan[columns].drop_duplicates().itertuples(index=False, name=None)
    else:
        listed = [m for m in state.manifest.get("models") or [] if isinstance(m, dict)]
        models = ((m.get("name"), DASH, m.get("content_hash", DASH)) for m in listed)
    clean = summary[summary["noise"] == "clean"] if len(summary) else summary
    accuracy = {
        (str(row.model), str(row.train_seed)): f"{share(row.accuracy)} (n = {row.n})"
        for row in clean.itertuples()
    }
    known = _architectures()
    rows = [
        (
            *(str(model), known.get(str(found), _NOT_KNOWN), task, str(seed)),
            *(accuracy.get((str(model), str(seed)), DASH), str(found)),
        )
        for model, seed, found in models
    ]
    columns = ["model", "architecture", "task", "training seed", "clean accuracy", "content hash"]
    return Table("The checkpoints", columns, rows)


def _architectures() -> dict[str, str]:
    """Return the architectures of the bundled checkpoints in words, by content hash.

    Their cards alone are read.
    """
    from robustssm.checkpoints.native import content_hash
    from robustssm.zoo import FOLDER

    found = {}
    for path in sorted(FOLDER.glob("*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        shape = card["architecture"]
        found[content_hash(card["weights_sha256"], shape)] = (
            f"{shape['init']}: {shape['layers']} layers, width {shape['d_model']}, state size "
            f"{shape['n']}, {shape['norm']} norm"
        )
    return found


def facts(state: Inspection, plan: pd.DataFrame) -> Table:
    """Return what is on record of the run: data, samples, seeds, device, versions."""
    content = state.manifest
    versions = content.get("versions")
    named = sorted(versions.items()) if isinstance(versions, dict) else []
    whole = "the whole test split" if content else ""
    chance = content.get("chance")
    found: dict[str, Any] = {
        "task": content.get("task"),
        "data hash": content.get("task_hash"),
        "sequence length": content.get("length"),
        "classes": content.get("classes"),
        "accuracy of the best constant answer": share(chance) if chance is not None else None,
        "samples": f"PARTIAL: the first {content.get('limit')} of the test split"
        if state.partial
        else whole,
        "seed of the noise": numbers(plan["seed"]) if len(plan) else content.get("seed"),
        "device": content.get("device"),
        "plan": content.get("plan"),
        "schema of the cells": content.get("schema"),
        **{f"version of {name}": value for name, value in named},
    }
    rows = [(name, str(value)) for name, value in found.items() if value not in (None, "")]
    return Table("On record", ("what", "value"), rows)


def figures(state: Inspection) -> list[dict[str, str]]:
    """Return name, data URL and alternative text of each figure of the run, by name."""
    return [
        {
            "name": path.stem,
            "source": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
            "alt": _alternative(path),
        }
        for path in sorted((state.run.path / "figures").glob("*.png"))
    ]


def _alternative(path: Path) -> str:
    """Return what a figure shows, from the table of its data."""
    table = read_csv(path.with_suffix(".csv"))
    needed = {"model", "noise", "mode", "eps", "eps_unit", "accuracy"}
    if table.empty or not needed <= set(table) or table["accuracy"].isna().all():
        return f"Figure {path.stem} of this run; the tables of this page hold its numbers."
    models = ", ".join(dict.fromkeys(map(str, table["model"])))
    several = len(table["mode"].unique()) > 1
    over = f"the mode ({numbers(table['mode'])})" if several else "the strength eps"
    low = table.loc[table["accuracy"].idxmin()]
    where = f"mode {low['mode']:g}, " if several else ""
    return (
        f"Accuracy against {over} of {models} under {table['noise'].iloc[0]}, eps "
        f"{numbers(table['eps'])} {table['eps_unit'].iloc[0]}. Lowest: {low['accuracy']:.3f}, "
        f"{low['model']}, {where}eps {low['eps']:g}."
    )


def unknown(state: Inspection) -> list[str]:
    """Return what is missing, failed or damaged, a line each."""
    lines = []
    if state.partial:
        lines.append(f"Only the first {state.manifest.get('limit')} samples were used (--limit).")
    lines += [f"Damaged: {name}: {reason}." for name, reason in sorted(state.damaged.items())]
    if state.failed:
        lines.append(f"Failed cells: {len(state.failed)}.")
    if state.missing:
        plan = state.run.plan()
        gone = plan[plan["cell"].isin(state.missing)]
        for (model, seed, noise), group in gone.groupby(["model", "train_seed", "noise"]):
            lines.append(f"Missing cells: {len(group)} of {model}/{seed} under {noise}.")
    return lines
