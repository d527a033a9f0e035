"""What the commands share: spellings of options, exit codes, the machine's cores."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from robustssm.commands.config import configure

FORMATS = click.Choice(["table", "csv", "json", "md"])
PROGRESS = click.Choice(["auto", "bar", "plain", "none"])


class BatchSize(click.types.StringParamType):
    """A number of samples, or `auto`, which is None."""

    name = "INT|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, an int; None for auto."""
        if value in (None, "auto"):
            return None
        if not (str(value).isdecimal() and str(value).isascii()) or int(value) < 1:
            self.fail(f"{value!r} is not understood, expected auto or 1, 2, ...", param, ctx)
        return int(value)


class Expression(click.types.StringParamType):
    """An expression with spaces of its own; several in an environment variable are split at ;."""

    name = "EXPRESSION"
    envvar_list_splitter = ";"


class Numbers(click.types.StringParamType):
    """Comma-separated numbers, each once; what: their name in messages."""

    def __init__(self, what: str) -> None:
        self.what = what

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the numbers as a tuple; UsageError else."""
        from robustssm.evaluations.sweep.noises import parse_numbers

        return parse_numbers(value, self.what) if isinstance(value, str) else value


class Range(click.types.StringParamType):
    """Two numbers, low and high, as in `0,1`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return (low, high); UsageError else."""
        from robustssm.evaluations.sweep.noises import parse_range

        return parse_range(value) if isinstance(value, str) else value


_SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[NAME:]OPTION=VALUE",
    help="What a checkpoint from elsewhere does not say itself, as in prenorm=false.",
)

# Options that several commands have, spelt alike in all of them.
_SHARED: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "models": (
        click.option(
            "-m",
            "--model",
            "models",
            multiple=True,
            help="Models: s4d, s4d/2 (training seed 2), 's4d/*' (all seeds), name=path, "
            "name=module.py:function.",
        ),
        click.option(
            "-c",
            "--checkpoint",
            "checkpoints",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Checkpoint files, named by their stems; name=file gives a module its weights.",
        ),
        _SET,
    ),
    "settings": (_SET,),
    "task": (
        click.option(
            "-d", "--data", "task", help="Task, as in digits:side=32. Default: the models' own."
        ),
    ),
    "seed": (
        click.option(
            "--seed",
            default=0,
            show_default=True,
            type=click.IntRange(0, 2**63 - 1),
            help="Seed of the noise.",
        ),
    ),
    "limit": (
        click.option(
            "-L",
            "--limit",
            type=click.IntRange(1),
            help="First so many samples only; marks the result.",
        ),
    ),
    "jobs": (
        click.option("-j", "--jobs", type=click.IntRange(1), help="Processes. Default: all cores."),
    ),
    "style": (click.option("--format", "style", type=FORMATS, default="table", show_default=True),),
    "progress": (click.option("--progress", type=PROGRESS, default="auto", show_default=True),),
    "config": (
        click.option(
            "-C",
            "--config",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=configure,
            help="TOML file of options by their long names; the command line overrides it.",
        ),
    ),
}


def shared(*names: str) -> Callable[[Any], Any]:
    """Return a decorator that adds the shared options of these names, in this order."""

    def add(command: Any) -> Any:
        for option in reversed([option for name in names for option in _SHARED[name]]):
            command = option(command)
        return command

    return add


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
