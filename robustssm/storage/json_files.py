"""JSON files that nobody vouched for: bounded, and each value of the kind that its reader needs."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robustssm.errors import RejectedInputError, UsageError
from robustssm.plain_text import one_line, visible
from robustssm.storage.opening import LARGEST_TEXT, read_bytes

# Characters of a value in a message.
_SHOWN = 60


def read_json(path: Path, number: Callable[[str], float] | None = None) -> Any:
    """Return what a JSON file holds; OSError if unreadable, ValueError, in words, if it is none.

    number: reads what is no whole number, NaN and infinities included; float where None.
    """
    data = read_bytes(path, LARGEST_TEXT)
    try:
        return json.loads(data, parse_float=number, parse_constant=number)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    except ValueError:  # no UTF-8, no JSON, or a number of too many digits
        raise ValueError("not readable as JSON") from None


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not finite")
    return value


# What a value has to be, and that in words.
Form = tuple[Callable[[Any], bool], str]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and one_line(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _is_number(value: object) -> bool:
    return _is_count(value) or (isinstance(value, float) and math.isfinite(value))


TEXT: Form = (_is_text, "text of one line")
ANY_TEXT: Form = (lambda value: isinstance(value, str), "text")
WHOLE: Form = (_is_count, "a whole number")
SHARE: Form = (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
NUMBER: Form = (_is_number, "a finite number")
TRUTH: Form = (lambda value: isinstance(value, bool), "true or false")
TABLE: Form = (lambda value: isinstance(value, dict), "a table")


def or_none(form: Form) -> Form:
    """Return the form of a value that may be null."""
    return (lambda value: value is None or form[0](value)), f"{form[1]}, or null"


def list_of(form: Form) -> Form:
    """Return the form of a list whose members all have one form."""
    return (
        lambda value: isinstance(value, list) and all(map(form[0], value)),
        f"a list, each {form[1]}",
    )


def table_all(form: Form = TABLE) -> Form:
    """Return the form of a table whose values all have one form."""
    holds = lambda value: isinstance(value, dict) and all(map(form[0], value.values()))  # noqa: E731
    return holds, f"a table, each {form[1]}"


def table_of(forms: Mapping[str, Form]) -> Form:
    """Return the form of a table whose values, where they are there, have these forms."""
    return (
        lambda value: (
            isinstance(value, dict)
            and all(form[0](value[name]) for name, form in forms.items() if name in value)
        ),
        "a table with " + ", ".join(f"{name}: {form[1]}" for name, form in forms.items()),
    )


def checked(content: object, forms: Mapping[str, Form], needed: set[str]) -> dict[str, Any]:
    """Return a table of JSON; ValueError, in words, if a value is missing or of another form."""
    if not isinstance(content, dict):
        raise ValueError("holds no table")
    lacking = sorted(needed - content.keys())
    if lacking:
        raise ValueError(f"lacks {', '.join(lacking)}")
    for name, (holds, words) in forms.items():
        if name in content and not holds(content[name]):
            shown = visible(repr(content[name]))
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
            raise ValueError(f"its {name} is {shown}, expected {words}")
    return content


def read_written(
    path: Path, what: str, command: str, forms: Mapping[str, Form] | None = None
) -> dict[str, Any]:
    """Return the table in a JSON file that a command of ours writes, all its numbers finite.

    forms: of values that it has to have. Raises UsageError if there is no file, RejectedInputError
    if it is no such table.
    """
    try:
        return checked(read_json(path, _finite), forms or {}, {*(forms or {})})
    except OSError as error:
        raise UsageError(
            f"{what} {path}: cannot be read ({error.strerror}); make one by robustssm {command}"
        ) from None
    except ValueError as error:
        raise RejectedInputError(
            f"{what} {path}: {error}; expected a file of robustssm {command}"
        ) from None
