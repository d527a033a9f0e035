"""The table of tasks, and the spelling of their parameters."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, get_type_hints

from robustssm.errors import UsageError, nearest
from robustssm.plain_text import number, whole
from robustssm.plugins import Table
from robustssm.tasks.base import Task
from robustssm.tasks.reading import within

_WORDS = {int: "INTEGER", float: "NUMBER", str: "WORD", Path: "PATH"}


def _misfit(name: str, value: Any) -> str:
    kinds = get_type_hints(value) if callable(value) else {"": None}
    fits = all(kind in _WORDS for key, kind in kinds.items() if key != "return")
    return "" if fits else "a function whose parameters are int, float, str or Path"


# Name -> what makes the task, module:maker or from a package. The parameters of a task are its
# maker's; those without a default have to be given.
_BUILT_IN = {
    "digits": "robustssm.tasks.digits:digits",
    "listops": "robustssm.tasks.listops:listops",
    "noise-padded": "robustssm.tasks.noise_padded:noise_padded",
    "delayed-copy": "robustssm.tasks.delayed_copy:delayed_copy",
    "frequency-discrimination": (
        "robustssm.tasks.frequency_discrimination:frequency_discrimination"
    ),
    "sinusoids": "robustssm.tasks.sinusoids:sinusoids",
    "ar": "robustssm.tasks.ar:ar",
    "denoise": "robustssm.tasks.ar:denoise",
    "mnist1d": "robustssm.tasks.mnist1d:mnist1d",
    "cardio": "robustssm.tasks.cardio:cardio",
    "cifar10": "robustssm.tasks.cifar:cifar10",
    "mnist": "robustssm.tasks.idx:mnist",
    "fashion-mnist": "robustssm.tasks.idx:fashion_mnist",
    "lra-text": "robustssm.tasks.lra_text:lra_text",
    "lra-pathfinder": "robustssm.tasks.image_folders:lra_pathfinder",
    "speech-commands": "robustssm.tasks.speech_commands:speech_commands",
    "audio": "robustssm.tasks.recordings:audio",
    "ucr": "robustssm.tasks.ucr:ucr",
    "forecast": "robustssm.tasks.forecast:forecast",
    "lm": "robustssm.tasks.lm:lm",
    "bidmc": "robustssm.tasks.bidmc:bidmc",
    "hub": "robustssm.tasks.hub:hub",
}
TASKS: Table[Callable[..., Task]] = Table("robustssm.tasks", _BUILT_IN, _misfit)
FILE = "file"
# Tasks that read no files of anybody and fetch none.
GENERATED = (
    *("digits", "listops", "noise-padded", "delayed-copy"),
    *("frequency-discrimination", "sinusoids", "ar", "denoise"),
)
# Bytes that the samples of a task may take that a file names.
RECORDED = 2 << 30
# Files of a folder whose sizes and times are looked at.
_WATCHED = 10_000
# Characters of such a name that a message shows.
_SHOWN = 80


def spelling(name: str) -> str:
    """Return the name with its parameters, those in brackets optional: `digits[:side=INTEGER]`."""
    words = []
    for key, (kind, asked) in _parameters(name).items():
        word = f":{key}={_WORDS[kind]}"
        words.append(word if asked else f"[{word}]")
    return name + "".join(words)


def _parameters(name: str) -> Mapping[str, tuple[type, bool]]:
    """Return the type of each parameter, and whether it has to be given."""
    function = TASKS[name]
    kinds = get_type_hints(function)
    return {
        key: (kinds[key], parameter.default is inspect.Parameter.empty)
        for key, parameter in inspect.signature(function).parameters.items()
    }


def load_task(spec: str) -> Task:
    """Return the task that a name stands for, as in ``digits:side=16``.

    The last few tasks are kept, as long as their files (10,000 in a folder) have the same size and
    time. Raises UsageError if the name or a parameter is unknown, missing or out of range,
    RejectedInputError if a file that the name points to is missing or damaged.

    Parameters
    ----------
    spec : str
        A name of `TASKS` with its parameters, or ``file:`` and a path (docs/own-data.md).
    """
    return _load(spec, tuple(_stamps(spec)))


def recorded_task(spec: str, who: str) -> Task:
    """Return the task that a file names, such as the card of a checkpoint.

    What a file says nobody has asked for: tasks that are generated here are made, of RECORDED
    bytes at most. Raises UsageError, which asks for the data, for all that reads files or fetches
    them.

    Parameters
    ----------
    spec : str
        As in `load_task`.
    who : str
        The file, for the message.
    """
    said = f"{who}: its data are {spec[:_SHOWN]!r}"
    if any(name not in GENERATED for name in _names_in(spec)):
        raise UsageError(f"{said}, which are read only if you ask for them; name them by --data")
    try:
        with within(RECORDED):
            return load_task(spec)
    except UsageError as error:
        raise UsageError(f"{said} ({error}); name them by --data") from None


def _names_in(spec: str) -> Iterator[str]:
    """Yield the name of a task, and that of the task in it that it pads."""
    name, *settings = spec.strip().split(":")
    yield name
    for setting in settings:
        key, _, value = setting.partition("=")
        if key == "task":
            yield value.partition("+")[0]


def _stamps(spec: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, time and size of what a task's name points to."""
    name, _, rest = spec.strip().partition(":")
    for text in [rest] if name == FILE else [part.partition("=")[2] for part in rest.split(":")]:
        try:
            path = Path(text).expanduser() if text else None
            if path is None or not path.exists():
                continue
            others = path.parent.glob("*.npy") if path.suffix == ".npy" else path.rglob("*")
            for file in (path, *sorted(islice(others, _WATCHED))):
                status = file.stat()
                yield str(file.resolve()), status.st_mtime_ns, status.st_size
        except (OSError, ValueError, RuntimeError):  # no name of a file, or one nobody may read
            continue


@lru_cache(maxsize=4)
def _load(spec: str, stamps: tuple[tuple[str, int, int], ...]) -> Task:
    """Return the task that `spec` names; stamps: what has to be the same to be kept."""
    return made(spec)


def made(spec: str) -> Task:
    """Return the task that a name stands for, made anew; else as `load_task`."""
    name, *settings = spec.strip().split(":")
    if name == FILE:
        from robustssm.tasks.arrays import arrays

        return arrays(Path(spec.strip().partition(":")[2]).expanduser())
    if name not in TASKS:
        raise UsageError(f"task: {name!r} is unknown, {nearest(name, TASKS)}, or file:samples.npz")
    allowed = _parameters(name)
    arguments: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in allowed or not value or key in arguments:
            problem = "is given twice" if key in arguments else "is unknown"
            raise UsageError(f"{name}: parameter {setting!r} {problem}, expected {spelling(name)}")
        arguments[key] = _value(name, key, value, allowed[key][0])
    missing = [key for key, (_, asked) in allowed.items() if asked and key not in arguments]
    if missing:
        raise UsageError(f"{name}: {', '.join(missing)} is not given, expected {spelling(name)}")
    return TASKS[name](**arguments)


def _value(name: str, key: str, text: str, kind: type) -> object:
    if kind is Path:
        return Path(text).expanduser()
    try:
        return whole(text) if kind is int else number(text) if kind is float else kind(text)
    except ValueError:
        raise UsageError(
            f"{name}: {key} is {text[:_SHOWN]!r}, expected {_WORDS[kind]} as in {spelling(name)}"
        ) from None
