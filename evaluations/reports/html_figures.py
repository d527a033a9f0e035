"""The figures of a run inside its HTML page, with alternative texts."""

import base64
from pathlib import Path

from robustssm.evaluations.reports.markdown import numbers
from robustssm.evaluations.results.inspection import Inspection
from robustssm.evaluations.results.tables import read_csv


def figures(state: Inspection) -> list[dict[str, str]]:
    """Return name, data URL and alternative text of each figure of the run, by name."""
    return [
        {
            "name": path.stem,
            "source": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
            "alt": _alternative(path),
        }
        for path in sorted((state.run.path / "figures").glob("*.png"))
    ]


def _alternative(path: Path) -> str:
    """Return what a figure shows, from the table of its data."""
    table = read_csv(path.with_suffix(".csv"))
    needed = {"model", "noise", "mode", "eps", "eps_unit", "accuracy"}
    if table.empty or not needed <= set(table) or table["accuracy"].isna().all():
        return f"Figure {path.stem} of this run; the tables of this page hold its numbers."
    models = ", ".join(dict.fromkeys(map(str, table["model"])))
    several = len(table["mode"].unique()) > 1
    over = f"the mode ({numbers(table['mode'])})" if several else "the strength eps"
    low = table.loc[table["accuracy"].idxmin()]
    where = f"mode {low['mode']:g}, " if several else ""
    return (
        f"Accuracy against {over} of {models} under {table['noise'].iloc[0]}, eps "
        f"{numbers(table['eps'])} {table['eps_unit'].iloc[0]}. Lowest: {low['accuracy']:.3f}, "
        f"{low['model']}, {where}eps {low['eps']:g}."
    )
