"""What options hold besides texts, integers and paths: batch sizes, expressions, numbers."""

from typing import Any

import click


class BatchSize(click.types.StringParamType):
    """A number of samples, or `auto`, which is None."""

    name = "INT|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number; None for auto."""
        if value in (None, "auto"):
            return None
        if not (str(value).isdecimal() and str(value).isascii()) or int(value) < 1:
            self.fail(f"{value!r} is not understood, expected auto or 1, 2, ...", param, ctx)
        return int(value)


class Expression(click.types.StringParamType):
    """An expression, which may have spaces; an environment variable holds several between ;."""

    name = "EXPRESSION"
    envvar_list_splitter = ";"


class Numbers(click.types.StringParamType):
    """Comma-separated numbers, each once; what: their name in messages."""

    def __init__(self, what: str) -> None:
        self.what = what

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the numbers as a tuple; raise UsageError if one is none."""
        from robustssm.evaluations.sweep.noises import parse_numbers

        return parse_numbers(value, self.what) if isinstance(value, str) else value


class Range(click.types.StringParamType):
    """Two numbers, low and high, as in `0,1`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return (low, high); raise UsageError if they are none."""
        from robustssm.evaluations.sweep.noises import parse_range

        return parse_range(value) if isinstance(value, str) else value
