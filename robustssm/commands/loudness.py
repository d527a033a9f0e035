"""How much a command prints: the options of every command that say so."""

import click


def _keep(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Note what is asked for."""
    if wanted:
        ctx.meta[f"robustssm.{parameter.name}"] = True


wide = click.option(
    "--wide", is_flag=True, expose_value=False, callback=_keep, help="Show every column."
)


def loudness() -> list[click.Option]:
    """Return the options of every command that say how much it prints."""
    texts = {
        "quiet": (["-q", "--quiet"], "Print results and errors alone."),
        "verbose": (["-v", "--verbose"], "Print details as well."),
        "debug": (["--debug"], "Show the traceback of an error, as ROBUSTSSM_DEBUG=1."),
    }
    return [
        click.Option(
            [name, *spelling], is_flag=True, is_eager=True, expose_value=False, callback=_keep,
            help=text,
        )
        for name, (spelling, text) in texts.items()
    ]  # fmt: skip


def asked(name: str) -> bool:
    """Return whether an option is given: quiet, verbose, debug or wide."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(f"robustssm.{name}"))
