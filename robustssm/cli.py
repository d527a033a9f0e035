"""The command line: options in, one call out. Heavy imports stay inside the commands."""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from robustssm.commands import terminal
from robustssm.commands.baseline import baseline, check
from robustssm.commands.benchmark import benchmark, verify
from robustssm.commands.common import CommandError
from robustssm.commands.compare import compare
from robustssm.commands.converge import converge
from robustssm.commands.doctor import doctor
from robustssm.commands.draw import draw
from robustssm.commands.export import export
from robustssm.commands.failures import ending, room_for_libraries, versions
from robustssm.commands.gain import gain
from robustssm.commands.import_checkpoint import import_checkpoint
from robustssm.commands.inspect_checkpoint import inspect_checkpoint
from robustssm.commands.loudness import asked, loudness
from robustssm.commands.ls import ls
from robustssm.commands.minimal import diagnose, minimal
from robustssm.commands.parameter_types import read_strictly
from robustssm.commands.perturb import perturb
from robustssm.commands.predict import predict
from robustssm.commands.pseudospectrum import pseudospectrum
from robustssm.commands.ptd import ptd
from robustssm.commands.radius import radius
from robustssm.commands.repair import repair
from robustssm.commands.reproduce import reproduce
from robustssm.commands.sections import SectionedGroup
from robustssm.commands.show import report, show
from robustssm.commands.sweep import sweep
from robustssm.commands.train import train
from robustssm.commands.transfer import transfer
from robustssm.commands.worst_mode import worst_mode
from robustssm.commands.zoo import verify_zoo
from robustssm.source_date import source_date


class Commands(SectionedGroup):
    """Turns errors into one line and an exit code, and keeps stdout for results."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; what modules print while it or a command of it runs goes to stderr."""
        leaves = list(cmd.commands.values()) if isinstance(cmd, click.Group) else [cmd]
        for leaf in leaves:
            if leaf.callback is not None and not hasattr(leaf, "results_alone"):
                leaf.callback = room_for_libraries()(terminal.results_alone()(leaf.callback))
                leaf.results_alone = True  # type: ignore[attr-defined]
                leaf.params += loudness()
                read_strictly(leaf)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the command."""
        if sys.stderr is None:  # closed by the shell
            sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        try:
            source_date()  # before a library reads a wrong one by itself
            return super().invoke(ctx)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            commas = "several values are separated by commas, as in --eps 0.1,0.3"
            raise click.UsageError(f"{error.message}; {commas}", error.ctx) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # click ends these
        except KeyboardInterrupt:
            click.echo("interrupted; what is finished is kept, the same command goes on", err=True)
            ctx.exit(130)
        except Exception as error:
            debug = asked("debug")
            if debug:
                click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
            raise CommandError(*ending(error, debug)) from error


def _version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo("\n".join(versions()))
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "ROBUSTSSM",
        "show_default": True,
        "max_content_width": 100,
    },
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the versions of robustssm, Python, torch and CUDA.",
)
def main() -> None:
    """Measure what spectral perturbations do to state-space sequence models.

    Any checkpoint can be measured: bundled ones (s4d), files of S4, S5, DSS and Mamba, and torch
    modules of your own. `robustssm COMMAND --help` shows the options of a command, with examples.

    \b
    Examples:
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64
      robustssm search worst-mode --model s4d --eps 0.3
      robustssm transfer --n 256
      robustssm ls models
    """


def group(name: str, text: str, *commands: click.Command) -> click.Group:
    """Return a group of commands."""
    return click.Group(name, commands=commands, help=text)


main.params += loudness()
for title, commands in {
    "Measure robustness": (
        sweep,
        benchmark,
        verify,
        perturb,
        group(
            "search",
            """Search for weak spots and certified radii.

            \b
            Example:
              robustssm search worst-mode --model s4d --eps 0.3
            """,
            worst_mode,
            minimal,
            radius,
            diagnose,
        ),
    ),
    "Read the results": (show, compare, report, draw, export),
    "Guard against regressions": (baseline, check),
    "Checkpoints and layers": (
        train,
        repair,
        inspect_checkpoint,
        gain,
        group(
            "models",
            """Import, run and verify checkpoints.

            \b
            Example:
              robustssm models verify --model s4d
            """,
            import_checkpoint,
            predict,
            verify_zoo,
        ),
    ),
    "Theory of the initialisations": (
        transfer,
        group(
            "theory",
            """Study convergence, PTD and pseudospectra.

            \b
            Example:
              robustssm theory converge --init s4d --n 4-64
            """,
            converge,
            ptd,
            pseudospectrum,
        ),
        reproduce,
    ),
    "This installation": (ls, doctor),
}.items():
    main.add_section(title, commands)


if __name__ == "__main__":
    main()
