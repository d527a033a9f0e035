"""`robustssm minimal` and `robustssm diagnose`: smallest strengths, and masked gradients."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands.common import cores, nothing_kept, shared
from robustssm.errors import UsageError

_OPTIONS = ("models", "task", "seed", "limit", "jobs", "style", "progress")


@click.command()
@click.argument("attack")
@shared(*_OPTIONS)
@click.option("--from", "first", default=0.01, show_default=True, help="Weakest strength tried.")
@click.option("--to", "last", default=1.0, show_default=True, help="Strongest strength tried.")
@click.option("--rungs", default=9, show_default=True, help="Strengths tried, geometric.")
@click.option("--bisections", default=5, show_default=True, help="Steps of refinement after.")
@click.option("--eps-unit", "unit", help="Unit of the strengths. Default: the attack's own.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Rows a sample (.csv).")
@nothing_kept()
def minimal(
    attack: str,
    models: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    settings: tuple[str, ...],
    task: str | None,
    seed: int,
    limit: int | None,
    jobs: int | None,
    style: str,
    progress: str,
    first: float,
    last: float,
    rungs: int,
    bisections: int,
    unit: str | None,
    output: Path | None,
) -> None:
    """Find the smallest strength of an attack that breaks each sample.

    Every rung is tried, since more strength need not harm more; samples that are right again at
    a larger strength are counted as not monotone.

    \b
    Examples:
      robustssm minimal 'Fourier(8)' --model s4d,s4ptd --limit 100
      robustssm minimal 'BandPGD(1, 64, steps=10)' --model s4d --limit 32 -o eps.csv
    """
    import joblib
    import pandas as pd

    from robustssm.attacks.adversaries import Adversary
    from robustssm.attacks.base import Perturbation
    from robustssm.attacks.expressions import parse_expression
    from robustssm.checkpoints.model_names import resolve
    from robustssm.commands import terminal
    from robustssm.evaluations.searches.minimal_strength import (
        MinimalEps,
        Study,
        smallest_strengths,
        strengths_summary,
    )
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.planning import make_plan
    from robustssm.evaluations.table_files import write_csv
    from robustssm.files import prepare

    attacker, strength = parse_expression(attack)
    if strength:
        raise UsageError(f"minimal: {attack!r} has {', '.join(strength)}, which is looked for here")
    assert isinstance(attacker, Adversary | Perturbation)
    inject = attacker.sites[0]
    search = MinimalEps(
        attacker, first, last, rungs, bisections, unit or attacker.default_unit(inject)
    )
    # A plan checks models, task and attack as a sweep does.
    noise = Noise(attack, eps=(last,), eps_unit=unit)
    plan = make_plan(
        resolve(",".join(models), checkpoints, settings), noise, task=task, limit=limit
    )
    studies = [Study(model.ref, plan.task, limit, seed) for model in plan.models]
    if output is not None:  # tried before any work
        prepare(output)
    frames, rows = [], []
    with terminal.progress(len(studies), "checkpoints", progress) as advance:
        parallel = joblib.Parallel(n_jobs=min(jobs or cores(), len(studies)), return_as="generator")
        for frame in parallel(
            joblib.delayed(smallest_strengths)(study, search, inject) for study in studies
        ):
            frames.append(frame)
            rows.append(strengths_summary(frame, frame.attrs["passes"], search.unit))
            advance()
    if output is not None:
        write_csv(output, pd.concat(frames, ignore_index=True))
        terminal.note(str(output))
    terminal.emit_records(f"{attacker!r}: smallest eps in {search.unit}", rows, style)


@click.command()
@shared(*_OPTIONS)
@click.option("--modes", default="1-64", show_default=True, help="Range of DFT bins, as in 1-64.")
@click.option("--eps", default=0.1, show_default=True, help="Strength.")
@click.option("--eps-unit", "unit", default="std", show_default=True, help="Unit of eps.")
@nothing_kept()
def diagnose(
    models: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    settings: tuple[str, ...],
    task: str | None,
    seed: int,
    limit: int | None,
    jobs: int | None,
    style: str,
    progress: str,
    modes: str,
    eps: float,
    unit: str,
) -> None:
    """Look for signs that gradients mislead, so that gradient attacks say too little.

    Zero and NaN gradients, random logits, a search without gradients that does better than one
    with them, an attack without limit that does not reach chance.

    \b
    Example:
      robustssm diagnose --model s4d,s4ptd --limit 64
    """
    import joblib

    from robustssm.attacks import Budget
    from robustssm.attacks.adversaries import BandPGD
    from robustssm.attacks.expressions import check_budget
    from robustssm.attacks.frequencies import parse_modes
    from robustssm.checkpoints.model_names import resolve
    from robustssm.commands import terminal
    from robustssm.evaluations.searches.gradient_diagnostics import masked_gradients
    from robustssm.evaluations.searches.minimal_strength import Study
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.planning import make_plan

    budget = Budget(eps, unit)
    if budget.nothing:
        raise UsageError("diagnose: eps changes nothing; give a strength")
    check_budget(BandPGD(0, 0), budget, "input")
    plan = make_plan(
        resolve(",".join(models), checkpoints, settings),
        Noise("fourier", modes),
        task=task,
        limit=limit,
    )
    listed = parse_modes(modes, top=plan.task.length // 2)
    low, high = listed[0], listed[-1]
    if len(listed) != high - low + 1:
        raise UsageError(f"diagnose: modes {modes} is no range, expected as in {low}-{high}")
    studies = [Study(model.ref, plan.task, limit, seed) for model in plan.models]
    rows: list[dict[str, Any]] = []
    lines = []
    with terminal.progress(len(studies), "checkpoints", progress) as advance:
        parallel = joblib.Parallel(n_jobs=min(jobs or cores(), len(studies)), return_as="generator")
        for row, warnings in parallel(
            joblib.delayed(masked_gradients)(study, low, high, budget) for study in studies
        ):
            rows.append({**row, "warnings": len(warnings)})
            lines += [f"{row['model']}: {line}" for line in warnings]
            advance()
    terminal.emit_records(f"Gradients, modes {low}-{high}, eps {eps:g} {unit}", rows, style)
    for line in lines or ["no sign of masked gradients"]:
        if style in ("table", "md"):
            click.echo(line)
        else:
            terminal.note(line)
