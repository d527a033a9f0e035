"""Published settings of trainings, as TOML: one file per task, one table per family of models.

`resolve` puts the command line before a recipe, and a recipe before the defaults.

    task = "cifar10:folder=PATH:gray=1"      # PATH: files, which --data names
    samples = 45000                          # training samples of the whole task
    source = "where the task is from"

    [s4d]
    source = "where these settings are from"
    unlike = ["what the publication has and the network here has not"]
    layers = 6
    lr = 0.01

Keys of a table are fields of Architecture and TrainingConfig; `warmup_epochs` stands for
`warmup_steps` if the publication counts epochs. What a table leaves out has the default of
`robustssm train`.
"""

import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from robustssm.errors import UsageError, nearest, require
from robustssm.hippo.initializations import parse
from robustssm.networks.network import Architecture
from robustssm.plain_text import is_count
from robustssm.storage.writing import read_toml
from robustssm.tasks import load_task
from robustssm.tasks.registry import FILE, TASKS
from robustssm.training.config import TrainingConfig

FAMILIES = ("s4", "s4d", "s5", "s4ptd", "s5ptd")
# Values that a scale multiplies, at least 1.
_SCALED = ("d_model", "epochs")
# Stands for files in a recipe's task.
FOLDER = "PATH"
_ROOT = Path(__file__).parent / "recipes"
_TOP = {"task": str, "samples": int, "source": str}
_ABOUT = {"source": str, "unlike": list}
# What the initialisation, the task and the run give.
_NOT_HERE = ("init", "d_input", "d_output", "tokens", "seed", "device")
_SHAPE, _TRAINING = (
    {f.name: type(f.default) for f in fields(owner) if f.name not in _NOT_HERE}
    for owner in (Architecture, TrainingConfig)
)
# Keys of a table by type.
KEYS: dict[str, type] = {**_SHAPE, **_TRAINING, "warmup_epochs": float}
_WORDS = {
    int: "an integer",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list: "a list of texts",
}


@dataclass(frozen=True)
class Settings:
    """Settings of one family; values by key; unlike: what the publication has besides."""

    values: dict[str, Any]
    source: str = ""
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A task and the settings of families; samples: of its whole training split, if known."""

    name: str
    task: str
    families: dict[str, Settings]
    samples: int | None = None
    source: str = ""

    def settings(self, init: str) -> Settings:
        """Return the settings of the family of an initialisation; UsageError if it has none."""
        # s4d for s4d-lin, s4ptd for s4ptd-rank1.
        family = parse(init).base.partition("-")[0]
        if family not in self.families:
            raise UsageError(
                f"recipe {self.name}: has no settings for {init} (family {family}), expected an "
                f"initialisation of {', '.join(self.families)}"
            )
        return self.families[family]


def names() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    return sorted(p.relative_to(_ROOT).with_suffix("").as_posix() for p in _ROOT.rglob("*.toml"))


def listed() -> list[dict[str, Any]]:
    """Return one record per recipe: name, task, samples, families, source."""
    return [
        {
            "recipe": recipe.name,
            "task": recipe.task,
            "samples": recipe.samples,
            "families": ", ".join(recipe.families),
            "source": recipe.source,
        }
        for recipe in map(find, names())
    ]


def find(text: str) -> Recipe:
    """Return the recipe of this name, or of this file (.toml); UsageError says what is allowed."""
    if text in names():
        return read(_ROOT / f"{text}.toml", text)
    if text.endswith(".toml"):
        return read(Path(text).expanduser(), text)
    raise UsageError(
        f"recipe: {text!r} is unknown, {nearest(text, names())}, or a file that ends in .toml"
    )


def read(path: Path, name: str) -> Recipe:
    """Return the recipe of a file; UsageError names the first thing that is wrong with it."""
    content = read_toml(path, f"recipe {name}")
    families: dict[str, Settings] = {}
    for key, value in content.items():
        if isinstance(value, dict) and key not in _TOP:
            if key not in FAMILIES:
                raise UsageError(f"recipe {name}: [{key}] is unknown, {nearest(key, FAMILIES)}")
            families[key] = _settings(value, f"recipe {name}: {key}")
        elif key not in _TOP:
            expected = nearest(key, [*_TOP, *FAMILIES])
            raise UsageError(f"recipe {name}: {key!r} is unknown, {expected}")
        else:
            _check(f"recipe {name}: {key}", value, _TOP[key])
    if "task" not in content or not families:
        missing = "no task" if families else "no table of a family"
        raise UsageError(
            f'recipe {name}: has {missing}, expected task = "digits" and one of '
            f"{', '.join(f'[{family}]' for family in FAMILIES)}"
        )
    facts = {key: content[key] for key in _TOP if key in content}
    samples = facts.get("samples", 1)
    require(samples >= 1, f"recipe {name}: samples", samples, "1 or more")
    return Recipe(name, families=families, **facts)


def _settings(table: dict[str, Any], where: str) -> Settings:
    """Return a table's settings, each of the type that its key has."""
    kinds: dict[str, type] = {**KEYS, **_ABOUT}
    for key, value in table.items():
        if key not in kinds:
            raise UsageError(f"{where}.{key} is unknown, {nearest(key, kinds)}")
        _check(f"{where}.{key}", value, kinds[key])
    values: dict[str, Any] = {key: table[key] for key in table if key in KEYS}
    values |= {key: float(values[key]) for key in values if KEYS[key] is float}
    if {"warmup_steps", "warmup_epochs"} <= set(values):
        raise UsageError(f"{where}: has warmup_steps and warmup_epochs; leave one of them out")
    epochs = values.get("warmup_epochs", 0.0)
    require(0.0 <= epochs < math.inf, f"{where}.warmup_epochs", epochs, "0 or more")
    try:
        Architecture("s4d", **{key: values[key] for key in _SHAPE if key in values})
        TrainingConfig(**{key: values[key] for key in _TRAINING if key in values})
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return Settings(values, table.get("source", ""), tuple(table.get("unlike", ())))


def _check(where: str, value: object, kind: type) -> None:
    fits = isinstance(value, int | float if kind is float else kind)
    if kind is list and isinstance(value, list):
        fits = all(isinstance(item, str) for item in value)
    if not fits or (kind is not bool and isinstance(value, bool)):
        raise UsageError(f"{where} is {value!r}, expected {_WORDS[kind]}")


def resolve(
    init: str,
    task: str,
    options: Mapping[str, Any],
    given: Collection[str],
    recipe: Recipe | None = None,
    scale: float = 1.0,
) -> tuple[str, dict[str, Any]]:
    """Return the task and the settings by key that a training is made with.

    options: values of KEYS without warmup_epochs; given: those of them, or `task`, that were asked
    for, which stand before the recipe's and are not scaled. scale multiplies d_model, epochs and
    the training samples, and the warm-up as many times as it shortens the run, so that it keeps its
    share of it. Raises UsageError.
    """
    values = dict(options)
    samples = None
    if recipe is not None:
        published = recipe.settings(init).values
        values |= {key: value for key, value in published.items() if key not in given}
        if "warmup_steps" in given:
            values.pop("warmup_epochs", None)
        samples = recipe.samples
        if "task" not in given:
            task = recipe.task
            if f"={FOLDER}" in task:
                raise UsageError(
                    f"recipe {recipe.name}: its task needs files, give --data {task}, {FOLDER} the "
                    "folder that holds them"
                )
        elif task.partition(":")[0] != recipe.task.partition(":")[0]:
            samples = None
    epochs, share = values["epochs"], 1.0
    if scale != 1.0:
        task, share = scaled_task(task, scale, samples, "task" in given)
        for key in _SCALED:
            if key not in given:
                values[key] = max(1, round(scale * values[key]))
    return task, _warmed(values, task, "warmup_steps" in given, scale, epochs, share)


def _warmed(
    values: dict[str, Any], task: str, given: bool, scale: float, epochs: int, share: float
) -> dict[str, Any]:
    """Return the values with the warm-up in steps; epochs and share of samples: before, kept."""
    counted = values.pop("warmup_epochs", 0.0)
    if given or not (counted or values["warmup_steps"]):
        return values
    batches = math.ceil(len(load_task(task).splits["train"]) / values["batch_size"])
    kept = values["epochs"] / epochs
    steps = counted * batches * kept if counted else values["warmup_steps"] * kept * share
    if scale != 1.0:
        steps = min(max(1, round(steps)), values["epochs"] * batches - 1)
    return {**values, "warmup_steps": round(steps)}


def scaled_task(
    spec: str, scale: float, samples: int | None = None, as_given: bool = False
) -> tuple[str, float]:
    """Return a task with a share of its training samples, and that share.

    Of a generated task `train` is multiplied. Of a task that reads files it is `limit`, which cuts
    validation and test samples as well; without a limit, `samples` says how many there are. Any
    other task stays as it is, and one that says its size itself where it stands `as_given`.
    """
    name, *settings = spec.strip().split(":")
    if name == FILE or name not in TASKS:
        return spec, 1.0
    allowed = inspect.signature(TASKS[name]).parameters
    values = dict(setting.partition("=")[::2] for setting in settings)
    key = "train" if "train" in allowed else "limit" if "limit" in allowed else ""
    if not key or (as_given and key in values):
        return spec, 1.0
    text = values.get(key, str(allowed[key].default))
    size = int(text) if is_count(text) else 0
    size = size or (samples or 0 if key == "limit" else 0)
    if not size:
        return spec, 1.0
    count = max(1, round(scale * size))
    values[key] = str(count)
    return ":".join([name, *(f"{k}={v}" for k, v in values.items())]), count / size
