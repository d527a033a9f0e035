"""`robustssm doctor`: a self-test to run before a number is believed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands.common import CommandError, nothing_kept, shared

if TYPE_CHECKING:
    from robustssm.evaluations.doctor import Finding


@click.command()
@shared("models")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cpu, cuda, cuda:1, or auto: a GPU is compared with the CPU where there is one.",
)
@click.option(
    "--quick/--full",
    default=True,
    show_default=True,
    help="Full: all test samples in every check, and a small sweep in two processes.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where results would go; only looked at.",
)
@shared("style", "progress", "config")
@nothing_kept()
def doctor(
    models: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    settings: tuple[str, ...],
    device: str,
    quick: bool,
    output: Path,
    style: str,
    progress: str,
) -> None:
    """Test this installation and a model: every check compares two routes to one thing.

    Convolution with recurrence, gradients with differences, noise with its published vectors, a
    model with itself in other batches. Without --model, the bundled s4d is tested.

    \b
    Examples:
      robustssm doctor
      robustssm doctor --model 's4d/*,s4ptd' --full
      robustssm doctor --model s5/1 --format json

    \b
    Exit codes: 0 no check failed; 2 usage; 4 a check failed, or a checkpoint is rejected.
    """
    import torch

    from robustssm.checkpoints.model_names import resolve
    from robustssm.commands import terminal
    from robustssm.evaluations.doctor import Setting, examine, read_subject
    from robustssm.evaluations.doctor.table import planned
    from robustssm.execution import resolve_device

    refs = resolve(",".join(models) or ("" if checkpoints else "s4d"), checkpoints, settings)
    setting = Setting(
        tuple(read_subject(ref) for ref in refs),
        resolve_device(device),
        full=not quick,
        folder=output,
        threads=torch.get_num_threads(),
    )
    with terminal.progress(len(planned(setting)), "checks", progress) as advance:
        found = examine(setting, lambda finding: advance(failed=finding.verdict == "fail"))
    _show(found, style)
    failed = [finding for finding in found if finding.verdict == "fail"]
    if failed:
        names = ", ".join(f"{f.check} ({f.model})" if f.model else f.check for f in failed)
        raise CommandError(f"doctor: {len(failed)} of {len(found)} checks failed: {names}", 4)


def _show(found: "list[Finding]", style: str) -> None:
    """Print findings: a paragraph each, or records."""
    from robustssm.commands import terminal

    if style == "json":
        terminal.emit_json({"schema": 1, "checks": [finding.to_dict() for finding in found]})
        return
    if style in ("csv", "md"):
        rows: list[dict[str, Any]] = [
            {**finding.to_dict(), "facts": _facts(finding)} for finding in found
        ]
        terminal.emit_records("checks", rows, style)
        return
    for finding in found:
        about = f" of {finding.model}" if finding.model else ""
        click.echo(f"{finding.verdict.upper()}  {finding.check}{about}: {finding.compared}")
        if finding.value is not None:
            click.echo(
                f"    {finding.measure}: {finding.value:.3g}, at most {finding.tolerance:.3g} "
                f"({finding.reason})"
            )
        else:
            click.echo(f"    {finding.reason}")
        if finding.facts:
            click.echo(f"    {_facts(finding)}")
    counts = {v: sum(f.verdict == v for f in found) for v in ("pass", "fail", "not available")}
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


def _facts(finding: "Finding") -> str:
    return ", ".join(f"{key} {value}" for key, value in finding.facts.items())
