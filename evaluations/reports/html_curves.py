"""The curves of a run as plotly figures, one per noise: a panel per strength, a line per model."""

import textwrap
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from robustssm.evaluations.reports.report_rows import interval, noise_name, share
from robustssm.evaluations.results.cell_reader import MODE_LABEL
from robustssm.targets import CLASSES, of_table

# Looks of models as matplotlib has them, by name: `robustssm.figures.looks.model_looks`.
Looks = Callable[[pd.DataFrame], Mapping[str, Mapping[str, Any]]]
# matplotlib's dashes and markers, in plotly's words; other dashes are lengths in line widths.
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
SYMBOLS = {
    "o": "circle", "s": "square", "D": "diamond", "d": "diamond-tall", "<": "triangle-left",
    ">": "triangle-right", "^": "triangle-up", "v": "triangle-down", "h": "hexagon",
    "H": "hexagon2", "p": "pentagon", "8": "octagon", "X": "x", "P": "cross", "*": "star",
}  # fmt: skip
WIDTH = 1.8
# Characters of an axis title's line: a window of 400 pixels has room for them.
_LINE = 36
_PANEL = ["noise", "inject", "mode_unit", "eps_unit", "clip"]


def web_look(line: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return colour, dash and symbol of a line in plotly's words, from matplotlib's."""
    style = line["linestyle"]
    lengths = () if isinstance(style, str) else style[1]
    dash = ",".join(f"{WIDTH * part:g}px" for part in lengths) or DASHES[style]
    return str(line["color"]), dash, SYMBOLS.get(line["marker"], "circle")


def curve_figures(
    curves: pd.DataFrame,
    chance: float | None,
    looks: Looks,
    spikes: Mapping[float, float],
) -> list[dict[str, Any]]:
    """Return a figure per noise: its label, and data and layout for `Plotly.newPlot`; no NaN.

    curves: of `summary.over_seeds`, without the clean evaluation, not empty. A panel has one
    strength over the modes, or all strengths if there is one mode; the page sets them side by side.
    A model is in each panel a ribbon (its intervals), its clean accuracy, a line and dots (its
    single training seeds, where there are several); of spikes, whose omega by number is `spikes`,
    points with bars. looks: of the figures, so that a model is drawn here as it is there.
    """
    lines = looks(curves)
    keys = [name for name in _PANEL if name in curves]
    figures = []
    for values, part in curves.groupby(keys, sort=False):
        row = dict(zip(keys, map(str, values), strict=True))
        label = f"{noise_name(row['noise'], row.get('clip', ''))}, at {row['inject']}"
        unit, mode_unit = row["eps_unit"], row["mode_unit"]
        axis: dict[str, Any] = {"type": "linear", "title": MODE_LABEL.get(mode_unit, "mode")}
        x = "mode"
        if len(part["mode"].unique()) > 1:
            panels = [(f"eps {eps:g} {unit}", rows) for eps, rows in part.groupby("eps")]
            if unit == "snr-db":
                panels.reverse()
        else:
            x, axis["title"] = "eps", f"eps ({unit})"
            # Strengths of one unit span decades; decibels are logarithms already.
            if unit != "snr-db" and (part["eps"] > 0).all():
                axis["type"] = "log"
            panels = [(f"mode {part['mode'].iloc[0]:g}" if mode_unit else "", part)]
        if x == "mode" and mode_unit == "spike":
            order = sorted(part["mode"].unique(), reverse=True)
            names = [f"{spikes[k]:.4g} ({k:g})" if k in spikes else f"spike {k:g}" for k in order]
            axis = {"type": "category", "categoryarray": names, "title": axis["title"]}
            axis["title"] = "omega of the spike (its number)" if spikes else axis["title"]
            kind = pd.CategoricalDtype(names, ordered=True)
            named = dict(zip(order, names, strict=True))
            panels = [(t, p.assign(mode=p["mode"].map(named).astype(kind))) for t, p in panels]
        figures.append({"label": label, **_figure(panels, x, axis, chance, lines)})
    return figures


def _figure(
    panels: list[tuple[str, pd.DataFrame]],
    x: str,
    axis: Mapping[str, Any],
    chance: float | None,
    looks: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return data and layout of one noise; x: the column along the panels."""
    title = "<br>".join(map(escape, textwrap.wrap(axis["title"], _LINE)))
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    of = of_table(panels[0][1])
    for number, (name, rows) in enumerate(panels):
        end = str(number + 1) if number else ""
        within = {"xref": f"x{end} domain", "yref": f"y{end} domain"}
        notes.append(within | {"text": escape(name), "showarrow": False, "x": 0.0, "y": 1.0})
        notes[-1] |= {"xanchor": "left", "yanchor": "bottom"}
        if chance is not None:
            line = {"width": 1, "dash": "dot"}
            ends = {"x0": 0, "x1": 1, "y0": chance, "y1": chance, "yref": f"y{end}"}
            shapes.append(within | ends | {"type": "line", "line": line})
        layout[f"xaxis{end}"] = {**axis, "title": {"text": title}, "zeroline": False}
        layout[f"yaxis{end}"] = {"zeroline": False}
        layout[f"yaxis{end}"] |= {"range": [0, 1.03]} if of is CLASSES else {"rangemode": "tozero"}
        layout[f"yaxis{end}"] |= {"title": {"text": of.axis}}
        for model in dict.fromkeys(map(str, rows["model"])):
            first = not any(trace["legendgroup"] == model for trace in data)
            place = {"xaxis": f"x{end}", "yaxis": f"y{end}", "showlegend": False}
            own = _traces(rows[rows["model"] == model], x, web_look(looks[model]), axis["type"])
            for trace in own:
                group = {"legendgroup": model, "offsetgroup": model}
                data.append({"type": "scatter", **group} | place | trace)
                if "text" in trace:  # the line stands for the model in the legend
                    data[-1]["showlegend"] = first
    layout |= {"annotations": notes, "shapes": shapes}
    if axis["type"] == "category":  # models side by side
        layout |= {"scattermode": "group", "scattergap": 0.4}
    return {"data": data, "layout": layout}


def _traces(
    rows: pd.DataFrame, x: str, look: tuple[str, str, str], kind: str
) -> list[dict[str, Any]]:
    """Return ribbon, clean accuracy, line and dots of a model in a panel."""
    colour, dash, symbol = look
    of = of_table(rows)
    rows = rows.sort_values(x, kind="stable")
    name = escape(str(rows["model"].iloc[0]), quote=False)

    def hover(text: str) -> dict[str, Any]:
        return {"hovertemplate": f"<b>{name}</b><br>{text}<extra></extra>"}

    words = [
        f"95% interval {interval(row.ci_low, row.ci_high, of.digits)}<br>n = {row.n}, "
        f"seeds: {row.seeds}{row.interval and f', interval over {row.interval}'}"
        for row in rows.itertuples()
    ]
    line: dict[str, Any] = {"x": _values(rows[x]), "y": _values(rows[of.score]), "text": words}
    line |= hover(f"{x} %{{x}}<br>{of.words} %{{y:{of.digits}}}<br>%{{text}}")
    line["mode"] = "lines+markers"
    line |= {"line": {"color": colour, "dash": dash, "width": WIDTH}}
    line |= {"marker": {"color": colour, "symbol": symbol, "size": 5}}
    traces = [line]
    known = rows[rows["ci_low"].notna() & rows["ci_high"].notna()]
    if kind in ("category", "log"):
        above = rows["ci_high"] - rows[of.score], rows[of.score] - rows["ci_low"]
        bars = dict(zip(("array", "arrayminus"), map(_values, above), strict=True))
        line["error_y"] = {"type": "data", "symmetric": False, "thickness": 1, **bars}
        line["mode"] = "markers" if kind == "category" else line["mode"]
    elif len(known):
        back = known[::-1]
        ends = pd.concat([known["ci_low"], back["ci_high"]])
        ribbon: dict[str, Any] = {"x": _values(pd.concat([known[x], back[x]])), "y": _values(ends)}
        ribbon |= {"mode": "lines", "fill": "toself", "fillcolor": colour + "2e"}
        traces.insert(0, ribbon | {"line": {"width": 0}, "hoverinfo": "skip"})
    clean = rows[of.clean].dropna()
    if len(clean):
        level = hover(f"clean {of.words} {share(clean.iloc[0], of.digits)}") | {
            "x": [line["x"][0], line["x"][-1]],
            "y": _values(clean.iloc[[0, 0]]),
            "mode": "lines",
            "line": {"color": colour, "dash": dash, "width": 0.8},
        }
        traces.insert(-1, level)
    seeds = rows.assign(**{of.score: rows["by_seed"].map(str.split)})[rows["seeds"] > 1]
    if len(seeds):
        seeds = seeds.explode(of.score)
        edge = {"color": "#ffffff", "width": 0.8}
        dots = hover(f"one training seed: %{{y:{of.digits}}}") | {
            "x": _values(seeds[x]),
            "y": _values(seeds[of.score]),
            "mode": "markers",
            "marker": {"color": colour, "size": 6, "line": edge},
        }
        traces.append(dots)
    return [{"name": name, **trace} for trace in traces]


def _values(column: pd.Series) -> list[Any]:
    """Return numbers to six digits, null if they are not known; categories by their names."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(str).to_list()
    values = column.to_numpy(dtype=np.float64)
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]
