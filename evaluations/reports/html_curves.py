"""The curves of a run as one plotly figure: a menu of conditions, a legend of models."""

import textwrap
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from robustssm.evaluations.reports.report_rows import interval, noise_name, share
from robustssm.evaluations.results.cell_reader import MODE_LABEL

# Looks of models as matplotlib has them, by name: `robustssm.figures.points.model_looks`.
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


def curve_figure(curves: pd.DataFrame, chance: float | None, looks: Looks) -> dict[str, Any]:
    """Return the figure for `Plotly.newPlot`: data, layout and options, no NaN, null instead.

    curves: of `summary.over_seeds`, without the clean evaluation, not empty. Each model has a
    ribbon (its intervals), a line and dots (its single training seeds, where there are several), in
    this order; an entry of the menu gives them the values of one noise: over the modes at one
    strength, or over the strengths if there is one mode. It leaves alone which models the legend
    shows. looks: of the figures, so that a model is drawn here as it is there.
    """
    models = list(dict.fromkeys(map(str, curves["model"])))
    buttons, noises = zip(*_buttons(curves, models), strict=True)
    # The figure begins with the strongest eps of the first noise.
    active = noises.count(noises[0]) - 1
    columns, axis = buttons[active]["args"]
    traces: list[dict[str, Any]] = []
    lines = looks(curves)
    for model in models:
        colour, dash, symbol = web_look(lines[model])
        name = escape(model, quote=False)
        common = {"type": "scatter", "name": name, "legendgroup": name}
        ribbon: dict[str, Any] = {"mode": "lines", "fill": "toself", "fillcolor": colour + "2e"}
        ribbon |= {"line": {"width": 1, "color": colour + "59"}}
        traces.append(common | ribbon | {"hoverinfo": "skip", "showlegend": False})
        line: dict[str, Any] = {"mode": "lines+markers", "hovertemplate": "%{text}<extra></extra>"}
        line |= {"line": {"color": colour, "dash": dash, "width": WIDTH}}
        traces.append(common | line | {"marker": {"color": colour, "symbol": symbol}})
        dots: dict[str, Any] = {"mode": "markers", "showlegend": False}
        dots |= {"hovertemplate": f"<b>{name}</b><br>one training seed: %{{y:.3f}}<extra></extra>"}
        edge = {"color": "#ffffff", "width": 0.8}
        traces.append(common | dots | {"marker": {"color": colour, "size": 6, "line": edge}})
    for k, trace in enumerate(traces):
        trace |= {name: column[k] for name, column in columns.items()}
    above = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    menu = above | {"active": active, "pad": {"b": 42}, "buttons": buttons}
    every = above | {"type": "buttons", "direction": "right", "pad": {"b": 6}}
    shown = {"all models": True, "none": "legendonly"}
    every |= {"showactive": False} | {
        "buttons": [
            {"label": label, "method": "restyle", "args": [{"visible": visible}]}
            for label, visible in shown.items()
        ]
    }
    dotted: dict[str, Any] = {"type": "line", "xref": "paper", "x0": 0, "x1": 1}
    dotted |= {"y0": chance, "y1": chance, "line": {"width": 1, "dash": "dot"}}
    layout = {
        "height": 460 + 22 * (len(models) // 3),
        "margin": {"l": 50, "r": 15, "t": 95, "b": 50},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": -0.25},
        "xaxis": {
            "title": {"text": axis["xaxis.title.text"]},
            "type": axis["xaxis.type"],
            "zeroline": False,
            "automargin": True,
        },
        "yaxis": {"zeroline": False, "title": {"text": "accuracy"}, "range": [0, 1.03]},
        "updatemenus": [menu, every],
        "shapes": [] if chance is None else [dotted],
    }
    options = {"responsive": True, "displayModeBar": False}
    return {"data": traces, "layout": layout, "config": options}


def _buttons(curves: pd.DataFrame, models: list[str]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the entries of the menu, weak to strong, and the number of each one's noise."""
    keys = [name for name in _PANEL if name in curves]
    for number, (values, part) in enumerate(curves.groupby(keys, sort=False)):
        row = dict(zip(keys, map(str, values), strict=True))
        name = f"{noise_name(row['noise'], row.get('clip', ''))}, at {row['inject']}"
        unit = row["eps_unit"]
        if len(part["mode"].unique()) > 1:
            x, title, log = "mode", MODE_LABEL.get(row["mode_unit"], "mode"), False
            panels = [(f"{name}, eps {eps:g} {unit}", rows) for eps, rows in part.groupby("eps")]
        else:
            # Strengths of one unit span decades; decibels are logarithms already.
            log = bool(unit != "snr-db" and (part["eps"] > 0).all())
            at = f", mode {part['mode'].iloc[0]:g}" if row["mode_unit"] else ""
            x, title, panels = "eps", f"eps ({unit})", [(f"{name}{at}, all strengths", part)]
        axis = {
            "xaxis.title.text": "<br>".join(map(escape, textwrap.wrap(title, _LINE))),
            "xaxis.type": "log" if log else "linear",
        }
        for label, rows in panels:
            columns: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
            for model in models:
                for key, values_ in _model(rows[rows["model"] == model], x).items():
                    columns[key] += values_
            yield (
                {"label": escape(label, quote=False), "method": "update", "args": [columns, axis]},
                number,
            )


def _model(rows: pd.DataFrame, x: str) -> dict[str, list[Any]]:
    """Return x, y and hover texts of a model's ribbon, line and dots."""
    rows = rows.sort_values(x, kind="stable")
    known = rows[rows["ci_low"].notna() & rows["ci_high"].notna()]
    back = known[::-1]
    text = [
        f"<b>{escape(str(row.model), quote=False)}</b><br>{x} {getattr(row, x):g}<br>accuracy "
        f"{share(row.accuracy)}<br>95% interval {interval(row.ci_low, row.ci_high)}<br>"
        f"n = {row.n}, seeds: {row.seeds}{row.interval and f', interval over {row.interval}'}"
        for row in rows.itertuples()
    ]
    seeds = rows.assign(accuracy=rows["by_seed"].map(str.split))[rows["seeds"] > 1]
    seeds = seeds.explode("accuracy")
    ends = pd.concat([known["ci_low"], back["ci_high"]])
    return {
        "x": [_values(pd.concat([known[x], back[x]])), _values(rows[x]), _values(seeds[x])],
        "y": [_values(ends), _values(rows["accuracy"]), _values(seeds["accuracy"])],
        "text": [[], text, []],
    }


def _values(column: pd.Series) -> list[float | None]:
    """Return numbers to six digits; null if they are not known."""
    values = column.to_numpy(dtype=np.float64)
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]
