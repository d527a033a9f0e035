"""`robustssm sweep`: robustness curves of trained checkpoints."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robustssm.commands.common import CommandError, cores, shared

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustssm.evaluations.results import Results


@click.command()
@shared("models")
@click.option(
    "--noise",
    "noises",
    required=True,
    multiple=True,
    help="fourier: one DFT mode of the input; resonance: the PTD paper's test; any perturbation or "
    "adversary, as in 'BandNoise(1, 16)', 'BandPGD(1, 64)' or, over --modes, "
    "'Gabor(mode, 0.5, 0.1)' (`robustssm attack --list`). May be given several times.",
)
@click.option(
    "--modes",
    help="As in 1-64, 1,2,4, 1:128:8, log:1:128:16 or all: DFT bins, or spikes of S4D "
    "(resonance). Default: 1-64 (fourier), 1 (resonance).",
)
@click.option(
    "--mode-unit",
    type=click.Choice(["bin", "cycles", "hz"]),
    default="bin",
    show_default=True,
    help="What --modes counts: DFT bins, cycles per sample or hertz.",
)
@click.option(
    "--phase",
    help="Of fourier: random (default), cosine, sine, radians, or worst:P, per sample the worst "
    "of P phases.",
)
@click.option(
    "--channels",
    type=click.Choice(["independent", "same", "one"]),
    help="Of fourier: how channels are drawn. Default: independent.",
)
@click.option("--omega", help="Frequencies of resonance by hand, rad per unit time: 162.7,325.4.")
@click.option(
    "--eps",
    default="0.1,0.3,1",
    show_default=True,
    help="Strengths, beside the clean accuracy.",
)
@click.option(
    "--eps-unit",
    type=click.Choice(["std", "rms", "l2", "linf", "snr-db", "mix", "octaves"]),
    help="Unit of eps. Default: std (root mean square in standard deviations of the input) for "
    "noise, linf for resonance, mix (the share of the way) for transforms, octaves for StepSize.",
)
@click.option(
    "--inject",
    type=click.Choice(["input", "layers", "model"]),
    help="Where: the input, the input of every SSM layer, or the model. Default: as the noise "
    "has it.",
)
@click.option(
    "--clip",
    type=click.Choice(["none", "hard", "rescale"]),
    default="none",
    show_default=True,
    help="Keep inputs in --range: cut; or strengthen first so that eps is still delivered.",
)
@click.option("--range", "limits", help="Valid range of the input for --clip, as in 0,1.")
@click.option(
    "-b",
    "--batch-size",
    default=64,
    show_default=True,
    type=click.IntRange(1),
    help="Samples at a time; never changes a result.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Run directory. Default: runs/<task>-<noise>-<hash>.",
)
@click.option("--overwrite", is_flag=True, help="Discard what the directory holds.")
@click.option("--dry-run", is_flag=True, help="Say what would be computed, and stop.")
@shared("task", "seed", "limit", "jobs", "style", "progress")
def sweep(
    models: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    noises: tuple[str, ...],
    modes: str | None,
    mode_unit: str,
    phase: str | None,
    channels: str | None,
    omega: str | None,
    eps: str,
    eps_unit: str | None,
    inject: str | None,
    clip: str,
    limits: str | None,
    task: str | None,
    seed: int,
    limit: int | None,
    batch_size: int,
    jobs: int | None,
    output: Path | None,
    overwrite: bool,
    dry_run: bool,
    style: str,
    progress: str,
) -> None:
    """Measure robustness curves of trained checkpoints.

    Results lie in the run directory: one Parquet file a cell, summary.csv, tests.csv, figures/.
    A second call computes nothing that is there already.

    \b
    Examples:
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64
      robustssm sweep --model 's4d/*,s4ptd/*' --noise resonance --eps 0.1,0.3,1,3
      robustssm sweep --model s4d,s4ptd --noise 'BandNoise(1, 16)' --eps 20,10,5 --eps-unit snr-db
      robustssm sweep --model s4d --noise 'Gabor(mode, 0.5, 0.1)' --modes log:1:128:8 --eps 0.3
      robustssm sweep --model s4d,s4ptd --noise 'BandPGD(1, 128)' --noise 'Guided(1, 128)' --eps 0.3
    """
    from robustssm import ui
    from robustssm.evaluations.conditions import Noise, parse_range
    from robustssm.evaluations.plan import default_output, make_plan, parse_numbers
    from robustssm.evaluations.results import finish
    from robustssm.evaluations.run import run_sweep
    from robustssm.evaluations.store import RunDirectory
    from robustssm.zoo import resolve

    options = {
        "modes": modes,
        "omega": parse_numbers(omega, "omega") if omega else (),
        "eps": parse_numbers(eps, "eps"),
        "eps_unit": eps_unit,
        "inject": inject,
        "mode_unit": mode_unit,
        "phase": phase,
        "channels": channels,
        "clip": clip,
        **({"limits": parse_range(limits)} if limits else {}),
    }
    plan = make_plan(
        resolve(",".join(models), checkpoints),
        [Noise(name, **options) for name in noises],  # type: ignore[arg-type]
        task=task,
        seed=seed,
        limit=limit,
    )
    run = RunDirectory(output or default_output(plan))
    if dry_run:
        missing = len(run.missing(plan))
        samples = len(plan.task.splits["test"].first(limit))
        ui.note(
            f"{run.path}: {missing} of {len(plan.cells)} cells to compute, "
            f"{missing * samples} samples of length {plan.task.length}, a forward pass each; "
            "adversaries and worst:P take several"
        )
        return
    run.open(plan, sys.argv[1:], overwrite)
    missing = len(run.missing(plan))
    try:
        with ui.progress(missing, "sweep", progress) as advance:
            errors = run_sweep(
                plan,
                run,
                jobs=jobs or cores(),
                batch_size=batch_size,
                report=lambda cell, error: advance(),
            )
    except KeyboardInterrupt:
        left = len(run.missing(plan))
        ui.note(
            f"interrupted, {missing - left} of {missing} cells saved; resume with\n  "
            f"{shlex.join(['robustssm', *sys.argv[1:]])}"
        )
        sys.exit(130)
    computed = missing - len(errors)
    results = finish(run)
    drawn = {path.stem for path in (run.path / "figures").glob("*.csv")}
    if not results.overview.empty and (computed or len(drawn) < len(plan.noises)):
        from robustssm.figures import robustness

        robustness.draw_all(
            results.summary,
            run.path / "figures",
            chance=plan.task.chance,
            length=plan.task.length,
            partial=limit is not None,
        )
    ui.note(f"{computed} cells computed, {len(plan.cells) - missing} were there; {run.path}")
    _show_sweep(results, run.path, style, partial=limit is not None)
    if errors:
        first = next(iter(errors.values()))
        raise CommandError(
            f"sweep: {len(errors)} cells failed, the first with {first}; "
            f"see {run.path / 'errors'}, then run the command again",
            3,
        )


def _show_sweep(results: "Results", path: Path, style: str, partial: bool) -> None:
    from robustssm import ui

    if style == "json":
        ui.emit_json({"schema": 1, "output": str(path), "partial": partial, **results.to_json()})
        return
    if style == "csv":
        click.echo(results.summary.to_csv(index=False), nl=False)
        return
    title = f"{path}" + (" PARTIAL (--limit)" if partial else "")
    if results.overview.empty:
        ui.emit_table(title, *_clean(results.summary), style)
    else:
        ui.emit_table(title, *_overview(results.overview), style)
    for line in results.verdicts():
        click.echo(line)


def _clean(summary: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a run that holds clean evaluations only, or nothing."""
    rows = [
        [row.model, str(row.train_seed), str(row.n), f"{row.accuracy:.3f}"]
        for row in summary.itertuples()
    ]
    return ["model", "seed", "n", "clean"], rows


def _overview(frame: "DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows that are shown; one mode needs no mean and no worst."""
    single = bool((frame["modes"] == 1).all())
    many = len(set(frame["noise"])) > 1
    columns = ["model", *(["noise"] if many else []), "seeds", "n", "clean", "eps"]
    columns += ["accuracy"] if single else ["mean over modes", "worst mode", "at mode"]
    columns += ["95% interval", "of"]
    several = bool((frame["seeds"] > 1).any())
    columns += ["seeds from..to"] if several else []
    rows = []
    for row in frame.itertuples():
        worst = f"{row.acc_worst_over_modes:.3f}"
        mean = f"{row.acc_mean_over_modes:.3f}"
        at = f"{row.worst_mode:g}" if row.mode_unit else "-"
        shown = [worst] if single else [mean, worst, at]
        spread = f"{row.lowest_seed:.3f}..{row.highest_seed:.3f}"
        rows.append(
            [
                *([row.model, row.noise] if many else [row.model]),
                *(str(row.seeds), str(row.n), f"{row.clean_accuracy:.3f}"),
                f"{row.eps:g} {row.eps_unit}",
                *shown,
                f"[{row.ci_low:.3f}, {row.ci_high:.3f}]",
                row.interval,
                *([spread] if several else []),
            ]
        )
    return columns, rows
