"""What a run directory holds of the cells of a plan."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """A cell that failed: error is what was said, traceback the whole of it."""

    cell: str
    error: str
    traceback: str = ""

    @property
    def line(self) -> str:
        """First line of the error."""
        return (self.error.splitlines() or ["(nothing was said)"])[0]


@dataclass(frozen=True)
class RunState:
    """What a run directory holds of planned cells, asked once.

    planned: ids of the cells, in the plan's order, each once; done: those with a whole file;
    failed: those without that have an error on record, by id; damaged: files that cannot be read,
    relative to the run, and what is wrong with them.
    """

    planned: tuple[str, ...]
    done: frozenset[str]
    failed: dict[str, Failure]
    damaged: dict[str, str]

    @property
    def missing(self) -> tuple[str, ...]:
        """Cells without a result that did not fail, damaged ones included."""
        return tuple(c for c in self.planned if c not in self.done and c not in self.failed)

    @property
    def complete(self) -> bool:
        """Whether every planned cell has its result."""
        return bool(self.planned) and len(self.done) == len(self.planned)

    def to_compute(self, retry_failed: bool) -> list[str]:
        """Return the cells that a sweep computes, in the plan's order."""
        left = (cell for cell in self.planned if cell not in self.done)
        return [cell for cell in left if retry_failed or cell not in self.failed]
