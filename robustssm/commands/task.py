"""`robustssm task`: what a task is, and some samples of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import terminal
from robustssm.commands.common import choice, output
from robustssm.errors import UsageError

if TYPE_CHECKING:
    from robustssm.tasks import Task

_SPLITS = ("train", "validation", "test")


@click.command("task")
@click.argument("name")
@click.option("--show", default=5, type=click.IntRange(0, 400), help="Samples.")
@click.option("--label", type=int, help="Show samples of this class alone.")
@choice("--split", of=_SPLITS, default="test")
@output(help="PNG file of the samples: images, series as lines, tokens as text.")
@choice("--format", "style", of=("table", "json"))
def task(
    name: str, show: int, label: int | None, split: str, output: Path | None, style: str
) -> None:
    """Say what a task is, and show samples of it.

    NAME: a task with its parameters, as `robustssm ls tasks` spells them, or file:samples.npz.
    chance: accuracy of the best constant answer; mean, std: of the training inputs, a channel each;
    hash: of all splits.

    \b
    Examples:
      robustssm task digits
      robustssm task digits:side=32 --show 10 -o digits.png
      robustssm task pathfinder --show 4 -o pathfinder.png
      robustssm task pathfinder --show 200 --label 1 -o connected.png
      robustssm task listops --format json

    Exit codes: 0 shown; 2 usage; 4 the files are not what they should be.
    """
    from robustssm.figures.task_samples import chosen, data, save_samples
    from robustssm.storage.writing import prepare
    from robustssm.tasks import load_task

    if output is not None:
        if output.suffix.lower() != ".png" or not show:
            raise UsageError(f"task: --output {output} with --show {show}, expected a .png, and 1")
        prepare(output)
    loaded = load_task(name)
    if show and not len(loaded.splits[split]):
        raise UsageError(f"task {name}: the {split} split is empty; choose another, or --show 0")
    part = chosen(loaded.splits[split], show, label)
    if show and not len(part):
        raise UsageError(
            f"task {name}: the {split} split has no sample of label {label}, expected 0 to "
            f"{loaded.classes - 1}"
        )
    card = _card(loaded)
    frame = data(loaded, part) if show else None
    rows: list[dict[str, Any]] = [] if frame is None else frame.to_dict("records")
    for row in rows:
        row |= {key: int(row[key]) for key in ("sample_id", "label", "steps")}
    facts = [{"": key, "value": _shown(v)} for key, v in card.items() if v is not None]
    parts = [terminal.Table(loaded.spec, facts)]
    if rows:
        columns = [key for key in rows[0] if key != "start"]
        if loaded.tokens is not None:
            columns = ["sample_id", "label", "steps", "start"]
        shown = [{key: _shown(row[key]) for key in columns} for row in rows]
        parts.append(terminal.Table(f"First samples, {split}", shown))
    content = {"schema": 1, "task": card, "split": split, "samples": rows}
    terminal.show(style, *parts, content=content)
    if output is not None and frame is not None:
        save_samples(loaded, part, frame, output)
        terminal.note(f"written: {output}")


def _card(loaded: "Task") -> dict[str, Any]:
    """Return the facts of a task by their names."""
    tokens = loaded.tokens is not None
    lengths = {name: part.lengths for name, part in loaded.splits.items()}
    shortest = [int(part.min()) for part in lengths.values() if part is not None and len(part)]
    return {
        "spec": loaded.spec,
        "layout": "tokens" if tokens else "image" if loaded.image else "series",
        "classes": loaded.classes,
        **{name: len(loaded.splits[name]) for name in _SPLITS},
        "length": loaded.length,
        "shortest": min(shortest) if shortest else loaded.length,
        "channels": loaded.channels,
        "tokens": loaded.tokens,
        "image": list(loaded.image) if loaded.image else None,
        "rate": loaded.rate,
        "chance": loaded.chance,
        "mean": None if tokens else loaded.mean.tolist(),
        "std": None if tokens else loaded.std.tolist(),
        "hash": loaded.content_hash,
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
