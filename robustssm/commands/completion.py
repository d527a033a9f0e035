"""What a shell proposes for the value of an option, once its completion is installed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

import robustssm


def models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose bundled models."""
    folder = Path(robustssm.__file__).parent / "checkpoints" / "zoo"
    names = (path.stem.rpartition("-") for path in sorted(folder.glob("*.safetensors")))
    return _proposed(
        ((f"{name}/{seed}" if int(seed) else name) for name, _, seed in names), incomplete
    )


def tasks(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose tasks."""
    from robustssm.tasks import TASKS

    return _proposed([*TASKS, "file:"], incomplete)


def noises(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose perturbations and adversaries."""
    from robustssm.attacks.adversaries.table import ADVERSARIES
    from robustssm.attacks.perturbations.table import FAMILIES

    return _proposed(["fourier", "resonance", *FAMILIES, *ADVERSARIES, "Window"], incomplete)


def initializations(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Propose initialisations."""
    from robustssm.hippo.initializations import EVERY

    return _proposed(EVERY, incomplete)


def _proposed(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return the names that go on from the last comma of what is typed; files if there is none."""
    before, comma, word = incomplete.rpartition(",")
    fitting: Iterator[str] = (name for name in names if name.lower().startswith(word.lower()))
    items = [CompletionItem(f"{before}{comma}{name}") for name in fitting]
    return items or [CompletionItem(incomplete, type="file")]
