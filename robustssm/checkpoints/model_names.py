"""The model names of every command.

`s4d` is the bundled checkpoint of training seed 0, `s4d/2` of seed 2, `s4d/*` all seeds;
`name=path` is any checkpoint file under a name of your own, `name/3=path` its training seed 3;
`name=module.py:function` a torch module of your own code. A path may have commas and equals signs
where the file exists.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robustssm.checkpoints import Checkpoint
from robustssm.checkpoints.bundled import SEEDS, zoo_path
from robustssm.errors import UsageError, nearest
from robustssm.hippo.initializations import NAMES
from robustssm.plain_text import one_line


@dataclass(frozen=True)
class ModelRef:
    """A model as a user named it: label, file and training seed (None: the card says).

    settings: options that the file does not hold, as given by --set. function: of a Python file
    at `path` that makes the module; weights: file that is loaded into it.
    """

    label: str
    path: Path
    train_seed: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    function: str = ""
    weights: Path | None = None

    def __str__(self) -> str:
        return self.label if self.train_seed is None else f"{self.label}/{self.train_seed}"

    def load(self) -> Checkpoint:
        """Return the checkpoint, its weights verified.

        Raises RejectedInputError if the file is damaged, altered or in no known layout,
        UsageError if it does not hold what is needed to evaluate it, or `settings` do not fit.
        """
        settings = dict(self.settings)
        if self.function:
            from robustssm.checkpoints.factory import build_module

            checkpoint = build_module(self.path, self.function, self.weights, settings)
        else:
            from robustssm.checkpoints.importers import open_checkpoint

            checkpoint = open_checkpoint(self.path, settings)
        if self.train_seed is not None and not checkpoint.card.task:  # a native card knows it
            card = replace(checkpoint.card, train_seed=self.train_seed)
            checkpoint = replace(checkpoint, card=card)
        return checkpoint

    def resolved(self) -> "ModelRef":
        """Return the reference with absolute paths."""
        weights = None if self.weights is None else self.weights.resolve()
        return replace(self, path=self.path.resolve(), weights=weights)


def resolve(
    text: str, checkpoints: Sequence[Path] = (), settings: Sequence[str] = ()
) -> list[ModelRef]:
    """Return the models that a comma-separated list names, and files named by their stems.

    checkpoints: `name=path` gives the weights of a module `name=module.py:function`, as does a
    path alone if there is one such module. settings: `option=value` for every file from
    elsewhere, `name:option=value` for one. Raises UsageError, which says what is allowed, for a
    name unknown, missing or given twice.
    """
    models: list[ModelRef] = []
    for item in split_names(text):
        if _is_file(item):
            models.append(_unnamed(Path(item).expanduser()))
        else:
            models.extend(_own(item) if "=" in item else _bundled(item))
    models = _with_weights(models, checkpoints)
    if not models:
        raise UsageError("model: none is named, expected as in --model s4d,s4ptd/*")
    names = [str(model) for model in models]
    for name in names:
        if not one_line(name):
            raise UsageError(
                f"model: {name!r} has a control character in its name; name it by name=path"
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"model: {', '.join(twice)} is named twice; name each model once")
    return _with_settings(models, settings)


def references(items: Iterable[str], settings: Sequence[str] = ()) -> list[ModelRef]:
    """Return the models of names, or of paths of checkpoints; raises UsageError as `resolve`."""
    parts = [part for item in items for part in split_names(item)]
    paths = [Path(part).expanduser() for part in parts if _is_path(part)]
    return resolve(",".join(part for part in parts if not _is_path(part)), paths, settings)


def split_names(text: str) -> list[str]:
    """Return the names in a comma-separated list; what has commas is one if its file exists."""
    parts, names = text.split(","), []
    while parts:
        joined = (",".join(parts[:count]) for count in range(len(parts), 1, -1))
        name = next((name for name in joined if _file_in(name)), parts[0])
        del parts[: name.count(",") + 1]
        names.append(name.strip())
    return [name for name in names if name]


def _file_in(name: str) -> Path | None:
    """Return the file that a name is, or has behind its first equals sign, if there is one."""
    label, _, behind = name.partition("=")
    for place in (name.strip(), "" if "," in label else behind.strip()):
        if place and Path(place).expanduser().is_file():
            return Path(place).expanduser()
    return None


def _is_file(part: str) -> bool:
    """Return whether a name begins as only a path does, or is that of a file."""
    return part.startswith(("/", "./", "../", "~")) or Path(part).is_file()


def _is_path(part: str) -> bool:
    """Return whether a name is a path rather than a model."""
    if _is_file(part):
        return True
    if "=" in part or part.partition("/")[0] in NAMES:
        return False
    return "." in part or "/" in part or Path(part).expanduser().exists()


def _bundled(item: str) -> list[ModelRef]:
    name, _, seed = item.partition("/")
    if name not in NAMES:
        raise UsageError(
            f"model: {name!r} is unknown, {nearest(name, NAMES)}, with /SEED or /* for training "
            "seeds, or name=path"
        )
    if seed not in ("", "*", *map(str, SEEDS)):
        raise UsageError(f"model: {item!r} has no bundled seed {seed!r}, expected 0, 1, 2 or *")
    seeds = SEEDS if seed == "*" else (int(seed or 0),)
    return [ModelRef(name, zoo_path(name, s), s) for s in seeds]


def _own(item: str) -> list[ModelRef]:
    name, _, place = item.partition("=")
    label, slash, seed = name.partition("/")
    if not label or not place:
        raise UsageError(f"model: {item!r} lacks a name or a file, expected as in mine=model.ckpt")
    if slash and not seed.isdecimal():
        raise UsageError(f"model: {item!r} has training seed {seed!r}, expected as in mine/3=file")
    train_seed = int(seed) if slash else None
    file, colon, function = place.rpartition(":")
    if colon and file.endswith(".py"):
        if not function.isidentifier():
            raise UsageError(f"model: {item!r} names no function, expected module.py:function")
        return [ModelRef(label, Path(file).expanduser(), train_seed, function=function)]
    return [ModelRef(label, Path(place).expanduser(), train_seed)]


def _with_weights(models: list[ModelRef], checkpoints: Sequence[Path]) -> list[ModelRef]:
    """Return the models with the weights of modules, and those that are files by themselves."""
    complete = list(models)
    for checkpoint in checkpoints:
        name, equals, path = str(checkpoint).partition("=")
        if _is_file(str(checkpoint)):
            name, equals, path = str(checkpoint), "", ""
        empty = [m for m in complete if m.function and m.weights is None]
        fitting = [m for m in empty if str(m) == name] if equals else empty
        if len(fitting) == 1:
            weights = Path(path).expanduser() if equals else checkpoint
            complete[complete.index(fitting[0])] = replace(fitting[0], weights=weights)
        elif equals or fitting:
            known = ", ".join(str(m) for m in complete if m.function) or "none"
            raise UsageError(
                f"checkpoint: {checkpoint} fits no single module without weights (named: {known}); "
                "write name=path"
            )
        else:
            complete.append(_unnamed(checkpoint))
    return complete


def _unnamed(path: Path) -> ModelRef:
    """Return a file without a name of its own: it is called by its stem, spelt as a name can be."""
    return ModelRef(re.sub("[,=:]", "_", path.stem), path)


def _with_settings(models: list[ModelRef], settings: Sequence[str]) -> list[ModelRef]:
    """Return the models with their settings: those for all of them, then those for each."""
    foreign = [m for m in models if m.path.parent != zoo_path("", 0).parent]
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
