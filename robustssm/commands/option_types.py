"""What options hold besides texts, integers and paths: batch sizes, expressions, numbers."""

from typing import Any

import click


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
