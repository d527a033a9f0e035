"""Arguments of what users call: of the types that are declared, or one line that says so."""

import functools
import inspect
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from robustssm.errors import UsageError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the declared types; of this module, so that workers are sent its name, no cache."""
    return get_type_hints(function)


def checked(function: F, who: str = "") -> F:
    """Return a function that raises UsageError for arguments of other types than declared.

    Scalars of numpy become Python's own, lists, ranges and arrays tuples, so that a repr can be
    typed back. What is declared as Any is left alone. who: its name in messages.
    """
    signature, who = inspect.signature(function), who or function.__name__

    @functools.wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        try:
            bound = signature.bind(*positional, **named)
        except TypeError as error:
            names = ", ".join(name for name in signature.parameters if name != "self")
            apart = "; its strength is given apart, by eps" if "eps" in named else ""
            said = f"what is given does not fit {who}: {error}, expected {who}({names}){apart}"
            raise UsageError(said) from None
        for name, value in bound.arguments.items():
            kind = _hints(function).get(name, Any)
            if kind is not Any:
                bound.arguments[name] = value = _plain(value)
                if not fits(value, kind):
                    raise wrong(f"{who}: {name}", value, _spelled(kind))
        return function(*bound.args, **bound.kwargs)

    return call  # type: ignore[return-value]


def with_checked_fields(cls: type[T]) -> type[T]:
    """Return a dataclass whose constructor is `checked`."""
    cls.__init__ = checked(cls.__init__, cls.__name__)  # type: ignore[method-assign]
    return cls


def wrong(what: str, given: object, expected: str) -> UsageError:
    """Return the refusal of an argument, in one line."""
    return UsageError(f"{what} is {' '.join(repr(given).split()):.60}, expected {expected}")


def several(value: Any) -> tuple[Any, ...]:
    """Return the entries of a list or a tuple; anything else is one entry."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of a declared type; whole numbers are floats, truths are not."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in parts)
    if origin in (tuple, Sequence):
        count = len(parts) if origin is tuple and parts[-1] is not Ellipsis else None
        held = isinstance(value, tuple) and count in (None, len(value))
        return held and all(fits(one, parts[0]) for one in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind if kind in (*_WORDS, NoneType) else isinstance(value, origin or kind)


def _plain(value: Any) -> Any:
    """Return a value as a literal spells it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | range) else value


def _spelled(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (tuple, Sequence):
        return "a list such as (3, 7)" if parts[0] in (int, float) else "a list"
    if origin in (Union, UnionType):
        return " or ".join(map(_spelled, parts))
    return "None" if kind is NoneType else _WORDS.get(kind, getattr(kind, "__name__", str(kind)))
