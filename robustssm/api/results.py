"""What functions return: a table, the figures of it, and how a notebook shows both."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from robustssm.errors import UsageError, require_one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
