"""`robustssm ls tasks`: the tasks there are, and what one of them is, with samples of it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustssm.commands import completion, terminal
from robustssm.commands.common import choice, output, shared
from robustssm.errors import UsageError
from robustssm.plain_text import first_line

if TYPE_CHECKING:
    from robustssm.tasks import Task

_SPLITS = ("train", "validation", "test")


@click.command("tasks")
@click.argument("name", required=False, shell_complete=completion.tasks)
@click.option(
    "--show", default=5, type=click.IntRange(0, 400), metavar="N", help="Number of samples."
)
@click.option("--label", type=int, help="Show samples of this class alone.")
@choice("--split", of=_SPLITS, default="test", help="Which samples.")
@output(suffix=".png", help="PNG file of the samples: images, series as lines, tokens as text.")
@shared("style")
def tasks(
    name: str | None, show: int, label: int | None, split: str, output: Path | None, style: str
) -> None:
    """List the tasks, or describe one and show samples.

    Without NAME: the tasks and their parameters, those in brackets optional; those with PATH read
    your own files, digits comes with scikit-learn, the others are generated. NAME: a task with
    its parameters, as they are listed, or file:PATH (docs/own-data.md).
    chance: accuracy of the best constant answer; mean, std: of the training inputs, a channel each;
    hash: of all splits.

    \b
    Examples:
      robustssm ls tasks
      robustssm ls tasks digits
      robustssm ls tasks digits:side=32 --show 10 -o digits.png
      robustssm ls tasks digits --show 4 -o digits.png
      robustssm ls tasks digits --show 200 --label 1 -o ones.png
      robustssm ls tasks listops --format json

    Exit codes: 0 shown; 2 usage; 4 the files are not what they should be.
    """
    from robustssm.figures.task_samples import chosen, data, save_samples
    from robustssm.storage.writing import prepare
    from robustssm.tasks import load_task

    if name is None:
        _list(style)
        return
    if output is not None:
        if not show:
            raise UsageError(f"task: --output {output} with --show 0, expected 1 or more")
        prepare(output)
    loaded = load_task(name)
    if show and not len(loaded.splits[split]):
        raise UsageError(f"task {name}: the {split} split is empty; choose another, or --show 0")
    if label is not None:
        loaded.of_classes("task --label")
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
        row |= {key: int(row[key]) for key in ("sample_id", "label", "steps") if key in row}
    facts = {key: _shown(v) for key, v in card.items() if v is not None}
    parts = terminal.facts(loaded.spec, facts)
    if rows:
        columns = [key for key in rows[0] if key != "start"]
        if loaded.tokens is not None:
            columns = [key for key in rows[0] if key not in ("lowest", "highest", "mean", "rms")]
        shown = [{key: _shown(row[key]) for key in columns} for row in rows]
        parts.append(terminal.Table(f"First samples, {split}", shown))
    content = {"schema": 1, "task": card, "split": split, "samples": rows}
    terminal.show(style, *parts, content=content, rows=rows)
    if output is not None and frame is not None:
        save_samples(loaded, part, frame, output)
        terminal.note(f"written: {output}")


def _list(style: str) -> None:
    from robustssm.tasks import TASKS
    from robustssm.tasks.registry import spelling

    makers, problems = TASKS.working()
    terminal.note(*problems)
    about = {name: sys.modules[maker.__module__].__doc__ for name, maker in makers.items()}
    rows = [{"task": spelling(name), "what": first_line(about[name])} for name in makers]
    words = "{task}\n    {what}.".format_map
    terminal.show(style, terminal.Table("Tasks", rows, words=words))


def _card(loaded: "Task") -> dict[str, Any]:
    tokens = loaded.tokens is not None
    lengths = {name: part.lengths for name, part in loaded.splits.items()}
    shortest = [int(part.min()) for part in lengths.values() if part is not None and len(part)]
    return {
        "spec": loaded.spec,
        "layout": "tokens" if tokens else "image" if loaded.image else "series",
        **({"target": loaded.kind.name} if loaded.kind.name else {}),
        "outputs" if loaded.kind.name else "classes": loaded.classes,
        "names": ", ".join(loaded.names) or None,
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
