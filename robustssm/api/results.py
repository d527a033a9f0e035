"""What functions return: a table, the figures of it, and how a notebook shows both."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from robustssm.errors import UsageError, require_one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustssm.evaluations.results.inspection import Inspection


def html_table(caption: str, frame: pd.DataFrame) -> str:
    """Return a table for a notebook."""
    table = frame.to_html(index=False, max_rows=60, border=0, na_rep="")
    return f"<p>{escape(caption)}</p>\n{table}"


def drawn(draw: Callable[[], object], name: str | None) -> "Figure":
    """Return the figure of a name among those that `draw` saves, the first where None."""
    from robustssm.figures.style import printed

    figures: dict[str, Figure] = {}
    with printed(kept=figures):
        draw()
    if not figures:
        raise UsageError("figure: there is nothing to draw")
    if name is not None:
        require_one_of("figure:", name, figures)
    return figures[name or next(iter(figures))]


def write_report(state: "Inspection", output: Path, html: bool = False) -> str:
    """Write a report of a run, as HTML if its name or `html` says so; return its size in words."""
    from robustssm.evaluations.exports import formats
    from robustssm.evaluations.reports.html_page import write_page
    from robustssm.evaluations.sweep.run_directory import check_outside

    check_outside(output, state.run.path)
    if html or output.suffix.lower() in (".html", ".htm"):
        from robustssm.figures.looks import model_looks

        return f"{write_page(state, output, model_looks)} bytes"
    return f"{formats.write_report(state, output)} lines"


@dataclass(frozen=True, repr=False)
class Result:
    """What was measured: `frame`, tidy; `details`, all of it; complex `values` by frequency."""

    about: str
    frame: pd.DataFrame
    details: Any
    draw: Callable[[], object]
    values: pd.DataFrame = field(default_factory=pd.DataFrame)

    def figure(self, name: str | None = None) -> "Figure":
        """Return a figure by the name of its file, the first one by default."""
        return drawn(self.draw, name)

    def __repr__(self) -> str:
        return f"{self.about}\n{self.frame}"

    def _repr_html_(self) -> str:
        return html_table(self.about, self.frame)
