"""The command line: options in, one call out. Heavy imports stay inside the commands."""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from robustssm._version import __version__
from robustssm.commands.attack import attack
from robustssm.commands.baseline import baseline, check
from robustssm.commands.common import CommandError
from robustssm.commands.compare import compare
from robustssm.commands.converge import converge
from robustssm.commands.doctor import doctor
from robustssm.commands.draw import draw
from robustssm.commands.export import export
from robustssm.commands.failures import ending, room_for_libraries
from robustssm.commands.gain import gain
from robustssm.commands.import_checkpoint import import_checkpoint
from robustssm.commands.inspect_checkpoint import inspect_checkpoint
from robustssm.commands.ls import ls
from robustssm.commands.minimal import diagnose, minimal
from robustssm.commands.predict import predict
from robustssm.commands.pseudospectrum import pseudospectrum
from robustssm.commands.ptd import ptd
from robustssm.commands.radius import radius
from robustssm.commands.reproduce import reproduce
from robustssm.commands.show import report, show
from robustssm.commands.strict_numbers import read_strictly
from robustssm.commands.sweep import sweep
from robustssm.commands.task import task
from robustssm.commands.terminal import results_alone
from robustssm.commands.train import train
from robustssm.commands.transfer import transfer
from robustssm.commands.worst_mode import worst_mode
from robustssm.commands.zoo import zoo
from robustssm.source_date import source_date


class Commands(click.Group):
    """Turns errors into one line and an exit code, and keeps stdout for results."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; what modules print while it or a command of it runs goes to stderr."""
        leaves = list(cmd.commands.values()) if isinstance(cmd, click.Group) else [cmd]
        for leaf in leaves:
            if leaf.callback is not None and not hasattr(leaf, "results_alone"):
                leaf.callback = room_for_libraries()(results_alone()(leaf.callback))
                leaf.results_alone = True  # type: ignore[attr-defined]
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the command."""
        if sys.stderr is None:  # closed by the shell
            sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        debug = bool(ctx.params.get("debug"))
        try:
            source_date()  # before a library reads a wrong one by itself
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # click ends these
        except KeyboardInterrupt:
            click.echo("interrupted; what is finished is kept, the same command goes on", err=True)
            ctx.exit(130)
        except Exception as error:
            if debug:
                click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
            raise CommandError(*ending(error, debug)) from error


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "ROBUSTSSM",
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="robustssm")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, as ROBUSTSSM_DEBUG=1.")
def main(debug: bool) -> None:
    """What a perturbation at one frequency does to a state-space sequence model.

    \b
    Examples:
      robustssm sweep --model s4d,s4ptd --noise fourier --modes 1-64
      robustssm attack 'BandNoise(1, 16, eps=0.3)' -o noisy.npz
      robustssm transfer --n 256
      robustssm converge --init s4d,s4ptd-rank1 --n 4-4096
      robustssm gain 's4d/*'
      robustssm inspect s4d
    """


for command in (
    sweep,
    ls,
    show,
    report,
    draw,
    export,
    compare,
    baseline,
    check,
    doctor,
    import_checkpoint,
    inspect_checkpoint,
    predict,
    attack,
    worst_mode,
    minimal,
    diagnose,
    radius,
    transfer,
    converge,
    pseudospectrum,
    ptd,
    gain,
    reproduce,
    task,
    train,
    zoo,
):
    read_strictly(command)
    main.add_command(command)


if __name__ == "__main__":
    main()
