"""`robustssm zoo`: the bundled trained checkpoints."""

from pathlib import Path

import click

from robustssm.commands.common import FORMATS, PROGRESS, cores


@click.group()
def zoo() -> None:
    """The bundled trained checkpoints.

    \b
    Example:
      robustssm zoo verify --model all
    """


@zoo.command("build")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("zoo"),
    show_default=True,
    help="Folder to train into; what is there is not trained again.",
)
@click.option("-m", "--model", "names", help="Names, as in s4d,s5. Default: all twelve.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes. Default: all cores.")
@click.option("--progress", type=PROGRESS, default="auto", show_default=True)
def build_zoo(output: Path, names: str | None, jobs: int | None, progress: str) -> None:
    """Train every bundled checkpoint again: twelve names, three seeds.

    \b
    Example:
      robustssm zoo build --model s4d --output zoo
    """
    from robustssm.checkpoints.bundled import SEEDS
    from robustssm.checkpoints.model_names import resolve
    from robustssm.commands import terminal
    from robustssm.hippo.initializations import NAMES
    from robustssm.training.zoo import build

    chosen = tuple(ref.label for ref in resolve(names)) if names else NAMES
    with terminal.progress(len(chosen) * len(SEEDS), "zoo", progress) as advance:
        build(output, names=chosen, jobs=jobs or cores(), report=lambda name, card: advance())


@zoo.command("verify")
@click.option(
    "-m",
    "--model",
    "models",
    default=",".join(("s4d/*", "s4ptd/*")),
    show_default=True,
    help="Models to verify, as in 's4d/*,s5/1', or all.",
)
@click.option("--format", "style", type=FORMATS, default="table", show_default=True)
@click.option("--progress", type=PROGRESS, default="auto", show_default=True)
def verify_zoo(models: str, style: str, progress: str) -> None:
    """Check weights against their hashes and measure the clean accuracy on the card.

    \b
    Examples:
      robustssm zoo verify
      robustssm zoo verify --model all
    """
    from robustssm.checkpoints.bundled import verify
    from robustssm.checkpoints.model_names import resolve
    from robustssm.commands import terminal
    from robustssm.hippo.initializations import NAMES

    refs = resolve(",".join(f"{name}/*" for name in NAMES) if models == "all" else models)
    rows, records = [], []
    with terminal.progress(len(refs), "verify", progress) as advance:
        for ref in refs:
            checkpoint = ref.load()
            card, measured = checkpoint.card, verify(checkpoint)
            records.append(
                {
                    "model": str(ref),
                    "content_hash": checkpoint.content_hash,
                    "clean_accuracy": measured,
                    "n": card.n_test,
                    "card": card.clean_accuracy,
                }
            )
            rows.append(
                [
                    str(ref),
                    checkpoint.content_hash[:12],
                    f"{measured:.4f}",
                    f"{card.clean_accuracy:.4f}",
                    str(card.n_test),
                ]
            )
            advance()
    if style == "json":
        terminal.emit_json({"models": records})
    elif style == "csv":
        import pandas as pd

        click.echo(pd.DataFrame(records).to_csv(index=False), nl=False)
    else:
        terminal.emit_table("Zoo", ["model", "content hash", "measured", "card", "n"], rows, style)
