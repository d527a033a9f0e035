"""Everything that is wrong with what was asked for, not only the first of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from robustssm.errors import RejectedInputError, UsageError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Problems:
    """What is wrong so far, each once; usage and rejected: one line each."""

    usage: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    def attempt(self, make: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
        """Return what `make` returns; None, and the problems kept, if it raises some."""
        try:
            return make(*args, **options)
        except UsageError as error:
            self.add(str(error))
        except RejectedInputError as error:
            if str(error) not in self.rejected:
                self.rejected.append(str(error))
        return None

    def add(self, problem: str) -> None:
        """Keep a mistake in what was asked for."""
        if problem not in self.usage:
            self.usage.append(problem)

    def raise_all(self) -> None:
        """Raise UsageError, or RejectedInputError if no usage is wrong, of one line per problem."""
        if self.usage or self.rejected:
            kind = UsageError if self.usage else RejectedInputError
            raise kind("\n  ".join([*self.usage, *self.rejected]))
