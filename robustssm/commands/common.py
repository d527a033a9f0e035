"""What the commands share: spellings of options, exit codes, the machine's cores."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

FORMATS = click.Choice(["table", "csv", "json", "md"])
PROGRESS = click.Choice(["auto", "bar", "plain", "none"])


class CommandError(click.ClickException):
    """One clear line and an exit code: 2 usage, 3 cells failed, 4 input rejected, 1 else."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Say so, and exit, where a command that keeps nothing on the way is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted; nothing is kept", err=True)
        sys.exit(130)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
