"""`robustssm models import`: a checkpoint from elsewhere made into a native file."""

from pathlib import Path

import click

from robustssm.commands import terminal
from robustssm.commands.common import output, shared
from robustssm.errors import UsageError


@click.command("import")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@output(
    required=True,
    suffix=".safetensors",
    help="Native file to write (.safetensors), new or replaced.",
)
@shared("settings")
@click.option(
    "-d", "--data", "task", help="Task that it was trained on; measures the clean accuracy."
)
@click.option("--train-seed", default=0, type=click.IntRange(0), help="Seed on the card.")
def import_checkpoint(
    checkpoint: Path, output: Path, settings: tuple[str, ...], task: str | None, train_seed: int
) -> None:
    """Convert a foreign checkpoint into a native file.

    CHECKPOINT: a Lightning .ckpt, .pth or state dict of state-spaces/s4 (v2, v3, v4, example.py),
    S4-PTD, HOPE or FreqBias, of DSS, of S5, S5-PTD or LRU (flax msgpack or orbax), s5-pytorch,
    Mamba or Mamba-2, or an .npz of a LinOSS layer. Missing settings are requested by name; what
    is assumed is noted. Nothing in it is executed.

    \b
    Examples:
      robustssm models import run/last.ckpt -o mine.safetensors
      robustssm models import orbax -o b.safetensors --set defaults=original

    Exit codes: 0 written; 2 a setting is missing or wrong; 4 the file is rejected.
    """
    from dataclasses import replace

    import torch

    from robustssm._version import __version__
    from robustssm.checkpoints import save_checkpoint
    from robustssm.checkpoints.model_names import resolve
    from robustssm.checkpoints.native import is_native
    from robustssm.evaluations.sweep.planning import check_fit
    from robustssm.networks.inference import accuracy
    from robustssm.storage.writing import prepare
    from robustssm.tasks import load_task

    if is_native(checkpoint):
        raise UsageError(f"import: {checkpoint} is a native file already; use it as it is")
    prepare(output)
    (ref,) = resolve(str(checkpoint), settings)
    if ref.runs_code:
        raise UsageError(
            f"import: {checkpoint} is code, which no native file holds; use it as it is, "
            "module.py:function@weights"
        )
    loaded = replace(ref, train_seed=train_seed).load()
    options = " ".join(f" --set {setting}" for setting in settings)
    card = replace(
        loaded.card,
        command=f"robustssm models import {checkpoint.name} -o {output.name}{options}",
        versions={"robustssm": __version__, "torch": torch.__version__},
    )
    if task is not None:
        data = load_task(task)
        check_fit(str(ref), card, loaded.network.tokens, data)
        split = data.splits["test"]
        card = card.measured(data.kind, accuracy(loaded.network, split, data.kind))
        card = replace(card, task=data.spec, task_hash=data.content_hash, n_test=len(split))
    save_checkpoint(output, loaded.network, card)
    terminal.note(*filter(None, (*loaded.notes, card.against_stored(card.clean_accuracy))))
    clean = "" if card.clean_accuracy is None else f", clean accuracy {card.clean_accuracy:.4f}"
    source = card.training["source"]
    terminal.say(f"{output}: {source}, content {loaded.content_hash[:12]}{clean}")
