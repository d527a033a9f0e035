"""`robustssm search minimal` and `search diagnose`: smallest strengths, and masked gradients."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import completion, terminal
from robustssm.commands.common import UNITS, SharedOptions, choice, nothing_kept, output, shared
from robustssm.errors import UsageError

# What a reader sees; json and csv have the names of variables.
_STRENGTHS: tuple[terminal.Column, ...] = (
    ("model", "model", ""),
    ("samples", "n", ""),
    ("right when clean", "right", ""),
    ("median of the smallest eps", "median_eps", ".4g"),
    (
        "95% interval",
        lambda row: f"[{row['ci_low']:.4g}, {row['ci_high']:.4g}]" if "ci_low" in row else "-",
        "",
    ),
    ("least of all samples", "smallest", ".4g"),
    ("right again at a larger eps", "not_monotone", ""),
    ("never broken", "not_found", ""),
    ("passes per sample", "passes_per_sample", ".4g"),
)
_RUNGS: tuple[terminal.Column, ...] = (
    ("share", "share", ""),
    ("eps", "eps", ""),
    ("model", "model", ""),
    ("right", "", ".3f"),
    ("95% interval", lambda row: f"[{row['_low']:.2f}, {row['_high']:.2f}]", ""),
)
_SIGNS: tuple[terminal.Column, ...] = (
    ("model", "model", ""),
    ("samples", "samples", ""),
    ("gradients that are zero", "zero", ""),
    ("gradients that are tiny", "tiny", ""),
    ("gradients that are NaN or infinite", "nonfinite", ""),
    ("samples whose logits do not repeat", "unrepeatable", ""),
    ("loaded in training mode", lambda row: "yes" if row["was_training"] else "no", ""),
    ("accuracy, clean", "clean", ".3f"),
    ("accuracy, attack with gradients", "white", ".3f"),
    ("accuracy, search without gradients", "black", ".3f"),
    ("broken by the search alone", "black_only", ""),
    ("margin lower by the search", "black_lower", ""),
    ("accuracy, attack without limit", "unlimited", ".3f"),
    ("its strength", lambda row: f"{row['limit']:g} {row['unit']}", ""),
    ("accuracy by chance", "chance", ".3f"),
    ("warnings", "warnings", ""),
)
_OPTIONS = ("models", "task", "seed", "limit", "jobs", "style", "progress")


@click.command()
@click.argument("attack", shell_complete=completion.noises)
@shared(*_OPTIONS)
@click.option("--from", "first", default=0.01, help="Weakest strength tried.")
@click.option("--to", "last", default=1.0, help="Strongest strength tried.")
@click.option("--rungs", default=9, help="Strengths tried, geometric.")
@click.option("--bisections", default=5, help="Steps of refinement after.")
@click.option(
    "--broken",
    type=click.FloatRange(0.0, min_open=True),
    help="Of values, tokens: squared error, or loss in nats, above which a sample is broken. "
    "Default: 4 clean MSE; twice the clean perplexity.",
)
@click.option(
    "--eps-unit",
    "unit",
    type=click.Choice(UNITS),
    help="Unit of the strengths. Default: the attack's own.",
)
@click.option(
    "--ladder",
    "reference",
    metavar="MODEL",
    help="Also compare models at the strengths where this one of them keeps 0.9, 0.75, 0.5, 0.25 "
    "and 0.1 of its clean accuracy, and by the area under the curve.",
)
@output(suffix=".csv", help="CSV file, one row per sample.")
@nothing_kept()
def minimal(
    attack: str,
    first: float,
    last: float,
    rungs: int,
    bisections: int,
    broken: float | None,
    unit: str | None,
    reference: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Find the smallest strength that breaks each sample.

    Every rung is tried, since stronger perturbations need not do more harm; samples that are right
    again at a larger strength are counted as not monotone. The median is the strength at half of
    the clean accuracy.

    \b
    Examples:
      robustssm search minimal 'Fourier(8)' --model s4d,s4ptd --limit 100
      robustssm search minimal 'BandPGD(1, 64, steps=10)' -m s4d -L 32 -o eps.csv
      robustssm search minimal 'BandPGD(0, 128)' -m s4d,s4 -L 32 --ladder s4d
    """
    import pandas as pd

    from robustssm.attacks.adversaries import Adversary
    from robustssm.attacks.base import Perturbation
    from robustssm.attacks.expressions import parse_expression
    from robustssm.evaluations.searches import minimal_strength as searches
    from robustssm.evaluations.searches.ladder import ladder
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.table_files import write_csv
    from robustssm.storage.writing import prepare

    asked = SharedOptions(**options)
    attacker, strength = parse_expression(attack)
    if strength:
        raise UsageError(f"minimal: {attack!r} has {', '.join(strength)}, which is looked for here")
    assert isinstance(attacker, Adversary | Perturbation)
    inject = attacker.sites[0]
    search = searches.MinimalEps(
        attacker, first, last, rungs, bisections, unit or attacker.default_unit(inject)
    )
    plan = asked.plan(Noise(attack, eps=(last,), eps_unit=unit))
    studies = [
        searches.Study(model.ref, plan.task, asked.limit, asked.seed, broken)
        for model in plan.models
    ]
    if output is not None:  # tried before any work
        prepare(output)
    labels = [str(model.ref) for model in plan.models]
    named = [label for label in labels if reference in (label, label.partition("/")[0])]
    if reference is not None and not named:
        raise UsageError(f"minimal: --ladder {reference} is none of {', '.join(labels)}")
    pieces = [(study, search, inject) for study in studies]
    frames = asked.each(searches.smallest_strengths, pieces, "checkpoints")
    if output is not None:
        write_csv(output, pd.concat(frames, ignore_index=True))
        terminal.note(str(output))
    rows = [
        searches.strengths_summary(frame, frame.attrs["passes"], search.unit) for frame in frames
    ]
    told = []
    if named:
        strengths, kept = ladder(frames, named[0], search.unit)
        rows = [row | more for row, more in zip(rows, kept, strict=True)]
        places = {f"kept_{s:g}": (f"{s:g}", f"{eps:.4g}") for s, eps in strengths.items()}
        told = [
            {"model": row["model"], "share": share, "eps": eps}
            | {end: row[f"{name}{end}"] for end in ("", "_low", "_high")}
            for name, (share, eps) in {**places, "area": ("area over log eps", "")}.items()
            for row in rows
        ]
    title = f"{attacker!r}: smallest eps in {search.unit}"
    table = terminal.Table(title, rows, _STRENGTHS, upright=True)
    again = [terminal.Table(f"right where {named[0]} keeps a share", told, _RUNGS)] if told else []
    terminal.show(asked.style, table, *again)


@click.command()
@shared("names", *_OPTIONS)
@click.option("--modes", default="1-64", metavar="MODES", help="Range of DFT bins, as in 1-64.")
@click.option("--eps", default=0.1, metavar="EPS", help="Strength.")
@choice("--eps-unit", "unit", of=UNITS, help="Unit of eps.")
@click.option(
    "--auto-attack",
    "thorough",
    is_flag=True,
    help="SpectralAutoAttack in place of BandPGD: hundreds of times the passes.",
)
@nothing_kept()
def diagnose(modes: str, eps: float, unit: str, thorough: bool, **options: Any) -> None:
    """Look for signs of masked gradients.

    Where gradients mislead, gradient attacks overestimate robustness:
    zero and NaN gradients, random logits, a search without gradients that does better than one
    with them, an attack without limit that does not reach chance.

    \b
    Example:
      robustssm search diagnose --model s4d,s4ptd --limit 64
    """
    from robustssm.attacks import Budget
    from robustssm.attacks.adversaries import BandPGD, SpectralAutoAttack
    from robustssm.attacks.frequencies import parse_modes
    from robustssm.evaluations.searches.gradient_diagnostics import masked_gradients
    from robustssm.evaluations.searches.minimal_strength import Study
    from robustssm.evaluations.sweep.noises import Noise

    asked = SharedOptions(**options)
    budget = Budget(eps, unit)
    if budget.nothing:
        raise UsageError("diagnose: eps changes nothing; give a strength")
    BandPGD(0, 0).check_budget(budget, "input")
    plan = asked.plan(Noise("fourier", modes))
    listed = parse_modes(modes, top=plan.task.length // 2)
    low, high = listed[0], listed[-1]
    if len(listed) != high - low + 1:
        raise UsageError(f"diagnose: modes {modes} is no range, expected as in {low}-{high}")
    attack = SpectralAutoAttack if thorough else BandPGD
    pieces = [
        (Study(model.ref, plan.task, asked.limit, asked.seed), attack(low, high), budget)
        for model in plan.models
    ]
    results = asked.each(masked_gradients, pieces, "checkpoints")
    rows = [{**row, "warnings": len(warnings)} for row, warnings in results]
    lines = [f"{row['model']}: {line}" for row, warnings in results for line in warnings]
    title = f"Gradients, modes {low}-{high}, eps {eps:g} {unit}"
    lines = lines or ["no sign of masked gradients"]
    terminal.show(asked.style, terminal.Table(title, rows, _SIGNS, upright=True), *lines)
    if asked.style in ("csv", "json"):
        terminal.note(*lines)
