"""What a reproduction is: steps that store one table each, and findings beside the paper's claims.

A reproduction is a module of this folder, or of the study's, with a `REPRODUCTION`. Its figures
are in `robustssm.figures.paper.<name>` (a dash in the name is an underscore there), with
`drawn(tables)`, which yields `Drawn` of `robustssm.figures.paper.saving`.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from robustssm.errors import UsageError

Settings = Mapping[str, Any]
Tables = Mapping[str, pd.DataFrame]
AGREES, DIFFERS, OPEN, MEASURED = "agrees", "differs", "open", "measured"
# Marks of what the paper is said to claim: where that was read, since its own text was not.
SOURCES = {
    "r": "the reviews on OpenReview",
    "s": "machine-written summaries that agree with one another",
    "q": "a quotation elsewhere",
}


@dataclass(frozen=True)
class Context:
    """What a step sees: its settings, the tables of earlier steps, a folder for files of its own.

    Neither folder is made beforehand; what lies there from a killed run may be used again.
    shared: of all reproductions, for what its content alone identifies, such as trained networks.
    jobs: processes to use; none of it changes a number.
    """

    settings: Settings
    tables: Tables
    folder: Path
    shared: Path
    jobs: int = 1


@dataclass(frozen=True)
class Step:
    """One stored table. uses: the settings that it depends on (all of them where None).

    needs: the earlier steps whose tables it reads. version: raised where its meaning changes.
    """

    name: str
    compute: Callable[[Context], pd.DataFrame]
    uses: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()
    version: int = 1


@dataclass(frozen=True)
class Finding:
    """A quantity, what the paper says of it and what was found.

    paper: ends in one of the marks of SOURCES, such as `[r]`, where it is a claim of the paper.
    verdict: agrees, differs, open (the interval holds both), measured (the paper makes no claim).
    """

    quantity: str
    paper: str
    found: str
    verdict: str


Findings = Iterable[Finding]
# What the paper says, and the verdict on it.
Claim = tuple[str, str]


def finding(
    quantity: str, found: str, claim: Claim | None = None, without: str = "not given"
) -> Finding:
    """Return a finding; without a claim it is measured, and the paper says `without`.

    Raises UsageError for a claim that does not end in one of the marks of SOURCES.
    """
    paper, verdict = claim or (without, MEASURED)
    if claim and not paper.endswith(tuple(f" [{mark}]" for mark in SOURCES)):
        raise UsageError(f"reproduce: {paper!r} has no source, expected a mark of {[*SOURCES]}")
    return Finding(quantity, paper, found, verdict)


def agrees(*holds: bool) -> str:
    """Return agrees if the claim holds in every case, differs if in none, open otherwise."""
    return AGREES if all(holds) else OPEN if any(holds) else DIFFERS


def interval_agrees(
    low: float, high: float, above: float = -math.inf, below: float = math.inf
) -> str:
    """Return agrees if an interval is inside a range, differs if outside, else, or if NaN, open."""
    if low > above and high < below:
        return AGREES
    return DIFFERS if high < above or low > below else OPEN


@dataclass(frozen=True)
class Reproduction:
    """How one figure or table of the paper is made again.

    quick and full hold the same keys; values are what JSON holds. of_paper: whether `all` means it
    as well. Raises UsageError for step names that repeat, needs that do not come earlier, and uses
    that are no setting.
    """

    name: str
    shows: str
    steps: tuple[Step, ...]
    quick: Settings
    full: Settings
    findings: Callable[[Tables], Findings] = field(repr=False)
    of_paper: bool = True

    def __post_init__(self) -> None:
        """Check that every step can be computed in its turn."""
        if set(self.quick) != set(self.full):
            raise UsageError(f"{self.name}: quick and full settings name different things")
        earlier: set[str] = set()
        for step in self.steps:
            missing = (set(step.needs) - earlier) | (set(step.uses or ()) - set(self.full))
            if step.name in earlier or missing:
                raise UsageError(
                    f"{self.name}: step {step.name} repeats, or asks for "
                    f"{sorted(missing)}, expected earlier steps and settings; change its steps"
                )
            earlier.add(step.name)

    def identity(self, name: str, settings: Settings) -> str:
        """Return 8 hex digits of a step's version, settings, needs; UsageError if it is unknown."""
        step = self.step(name)
        kept = sorted(settings if step.uses is None else step.uses)
        content = {
            "recipe": self.name,
            "step": step.name,
            "version": step.version,
            "settings": {key: settings[key] for key in kept},
            "needs": {other: self.identity(other, settings) for other in step.needs},
        }
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def step(self, name: str) -> Step:
        """Return the step of this name; UsageError if there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise UsageError(f"{self.name} has no step {name!r}; it has {[s.name for s in self.steps]}")
