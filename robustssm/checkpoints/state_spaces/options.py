"""Options of state-spaces/s4: from a file's hyper-parameters where it has them, else asked for."""

from collections.abc import Mapping

from robustssm.checkpoints.overrides import Overrides
from robustssm.errors import UsageError

FACTORY = "load it by your own code, as in --checkpoint name=module.py:function"


class Options:
    """The options of one part of a network, read by their names in the original.

    config: what the file says, None if it holds weights only. An option that it leaves out has
    the original's default. Without a config, options with a default take it, which `assumed`
    tells, and the others are asked for by name.
    """

    def __init__(
        self, config: Mapping[str, object] | None, overrides: Overrides, part: str = "layer"
    ) -> None:
        self.config, self.overrides, self._part = config, overrides, part
        self.assumed: dict[str, object] = {}

    @property
    def known(self) -> bool:
        """Whether the file says its options."""
        return self.config is not None

    def word(
        self, name: str, allowed: Mapping[str, str], default: str | None, ask: bool = False
    ) -> str:
        """Return the canonical word of an option: `allowed` maps spellings to it.

        A null in the file counts as `none`. ask: without a config it is asked for, default or not.
        """
        if self.config is None:
            fallback = None if ask else default
            if fallback is not None and name not in self.overrides:
                self.assumed[name] = fallback
            return allowed[self.overrides.choice(name, list(allowed), fallback)]
        value = self.config.get(name, default)
        text = "none" if value is None else str(value)
        if text not in allowed:
            raise self.unsupported(name, value, ", ".join(allowed))
        given = self.overrides.choice(name, list(allowed), text)
        if allowed[given] != allowed[text]:
            self.overrides.choice(name, list(allowed), known=text)
        return allowed[text]

    def flag(self, name: str, default: bool, ask: bool = False) -> bool:
        """Return a truth value."""
        if self.config is None:
            if not ask and name not in self.overrides:
                self.assumed[name] = default
            return self.overrides.flag(name, None if ask else default)
        value = self.config.get(name, default)
        if value is not None and not isinstance(value, bool):
            raise self.unsupported(name, value, "true or false")
        return self.overrides.flag(name, known=bool(value))

    def number(self, name: str, default: float | None) -> float | None:
        """Return a number or None, which is what a null or `none` says."""
        value = default if self.config is None else self.config.get(name, default)
        if self.config is None and name not in self.overrides:
            self.assumed[name] = "none" if default is None else default
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.unsupported(name, value, "a number")
        if name not in self.overrides:
            # Asked all the same, so that the name is known.
            self.overrides.number(name, 1.0)
            return value
        return self.overrides.number(name, known=value if self.known else None, minimum=0.0)

    def refuse(self, name: str, *harmless: object) -> None:
        """Raise UsageError if the file gives an option another value than the harmless ones."""
        if self.config is not None and self.config.get(name) not in (None, *harmless):
            raise self.unsupported(name, self.config[name], "null")

    def only(self, names: set[str]) -> None:
        """Raise UsageError if the file has options that are not in `names`."""
        unknown = sorted(set(self.config or {}) - names)
        if unknown:
            raise UsageError(
                f"{self.overrides.who}: the {self._part} has unknown options "
                f"{', '.join(unknown)}; {FACTORY}"
            )

    def unsupported(self, name: str, value: object, expected: str) -> UsageError:
        """Return the error that an option of the file has no counterpart here."""
        return UsageError(
            f"{self.overrides.who}: {self._part} option {name} is {value!r}, expected {expected}; "
            f"{FACTORY}"
        )
