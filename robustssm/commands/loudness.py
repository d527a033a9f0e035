"""How much a command prints: the options of every command that say so."""

import click


def loudness() -> list[click.Option]:
    """Return the options of every command that say how much it prints."""
    texts = {
        "quiet": (["-q", "--quiet"], "Print results and errors alone."),
        "verbose": (["-v", "--verbose"], "Print details as well."),
        "debug": (["--debug"], "Show the traceback of an error, as ROBUSTSSM_DEBUG=1."),
    }

    def keep(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
        if wanted:
            ctx.meta[f"robustssm.{parameter.name}"] = True

    return [
        click.Option(
            [name, *spelling], is_flag=True, is_eager=True, expose_value=False, callback=keep,
            help=text,
        )
        for name, (spelling, text) in texts.items()
    ]  # fmt: skip


def asked(name: str) -> bool:
    """Return whether the command is to be `quiet` or `verbose`, or to show errors in full."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(f"robustssm.{name}"))
