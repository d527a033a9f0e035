"""How far a command is: a bar on a terminal, a line from time to time elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from robustssm.commands.loudness import asked
from robustssm.commands.terminal import note

# Seconds between two plain progress lines, which replace the bar if stderr is no terminal.
PLAIN_INTERVAL = 30.0


class Advance(Protocol):
    """Tells that a piece of work is done or has failed."""

    def __call__(self, failed: bool = False) -> None:
        """Count one piece."""


def _shown_as(mode: str) -> str:
    if asked("quiet"):
        return "none"
    return mode if mode != "auto" else "bar" if sys.stderr.isatty() else "plain"


def log(message: str, mode: str) -> None:
    """Print a line of a log on stderr if progress is plain."""
    if _shown_as(mode) == "plain":
        note(message)


@contextmanager
def progress(total: int, what: str, mode: str = "auto") -> Iterator[Advance]:
    """Yield a function to call after each of `total` pieces of work.

    mode: `bar`, `plain` (one line every `PLAIN_INTERVAL`), `none`, or `auto`: a bar on a terminal,
    plain lines otherwise.
    """
    mode = _shown_as(mode)
    if mode == "none" or total == 0:
        yield lambda failed=False: None
        return
    if mode == "plain":
        yield _plain(total, what)
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    class Left(bars.TimeRemainingColumn):
        def render(self, task: bars.Task) -> Text:
            return super().render(task) if _foreseeable(int(task.completed), total) else Text()

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        Left(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        failures = 0

        def advance(failed: bool = False) -> None:
            nonlocal failures
            failures += failed
            bar.update(
                task, advance=1, description=f"{what} [red]{failures} failed" if failures else what
            )

        yield advance


def _foreseeable(done: int, total: int) -> bool:
    """Return whether enough is done to say how long the rest takes; the first come together."""
    return done >= min(max(10, 0.05 * total), total / 2)


def _plain(total: int, what: str) -> Advance:
    start = last = time.monotonic()
    done = failures = 0

    def advance(failed: bool = False) -> None:
        nonlocal done, failures, last
        done, failures = done + 1, failures + failed
        now = time.monotonic()
        if done == total or now - last >= PLAIN_INTERVAL:
            last = now
            rate = done / max(now - start, 1e-9)
            trouble = f", {failures} failed" if failures else ""
            end = f", done in {duration(now - start)}"
            if done < total:
                left = f", {duration((total - done) / rate)} left"
                end = left if _foreseeable(done, total) else ""
            note(f"{what}: {done}/{total} ({done / total:.0%}){trouble}, {rate:.3g}/s{end}")

    return advance


def duration(seconds: float) -> str:
    """Return a time for people: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
