"""`robustssm validate`: a sweep's configuration file checked before the long run."""

import copy
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, choice
from robustssm.commands.config import CODE, code_in, read_configuration
from robustssm.commands.noise_options import read_noises
from robustssm.commands.sweep import sweep, sweep_plan
from robustssm.errors import UsageError

if TYPE_CHECKING:
    from robustssm.evaluations.sweep.plan import Plan
    from robustssm.evaluations.sweep.problems import Problems
    from robustssm.evaluations.sweep.run_directory import RunDirectory


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--allow-code", **CODE)
@choice("--format", "style", of=("table", "md", "json"))
def validate(config: Path, allow_code: bool, style: str) -> None:
    """Check a sweep's configuration file, and say what it would compute. Nothing is computed.

    CONFIG is a TOML file of options of `sweep` by their long names, as `sweep --config` reads it;
    its paths are relative to its folder. Every problem that can be found is listed.

    \b
    Examples:
      printf 'model = ["s4d/*", "s4ptd/*"]\\nnoise = "fourier"\\n' > curves.toml
      robustssm validate curves.toml
      robustssm validate curves.toml --format json

    Exit codes: 0 the sweep can be run; 2 a mistake in the file; 4 a checkpoint or the data are
    rejected.
    """
    from robustssm.evaluations.sweep.problems import Problems

    problems = Problems()
    record = _examine(config, allow_code, problems)
    found = problems.all
    if style == "json":
        terminal.emit_json({"schema": 1, "config": str(config), **record, "problems": found})
    elif not found:
        _show(record, config, style)
    if found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        raise CommandError("\n  ".join([f"validate {config}: {count}", *found]), problems.exit_code)


def _examine(config: Path, allow_code: bool, problems: "Problems") -> dict[str, Any]:
    """Return what the sweep of a file is, empty if it has problems."""
    from robustssm.evaluations.sweep.plan import default_output
    from robustssm.evaluations.sweep.run_directory import RunDirectory

    options = _options(config, allow_code, problems)
    plan = None if options is None else problems.attempt(_plan, options)
    if plan is None or options is None or problems.all:
        return {}
    run = RunDirectory(options["output"] or default_output(plan))
    held = problems.attempt(_held, run, plan, options["overwrite"])
    if held is None:
        return {}
    return {
        "task": plan.task.spec,
        "task_hash": plan.task.content_hash,
        "length": plan.task.length,
        "seed": plan.seed,
        "cells": len(plan.unique),
        "samples": plan.samples,
        "partial": plan.limit is not None,
        "output": str(run.path),
        "output_holds": held,
        "models": [
            {
                "model": model.ref.label,
                "train_seed": model.train_seed,
                "content_hash": model.content_hash,
                "clean_accuracy": model.card.clean_accuracy,
                "file": str(model.ref.path),
            }
            for model in plan.models
        ],
        "conditions": _conditions(plan),
    }


def _options(config: Path, allow_code: bool, problems: "Problems") -> dict[str, Any] | None:
    """Return the options of `sweep` as it would have them from the file, environment and defaults.

    A value that is none is left out, so that the rest can be looked at; None if nothing can.
    """
    command = copy.copy(sweep)
    # The file is this one, whatever the environment names; what is missing is found below.
    command.params = [copy.copy(p) for p in sweep.params if p.name not in ("config", "allow_code")]
    for parameter in command.params:
        parameter.required = False
    read = problems.attempt(read_configuration, config, command)
    if read is None:
        return None
    values, found = read
    code = [] if allow_code else code_in(config, values)
    for problem in (*found, *code):
        problems.add(problem)
    if code:
        return None
    root = click.get_current_context().find_root()
    context = click.Context(command, info_name="sweep", parent=root, default_map=values)
    try:
        command.parse_args(context, [])
    except click.UsageError as error:  # of the environment; the file's values were looked at
        problems.add(f"sweep: {' '.join(error.format_message().split())}")
        return None
    return context.params


def _plan(options: dict[str, Any]) -> "Plan":
    """Return the plan as `sweep` makes it of its options."""
    from robustssm.evaluations.sweep.noises import Noise

    takers = (sweep_plan, read_noises, Noise)
    names = {name for taker in takers for name in inspect.signature(taker).parameters}
    return sweep_plan(**{key: options[key] for key in options if key in names})


def _held(run: "RunDirectory", plan: "Plan", overwrite: bool) -> str:
    """Return what a run directory holds of a plan, in words; UsageError if a sweep is refused."""
    path = run.path
    present = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not present.is_dir():
        raise UsageError(f"output {path}: {present} is a file, expected a directory")
    if not os.access(present, os.W_OK | os.X_OK):
        raise UsageError(f"output {path}: {present} is not writable; name another directory")
    if not run.check(plan, overwrite):
        return "nothing" if path.is_dir() else "nothing, it is not there yet"
    stored = set(run.plan()["cell"])
    if not stored <= plan.unique.keys():
        return f"another sweep of {len(stored)} cells, discarded by --overwrite"
    state = run.state(plan.unique)
    return f"{len(state.done)} of {len(state.planned)} cells of this sweep"


def _conditions(plan: "Plan") -> list[dict[str, Any]]:
    """Return a row for each noise and place: its modes, strengths and cells."""
    frame = plan.frame()
    noisy = frame[frame["noise"] != "clean"]
    rows = []
    for (noise, inject), group in noisy.groupby(["noise", "inject"], sort=False):
        modes = sorted(group.loc[group["mode_unit"] != "", "mode"].unique().tolist())
        rows.append(
            {
                "noise": noise,
                "inject": inject,
                "modes": modes,
                "mode_unit": group["mode_unit"].iloc[0],
                "eps": sorted(group["eps"].unique().tolist()),
                "eps_unit": group["eps_unit"].iloc[0],
                "cells": int(group["cell"].nunique()),
            }
        )
    return rows


def _show(record: dict[str, Any], config: Path, style: str) -> None:
    """Print the record of a file without problems as tables."""
    kept = ("task", "length", "seed", "cells", "samples", "output", "output_holds")
    summary: dict[str, Any] = {key.replace("_", " "): record[key] for key in kept}
    if record["partial"]:
        summary["samples"] = f"{record['samples']} (PARTIAL: --limit)"
    terminal.show(
        style,
        terminal.Table("Models", record["models"], _MODELS),
        "",
        terminal.Table("Conditions", record["conditions"], _CONDITIONS),
        "",
        terminal.Table(str(config), [summary], upright=True),
    )


def _range(modes: list[float], unit: str) -> str:
    """Return modes in few words."""
    if len(modes) <= 6:
        return " ".join([*(f"{mode:g}" for mode in modes), unit]) if modes else "-"
    return f"{len(modes)} from {modes[0]:g} to {modes[-1]:g} {unit}"


_MODELS: tuple[terminal.Column, ...] = (
    ("model", lambda row: f"{row['model']}/{row['train_seed']}", ""),
    ("content hash", lambda row: row["content_hash"][:12], ""),
    ("clean accuracy", "clean_accuracy", ".4f"),
)
_CONDITIONS: tuple[terminal.Column, ...] = (
    ("noise", "noise", ""),
    ("at", "inject", ""),
    ("modes", lambda row: _range(row["modes"], row["mode_unit"]), ""),
    ("eps", lambda row: f"{', '.join(f'{v:g}' for v in row['eps'])} {row['eps_unit']}", ""),
    ("cells", "cells", ""),
)
