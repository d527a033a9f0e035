"""The study of docs/protocol.md: falls by task and model, and how well they are predicted."""

import numpy as np
import pandas as pd

from robustssm.evaluations.paper.fig3_accuracy import mean_accuracies
from robustssm.evaluations.paper.reproduction import Tables
from robustssm.evaluations.statistics.intervals import in_words, student
from robustssm.evaluations.study import design
from robustssm.evaluations.study.prediction import PREDICTORS, falls, predicted, scores
from robustssm.evaluations.study.questions import joined
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


def at_spike(tables: Tables) -> pd.DataFrame:
    """Return accuracies, clean and at the spike, eps 1, by task and model, over seeds."""
    noisy = falls(joined(tables, "-accuracies"))
    noisy = noisy[(noisy["variant"] == "") & (noisy["place"] == "layers")]
    noisy = noisy[(noisy["at"] == 1.0) & (noisy["eps"] == design.HIGH)]
    both = pd.concat(
        [
            noisy.assign(condition="clean", accuracy=noisy["clean"]),
            noisy.assign(condition="spike, eps 1"),
        ]
    )
    return mean_accuracies(both, ["task", "init", "condition"])


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
                about = {"task": task, "place": place, "prediction": name, "seeds": len(values)}
                ends = {"ci_low": low, "ci_high": high, "by_seed": in_words(values)}
                rows.append(about | {"accuracy": values.mean()} | ends)
    return pd.DataFrame(rows)


def drawn(tables: Tables) -> Drawings:
    """Yield accuracies by task, and rank correlations of predictions by task."""
    frame = at_spike(tables)
    tasks = list(dict.fromkeys(frame["task"]))
    names = [design.label(task) for task in tasks]
    figure, axes = new_figure(height=3.4, columns=2)
    for panel, (condition, rows) in zip(axes, frame.groupby("condition"), strict=True):
        models = list(dict.fromkeys(rows["init"]))
        for number, init in enumerate(models):
            part = rows[rows["init"] == init]
            shift = (number - (len(models) - 1) / 2) * 0.1
            place = part["task"].map(tasks.index) + shift
            style = look(str(init)) | {"linestyle": ""}
            mean_with_bars(panel, part.assign(place=place), "place", style, label=str(init))
        panel.set_xticks(np.arange(len(tasks)), names, rotation=40, ha="right")
        ends = (-0.5, len(tasks) - 0.5)
        panel.set(title=str(condition), ylabel="accuracy", ylim=(0.0, 1.0), xlim=ends)
    legend(figure, axes)
    yield Drawn("study-spike", figure, frame, _about(frame, "Tasks by length."))
    frame = correlations(tables)
    places = list(dict.fromkeys(frame["place"]))
    figure, axes = new_figure(height=3.4, columns=len(places))
    for panel, where in zip(axes, places, strict=True):
        rows = frame[frame["place"] == where]
        for number, (name, part) in enumerate(rows.groupby("prediction", sort=False)):
            place = part["task"].map(tasks.index) + (number - 2) * 0.12
            style = {"linestyle": ""} | _MARKS[str(name)]
            mean_with_bars(panel, part.assign(place=place), "place", style, label=str(name))
        panel.set_xticks(np.arange(len(tasks)), names, rotation=40, ha="right")
        panel.axhline(0.0, color="0.5", linewidth=0.9, linestyle=":")
        panel.set(title=f"noise at {where}", ylabel="rank correlation")
        panel.set(xlim=(-0.5, len(tasks) - 0.5), ylim=(-1.0, 1.0))
    legend(figure, axes)
    text = "Over frequencies, mean over models; low and others are guesses without weights."
    yield Drawn("study-prediction", figure, frame, _about(frame, text))


def _about(frame: pd.DataFrame, extra: str) -> str:
    low, high = int(frame["seeds"].min()), int(frame["seeds"].max())
    seeds = str(low) if low == high else f"{low} to {high}"
    return f"{seeds} training seeds (dots), 95 % Student intervals. {extra}"
