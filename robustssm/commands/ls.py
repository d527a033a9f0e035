"""`robustssm ls`: the models, noises and tasks there are, and the runs on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import shared
from robustssm.commands.tasks import tasks
from robustssm.plain_text import first_line


@click.group()
def ls() -> None:
    """List models, noises, tasks, recipes or runs.

    \b
    Examples:
      robustssm ls models
      robustssm ls noises
      robustssm ls tasks
      robustssm ls recipes
      robustssm ls runs
    """


@ls.command("models")
@shared("style")
def ls_models(style: str) -> None:
    """List the bundled checkpoints.

    With the facts on their cards.

    clean: accuracy on the whole test split; n: state size; hash: of weights and architecture. No
    checkpoint is run; `robustssm models verify` does that.

    \b
    Examples:
      robustssm ls models
      robustssm ls models --format csv
    """
    from robustssm.checkpoints import load_checkpoint
    from robustssm.checkpoints.bundled import every

    rows: list[dict[str, Any]] = []
    for name, seed, path in every():
        checkpoint = load_checkpoint(path)
        card, shape = checkpoint.card, checkpoint.card.architecture
        rows.append(
            {
                "model": f"{name}/{seed}",
                "seed": card.train_seed,
                "clean": card.clean_accuracy,
                "samples": card.n_test,
                "n": shape["n"],
                "layers": shape["layers"],
                "width": shape["d_model"],
                "task": card.task,
                "hash": checkpoint.content_hash[:12],
            }
        )
    terminal.show(style, terminal.Table("Bundled checkpoints", rows, digits=".4g"))


@ls.command("noises")
@shared("style")
def ls_noises(style: str) -> None:
    """List perturbations and adversaries.

    With their fields, where they act, and the unit of eps.

    `--noise fourier` is short for Fourier(mode), `--noise resonance` for Resonance(omega).

    \b
    Examples:
      robustssm ls noises
      robustssm ls noises --format json
    """
    from dataclasses import MISSING, fields

    from robustssm.attacks import Attack, Window
    from robustssm.attacks.adversaries.table import ADVERSARIES
    from robustssm.attacks.perturbations.table import FAMILIES

    rows = []
    classes: dict[str, type[Attack]] = {}
    for working, problems in (FAMILIES.working(), ADVERSARIES.working()):
        classes |= working
        terminal.note(*problems)
    classes["Window"] = Window
    for name, cls in classes.items():
        shown = [
            f.name if f.default is MISSING else f"{f.name}={f.default!r}"
            for f in fields(cls)  # type: ignore[arg-type]
        ]
        rows.append(
            {
                "attack": f"{name}({', '.join(shown)})",
                "at": " or ".join(cls.sites),
                "unit": cls.unit,
                "what": first_line(cls.__doc__),
            }
        )
    words = "{attack}\n    {what}. At: {at}; eps: {unit}.".format_map
    terminal.show(style, terminal.Table("attacks", rows, words=words))


ls.add_command(tasks)


@ls.command("recipes")
@shared("style")
def ls_recipes(style: str) -> None:
    """List published settings for `train --recipe`.

    samples: of the whole training split; PATH stands for files of yours, which --data names.

    \b
    Examples:
      robustssm ls recipes
      robustssm ls recipes --format json
    """
    from robustssm.training.recipe_files import listed

    def in_words(row: Mapping[str, Any]) -> str:
        samples = f", {row['samples']:,} training samples" if row["samples"] else ""
        what = f"{row['recipe']}: {row['families']}\n    {row['task']}{samples}"
        return f"{what}\n    {row['source']}."

    terminal.show(style, terminal.Table("Recipes", listed(), words=in_words))


@ls.command("runs")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@shared("style")
@click.pass_context
def ls_runs(ctx: click.Context, folder: Path, style: str) -> None:
    """List the run directories below FOLDER (default: runs).

    With their progress and size.

    state: complete, in progress, unfinished, with failures, damaged (`robustssm show` says what
    is), or unreadable, where it may not be read. partial: how many samples a `--limit` left.

    \b
    Examples:
      robustssm ls runs
      robustssm ls runs . --format json

    Exit codes: 0 success (also when there are no runs); 2 usage, or no folder of that name.
    """
    from click.core import ParameterSource

    from robustssm.evaluations.results.inspection import runs_below

    # Nobody named the default: if no sweep has made it, there are no runs.
    default = ctx.get_parameter_source("folder") is ParameterSource.DEFAULT
    paths = [] if default and not folder.exists() else runs_below(folder)
    rows = [_run(path) for path in paths]
    if not rows:
        terminal.note(f"no run directory below {folder}; `robustssm sweep` makes one")
    terminal.show(style, terminal.Table(f"Runs below {folder}", rows, words=_in_words))


def _run(path: Path) -> dict[str, Any]:
    from robustssm.evaluations.results.inspection import disk_bytes, inspect, model_names

    row: dict[str, Any] = {"run": str(path), "state": "unreadable", "task": None, "noises": ""}
    row |= {"models": "", "cells": 0, "done": 0, "failed": 0, "missing": 0, "partial": None}
    try:
        state = inspect(path)
        row |= {**state.counts, "bytes": disk_bytes(path)}
        content = state.manifest
        row |= {"task": content.get("task"), "noises": ", ".join(content.get("noise", []))}
        row |= {"models": " ".join(model_names(content)), "partial": content.get("limit")}
        row["state"] = state.word
    except OSError:  # it may not be read; the other runs are listed all the same
        row.setdefault("bytes", 0)
    return row


def _in_words(row: Mapping[str, Any]) -> str:
    trouble = [f"{row[name]} {name}" for name in ("failed", "missing") if row[name]]
    partial = [f"PARTIAL: first {row['partial']} samples"] if row["partial"] else []
    how_far = [row["state"], f"{row['done']} of {row['cells']} cells", *trouble, *partial]
    what = "; ".join(str(row[name]) for name in ("task", "noises", "models") if row[name])
    return f"{row['run']}: {', '.join([*how_far, size(row['bytes'])])}\n    {what or '-'}"


def size(count: int) -> str:
    """Return bytes for people, in binary units: 512 B, 3.4 MiB."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024.0:
            break
        value, unit = value / 1024.0, larger
    return f"{value:.3g} {unit}" if unit != "B" else f"{count} B"
