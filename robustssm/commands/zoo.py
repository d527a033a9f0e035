"""`robustssm models verify`: the bundled trained checkpoints."""

from dataclasses import replace
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import SharedOptions, shared


@click.command("verify")
@shared("names", "models", "task", "style", "progress")
def verify_zoo(**options: Any) -> None:
    """Check the hashes and accuracies of bundled models.

    \b
    Examples:
      robustssm models verify
      robustssm models verify s4d --data mnist1d
      robustssm models verify 's4d/*,s5/1'
    """
    from robustssm.checkpoints.bundled import BUNDLED, trained_on, verify

    asked = SharedOptions(**options)
    refs = asked.refs(default=",".join(f"{name}/*" for name in BUNDLED))
    if asked.task:
        refs = [replace(ref, path=trained_on(ref.path, asked.task)) for ref in refs]
    records = []
    with asked.steps(len(refs), "verify") as advance:
        for ref in refs:
            checkpoint = ref.load()
            records.append(
                {
                    "model": str(ref),
                    "content_hash": checkpoint.content_hash,
                    "clean_accuracy": verify(checkpoint, asked.task),
                    "n": checkpoint.card.n_test,
                    "card": checkpoint.card.clean_accuracy,
                }
            )
            advance()
    columns: list[terminal.Column] = [
        ("model", "model", ""),
        ("content hash", lambda row: row["content_hash"][:12], ""),
        ("measured", "clean_accuracy", ".4f"),
        ("card", "card", ".4f"),
        ("n", "n", ""),
    ]
    terminal.show(asked.style, terminal.Table("Zoo", records, columns), content={"models": records})
