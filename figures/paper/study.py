"""The study of docs/protocol.md: falls by task and model, and how well they are predicted."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from robustssm.evaluations.paper.fig3_accuracy import mean_accuracies
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.statistics.intervals import in_words, student
from robustssm.evaluations.study import design
from robustssm.evaluations.study.prediction import PREDICTORS, calibration, predicted, scores
from robustssm.evaluations.study.questions import joined, measured
from robustssm.figures.looks import look
from robustssm.figures.paper.saving import Drawings, Drawn, mean_with_bars
from robustssm.figures.style import Look, legend, new_figure

# How each prediction is drawn, in no model's colours: what needs weights is filled.
_MARKS: dict[str, Look] = {
    "response": {"color": "#1B1B1B", "marker": "o"},
    "finite": {"color": "#3F6FA3", "marker": "s"},
    "gradient": {"color": "#4E7A27", "marker": "^"},
    "low": {"color": "#7D7D7D", "marker": "x"},
    "others": {"color": "#A0522D", "marker": "+"},
}


def by_condition(tables: Tables) -> pd.DataFrame:
    """Return accuracies by condition, task and model, over seeds.

    Conditions: clean, at the spike (layers, eps 1), at the worst low mode of the input (eps 0.3).
    """
    m, known = measured(tables), joined(tables, "-accuracies")
    samples = known[known["variant"] == ""].groupby("task")["n"].first()
    falls = {"clean": {}, "spike, eps 1": m.spike, "worst low mode, eps 0.3": m.low}
    rows = [
        [design.label(task), init, condition, samples[task], value]
        for condition, by_task in falls.items()
        for task, clean in m.clean.items()
        for init, values in zip(m.models, clean - by_task.get(task, 0.0), strict=True)
        for value in values
    ]
    by = ["task", "init", "condition"]
    return mean_accuracies(pd.DataFrame(rows, columns=[*by, "n", "accuracy"]), by)


def correlations(tables: Tables) -> pd.DataFrame:
    """Return the mean rank correlation over models by task, place and prediction, over seeds."""
    table = scores(predicted(joined(tables, "-accuracies"), joined(tables, "-weights")))
    each = table.groupby(["task", "place", "seed"], sort=False)[list(PREDICTORS)].mean()
    rows = []
    for (task, place), part in each.groupby(["task", "place"], sort=False):
        for name in PREDICTORS:
            values = part[name].dropna()
            if len(values):
                low, high = np.clip(student(values), -1.0, 1.0)
                about = [design.label(task), place, name, len(values)]
                rows.append([*about, values.mean(), low, high, in_words(values)])
    columns = ["task", "place", "prediction", "seeds", "accuracy", "ci_low", "ci_high", "by_seed"]
    return pd.DataFrame(rows, columns=columns)


def drawn(tables: Tables) -> Drawings:
    """Yield accuracies and rank correlations of predictions by task; errors of falls as data."""
    frame = by_condition(tables)
    tasks = list(dict.fromkeys(frame["task"]))
    names = [re.sub("(?<=[a-z])(?=[A-Z])", "\n", task) for task in tasks]
    looks = {init: look(init) for init in frame["init"].unique()}
    figure, axes = new_figure(height=7.0, rows=3, sharex=True)
    for panel, (condition, rows) in zip(axes, frame.groupby("condition", sort=False), strict=True):
        _by_task(panel, rows.groupby("init", sort=False), tasks, looks)
        panel.set(title=str(condition), ylabel="accuracy", ylim=(0.0, 1.03))
    axes[-1].set_xticks(np.arange(len(tasks)), names)
    legend(figure, axes)
    yield Drawn("study-accuracy", figure, frame, _about(frame, "Tasks by length."))
    frame = correlations(tables)
    places = frame.groupby("place", sort=False)
    figure, axes = new_figure(height=5.0, rows=len(places), sharex=True)
    for panel, (where, rows) in zip(axes, places, strict=True):
        _by_task(panel, rows.groupby("prediction", sort=False), tasks, _MARKS)
        panel.axhline(0.0, color="0.5", linewidth=0.9, linestyle=":")
        panel.set(title=f"noise at {where}", ylabel="rank correlation", ylim=(-1.0, 1.0))
    axes[-1].set_xticks(np.arange(len(tasks)), names)
    legend(figure, axes)
    text = "Over frequencies, mean over models; low and others are guesses without weights."
    yield Drawn("study-prediction", figure, frame, _about(frame, text))
    table = predicted(joined(tables, "-accuracies"), joined(tables, "-weights"))
    errors = calibration(table)
    yield Drawn("study-calibration", None, errors.assign(task=errors["task"].map(design.label)))


def _by_task(
    panel: Axes, groups: Iterable[Any], tasks: list[str], looks: Mapping[str, Look]
) -> None:
    """Draw the means of each group of rows over the tasks, one beside the other."""
    for number, (name, rows) in enumerate(groups):
        place = rows["task"].map(tasks.index) + (number - (len(looks) - 1) / 2) * 0.12
        style = looks[name] | {"linestyle": ""}
        mean_with_bars(panel, rows.assign(place=place), "place", style, label=name)
    panel.set_xlim(-0.5, len(tasks) - 0.5)


def _about(frame: pd.DataFrame, extra: str) -> str:
    low, high = int(frame["seeds"].min()), int(frame["seeds"].max())
    seeds = str(low) if low == high else f"{low} to {high}"
    return f"{seeds} training seeds (dots), 95 % Student intervals. {extra}"
