"""`robustssm train`: one checkpoint."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from robustssm.commands.common import PROGRESS
from robustssm.errors import UsageError


def _architecture_options(command: Any) -> Any:
    """Add the options of Architecture and TrainingConfig to a command."""
    options = [
        click.option("-n", "--state-size", "n", default=32, show_default=True),
        click.option("--d-model", default=32, show_default=True, help="Channels."),
        click.option("--layers", default=3, show_default=True),
        click.option(
            "--norm", type=click.Choice(["layer", "batch"]), default="layer", show_default=True
        ),
        click.option("--prenorm/--postnorm", default=False, show_default=True),
        click.option("--residual/--no-residual", default=False, show_default=True),
        click.option(
            "--feedthrough/--no-feedthrough",
            default=False,
            show_default=True,
            help="D u in every SSM layer.",
        ),
        click.option(
            "--bidirectional/--causal",
            default=False,
            show_default=True,
            help="A second SSM layer beside each, which runs backwards.",
        ),
        click.option(
            "--pooling", type=click.Choice(["mean", "last"]), default="mean", show_default=True
        ),
        click.option(
            "--discretization",
            type=click.Choice(["default", "zoh", "bilinear"]),
            default="default",
            show_default=True,
            help="default: bilinear for s4.",
        ),
        click.option("--dropout", default=0.1, show_default=True),
        click.option("--epochs", default=30, show_default=True),
        click.option("--batch-size", default=64, show_default=True),
        click.option("--lr", default=1e-2, show_default=True),
        click.option("--ssm-lr", default=1e-3, show_default=True, help="Rate of A, B, P, dt."),
        click.option("--weight-decay", default=0.05, show_default=True),
        click.option(
            "--augment",
            default="",
            help="Perturbation of the training inputs, as in 'BandNoise(1, 16, eps=0.3)'; its "
            "draws are new every epoch.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--init", required=True, help="Initialisation, as in s4d or s4ptd-rank1:tau=0.05.")
@click.option("-d", "--data", "task", default="digits", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint to write (.safetensors).",
)
@click.option("--progress", type=PROGRESS, default="auto", show_default=True)
@_architecture_options
def train(
    init: str,
    task: str,
    seed: int,
    output: Path,
    progress: str,
    epochs: int,
    batch_size: int,
    lr: float,
    ssm_lr: float,
    weight_decay: float,
    augment: str,
    **shape: Any,
) -> None:
    """Train a checkpoint; an interrupted run goes on where it stopped.

    \b
    Examples:
      robustssm train --init s4d --seed 0 --epochs 2 --output s4d.safetensors
      robustssm train --init s4d --epochs 2 --augment 'BandNoise(1, 16, eps=0.3)' -o b.safetensors
    """
    from robustssm import ui
    from robustssm.attacks.augmentation import Augmentation
    from robustssm.network import Architecture
    from robustssm.tasks import load_task
    from robustssm.training import TrainingConfig
    from robustssm.training import train as run_training

    if output.exists():
        raise UsageError(f"train: {output} exists; name another file, or delete it")
    data = load_task(task)
    architecture = Architecture.for_task(init, data, **shape)
    config = TrainingConfig(epochs, batch_size, lr, ssm_lr, weight_decay, seed, augment)
    command = shlex.join(["robustssm", *sys.argv[1:]])
    with ui.progress(epochs, "epochs", progress) as advance:
        card = run_training(
            architecture,
            task,
            config,
            output,
            command=command,
            report=lambda epoch, loss, accuracy: advance(),
            augment=Augmentation(augment, data) if augment else None,
        )
    assert card is not None
    click.echo(f"{output}: clean test accuracy {card.clean_accuracy:.4f} (n = {card.n_test})")
