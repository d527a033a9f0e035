"""Table 1 of arXiv 2310.01698, one panel per task: quoted accuracies hollow, measured filled."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.lines import Line2D

from robustssm.figures.paper.panels import panels
from robustssm.figures.paper.saving import save_four
from robustssm.figures.style import style

COMMAND = "robustssm reproduce table1"
COLUMNS = 3
GREY, BLUE = "0.35", "#024A73"


def draw_all(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write table1 (pdf, png, csv, svg); return the paths."""
    frame = tables["quoted"]
    models = list(dict.fromkeys(frame["model"]))[::-1]
    place = {model: k for k, model in enumerate(models)}
    tasks = list(dict.fromkeys(frame["task"]))
    with style():
        figure, axes = panels(len(tasks), COLUMNS, 1.75, 1.2)
        for number, (panel, task) in enumerate(zip(axes, tasks, strict=True)):
            rows = frame[frame["task"] == task]
            y = rows["model"].map(place)
            panel.plot(rows["published"], y, "o", mfc="white", mec=GREY, markersize=4.5)
            panel.plot(rows["measured"], y, "o", color=BLUE, markersize=4.5)
            panel.set_title(task)
            panel.set_yticks(range(len(models)), models if number % COLUMNS == 0 else [])
            panel.set_ylim(-0.6, len(models) - 0.4)
            if number >= len(tasks) - COLUMNS:
                panel.set_xlabel("accuracy (%)")
        handles = [
            Line2D([], [], linestyle="", marker="o", mfc="white", mec=GREY),
            Line2D([], [], linestyle="", marker="o", color=BLUE),
        ]
        count = int(frame["measured"].notna().sum())
        measured = f"measured by this harness ({count or 'none yet'})"
        labels = ["quoted from publications: one run each, no spread", measured]
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return save_four(figure, frame, folder / "table1", COMMAND)
