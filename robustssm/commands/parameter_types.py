"""What options hold: numbers, as strict as everywhere else, ranges, expressions, paths."""

import copy
from pathlib import Path
from typing import Any

import click

from robustssm.errors import UsageError
from robustssm.plain_text import is_count, number, whole


class BatchSize(click.types.StringParamType):
    """A number of samples, or `auto`, which is None."""

    name = "INT|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number; None for auto."""
        if value in (None, "auto"):
            return None
        if not is_count(str(value)) or int(value) < 1:
            self.fail(f"{value!r} is not understood, expected auto or 1, 2, ...", param, ctx)
        return int(value)


class Expression(click.types.StringParamType):
    """An expression, which may have spaces; an environment variable holds several between ;."""

    name = "EXPRESSION"
    envvar_list_splitter = ";"


class Numbers(click.types.StringParamType):
    """Comma-separated numbers; what: their name in messages; once: repeats are left out."""

    def __init__(self, what: str, once: bool = True) -> None:
        self.what, self.name, self.once = what, f"{what}[,{what}]", once

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the numbers as a tuple; raise UsageError if one is none."""
        if not isinstance(value, str):
            return value
        numbers: list[float] = []
        for part in value.split(","):
            try:
                numbers.append(number(part))
            except ValueError:
                raise UsageError(
                    f"{self.what}: {part.strip()!r} is not a number, expected as in 0.1,0.3,1"
                ) from None
        return tuple(dict.fromkeys(numbers) if self.once else numbers)


class Range(click.types.StringParamType):
    """Two numbers, low and high, as in `0,1`."""

    name = "LOW,HIGH"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return (low, high); raise UsageError if they are none."""
        if not isinstance(value, str):
            return value
        try:
            low, high = map(number, value.split(","))
        except ValueError:
            raise UsageError(f"range: {value!r} is not understood, expected as in 0,1") from None
        return low, high


class SuffixedPath(click.Path):
    """A path that ends as the format that is written asks for; suffix "": in any way."""

    def __init__(self, suffix: str, **settings: Any) -> None:
        super().__init__(path_type=Path, **settings)
        self.suffix = suffix

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path; raise UsageError if it ends in another way."""
        path = super().convert(value, param, ctx)
        if self.suffix and Path(str(path)).suffix.lower() not in ("", self.suffix):
            raise UsageError(
                f"{param.opts[-1]}: {str(value)!r} has the ending of another format, expected "
                f"a name that ends in {self.suffix}"
            )
        return path


def read_strictly(command: click.Command) -> None:
    """Let a command take numbers in ASCII digits, in tens, below 2^63 only.

    click reads them by `int` and `float`, which take 1_0 and the digits of every script.
    """
    for parameter in command.params:
        parameter.type = _strict(parameter.type)


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
