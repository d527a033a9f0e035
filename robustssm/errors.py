"""The errors users meet, each also a built-in one, and the checks that raise the common ones.

A message says who, what was given, what is expected and, where it is not plain, what to do.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping


class RobustssmError(Exception):
    """Base of every error that robustssm raises on purpose."""


class UsageError(RobustssmError, ValueError):
    """An argument is outside what the operation allows (command line: exit code 2)."""


class ShapeError(UsageError):
    """An array has a shape that does not fit the others."""


class RejectedInputError(RobustssmError, ValueError):
    """A checkpoint or data file is damaged, foreign or not what its card says (exit code 4)."""


class StabilityError(RejectedInputError, ArithmeticError):
    """A system is unstable, or so close to defective that it cannot be diagonalised."""


class StorageError(RobustssmError):
    """Results cannot be written: no room, no permission, a read-only file system."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, that of torch included."""
    text = str(error)
    signs = ("out of memory", "not enough memory", "allocate memory", "failed to map segment")
    kinds = RuntimeError | ImportError | OSError  # a library that finds no room is not imported
    return isinstance(error, MemoryError) or (
        isinstance(error, kinds) and any(sign in text for sign in signs)
    )


def require(holds: bool, what: str, value: object, expected: str) -> None:
    """Raise UsageError, `what is value, expected expected`, unless a condition holds.

    what: who asks and what is checked, as in `certificate: length`; texts given are quoted.
    """
    if not holds:
        shown = repr(value) if isinstance(value, str) else value
        raise UsageError(f"{what} is {shown}, expected {expected}")


def require_count(what: str, value: object) -> None:
    """Raise UsageError unless a value is a whole number of 1 or more; what: as in `require`."""
    require(isinstance(value, int) and value >= 1, what, value, "a whole number >= 1")


def nearest(word: str, allowed: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return what a misspelt word may have meant, and the allowed ones, for a message.

    others: further words that it may have been, each with the allowed one that it stands for.
    """
    allowed = list(allowed)
    words = {**(others or {}), **{one: one for one in allowed}}
    # Whatever the case: a word in capitals is the nearest of all.
    lower = {one.lower(): meant for one, meant in words.items()}
    close = difflib.get_close_matches(word.lower(), lower, n=1)
    guess = f"did you mean {lower[close[0]]!r}? " if close else ""
    return f"{guess}expected one of {', '.join(allowed)}"


def require_one_of(what: str, value: object, allowed: Iterable[str]) -> None:
    """Raise UsageError unless a word is among the allowed ones; the message names the nearest."""
    allowed = allowed if isinstance(allowed, Collection) else list(allowed)
    if not isinstance(value, str) or value not in allowed:
        word = value if isinstance(value, str) else ""
        raise UsageError(f"{what} {value!r:.80} is unknown, {nearest(word, allowed)}")
