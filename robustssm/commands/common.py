"""What the commands share: spellings of options, exit codes, the machine's cores."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from robustssm.commands import terminal
from robustssm.commands.config import with_config
from robustssm.errors import UsageError
from robustssm.plain_text import is_count, number, visible

if TYPE_CHECKING:
    from robustssm.checkpoints.model_names import ModelRef
    from robustssm.evaluations.sweep.noises import Noise
    from robustssm.evaluations.sweep.plan import Plan

Result = TypeVar("Result")


class BatchSize(click.types.StringParamType):
    """A number of samples, or `auto`, which is None."""

    name = "INT|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number; None for auto."""
        if value in (None, "auto"):
            return None
        if not is_count(str(value)) or int(value) < 1:
            self.fail(f"{value!r} is not understood, expected auto or 1, 2, ...", param, ctx)
        return int(value)


class Expression(click.types.StringParamType):
    """An expression, which may have spaces; an environment variable holds several between ;."""

    name = "EXPRESSION"
    envvar_list_splitter = ";"


class Numbers(click.types.StringParamType):
    """Comma-separated numbers, each once; what: their name in messages."""

    def __init__(self, what: str) -> None:
        self.what = what

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the numbers as a tuple; raise UsageError if one is none."""
        if not isinstance(value, str):
            return value
        numbers: dict[float, None] = {}
        for part in value.split(","):
            try:
                numbers[number(part)] = None
            except ValueError:
                raise UsageError(
                    f"{self.what}: {part.strip()!r} is not a number, expected as in 0.1,0.3,1"
                ) from None
        return tuple(numbers)


class Range(click.types.StringParamType):
    """Two numbers, low and high, as in `0,1`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return (low, high); raise UsageError if they are none."""
        if not isinstance(value, str):
            return value
        try:
            low, high = map(number, value.split(","))
        except ValueError:
            raise UsageError(f"range: {value!r} is not understood, expected as in 0,1") from None
        return low, high


_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


_SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[NAME:]OPTION=VALUE",
    help="What a checkpoint from elsewhere does not say itself, as in prenorm=false.",
)


def choice(*spelling: str, of: Sequence[str], **settings: Any) -> Callable[[Any], Any]:
    """Return an option with these values; the first is the default, unless another is named."""
    return click.option(*spelling, type=click.Choice(of), **{"default": of[0], **settings})


def path_option(
    *spelling: str, file_okay: bool = True, dir_okay: bool = True, **settings: Any
) -> Callable[[Any], Any]:
    """Return an option that names a file or a folder."""
    kind = click.Path(path_type=Path, file_okay=file_okay, dir_okay=dir_okay)
    return click.option(*spelling, type=kind, **settings)


# The option -o, the path of what a command writes.
output = partial(path_option, "-o", "--output")


def models_of_runs(*spelling: str) -> Callable[[Any], Any]:
    """Return the option that names models of runs."""
    return click.option(
        "-m",
        *spelling,
        "models",
        multiple=True,
        help="Models of the runs: s4d (all its training seeds there), s4d/2. Default: all.",
    )


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds these options to a command, in this order."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


# Options of several commands, spelt alike in all of them.
_SHARED: dict[str, Callable[[Any], Any]] = {
    "models": with_options(
        click.option(
            "-m",
            "--model",
            "models",
            multiple=True,
            help="Models: s4d, s4d/2 (training seed 2), 's4d/*' (all seeds), a file, "
            "module.py:function@weights; name= before these.",
        ),
        _SET,
    ),
    "settings": _SET,
    "task": click.option(
        "-d", "--data", "task", help="Task, as in digits:side=32. Default: the models' own."
    ),
    "seed": click.option(
        "--seed", default=0, type=click.IntRange(0, 2**63 - 1), help="Seed of the noise."
    ),
    "limit": click.option(
        "-L",
        "--limit",
        type=click.IntRange(1),
        help="First so many samples only; marks the result.",
    ),
    "jobs": click.option(
        "-j", "--jobs", type=click.IntRange(1), help="Processes. Default: all cores."
    ),
    "figures": click.option("--figures/--no-figures", default=True),
    "style": choice("--format", "style", of=("table", "csv", "json", "md")),
    "progress": choice("--progress", of=("auto", "bar", "plain", "none")),
    "run": click.argument("run", type=_FOLDER, metavar="RUN"),
    "runs": click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_FOLDER),
    "reuse": click.option(
        "--reuse",
        multiple=True,
        type=_FOLDER,
        help="Take finished cells from this run, where weights, data, noise and seed are the same.",
    ),
    "config": with_config,
}


def shared(*names: str) -> Callable[[Any], Any]:
    """Return a decorator that adds these shared options, which `SharedOptions` holds together."""
    return with_options(*(_SHARED[name] for name in names))


@dataclass(frozen=True)
class SharedOptions:
    """The values of the options that `shared` adds, and what commands do with them.

    models, settings: as `checkpoints.model_names.resolve` reads them; task: None for
    that of the models; seed: of the noise; limit: use the first samples only; jobs: number of
    processes, None for one per core; style, progress: how `terminal` shows results and progress.
    """

    models: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    task: str | None = None
    seed: int = 0
    limit: int | None = None
    jobs: int | None = None
    style: str = "table"
    progress: str = "auto"

    def refs(self, default: str = "") -> "list[ModelRef]":
        """Return the models; those of `default` if none is named."""
        from robustssm.checkpoints.model_names import resolve

        return resolve(self.models or (default,), self.settings)

    def plan(self, noise: "Noise | Sequence[Noise]") -> "Plan":
        """Return the plan of a sweep, which checks models, task and modes."""
        from robustssm.evaluations.sweep.planning import make_plan

        return make_plan(self.refs(), noise, task=self.task, seed=self.seed, limit=self.limit)

    def steps(self, total: int, what: str) -> AbstractContextManager[terminal.Advance]:
        """Return `terminal.progress` of `total` pieces of work."""
        return terminal.progress(total, what, self.progress)

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


def one_model(who: str, name: str, settings: Sequence[str]) -> "ModelRef":
    """Return the only model of a name; UsageError if it names several."""
    from robustssm.checkpoints.model_names import resolve

    refs = resolve(name, settings)
    if len(refs) != 1:
        raise UsageError(f"{who}: {name!r} names {len(refs)} models, expected one")
    return refs[0]


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
