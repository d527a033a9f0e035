"""The curves of a run as the interactive figure of the HTML page takes them."""

from typing import Any

import numpy as np
import pandas as pd

from robustssm.evaluations.reports.report_rows import noise_name
from robustssm.evaluations.results.cell_reader import MODE_LABEL

# Contrast of at least 3:1 against the white and the dark background of the page.
COLOURS = ("#2f7fc1", "#d55e00", "#0f8f6b", "#b65fa5", "#96700a", "#73787f", "#d0485c", "#5f7f1e")
DASHES = ("solid", "dash", "dot", "dashdot")
# The same as lengths on and off, for the samples of lines beside the names.
LENGTHS = ("", "6 3", "2 2", "6 2 2 2")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
_PANEL = ["noise", "inject", "mode_unit", "eps_unit", "clip"]


def looks(models: list[str]) -> list[dict[str, str]]:
    """Return the look of each model; of 32 models no two are alike."""
    colours, dashes = len(COLOURS), len(DASHES)
    return [
        {
            "name": model,
            "colour": COLOURS[k % colours],
            "dash": DASHES[(k // colours) % dashes],
            "lengths": LENGTHS[(k // colours) % dashes],
            "symbol": SYMBOLS[k % len(SYMBOLS)],
        }
        for k, model in enumerate(models)
    ]


def curve_data(curves: pd.DataFrame, chance: float | None) -> dict[str, Any]:
    """Return models, their looks and panels, one a noise, for JSON: no NaN, null instead.

    curves: of `metrics.over_seeds`, without the clean evaluation. A panel of several modes has a
    group a strength, over the mode; a panel of a single one has one group, over the strength.
    """
    models = list(dict.fromkeys(map(str, curves["model"]))) if len(curves) else []
    panels = []
    if len(curves):
        keys = [name for name in _PANEL if name in curves]
        for values, part in curves.groupby(keys, sort=False):
            row = dict(zip(keys, map(str, values), strict=True))
            panels.append(_panel(row, part, models))
    return {"chance": chance, "models": looks(models), "panels": panels}


def _panel(row: dict[str, str], part: pd.DataFrame, models: list[str]) -> dict[str, Any]:
    over_modes = len(part["mode"].unique()) > 1
    name = f"{noise_name(row['noise'], row.get('clip', ''))}, at {row['inject']}"
    unit = row["mode_unit"]
    if over_modes:
        axis = MODE_LABEL.get(unit, "mode")
        groups = [
            {"label": f"{eps:g} {row['eps_unit']}", "lines": _lines(own, "mode", models)}
            for eps, own in part.groupby("eps", sort=True)
        ]
    else:
        axis = f"eps ({row['eps_unit']})"
        mode = f"mode {part['mode'].iloc[0]:g}" if unit else "all strengths"
        groups = [{"label": mode, "lines": _lines(part, "eps", models)}]
    return {
        "label": name,
        "axis": axis,
        "x": "mode" if over_modes else "eps",
        # Strengths of one unit span decades; decibels are logarithms already.
        "log": bool(not over_modes and row["eps_unit"] != "snr-db" and (part["eps"] > 0).all()),
        "control": "strength (eps)" if over_modes else "at",
        "groups": groups,
    }


def _lines(part: pd.DataFrame, x: str, models: list[str]) -> list[dict[str, Any]]:
    place = {model: k for k, model in enumerate(models)}
    return [
        {
            "model": place[str(model)],
            "x": _values(own[x]),
            "y": _values(own["accuracy"]),
            "low": _values(own["ci_low"]),
            "high": _values(own["ci_high"]),
            "n": own["n"].astype(int).tolist(),
            "seeds": own["seeds"].astype(int).tolist(),
            "clean": _values(own["clean_accuracy"])[0],
        }
        for model, own in part.sort_values(x, kind="stable").groupby("model", sort=False)
    ]


def _values(column: pd.Series) -> list[float | None]:
    """Return numbers to six digits; null where there is none."""
    values = column.to_numpy(dtype=np.float64)
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]
