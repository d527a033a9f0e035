"""Tables of what there is by name: what is built in, and entry points of installed packages."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from robustssm.errors import UsageError

T = TypeVar("T")


class Table(Mapping[str, T], Generic[T]):
    """What is built in, then what packages add; nothing of a package is imported before it is used.

    Parameters
    ----------
    group : str
        Name of the entry points.
    built_in : mapping
        By name; a text ``module:name`` is imported when it is asked for.
    fits : callable
        Given a name and what a package offers: what is expected instead, empty if it fits.
    """

    def __init__(
        self, group: str, built_in: Mapping[str, Any], fits: Callable[[str, Any], str]
    ) -> None:
        self._group, self._built_in, self._fits = group, dict(built_in), fits
        self._loaded: dict[str, T] = {}

    @cached_property
    def _added(self) -> dict[str, list[EntryPoint]]:
        added: dict[str, list[EntryPoint]] = {}
        for entry in sorted(entry_points(group=self._group), key=_origin):
            added.setdefault(entry.name, []).append(entry)
        return added

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> T:
        value: Any = self._built_in.get(name)
        if value is not None:
            return EntryPoint(name, value, "").load() if isinstance(value, str) else value
        first, *others = self._added[name]
        who = f"plug-in {name} of {_origin(first)}"
        if others:
            raise UsageError(f"{who} is in {_origin(others[0])} as well; uninstall one of them")
        try:
            value = first.load()
            expected = self._fits(name, value)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"{who} cannot be loaded ({said}); update or uninstall it") from error
        if expected:
            raise UsageError(f"{who} is {value!r:.80}, expected {expected}; update or uninstall it")
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._added

    def __iter__(self) -> Iterator[str]:
        return iter({**self._built_in, **self._added})

    def __len__(self) -> int:
        return len({*self._built_in, *self._added})

    def origin(self, name: str) -> str:
        """Return the package that a name comes from, and its version; empty if it is built in."""
        return "" if name in self._built_in else ", ".join(map(_origin, self._added.get(name, ())))

    def working(self) -> tuple[dict[str, T], list[str]]:
        """Return what can be loaded, and a line for each plug-in that cannot be used."""
        found: dict[str, T] = {}
        problems = [
            f"plug-in {name} of {_origin(self._added[name][0])} has the name of a built-in one, "
            "which stays; ask its authors for another name"
            for name in self._built_in
            if name in self._added
        ]
        for name in self:
            try:
                found[name] = self[name]
            except UsageError as error:
                problems.append(str(error))
        return found, problems


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
