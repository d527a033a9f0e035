"""What a user says of a checkpoint because its file does not: `--set name=value`.

An importer asks for each option by name. What nobody says is collected, so that one message names
everything that is needed. What the file itself says must not be contradicted.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from robustssm.errors import UsageError

T = TypeVar("T")

_FLAGS = {"true": True, "false": False}


class Overrides:
    """The options that a user gave to one importer, read by name.

    given: name -> text; importer: who asks, as in `state-spaces/s4`; path: the file, for messages.
    Each reader takes `known`, what the file says (then an option given must be the same), and
    `default`, what holds where nobody says anything. Without either the option is needed:
    the reader returns a stand-in of its type, and `missing` raises for all of them at once.
    """

    def __init__(self, given: Mapping[str, str], importer: str, path: object = "") -> None:
        self._given = dict(given)
        self.who = f"checkpoint {path}: {importer}" if str(path) else importer
        self._asked: dict[str, str] = {}
        self._missing: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def flag(self, name: str, default: bool | None = None, *, known: bool | None = None) -> bool:
        """Return a truth value, `true` or `false`."""
        text = self._text(name, "true or false")
        value: bool | None = None
        if text is not None:
            if text.lower() not in _FLAGS:
                raise self._wrong(name, text, "true or false")
            value = _FLAGS[text.lower()]
        return self._settle(name, "true|false", value, default, known, False)

    def choice(
        self,
        name: str,
        allowed: Sequence[str],
        default: str | None = None,
        *,
        known: str | None = None,
    ) -> str:
        """Return one of the allowed words."""
        value = self._text(name, ", ".join(allowed))
        if value is not None and value not in allowed:
            raise self._wrong(name, value, f"one of {', '.join(allowed)}")
        return self._settle(name, "|".join(allowed), value, default, known, allowed[0])

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
        text = self._text(name, expected)
        value: float | None = None
        if text is not None:
            value = self._numbers(name, text, expected)[0]
            if "," in text or value < minimum:
                raise self._wrong(name, text, expected)
        return self._settle(name, "NUMBER", value, default, known, 1.0)

    def integer(
        self,
        name: str,
        default: int | None = None,
        *,
        known: int | None = None,
        minimum: int = 0,
    ) -> int:
        """Return a whole number, `minimum` or more."""
        text = self._text(name, f"a whole number, {minimum} or more")
        value: int | None = None
        if text is not None:
            if not text.isdecimal() or int(text) < minimum:
                raise self._wrong(name, text, f"a whole number, {minimum} or more")
            value = int(text)
        return self._settle(name, "INTEGER", value, default, known, max(1, minimum))

    def numbers(
        self,
        name: str,
        count: int,
        default: float | None = None,
        *,
        positive: bool = False,
    ) -> tuple[float, ...]:
        """Return `count` finite numbers, given with commas; one stands for all."""
        kind = "positive numbers" if positive else "numbers"
        expected = f"1 or {count} {kind} with commas between"
        text = self._text(name, expected)
        value: tuple[float, ...] | None = None
        if text is not None:
            value = self._numbers(name, text, expected)
            value = value * count if len(value) == 1 else value
            if len(value) != count or (positive and min(value) <= 0.0):
                raise self._wrong(name, text, expected)
        spread = None if default is None else (default,) * count
        return self._settle(name, "NUMBER[,NUMBER...]", value, spread, None, (1.0,) * count)

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
        """Raise UsageError where an option is needed, or one was given that nobody reads."""
        unknown = [name for name in self._given if name not in self._asked]
        if unknown:
            raise UsageError(
                f"{self.who}: unknown setting {', '.join(unknown)}, expected "
                f"{', '.join(sorted(self._asked)) or 'none'}"
            )
        self.missing()

    def _text(self, name: str, expected: str) -> str | None:
        self._asked[name] = expected
        text = self._given.get(name)
        return None if text is None else text.strip()

    def _numbers(self, name: str, text: str, expected: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise self._wrong(name, text, expected) from None
        if not all(map(math.isfinite, values)):
            raise self._wrong(name, text, expected)
        return values

    def _settle(
        self, name: str, values: str, given: T | None, default: T | None, known: T | None, blank: T
    ) -> T:
        if known is not None:
            if given is not None and given != known:
                raise UsageError(
                    f"{self.who}: {name}={self._given[name]} contradicts the file, which says "
                    f"{str(known).lower() if isinstance(known, bool) else known}; drop --set {name}"
                )
            return known
        if given is not None:
            return given
        if default is not None:
            return default
        self._missing[name] = values
        return blank

    def _wrong(self, name: str, text: str, expected: str) -> UsageError:
        return UsageError(f"{self.who}: {name}={text!r} is not allowed, expected {expected}")
