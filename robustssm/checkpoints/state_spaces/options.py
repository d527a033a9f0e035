"""Options of state-spaces/s4: from a file's hyper-parameters where it has them, else asked for."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from robustssm.checkpoints.overrides import Overrides

T = TypeVar("T")
# Hyper-parameters of a file, None if it has none.
Config = Mapping[str, object] | None


class Options:
    """The options of one part of a network, read by their names in the original.

    config: what the file says, None if it holds weights only. An option that it leaves out has
    the original's default. Without a config, options with a default take it, which
    `overrides.assumed` tells, and the others are asked for by name. imag_sign: default of that
    option, which no config has, if the source is known.
    """

    def __init__(
        self, config: Config, overrides: Overrides, part: str = "layer", imag_sign: str = ""
    ) -> None:
        self.config, self.overrides, self._part = config, overrides, part
        self._imag_sign = imag_sign

    def imag_sign(self, default: str) -> float:
        """Return the sign of Im A in terms of what the file of a minimal layer holds."""
        unsaid = Options(None, self.overrides)
        return unsaid.word("imag_sign", {"1": 1.0, "-1": -1.0}, self._imag_sign or default)

    @property
    def known(self) -> bool:
        """Whether the file says its options."""
        return self.config is not None

    def get(self, name: str, default: object = None) -> object:
        """Return what the file says of an option."""
        return (self.config or {}).get(name, default)

    def _assume(self, name: str, value: object) -> None:
        if name not in self.overrides:
            self.overrides.assumed[name] = value

    def word(
        self, name: str, allowed: Mapping[str, T], default: str | None, ask: bool = False
    ) -> T:
        """Return what an option's word stands for in `allowed`.

        A null in the file counts as `none`. ask: without a config it is asked for, default or not.
        """
        if self.config is None:
            fallback = None if ask else default
            if fallback is not None:
                self._assume(name, fallback)
            return allowed[self.overrides.choice(name, list(allowed), fallback)]
        value = self.config.get(name, default)
        text = "none" if value is None else str(value)
        self.require(text in allowed, name, value, ", ".join(allowed))
        given = self.overrides.choice(name, list(allowed), text)
        if allowed[given] != allowed[text]:
            self.overrides.choice(name, list(allowed), known=text)
        return allowed[text]

    def one_of(
        self, name: str, allowed: Iterable[str], default: str | None, ask: bool = False
    ) -> str:
        """Return an option's word, one of those allowed."""
        return self.word(name, {word: word for word in allowed}, default, ask)

    def flag(self, name: str, default: bool, ask: bool = False) -> bool:
        """Return a truth value."""
        if self.config is None:
            if not ask:
                self._assume(name, default)
            return self.overrides.flag(name, None if ask else default)
        value = self.config.get(name, default)
        self.require(value is None or isinstance(value, bool), name, value, "true or false")
        return self.overrides.flag(name, known=bool(value))

    def number(self, name: str, default: float | None) -> float | None:
        """Return a number or None, which is what a null or `none` says."""
        value = self.get(name, default)
        if self.config is None:
            self._assume(name, "none" if default is None else default)
        fits = isinstance(value, int | float | None) and not isinstance(value, bool)
        self.require(fits, name, value, "a number")
        assert isinstance(value, int | float | None)
        if name not in self.overrides:
            # Asked all the same, so that the name is known.
            self.overrides.number(name, 1.0)
            return value
        return self.overrides.number(name, known=value if self.known else None, minimum=0.0)

    def refuse(self, name: str, *harmless: object) -> None:
        """Raise UsageError if the file gives an option another value than the harmless ones."""
        value = self.get(name)
        self.require(value in (None, *harmless), name, value, "null")

    def only(self, names: str) -> None:
        """Raise UsageError if the file has options that are not in the list `names`."""
        unknown = sorted(set(self.config or {}) - set(names.split()))
        if unknown:
            raise self.overrides.unsupported(
                f"the {self._part} has unknown options {', '.join(unknown)}"
            )

    def require(self, holds: bool, name: str, value: object, expected: str) -> None:
        """Raise UsageError, that an option has no counterpart here, unless a condition holds."""
        if not holds:
            raise self.overrides.unsupported(
                f"{self._part} option {name} is {value!r}, expected {expected}"
            )
