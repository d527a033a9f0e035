"""Numbers of options, read as strictly as everywhere else."""

import copy
from typing import Any

import click

from robustssm.plain_text import number, whole


def read_strictly(command: click.Command) -> None:
    """Let a command, and those in a group, take numbers in ASCII digits, in tens, below 2^63 only.

    click reads them by `int` and `float`, which take 1_0 and the digits of every script.
    """
    for parameter in command.params:
        parameter.type = _strict(parameter.type)
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        read_strictly(inner)


def _strict(kind: Any) -> Any:
    """Return a type of an option that refuses what `plain_text` does not take for its numbers."""
    if isinstance(kind, click.types.IntParamType):
        read: Any = whole
    elif isinstance(kind, click.types.FloatParamType):
        read = number
    else:
        return kind
    made = copy.copy(kind)

    def convert(value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                read(value)
            except ValueError as error:
                kind.fail(f"{error}.", param, ctx)
        return kind.convert(value, param, ctx)

    made.convert = convert
    return made
