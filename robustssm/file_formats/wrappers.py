"""The tensors of one network in a file, whatever its way of being saved put around them.

DataParallel, torch.compile, averaging and a LightningModule put one prefix before all names, and a
file may hold several sets of weights. Names are tried as they are first. One prefix under which
everything lies is taken off; where a choice is left, it is asked for.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.file_formats.contents import Contents, shown
from robustssm.file_formats.recognise import read_contents
from robustssm.file_formats.state_dicts import AVERAGED

Known = Callable[[Contents], bool]
# What torch puts between the names of modules that it wraps, at any place.
_INNER = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Tensors of AveragedModel that count, beside the weights.
_COUNT = "n_averaged"
# Prefixes are looked for this deep; names that a message shows.
_DEPTH, _SHOWN = 8, 4


def read_network(
    path: Path, settings: Mapping[str, str], known: Known
) -> tuple[Contents, dict[str, str]]:
    """Return what a file holds of one network, and the settings that are for its importer.

    settings: of them, `prefix` and `weights` (ema or model) are for the file itself; known: whether
    tensors are in a layout that can be read. Raises UsageError where a choice is left or is none
    of those there are, else as `read_contents`.
    """
    rest = dict(settings)
    prefix, weights = rest.pop("prefix", None), rest.pop("weights", None)
    return unwrapped(read_contents(path), known, prefix, weights), rest


def unwrapped(
    contents: Contents, known: Known, prefix: str | None = None, weights: str | None = None
) -> Contents:
    """Return the tensors under one prefix, without it, and notes of all that was left out."""
    notes = list(contents.notes)
    if prefix is None:
        bare = replace(contents, tensors={_bare(n): value for n, value in contents.tensors.items()})
        renamed = list(bare.tensors) != list(contents.tensors)
        apart = len(bare.tensors) == len(contents.tensors)
        if renamed and apart and (known(bare) or not known(contents)):
            notes.append("names of torch's wrappers (as _orig_mod) are taken out of its tensors'")
            contents = bare
        prefix = _found(contents, known, weights)
    elif weights is not None:
        raise _asked(contents, "prefix and weights are given, expected one of them")
    tensors = {_without(name, prefix): value for name, value in contents.tensors.items()}
    inside = {name: value for name, value in tensors.items() if name is not None}
    outside = [name for name in contents.tensors if _without(name, prefix) is None]
    if not inside:
        raise _asked(
            contents, f"no tensor is under prefix={prefix!r}, their names are {_listed(outside)}"
        )
    if prefix:
        averaged = "; averaged weights" if _is_average(contents, prefix) else ""
        notes.append(f"the prefix {shown(prefix)} of its tensors is taken off{averaged}")
    for name in outside:
        if name.endswith(_COUNT) and contents.tensors[name].numel() == 1:
            notes.append(f"{shown(name)} is {contents.tensors[name].item():g}")
    if outside:
        notes.append(f"left out, as not under {shown(prefix)}: {_listed(outside)}")
    model = contents.options.get("model")
    options = contents.options
    if contents.container == "torch" and not (isinstance(model, Mapping) and "layer" in model):
        if options:
            notes.append(f"its hyper-parameters are not read: {_listed(options)}")
        options = {}
    notes += _rounding(inside.values())
    return replace(contents, tensors=inside, options=options, notes=tuple(notes))


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _INNER)


def _without(name: str, prefix: str) -> str | None:
    """Return a name without the prefix, which stands behind a collection of flax; None if none."""
    collection, slash, rest = name.partition("/")
    if slash and prefix and not name.startswith(prefix):
        return f"{collection}/{rest[len(prefix) :]}" if rest.startswith(prefix) else None
    return name[len(prefix) :] if name.startswith(prefix) and name != prefix else None


def _found(contents: Contents, known: Known, weights: str | None) -> str:
    """Return the one prefix under which a layout is known, empty if there is none."""
    roots = _roots(contents, known)
    if not roots:
        return ""
    kinds = {root: "ema" if _is_average(contents, root) else "model" for root in roots}
    if weights is not None:
        fitting = [root for root in roots if kinds[root] == weights]
        if len(fitting) == 1:
            return fitting[0]
        there = " and ".join(f"{kinds[root]} under {shown(root) or 'no prefix'}" for root in roots)
        raise _asked(contents, f"weights={shown(weights)} is not what it holds: {there}")
    if len(roots) > 1:
        if sorted(kinds.values()) == ["ema", "model"]:
            raise _asked(
                contents,
                f"holds weights and their averages, under {_listed(roots)}; give --set "
                "weights=ema or --set weights=model",
            )
        raise _asked(
            contents,
            f"holds layers or networks that are known under {_listed(roots)}; give one, as in "
            f"--set prefix={roots[0]}, or load the whole {_own(contents)}",
        )
    outside = [name for name in contents.tensors if _without(name, roots[0]) is None]
    beside = [name for name in outside if name.rpartition(".")[2] != _COUNT]
    if beside:
        raise _asked(
            contents,
            f"a layout is known under {shown(roots[0])}, and beside it lie {_listed(beside)}; "
            f"give --set prefix={roots[0]} if they are no part of the network, else load it "
            f"{_own(contents)}",
        )
    return roots[0]


def _roots(contents: Contents, known: Known, prefix: str = "", depth: int = 0) -> list[str]:
    """Return the shortest prefixes under which a layout is known, none of them within another."""
    if known(contents):
        return [prefix]
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in contents.tensors.items():
        head, point, rest = name.partition(".")
        if point and depth < _DEPTH:
            parts.setdefault(head, {})[rest] = value
    inner = {f"{prefix}{head}.": replace(contents, tensors=part) for head, part in parts.items()}
    return [root for at, part in inner.items() for root in _roots(part, known, at, depth + 1)]


def _is_average(contents: Contents, prefix: str) -> bool:
    """Return whether weights are averages: by the name, or the count that AveragedModel keeps."""
    counted = f"{prefix.removesuffix('module.')}{_COUNT}" in contents.tensors
    return counted or AVERAGED.search(prefix) is not None


def _rounding(tensors: Iterable[Tensor]) -> list[str]:
    """Return what was lost of weights that are stored in fewer bits than float32 has."""
    notes, single = [], torch.finfo(torch.float32).eps
    for kind in sorted({t.dtype for t in tensors if t.is_floating_point()}, key=str):
        facts = torch.finfo(kind)
        if facts.eps > single:
            unit = facts.eps / 2.0
            name = str(kind).removeprefix("torch.")
            least = facts.smallest_normal
            small = f", or {unit * least:.0e} of those below {least:.0e}" if least > 1e-30 else ""
            notes.append(
                f"weights are stored as {name}, rounded by up to 2^{math.log2(unit):.0f} "
                f"({unit:.1e}) of each{small}"
            )
    return notes


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(map(shown, every[:_SHOWN])) + more


def _own(contents: Contents) -> str:
    return f"by your own code, as in name=module.py:function@{contents.path.name}"


def _asked(contents: Contents, problem: str) -> UsageError:
    return UsageError(f"checkpoint {contents.path}: {problem}")
