"""What a user says of a checkpoint because its file does not: `--set name=value`.

An importer asks for each option by name. What nobody says is collected, so that one message names
everything that is needed. What the file itself says must not be contradicted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from robustssm.errors import UsageError
from robustssm.plain_text import number

T = TypeVar("T")

_FLAGS = {"true": True, "false": False}


def own_code(path: object) -> str:
    """Return the way out that there always is, for the weights at `path`."""
    name = Path(str(path)).name or "weights"
    return f"load it by your own code, as in name=module.py:function@{name}"


class Overrides:
    """The options that a user gave to one importer, read by name.

    given: name -> text; importer: who asks, as in `state-spaces/s4`; path: the file, for messages.
    Each reader takes `known`, what the file says (then an option given must be the same), and
    `default`, what holds if nobody says anything. Without either the option is needed:
    the reader returns a stand-in of its type, and `missing` raises for all of them at once.
    originals: the original's defaults, taken if the user gives `defaults=original`; assumed: the
    originals' defaults that importers took because nobody said anything.
    """

    def __init__(
        self,
        given: Mapping[str, str],
        importer: str,
        path: object = "",
        originals: Mapping[str, str] | None = None,
    ) -> None:
        self._given = dict(given)
        self.who = f"checkpoint {path}: {importer}" if str(path) else importer
        self.own_code = own_code(path)
        self.assumed: dict[str, object] = {}
        self._asked: set[str] = set()
        self._missing: dict[str, str] = {}
        self._originals: Mapping[str, str] = {}
        if originals and self.choice("defaults", ("none", "original"), "none") == "original":
            self._originals = originals

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def unsupported(self, problem: str) -> UsageError:
        """Return the error of a network that is not supported, with the way out for it."""
        return UsageError(f"{self.who}: {problem}; {self.own_code}")

    def flag(self, name: str, default: bool | None = None, *, known: bool | None = None) -> bool:
        """Return a truth value, `true` or `false`."""
        words = ("true|false", "true or false")
        values = (default, known, False)
        return self._read(name, words, lambda text: _FLAGS.get(text.lower()), values)

    def choice(
        self,
        name: str,
        allowed: Sequence[str],
        default: str | None = None,
        *,
        known: str | None = None,
    ) -> str:
        """Return one of the allowed words."""
        words = ("|".join(allowed), f"one of {', '.join(allowed)}")
        values = (default, known, allowed[0])
        return self._read(name, words, lambda text: text if text in allowed else None, values)

    def number(
        self,
        name: str,
        default: float | None = None,
        *,
        known: float | None = None,
        minimum: float = -math.inf,
    ) -> float:
        """Return a finite number, `minimum` or more."""
        expected = "a number" if minimum == -math.inf else f"a number, {minimum:g} or more"

        def parsed(text: str) -> float | None:
            values = _numbers(text)
            return values[0] if len(values) == 1 and values[0] >= minimum else None

        return self._read(name, ("NUMBER", expected), parsed, (default, known, 1.0))

    def numbers(
        self, name: str, count: int, default: float | None = None, *, positive: bool = False
    ) -> tuple[float, ...]:
        """Return `count` finite numbers, given with commas; one stands for all."""
        kind = "positive numbers" if positive else "numbers"

        def parsed(text: str) -> tuple[float, ...] | None:
            values = _numbers(text)
            values = values * count if len(values) == 1 else values
            fits = len(values) == count and not (positive and min(values) <= 0.0)
            return values if fits else None

        spread = None if default is None else (default,) * count
        words = ("NUMBER[,NUMBER...]", f"1 or {count} {kind} with commas between")
        return self._read(name, words, parsed, (spread, None, (1.0,) * count))

    @property
    def pending(self) -> bool:
        """Whether an option is needed that was not given."""
        return bool(self._missing)

    def missing(self) -> None:
        """Raise UsageError that names every option that is needed and was not given."""
        if self._missing:
            wanted = " ".join(f"--set {name}={values}" for name, values in self._missing.items())
            raise UsageError(
                f"{self.who}: the file does not say {', '.join(self._missing)}; give {wanted}"
            )

    def finish(self) -> None:
        """Raise UsageError if an option is needed, or one was given that nobody reads."""
        unknown = [name for name in self._given if name not in self._asked]
        if unknown:
            raise UsageError(
                f"{self.who}: unknown setting {', '.join(unknown)}, expected "
                f"{', '.join(sorted(self._asked)) or 'none'}"
            )
        self.missing()

    def _read(
        self,
        name: str,
        words: tuple[str, str],
        parsed: Callable[[str], T | None],
        values: tuple[T | None, T | None, T],
    ) -> T:
        """Return an option's value.

        words: how the value is written in a --set, and what is expected, for messages; parsed:
        returns the value of a text, None if it is not allowed; values: the default, what the file
        says, and what stands in for a value that is missing.
        """
        self._asked.add(name)
        default, known, blank = values
        given: T | None = None
        if name in self._given:
            text = self._given[name].strip()
            given = parsed(text)
            if given is None:
                raise UsageError(f"{self.who}: {name}={text!r} is not allowed, expected {words[1]}")
        if known is not None and given is not None and given != known:
            raise UsageError(
                f"{self.who}: {name}={self._given[name]} contradicts the file, which says "
                f"{str(known).lower() if isinstance(known, bool) else known}; drop --set {name}"
            )
        if name in self._originals and known is None and given is None:
            default = self.assumed[name] = parsed(self._originals[name])
        for value in (known, given, default):
            if value is not None:
                return value
        self._missing[name] = words[0]
        return blank


def _numbers(text: str) -> tuple[float, ...]:
    """Return the finite numbers of a text with commas; none if it holds something else."""
    try:
        values = tuple(number(part) for part in text.split(","))
    except ValueError:
        return ()
    return values if all(map(math.isfinite, values)) else ()
