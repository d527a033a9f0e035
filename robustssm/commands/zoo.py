"""`robustssm zoo`: the bundled trained checkpoints."""

from pathlib import Path

import click

from robustssm.commands import terminal
from robustssm.commands.common import cores, output, shared


@click.group()
def zoo() -> None:
    """The bundled trained checkpoints.

    \b
    Example:
      robustssm zoo verify --model all
    """


@zoo.command("build")
@output(default=Path("zoo"), help="Folder to train into; what is there is not trained again.")
@click.option("-m", "--model", "names", help="Names, as in s4d,s5. Default: all twelve.")
@shared("jobs", "progress")
def build_zoo(output: Path, names: str | None, jobs: int | None, progress: str) -> None:
    """Train every bundled checkpoint again: twelve names, three seeds.

    \b
    Example:
      robustssm zoo build --model s4d --output zoo
    """
    from robustssm.checkpoints.bundled import SEEDS
    from robustssm.checkpoints.model_names import resolve
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
    help="Models to verify, as in 's4d/*,s5/1', or all.",
)
@shared("style", "progress")
def verify_zoo(models: str, style: str, progress: str) -> None:
    """Check weights against their hashes and measure the clean accuracy on the card.

    \b
    Examples:
      robustssm zoo verify
      robustssm zoo verify --model all
    """
    from robustssm.checkpoints.bundled import verify
    from robustssm.checkpoints.model_names import resolve
    from robustssm.hippo.initializations import NAMES

    refs = resolve([f"{name}/*" for name in NAMES] if models == "all" else models)
    records = []
    with terminal.progress(len(refs), "verify", progress) as advance:
        for ref in refs:
            checkpoint = ref.load()
            records.append(
                {
                    "model": str(ref),
                    "content_hash": checkpoint.content_hash,
                    "clean_accuracy": verify(checkpoint),
                    "n": checkpoint.card.n_test,
                    "card": checkpoint.card.clean_accuracy,
                }
            )
            advance()
    columns: list[terminal.Column] = [
        ("model", "model", ""),
        ("content hash", lambda row: row["content_hash"][:12], ""),
        ("measured", "clean_accuracy", ".4f"),
        ("card", "card", ".4f"),
        ("n", "n", ""),
    ]
    terminal.show(style, terminal.Table("Zoo", records, columns), content={"models": records})
