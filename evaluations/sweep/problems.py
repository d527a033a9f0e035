"""Everything that is wrong with what was asked for, not only the first of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from robustssm.errors import RejectedInputError, RobustssmError, UsageError

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
        except SeveralProblemsError as error:
            found = error.problems
        except UsageError as error:
            found = Problems(usage=[str(error)])
        except RejectedInputError as error:
            found = Problems(rejected=[str(error)])
        self.usage += [p for p in found.usage if p not in self.usage]
        self.rejected += [p for p in found.rejected if p not in self.rejected]
        return None

    def add(self, problem: str) -> None:
        """Keep a mistake in what was asked for."""
        if problem not in self.usage:
            self.usage.append(problem)

    @property
    def all(self) -> list[str]:
        """Every problem, mistakes of usage first."""
        return [*self.usage, *self.rejected]

    @property
    def exit_code(self) -> int:
        """0 if there is none, 2 for a mistake of usage, 4 if inputs are rejected and no more."""
        return 2 if self.usage else 4 if self.rejected else 0

    def raise_all(self) -> None:
        """Raise UsageError, or RejectedInputError if no usage is wrong, of one line per problem."""
        if not self.all:
            return
        if len(self.all) == 1:
            raise (UsageError if self.usage else RejectedInputError)(self.all[0])
        raise (WrongUsageError if self.usage else WrongInputError)(self)


class SeveralProblemsError(RobustssmError):
    """Several problems at once, one per line of the message."""

    def __init__(self, problems: Problems) -> None:
        super().__init__("\n  ".join(problems.all))
        self.problems = problems


class WrongUsageError(SeveralProblemsError, UsageError):
    """Several problems, mistakes of usage among them."""


class WrongInputError(SeveralProblemsError, RejectedInputError):
    """Several inputs that are rejected."""
