"""`robustssm doctor`: a self-test to run before a number is believed."""

from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import CommandError, SharedOptions, nothing_kept, output, shared
from robustssm.commands.loudness import asked


@click.command()
@shared("names", "models", "task")
@click.option(
    "--device",
    metavar="DEVICE",
    default="auto",
    help="cpu, cuda, cuda:1, or auto: a GPU is compared with the CPU where there is one.",
)
@click.option(
    "--quick/--full",
    default=True,
    help="Full: all test samples in every check, and a small sweep in two processes.",
)
@output(default=Path("runs"), help="Output folder to check for write access.")
@shared("style", "progress", "config")
@nothing_kept()
def doctor(device: str, quick: bool, output: Path, **options: Any) -> None:
    """Test this installation, and models.

    Each check compares two independent computations:
    convolution with recurrence, gradients with differences, noise with its published vectors, a
    model with itself in other batches. Without --model, the bundled s4d is tested.

    \b
    Examples:
      robustssm doctor
      robustssm doctor --model 's4d/*,s4ptd' --full
      robustssm doctor --model own=net.py:make --data file:samples.npz

    Exit codes: 0 no check failed; 2 usage; 4 a check failed, or a checkpoint is rejected.
    """
    import torch

    from robustssm.evaluations.doctor import Setting, examine, read_subject
    from robustssm.evaluations.doctor.table import planned
    from robustssm.execution import resolve_device

    shared_options = SharedOptions(**options)
    setting = Setting(
        tuple(read_subject(ref, shared_options.task) for ref in shared_options.refs(default="s4d")),
        resolve_device(device),
        full=not quick,
        folder=output,
        threads=torch.get_num_threads(),
    )
    with shared_options.steps(len(planned(setting)), "checks") as advance:
        findings = examine(setting, lambda finding: advance(failed=finding.verdict == "fail"))
    checks = [finding.to_dict() for finding in findings]
    counts = {v: sum(f.verdict == v for f in findings) for v in ("pass", "fail", "not available")}
    rows = [
        {**row, "facts": ", ".join(f"{k} {v}" for k, v in row["facts"].items())} for row in checks
    ]
    table = terminal.Table("checks", rows, words=_in_words, upright=True)
    terminal.show(shared_options.style, table, content={"schema": 1, "checks": checks})
    if shared_options.style == "table":
        terminal.say(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if failed:
        names = ", ".join(f"{f.check} ({f.model})" if f.model else f.check for f in failed)
        raise CommandError(f"doctor: {len(failed)} of {len(findings)} checks failed: {names}", 4)


def _in_words(row: dict[str, Any]) -> str:
    """Return a finding in a paragraph; in a line if it did not fail and nobody wants details."""
    about = f" of {row['model']}" if row["model"] else ""
    if row["verdict"] != "fail" and not asked("verbose"):
        why = f": {row['reason']}" if row["verdict"] != "pass" else ""
        return f"{row['verdict'].upper()}  {row['check']}{about}{why}"
    lines = [f"{row['verdict'].upper()}  {row['check']}{about}: {row['compared']}", row["reason"]]
    if row["value"] is not None:
        within = f"at most {row['tolerance']:.3g} ({row['reason']})"
        lines[1] = f"{row['measure']}: {row['value']:.3g}, {within}"
    return "\n    ".join(filter(None, [*lines, row["facts"]]))
