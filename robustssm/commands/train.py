"""`robustssm train`: one checkpoint."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from robustssm.commands import completion, terminal
from robustssm.commands.common import choice, output, path_option, shared, with_options
from robustssm.commands.progress import progress as show_progress
from robustssm.errors import UsageError

# The options of Architecture and TrainingConfig.
_SETTINGS = (
    click.option("-n", "--state-size", "--n", "n", default=32, metavar="SIZE"),
    click.option("--d-model", default=32, help="Channels."),
    click.option("--layers", default=3),
    choice("--norm", of=("layer", "batch")),
    click.option("--prenorm/--postnorm", default=False),
    click.option("--residual/--no-residual", default=False),
    click.option("--feedthrough/--no-feedthrough", default=False, help="D u in every SSM layer."),
    click.option(
        "--bidirectional/--causal",
        default=False,
        help="A second SSM layer beside each, which runs backwards.",
    ),
    choice("--pooling", of=("mean", "last")),
    choice("--discretization", of=("default", "zoh", "bilinear"), help="default: bilinear for s4."),
    click.option("--dropout", default=0.1),
    click.option("--dt-min", default=1e-3, help="Minimum initial dt."),
    click.option("--dt-max", default=1e-1, help="Maximum initial dt."),
    click.option("--epochs", default=30),
    click.option("-b", "--batch-size", default=64),
    click.option("--lr", default=1e-2),
    click.option("--ssm-lr", default=1e-3, help="Rate of A, B, P, dt."),
    click.option("--weight-decay", default=0.05),
    click.option(
        "--augment",
        default="",
        show_default=False,
        help="Perturbation of the training inputs, as in 'BandNoise(1, 16, eps=0.3)'; its "
        "draws are new every epoch.",
    ),
    click.option(
        "--warmup-steps",
        default=0,
        help="Steps in which both rates rise to their peaks; the cosine takes the rest.",
    ),
    click.option(
        "--accumulate",
        default=1,
        help="Gradient-accumulation steps; batch norm sees one part of a batch at a time.",
    ),
    click.option(
        "--ema",
        default=0.0,
        help="Decay of the moving average of the weights, which is validated and saved.",
    ),
    choice(
        "--precision",
        of=("float32", "bfloat16"),
        help="Of the dense maps; SSM layers compute in float32.",
    ),
    click.option("--clip", default=0.0, help="Largest norm of the gradient; 0: any."),
    click.option(
        "--adversary",
        default="",
        show_default=False,
        help="Adversary that attacks the training inputs, as in 'BandPGD(1, 64, steps=10)'; unit= "
        "and a range may be written into it.",
    ),
    click.option("--eps", default=0.0, help="Strength of the adversary."),
    choice(
        "--scheme",
        of=("pgd", "trades"),
        help="pgd: the loss of attacked samples; trades: the clean loss, and beta times KL(clean "
        "|| attacked).",
    ),
    click.option("--beta", default=6.0, help="Of trades: weight of the divergence."),
    click.option(
        "--eps-warmup", default=0.0, help="Share of the run in which eps rises from 0 to --eps."
    ),
    click.option(
        "--robust-every",
        default=1,
        help="Epochs from one robust validation to the next; the best one's weights are written.",
    ),
)


@click.command()
@click.option(
    "--init",
    required=True,
    metavar="INIT",
    shell_complete=completion.initializations,
    help="Initialisation, such as s4d or s4ptd-rank1:tau=0.05.",
)
@click.option(
    "-d",
    "--data",
    "task",
    default="digits",
    metavar="TASK",
    shell_complete=completion.tasks,
    help="Task; a recipe has its own, and needs it here where files are read.",
)
@click.option("--seed", default=0)
@output(required=True, suffix=".safetensors", help="Checkpoint to write (.safetensors).")
@click.option(
    "--recipe",
    default="",
    show_default=False,
    metavar="NAME|FILE.toml",
    help="Published settings, as lra/image: those of the initialisation's family. Explicit "
    "options override the recipe.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=1.0,
    help="A smaller run: multiplies d_model, epochs and training samples (train= of a generated "
    "task; limit= of one with files, validation and test as well), at least 1 of each; the "
    "warm-up keeps its share of the run. Layers, state size, batch size and rates stay, and so "
    "does what is given.",
)
@click.option(
    "--start",
    metavar="MODEL",
    shell_complete=completion.models,
    help="Network of the same shape whose weights training begins with, as in s4d/0.",
)
@path_option("--log", dir_okay=False, help="Log with one line per epoch (.csv or .jsonl).")
@path_option("--tensorboard", file_okay=False, help="Folder of event files.")
@shared("device", "progress")
@with_options(*_SETTINGS)
@click.pass_context
def train(
    ctx: click.Context,
    /,
    init: str,
    task: str,
    seed: int,
    output: Path,
    recipe: str,
    scale: float,
    start: str | None,
    log: Path | None,
    tensorboard: Path | None,
    device: str,
    progress: str,
    **options: Any,
) -> None:
    """Train a checkpoint; an interrupted run resumes.

    \b
    Examples:
      robustssm train --init s4d --seed 0 --epochs 2 --output s4d.safetensors
      robustssm train --augment 'BandNoise(1, 16, eps=0.3)' -o b.safetensors
      robustssm train --init s5 --adversary 'Guided(1,9)' --eps 1 -o d.safetensors
      robustssm train --recipe lra/listops --scale 1e-3 --init s5 -o c.safetensors
    """
    from dataclasses import fields

    from robustssm.attacks.adversarial import Adversarial, objective_of
    from robustssm.checkpoints.cards import CLEAN_R2
    from robustssm.checkpoints.model_names import resolve as models
    from robustssm.execution import resolve_device
    from robustssm.networks.network import Architecture
    from robustssm.tasks import load_task
    from robustssm.training.logs import EpochLog, TensorBoardLog
    from robustssm.training.loop import TrainingConfig, last
    from robustssm.training.loop import train as run_training
    from robustssm.training.recipe_files import find, resolve

    if output.exists():
        raise UsageError(f"train: {output} exists; name another file, or delete it")
    device = str(resolve_device(device))
    logs = [EpochLog(log).open] if log else []
    boards = [TensorBoardLog(tensorboard).open] if tensorboard else []
    published = find(recipe) if recipe else None
    default = click.core.ParameterSource.DEFAULT
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is not default}
    task, values = resolve(init, task, options, given, published, scale)
    if published is not None:
        for difference in published.settings(init).unlike:
            terminal.note(f"recipe {recipe}, not as published: {difference}")
    data = load_task(task)
    of_training = {field.name for field in fields(TrainingConfig)}
    shape = {key: value for key, value in values.items() if key not in of_training}
    architecture = Architecture.for_task(init, data, **shape)
    named = models(start) if start else []
    if len(named) > 1:
        raise UsageError(f"train: --start names {len(named)} models; name one, as in s4d/0")
    begun = named[0].load() if named else None
    if begun is not None and begun.own.architecture != architecture:
        mine, own = architecture.to_dict(), begun.own.architecture.to_dict()
        unlike = ", ".join(f"{key}={own[key]}" for key in own if own[key] != mine.get(key))
        raise UsageError(f"train: {start} has {unlike}; give the options of its shape")
    config = TrainingConfig(
        seed=seed,
        device=device,
        start=begun.content_hash if begun else "",
        **{k: v for k, v in values.items() if k in of_training},
    )
    objective = objective_of(config, data)
    if config.adversary:
        if "eps" not in given and not config.eps:
            raise UsageError("train: the adversary has no strength; give --eps, as in --eps 0.1")
        terminal.note(Adversarial(config, data).cost(architecture), always=True)
    command = shlex.join(["robustssm", *sys.argv[1:]])
    with show_progress(config.epochs, "epochs", progress) as advance:
        card = run_training(
            architecture,
            task,
            config,
            output,
            command=command,
            objective=objective,
            start=begun.own if begun else None,
            logs=[lambda done: lambda record: advance(), *logs, *boards],
        )
    assert card is not None
    clean = card.training.get(CLEAN_R2, card.clean_accuracy)
    if found := card.training.get("best_epoch"):
        best, final = card.training["robust_best"], card.training["robust_last"]
        terminal.say(
            f"{output}: best robust validation {data.kind.words} {best:.4f}, after epoch {found}; "
            f"{final:.4f} at the end, whose weights are in {last(output)}"
        )
    terminal.say(f"{output}: clean test {data.kind.measure} {clean:.4f} (n = {card.n_test})")
