"""Configuration files: a command's options from a TOML file, under the command line's.

A key is an option's long name, with dashes or underscores. Lists are comma lists, or repeat the
option where it may be repeated; flags are booleans; the table `checkpoints` names files, label =
"path". Paths are relative to the file's folder. What is said elsewhere wins: command line, then
environment, then file, then default.

    model = ["s4d", "s4ptd/*"]
    noise = ["fourier"]
    modes = "1-64"
    eps = [0.1, 0.3]

    [checkpoints]
    mine = "trained/mine.safetensors"
"""

import json
from pathlib import Path
from typing import Any

import click

from robustssm.errors import UsageError, nearest
from robustssm.storage.writing import read_toml

# Keys of a file that are options of no command.
_CHECKPOINTS = "checkpoints"
# Options that would be read too late, or mean nothing in a file.
_NOT_IN_FILES = ("config", "help", "allow-code")
# Where a context keeps a line for each model in a file that is code, and would be run.
_CODE = "robustssm.code"


def read_configuration(path: Path, command: click.Command) -> tuple[dict[str, Any], list[str]]:
    """Return what a TOML file says to a command, and every problem that its keys have.

    Values are by parameter name, as click's default_map has them; problems one line each. Raises
    UsageError if the file cannot be read at all.
    """
    content = read_toml(path, f"config {path}")
    options = _options(command)
    given: dict[str, str] = {}
    values: dict[str, Any] = {}
    problems: list[str] = []
    models = options.get("model")
    for key, value in content.items():
        name = key.replace("_", "-")
        if name == _CHECKPOINTS and models is not None:
            values.setdefault(str(models.name), []).extend(_labels(value, path, problems))
        elif name not in options:
            problems.append(f"config {path}: {key!r} is unknown, {_nearest(name, options)}")
        elif (parameter := str(options[name].name)) in given:
            problems.append(
                f"config {path}: {key!r} and {given[parameter]!r} are one option; leave one of "
                "them out"
            )
        else:
            given[parameter] = key
            try:
                found = _value(options[name], value, path.parent)
            except UsageError as error:
                problems.append(f"config {path}: {key} = {_toml(value)}: {error}")
            else:
                old = values.get(parameter)
                values[parameter] = found if old is None else [*found, *old]
    return values, problems


def configure(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Make the values of a file the defaults of a command; UsageError has a line per problem."""
    if path is None or ctx.resilient_parsing:
        return
    values, problems = read_configuration(path, ctx.command)
    if problems:
        raise UsageError("\n  ".join(problems))
    ctx.default_map = {**(ctx.default_map or {}), **values}
    from robustssm.checkpoints.model_names import is_code, split_names

    named = values.get("models", ())
    ctx.meta[_CODE] = [
        f"config {path}: the model {part!r} is Python code, which a file may name but not "
        "start; look at it, and give --allow-code"
        for part in split_names([named] if isinstance(named, str) else named)
        if is_code(part)
    ]


def allow_code(ctx: click.Context, parameter: click.Parameter, allowed: bool) -> None:
    """Raise UsageError if a file names code and nobody has allowed it."""
    found = [] if allowed or ctx.resilient_parsing else ctx.meta.get(_CODE, [])
    if found:
        raise UsageError("\n  ".join(found))


# The option that names a configuration file, and that which allows code in it.
OPTIONS = (
    click.option(
        "-C",
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=configure,
        help="TOML file of options by their long names; the command line overrides it.",
    ),
    click.option(
        "--allow-code",
        is_flag=True,
        expose_value=False,
        callback=allow_code,
        help="Run the Python code of models that the TOML file names (module.py:function).",
    ),
)


def _options(command: click.Command) -> dict[str, click.Option]:
    return {
        spelling.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option)
        for spelling in option.opts
        if spelling.startswith("--") and spelling.removeprefix("--") not in _NOT_IN_FILES
    }


def _nearest(name: str, options: dict[str, click.Option]) -> str:
    """Return what a key that does not exist may have meant, and what there is."""
    allowed = sorted({*options, *([_CHECKPOINTS] if "model" in options else [])})
    # A parameter's own name says the same in other words: `task` for --data.
    others = {str(option.name).replace("_", "-"): key for key, option in options.items()}
    return nearest(name, allowed, others)


def _labels(value: Any, path: Path, problems: list[str]) -> list[str]:
    """Return the models `label=path` of the table of checkpoints; its problems are added."""
    if not isinstance(value, dict):
        problems.append(
            f"config {path}: {_CHECKPOINTS} = {_toml(value)}: expected a table, as in "
            '[checkpoints] mine = "mine.safetensors"'
        )
        return []
    labels = []
    for label, file in value.items():
        where = f"config {path}: {_CHECKPOINTS}.{label} = {_toml(file)}"
        if not isinstance(file, str) or not file:
            problems.append(f'{where}: expected a file, as in "mine.safetensors"')
        elif "\0" in label + file:
            problems.append(f"{where}: has a NUL character in it; expected text without")
        elif not label or "," in label or "=" in label:
            problems.append(f"{where}: a label has no , or = in it; rename it")
        else:
            labels.append(f"{label}={_anchored(file, path.parent)}")
    return labels


def _value(option: click.Option, value: Any, folder: Path) -> Any:
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError("expected true or false")
        return value
    if option.multiple:
        items = value if isinstance(value, list) else [value]
        return [_single(option, item, folder, numbers=False) for item in items]
    if isinstance(value, list) and isinstance(option.type, click.types.StringParamType):
        return ",".join(_single(option, item, folder) for item in value)
    return _single(option, value, folder)


def _single(option: click.Option, value: Any, folder: Path, numbers: bool = True) -> Any:
    """Return one value of an option; numbers: whether text may be written as a number."""
    kind = option.type
    fitting: tuple[type, ...] = (str,)
    expected = "text or a list of texts" if option.multiple else "text"
    if isinstance(kind, click.types.IntParamType):
        fitting, expected = (int,), "an integer"
    elif isinstance(kind, click.types.FloatParamType):
        fitting, expected = (int, float), "a number"
    elif isinstance(kind, click.types.StringParamType) and numbers:
        fitting = (str, int, float)
    if not isinstance(value, fitting) or isinstance(value, bool):
        raise UsageError(f"expected {expected}")
    if isinstance(kind, click.types.StringParamType):
        value = str(value)
    if isinstance(value, str) and "\0" in value:
        raise UsageError("has a NUL character in it; expected text without")
    if isinstance(kind, click.Path):
        value = _anchored(value, folder)
    elif "--model" in option.opts:
        from robustssm.checkpoints.model_names import anchored

        value = anchored(value, folder)
    try:
        kind.convert(value, option, None)
    except click.BadParameter as error:
        raise UsageError(" ".join(error.message.split()) + _closest(option, value)) from None
    return value


def _closest(option: click.Option, value: str) -> str:
    """Return the choice that a value may have meant, as a sentence; empty if there is none."""
    import difflib

    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _anchored(text: str, folder: Path) -> str:
    return str(folder / Path(text.strip()).expanduser())


def _toml(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
