"""What the fields of what users make may be: the types that they are declared with, checked."""

import dataclasses
import functools
import inspect
from collections.abc import Sequence
from typing import Any, TypeVar, get_args, get_origin

import numpy as np

from robustssm.errors import UsageError, require

T = TypeVar("T")


def with_checked_fields(cls: type[T]) -> type[T]:
    """Return a dataclass whose constructor raises UsageError for arguments of other types.

    Scalars of numpy become Python's own, and lists tuples, so that a repr can be typed back.
    """
    made: Any = cls.__init__
    signature = inspect.signature(cls)

    @functools.wraps(made)
    def init(self: T, *positional: Any, **named: Any) -> None:
        try:
            arguments = signature.bind(*positional, **named).arguments
        except TypeError as error:
            expected = f"{cls.__name__}({', '.join(signature.parameters)})"
            apart = "; its strength is given apart, by eps" if "eps" in named else ""
            said = f"what is given does not fit {cls.__name__}: {error}, expected {expected}"
            raise UsageError(f"{said}{apart}") from None
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            if field.name in arguments:
                value = arguments[field.name] = _plain(arguments[field.name])
                fitting = fits(value, field.type)
                require(fitting, f"{cls.__name__}: {field.name}", value, _spelled(field.type))
        made(self, **arguments)

    cls.__init__ = init  # type: ignore[assignment]
    return cls


def fits(value: Any, annotation: Any) -> bool:
    """Return whether a literal is of a field's type; whole numbers are floats, truths are not."""
    arguments = get_args(annotation)
    if get_origin(annotation) in (tuple, Sequence):
        long = len(value) if isinstance(value, tuple) else -1
        pair = arguments[-1] is arguments[0]
        held = long == len(arguments) if len(arguments) > 1 and pair else long >= 0
        return held and all(fits(v, arguments[0]) for v in value)
    if arguments:
        return any(fits(value, one) for one in arguments)
    if annotation is float:
        return type(value) in (int, float)
    return type(value) is annotation


def _plain(value: Any) -> Any:
    """Return a value as a literal spells it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | range) else value


def _spelled(annotation: Any) -> str:
    """Return a field's type in words."""
    names = {int: "a whole number", float: "a number", str: "a word", bool: "True or False"}
    names[type(None)] = "None"
    arguments = get_args(annotation)
    if get_origin(annotation) in (tuple, Sequence):
        return "a list such as (3, 7)"
    if arguments:
        return " or ".join(_spelled(one) for one in arguments)
    return names.get(annotation, str(annotation))
