"""The tensors of one network in a file, whatever its way of being saved put around them.

DataParallel, torch.compile, averaging and a LightningModule put one prefix before all names, and a
file may hold several sets of weights. Names are tried as they are first. One prefix under which
everything lies is taken off; where a choice is left, it is asked for.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.file_formats.contents import Contents, shown
from robustssm.file_formats.state_dicts import AVERAGED

Known = Callable[[Contents], bool]
# What torch puts between the names of modules that it wraps, at any place.
_INNER = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# What AveragedModel counts, beside the weights; it says nothing of their function.
_COUNT = "n_averaged"
# Prefixes are looked for this deep; names that a message shows.
_DEPTH, _SHOWN = 8, 4


def one_network(
    contents: Contents, settings: Mapping[str, str], known: Known
) -> tuple[Contents, dict[str, str]]:
    """Return what a file holds of one network, and the settings that are for its importer.

    settings: of them, `prefix`, or else `weights` (ema or model), are for the file itself; known:
    whether tensors are in a layout that can be read. Raises UsageError where a choice is left or
    is none of those there are.
    """
    rest = dict(settings)
    if "prefix" in rest:
        return taken(contents, rest.pop("prefix")), rest
    return unwrapped(contents, known, rest.pop("weights", None)), rest


def unwrapped(contents: Contents, known: Known, weights: str | None = None) -> Contents:
    """Return the tensors under the one prefix behind which a layout is known, see `taken`."""
    names = [".".join(p for p in n.split(".") if p not in _INNER) for n in contents.tensors]
    bare = replace(contents, tensors=dict(zip(names, contents.tensors.values(), strict=True)))
    renamed = names != list(contents.tensors) and len(bare.tensors) == len(names)
    if renamed and (known(bare) or not known(contents)):
        note = "names of torch's wrappers (as _orig_mod) are taken out of its tensors'"
        contents = replace(bare, notes=(*contents.notes, note))
    every = {root: _is_average(contents, root) for root in _roots(contents, known)}
    roots = [one for one, mean in every.items() if weights in (None, "ema" if mean else "model")]
    if not every:
        return taken(contents, "")  # which no importer will know
    outside = [name for name in contents.tensors if not name.startswith(roots[0] if roots else "")]
    beside = [name for name in outside if weights is None and not name.endswith(_COUNT)]
    if len(roots) == 1 and not beside:
        return taken(contents, roots[0])
    if weights is not None:
        there = _listed(f"{'ema' if mean else 'model'} under '{r}'" for r, mean in every.items())
        raise _asked(contents, f"weights={shown(weights)} is none or many of these: {there}")
    both = sorted(every.values()) == [False, True]
    way = "weights=ema or --set weights=model" if both else f"prefix={shown(roots[0])}"
    rest = f", and beside it lie {_listed(beside)}" if len(roots) == 1 else ""
    raise _asked(
        contents,
        f"what can be read lies under {_listed(roots)}{rest}; give --set {way} for that alone, or "
        f"load the whole by your own code, as in name=module.py:function@{contents.path.name}",
    )


def taken(contents: Contents, prefix: str) -> Contents:
    """Return the tensors under a prefix, without it, with notes of what was left out or lost."""
    names = {name: _without(name, prefix) for name in contents.tensors}
    inside = {own: contents.tensors[name] for name, own in names.items() if own is not None}
    outside = [name for name, own in names.items() if own is None]
    if not inside:
        said = f"no tensor is under prefix={shown(prefix)}, their names are {_listed(outside)}"
        raise _asked(contents, said)
    notes, options = list(contents.notes), contents.options
    if prefix:
        average = "; averaged weights" if _is_average(contents, prefix) else ""
        notes.append(f"the prefix {shown(prefix)} of its tensors is taken off{average}")
    if outside:
        notes.append(f"left out, as not under {shown(prefix)}: {_listed(outside)}")
    model = options.get("model")
    if contents.container == "torch" and not (isinstance(model, Mapping) and "layer" in model):
        notes += [f"its hyper-parameters are not read: {_listed(options)}"] if options else []
        options = {}
    notes += _rounding(inside.values())
    return replace(contents, tensors=inside, options=options, notes=tuple(notes))


def _without(name: str, prefix: str) -> str | None:
    """Return a name without the prefix, which stands behind a collection of flax; None if none."""
    head = f"{name.partition('/')[0]}/" if "/" in name and not name.startswith(prefix) else ""
    return head + name[len(head + prefix) :] if name.startswith(head + prefix) else None


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
    kinds = sorted({value.dtype for value in tensors if value.is_floating_point()}, key=str)
    return [
        f"weights are stored as {one.dtype}, rounded by up to 2^{math.log2(one.eps) - 1:.0f} "
        f"({one.eps / 2:.1e}) of each, or of {one.smallest_normal:.0e} if it is smaller"
        for one in map(torch.finfo, kinds)
        if one.eps > torch.finfo(torch.float32).eps
    ]


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(map(shown, every[:_SHOWN])) + more


def _asked(contents: Contents, problem: str) -> UsageError:
    return UsageError(f"checkpoint {contents.path}: {problem}")
