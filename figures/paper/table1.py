"""Table 1 of arXiv 2310.01698, one panel per task: quoted accuracies hollow, measured filled."""

from matplotlib.lines import Line2D

from robustssm.evaluations.paper.reproduction import Tables
from robustssm.figures.paper.saving import Drawings, Drawn
from robustssm.figures.style import key, panels

COLUMNS = 3
GREY, BLUE = "0.35", "#0173B2"


def drawn(tables: Tables) -> Drawings:
    """Yield table1."""
    frame = tables["quoted"]
    models = list(dict.fromkeys(frame["model"]))[::-1]
    place = {model: k for k, model in enumerate(models)}
    tasks = list(dict.fromkeys(frame["task"]))
    figure, axes = panels(len(tasks), COLUMNS, 1.75, 1.2)
    for panel, task in zip(axes, tasks, strict=True):
        rows = frame[frame["task"] == task]
        y = rows["model"].map(place)
        panel.plot(rows["published"], y, "o", mfc="white", mec=GREY, markersize=4.5)
        panel.plot(rows["measured"], y, "o", color=BLUE, markersize=4.5)
        grid = panel.get_subplotspec()
        first = grid is not None and grid.is_first_col()
        panel.set_yticks(range(len(models)), models if first else [])
        panel.set(title=task, xlabel="accuracy (%)", ylim=(-0.6, len(models) - 0.4))
    handles = [
        Line2D([], [], linestyle="", marker="o", mfc="white", mec=GREY),
        Line2D([], [], linestyle="", marker="o", color=BLUE),
    ]
    count = int(frame["measured"].notna().sum())
    measured = f"measured by this harness ({count or 'none yet'})"
    labels = ["quoted from publications: one run each, no spread", measured]
    key(figure, dict(zip(labels, handles, strict=True)), 2)
    yield Drawn("table1", figure, frame)
