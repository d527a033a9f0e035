"""The model names of every command.

`s4d` is the bundled checkpoint of training seed 0, `s4d/2` of seed 2, `s4d/*` all seeds. A path is
any checkpoint file, called by its stem; `module.py:function` a torch module of your own code, and
`module.py:function@weights.pth` one with its weights. `name=` before either names it, `name/3=`
says its training seed. A path may have commas and equals signs where the file exists.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustssm.checkpoints import Checkpoint
from robustssm.checkpoints.bundled import BUNDLED, FOLDER, SEEDS, zoo_path
from robustssm.errors import UsageError, nearest
from robustssm.plain_text import is_count, one_line


@dataclass(frozen=True)
class ModelRef:
    """A model as a user named it: label, file and training seed (None: the card says).

    settings: options that the file does not hold, as given by --set. function: of a Python file
    at `path` that makes the module; weights: file that is loaded into it. held: the checkpoint
    itself where it lies in memory, of which each `load` is a copy; then there is no path.
    """

    label: str
    path: Path
    train_seed: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    function: str = ""
    weights: Path | None = None
    held: Checkpoint | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return self.label if self.train_seed is None else f"{self.label}/{self.train_seed}"

    def load(self) -> Checkpoint:
        """Return the checkpoint, its weights verified.

        Raises RejectedInputError if the file is damaged, altered or in no known layout,
        UsageError if it does not hold what is needed to evaluate it, or `settings` do not fit.
        """
        settings = dict(self.settings)
        if self.held is not None:
            checkpoint = deepcopy(self.held)
        elif self.function:
            from robustssm.checkpoints.factory import build_module

            checkpoint = build_module(self.path, self.function, self.weights, settings)
        else:
            from robustssm.checkpoints.importers import open_checkpoint

            checkpoint = open_checkpoint(self.path, settings)
        if self.train_seed is not None and not checkpoint.card.task:  # a native card knows it
            card = replace(checkpoint.card, train_seed=self.train_seed)
            checkpoint = replace(checkpoint, card=card)
        return checkpoint

    @property
    def runs_code(self) -> bool:
        """Whether the network is a module of a user's own code."""
        return bool(self.function) or self.held is not None

    def resolved(self) -> "ModelRef":
        """Return the reference with absolute paths."""
        weights = None if self.weights is None else self.weights.resolve()
        return replace(self, path=self.path.resolve(), weights=weights)


def resolve(texts: str | Iterable[str], settings: Sequence[str] = ()) -> list[ModelRef]:
    """Return the models that texts name, each a name or several with commas between them.

    settings: `option=value` for every file from elsewhere, `name:option=value` for one. Raises
    UsageError, which says what is allowed, for a name unknown, missing or given twice.
    """
    names = split_names([texts] if isinstance(texts, str) else texts)
    models = [model for name in names for model in _named(name)]
    check_labels(models)
    return _with_settings(models, settings)


def check_labels(models: Sequence[ModelRef]) -> None:
    """Raise UsageError unless models are named, each once, by labels that a line can hold."""
    if not models:
        raise UsageError("model: none is named, expected as in --model s4d,s4ptd/*")
    labels = [str(model) for model in models]
    for label in labels:
        if not one_line(label):
            raise UsageError(
                f"model: {label!r} has a control character in its name; name it by name=path"
            )
        if not label or label[0] == "/":
            raise UsageError(f"model: {label!r} has no name")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise UsageError(f"model: {', '.join(twice)} is named twice; name each model once")


def split_names(texts: Iterable[str]) -> list[str]:
    """Return the names in texts; what has commas is one name if its file exists."""
    names = []
    for text in texts:
        parts = text.split(",")
        while parts:
            joined = (",".join(parts[:count]) for count in range(len(parts), 1, -1))
            name = next((one for one in joined if _is_file(one)), parts[0])
            del parts[: name.count(",") + 1]
            names.append(name.strip())
    return [name for name in names if name]


def is_code(name: str) -> bool:
    """Return whether a model is a module of somebody's code, which loading it would run."""
    return ".py:" in name


def _is_file(name: str) -> bool:
    """Return whether a name is that of a file, or has one behind its first equals sign."""
    label, _, behind = name.partition("=")
    places = (name.strip(), "" if "," in label else behind.strip())
    return any(place and _is_there(place, Path.is_file) for place in places)


def _is_there(place: str, holds: Callable[[Path], bool] = Path.exists) -> bool:
    """Return whether a path exists; it does not if it is none, such as one that is too long."""
    try:
        return holds(Path(place).expanduser())
    except (OSError, ValueError, RuntimeError):
        return False


def _parts(name: str) -> tuple[str, str]:
    """Return the label, empty without one, and the place of a model; no place if it is bundled."""
    label, equals, place = name.partition("=")
    if name.startswith(("/", "./", "../", "~")) or _is_there(name, Path.is_file) or is_code(label):
        return "", name
    if equals:
        if not label or not place:
            raise UsageError(
                f"model: {name!r} lacks a name or a file, expected as in mine=model.ckpt"
            )
        return label, place
    bundled = name.partition("/")[0].lower() in BUNDLED
    there = "/" in name or "." in name or _is_there(name)
    return "", name if there and not bundled else ""


def anchored(text: str, folder: Path) -> str:
    """Return the names in a text, their relative paths those from a folder."""
    with contextlib.chdir(folder):
        parts = [(name, *_parts(name)) for name in split_names([text])]
    names = []
    for name, label, place in parts:
        file, at, weights = place.partition("@") if is_code(place) else (place, "", "")
        paths = [str(folder / Path(one.strip()).expanduser()) for one in (file, weights) if one]
        names.append(f"{label}{'=' if label else ''}{at.join(paths)}" if place else name)
    return ",".join(names)


def _named(name: str) -> list[ModelRef]:
    """Return the models of one name; a file without a label is called by its stem."""
    called, place = _parts(name)
    if not place:
        return _bundled(name)
    label, train_seed = label_and_seed(called, name)
    path, function, weights = Path(place), "", ""
    if is_code(place):
        file, _, made = place.partition(".py:")
        path, (function, _, weights) = Path(f"{file}.py"), made.partition("@")
        if not function.isidentifier():
            raise UsageError(f"model: {place!r} names no function, expected module.py:function")
    label = label or re.sub("[,=:@]", "_", path.stem)
    held = Path(weights).expanduser() if weights else None
    return [ModelRef(label, path.expanduser(), train_seed, function=function, weights=held)]


def label_and_seed(called: str, name: str) -> tuple[str, int | None]:
    """Return the label and training seed of what a model is called, as in `mine/3`.

    name: what the user wrote, for the message. Raises UsageError if the seed is none.
    """
    label, slash, seed = called.partition("/")
    if slash and not is_count(seed):
        raise UsageError(f"model: {name!r} has training seed {seed!r}, expected as in mine/3=file")
    return label, int(seed) if slash else None


def _bundled(item: str) -> list[ModelRef]:
    name, _, seed = item.partition("/")
    if name not in BUNDLED:
        raise UsageError(
            f"model: {name!r} is unknown, {nearest(name, BUNDLED)}, with /SEED or /* for training "
            "seeds, or a file"
        )
    if seed not in ("", "*", *map(str, SEEDS)):
        raise UsageError(f"model: {item!r} has no bundled seed {seed!r}, expected 0, 1, 2 or *")
    seeds = SEEDS if seed == "*" else (int(seed or 0),)
    return [ModelRef(name, zoo_path(name, s), s) for s in seeds]


def _with_settings(models: list[ModelRef], settings: Sequence[str]) -> list[ModelRef]:
    """Return the models with their settings: those for all of them, then those for each."""
    foreign = [m for m in models if m.path.parent != FOLDER]
    of_model: dict[str, dict[str, str]] = {str(model): {} for model in foreign}
    for setting in settings:
        key, equals, value = setting.partition("=")
        name, colon, option = key.rpartition(":")
        if not equals or not option:
            raise UsageError(f"set: {setting!r} is not understood, expected as in prenorm=false")
        fitting = [m for m in foreign if not colon or name in (m.label, str(m))]
        if not fitting:
            known = ", ".join(of_model) or "there is none"
            raise UsageError(f"set: {setting!r} is for no model from elsewhere (named: {known})")
        for model in fitting:
            of_model[str(model)][option] = value
    return [replace(m, settings=tuple(of_model.get(str(m), {}).items())) for m in models]
