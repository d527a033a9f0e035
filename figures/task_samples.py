"""Samples of a task: images as images, series as lines, tokens as text."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from robustssm.figures.style import NOTE, PAGE, new_figure, style
from robustssm.storage.writing import write_atomically
from robustssm.targets import CLASSES
from robustssm.tasks import Split, Task

# Sizes of the vocabularies whose tokens are bytes, or one more than a byte and 0 padding.
BYTES = (256, 257)
_LINE = 78
_LINES = 4
# Images that each have a title; more are a sheet.
_TITLED = 25


def words(tokens: npt.NDArray[Any], vocabulary: int) -> str:
    """Return tokens (length,) as text, where they are bytes, maybe plus 1, else as numbers."""
    if vocabulary not in BYTES:
        return " ".join(map(str, tokens.tolist()))
    first = BYTES.index(vocabulary)
    content = bytes(token - first for token in tokens.tolist() if token >= first)
    shown = content.decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() else " " for c in shown)


def label_of(task: Task) -> str:
    """Return what a sample's answer is called."""
    return "label" if task.kind is CLASSES else "target"


def chosen(split: Split, show: int, label: int | None = None) -> Split:
    """Return the first samples of a split, of one class where a label is given."""
    if label is None:
        return split.first(show)
    return split.rows(np.flatnonzero(split.labels == label)[:show])


def data(task: Task, part: Split) -> pd.DataFrame:
    """Return one row per sample of `part`: sample_id, label, steps; lowest, highest, mean, rms.

    Of values the column `label` is `target`, the first one.

    The statistics are over the valid steps of all channels, NaN of tokens; `start` is the first
    tokens as text, empty where inputs are no tokens.
    """
    full = np.full(len(part), task.length)
    lengths = full if part.lengths is None else part.lengths
    targets = part.labels.reshape(len(part), -1)[:, 0]
    frame = pd.DataFrame({"sample_id": part.sample_id, label_of(task): targets, "steps": lengths})
    if task.tokens is not None:
        frame[["lowest", "highest", "mean", "rms"]] = np.nan
        pairs = zip(part.inputs, lengths, strict=True)
        frame["start"] = [words(x[: min(n, _LINE * _LINES)], task.tokens) for x, n in pairs]
        return frame
    there = (np.arange(task.length) < lengths[:, None])[..., None]
    inputs = part.inputs.astype(np.float64)
    count = lengths * task.channels
    frame["lowest"] = inputs.min(axis=(1, 2), where=there, initial=np.inf)
    frame["highest"] = inputs.max(axis=(1, 2), where=there, initial=-np.inf)
    frame["mean"] = np.sum(inputs, axis=(1, 2), where=there) / count
    frame["rms"] = np.sqrt(np.sum(inputs**2, axis=(1, 2), where=there) / count)
    return frame.assign(start="")


def draw(
    task: Task, part: Split, frame: pd.DataFrame, axes: Sequence[Axes], titles: bool = True
) -> None:
    """Draw the samples of `data`, one a panel."""
    for panel, x, (_, row) in zip(axes, part.inputs, frame.iterrows(), strict=True):
        if titles:
            gap = "\n" if task.image is not None and task.tokens is None else ", "
            name = label_of(task)
            value = row[name] if name == "label" else f"{row[name]:.4g}"
            title = f"sample {row['sample_id']}{gap}{name} {value}"
            panel.set_title(title, loc="left", fontsize=NOTE)
        if task.tokens is not None:
            text = row["start"].replace("$", r"\$")
            lines = [text[k : k + _LINE] for k in range(0, len(text), _LINE)][:_LINES]
            panel.text(0.0, 0.9, "\n".join(lines), va="top", family="monospace", fontsize=NOTE)
            panel.set_axis_off()
        elif task.image is not None and task.channels in (1, 3):
            _image(panel, x, task.image)
        else:
            panel.plot(x[: row["steps"]], linewidth=0.7)
            panel.set(xlim=(0, max(task.length - 1, 1)), xlabel="step")
            panel.tick_params(length=2, pad=1)


def _image(panel: Axes, x: npt.NDArray[Any], image: tuple[int, int]) -> None:
    """Draw the part of a sequence that is an image; steps may follow it."""
    rows, columns = image
    pixels = x[: rows * columns].reshape(rows, columns, -1)
    low, high = min(0.0, float(pixels.min())), max(1.0, float(pixels.max()))
    if pixels.shape[2] == 3:
        panel.imshow((pixels - low) / (high - low))
    else:
        panel.imshow(pixels[..., 0], cmap="gray", vmin=low, vmax=high)
    panel.set(xticks=[], yticks=[])


def save_samples(task: Task, part: Split, frame: pd.DataFrame, path: Path) -> None:
    """Draw the samples of `data` into a PNG file; many images as a sheet without titles."""
    pictures = task.image is not None and task.tokens is None
    sheet = pictures and len(frame) > _TITLED
    columns = min(len(frame), 20 if sheet else 5) if pictures else 1
    rows = -(-len(frame) // columns)
    width = 2.0 * PAGE if sheet else PAGE
    height = width / columns if sheet else 1.6 if pictures else 0.95
    with style():
        figure, panels = new_figure(width, height * rows + 0.3, columns, rows)
        draw(task, part, frame, panels[: len(frame)], titles=not sheet)
        for panel in panels[len(frame) :]:
            panel.set_axis_off()
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": "robustssm"})
    write_atomically(path, stream.getvalue())
