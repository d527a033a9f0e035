"""What the commands share: spellings of options, exit codes, the machine's cores."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from robustssm.commands import completion, config
from robustssm.commands.loudness import wide
from robustssm.commands.parameter_types import SuffixedPath
from robustssm.commands.progress import Advance, progress
from robustssm.errors import UsageError
from robustssm.plain_text import visible

if TYPE_CHECKING:
    from robustssm.checkpoints.model_names import ModelRef
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.plan import Plan
    from robustssm.evaluations.sweep.run import Execution

Result = TypeVar("Result")


_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


_SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[NAME:]OPTION=VALUE",
    help="Setting missing from an imported checkpoint, such as prenorm=false.",
)
UNITS = ("std", "rms", "l2", "linf", "snr-db", "mix", "octaves")


def choice(*spelling: str, of: Sequence[str], **settings: Any) -> Callable[[Any], Any]:
    """Return an option with these values; the first is the default, unless another is named."""
    return click.option(*spelling, type=click.Choice(of), **{"default": of[0], **settings})


def path_option(
    *spelling: str, file_okay: bool = True, dir_okay: bool = True, suffix: str = "", **settings: Any
) -> Callable[[Any], Any]:
    """Return an option that names a file or a folder; suffix: what the name has to end in."""
    kind = SuffixedPath(suffix, file_okay=file_okay, dir_okay=dir_okay)
    return click.option(*spelling, type=kind, **settings)


# The option -o, the path of what a command writes, and those of initialisations.
output = partial(path_option, "-o", "--output")
state_size = partial(click.option, "-n", "--state-size", "--n")
readout_option = partial(click.option, "--readout", default="e0", metavar="READOUT")
init_option = partial(
    click.option,
    "--init",
    "inits",
    metavar="INIT[,INIT]",
    shell_complete=completion.initializations,
)


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds these options to a command, in this order."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_models = partial(click.option, "-m", "--model", "models", multiple=True, metavar="MODEL[,MODEL]")
# Options of several commands, spelt alike in all of them.
_SHARED: dict[str, Callable[[Any], Any]] = {
    "models": with_options(
        _models(
            shell_complete=completion.models,
            help="Models: s4d, s4d/2 (training seed 2), 's4d/*' (all seeds), a file, "
            "module.py:function@weights; name= before any of these names it.",
        ),
        _SET,
    ),
    "settings": _SET,
    "names": click.argument(
        "names", nargs=-1, metavar="[MODEL]...", shell_complete=completion.models
    ),
    "models of runs": _models(
        help="Models of the runs: s4d (all its training seeds), s4d/2. Default: all.",
    ),
    "task": click.option(
        "-d",
        "--data",
        "task",
        metavar="TASK",
        shell_complete=completion.tasks,
        help="Task, such as digits:side=32 or file:mine.npz. Default: the models' own.",
    ),
    "seed": click.option(
        "--seed", default=0, type=click.IntRange(0), metavar="SEED", help="Seed of the noise."
    ),
    "limit": click.option(
        "-L",
        "--limit",
        type=click.IntRange(1),
        metavar="N",
        help="Use only the first N samples (recorded in the results).",
    ),
    "device": click.option(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, or auto. Cells of CPU and GPU are kept apart.",
    ),
    "jobs": click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1),
        metavar="N",
        help="Number of processes. Default: one per core.",
    ),
    "figures": click.option(
        "--figures/--no-figures", default=True, help="Draw figures, with their data as CSV."
    ),
    "style": choice(
        "--format", "style", of=("table", "csv", "json", "md"), help="How results are printed."
    ),
    "progress": choice(
        "--progress", of=("auto", "bar", "plain", "none"), help="How progress is shown."
    ),
    "wide": wide,
    "run": click.argument("run", type=_FOLDER, metavar="RUN"),
    "runs": click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_FOLDER),
    "reuse": click.option(
        "--reuse",
        multiple=True,
        type=_FOLDER,
        metavar="RUN",
        help="Take finished cells from this run, where weights, data, noise and seed are the same.",
    ),
    "config": with_options(*config.OPTIONS),
}


def shared(*names: str) -> Callable[[Any], Any]:
    """Return a decorator that adds these shared options, which `SharedOptions` holds together."""
    return with_options(*(_SHARED[name] for name in names))


@dataclass(frozen=True)
class SharedOptions:
    """The values of the options that `shared` adds, and what commands do with them.

    names, models, settings: as `checkpoints.model_names.resolve` reads them; task: None for
    that of the models; seed: of the noise; limit: use the first samples only; device: as torch
    names it; jobs: number of processes, None for one per core; reuse: runs whose cells are taken;
    style, progress: how results and progress are shown.
    """

    names: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    task: str | None = None
    seed: int = 0
    limit: int | None = None
    device: str = "cpu"
    jobs: int | None = None
    reuse: tuple[Path, ...] = ()
    style: str = "table"
    progress: str = "auto"

    @classmethod
    def taken(cls, options: dict[str, Any]) -> "SharedOptions":
        """Return those of a command's options that are shared, and leave the others there."""
        names = [one.name for one in fields(cls) if one.name in options]
        return cls(**{name: options.pop(name) for name in names})

    def refs(self, default: str = "") -> "list[ModelRef]":
        """Return the models; those of `default` if none is named."""
        from robustssm.checkpoints.model_names import resolve

        return resolve((*self.names, *self.models) or (default,), self.settings)

    def one_ref(self, who: str) -> "ModelRef":
        """Return the only model that is named; UsageError if there are several."""
        refs = self.refs()
        if len(refs) != 1:
            raise UsageError(
                f"{who}: {', '.join(map(str, refs))} are {len(refs)} models, expected one"
            )
        return refs[0]

    def plan(self, noise: "Noise | Sequence[Noise]") -> "Plan":
        """Return the plan of a sweep, which checks models, task and modes."""
        from robustssm.evaluations.sweep.planning import make_plan

        return make_plan(self.refs(), noise, task=self.task, seed=self.seed, limit=self.limit)

    def execution(self, retry_failed: bool = True, **how: Any) -> "Execution":
        """Return how a sweep is computed; how: further fields of `Execution`."""
        from robustssm.evaluations.sweep.run import Execution

        how |= {"device": self.device, "retry_failed": retry_failed}
        return Execution(jobs=self.jobs or cores(), alone_first=self.jobs is None, **how)

    def steps(self, total: int, what: str) -> AbstractContextManager[Advance]:
        """Return `progress` of `total` pieces of work."""
        return progress(total, what, self.progress)

    def each(
        self, work: Callable[..., Result], pieces: Sequence[Sequence[Any]], what: str
    ) -> list[Result]:
        """Return `work(*piece)` of every piece, computed in processes, with progress."""
        import joblib

        from robustssm.execution import sealed

        results = []
        with sealed(), self.steps(len(pieces), what) as advance:
            workers = max(1, min(self.jobs or cores(), len(pieces)))
            parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
            of_worker = joblib.delayed(_of_worker)
            for result in parallel(of_worker(work, piece, os.getpid()) for piece in pieces):
                results.append(result)
                advance()
        return results


def _of_worker(work: Callable[..., Result], piece: Sequence[Any], parent: int) -> Result:
    """Return `work(*piece)`; what it prints in another process than the parent is no result."""
    if os.getpid() != parent:
        from robustssm.execution import print_to_stderr

        print_to_stderr()
    return work(*piece)


def names_in(texts: Sequence[str]) -> list[str]:
    """Return the names in texts with commas between names."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


class CommandError(click.ClickException):
    """One line and an exit code: 2 usage, 3 cells failed, 4 input rejected, 70 unexpected, else 1.

    A message of several lines lists several problems.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(visible(message, keep="\n"))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Print a line and exit if a command that keeps no partial results is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted; nothing is kept", err=True)
        sys.exit(130)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
