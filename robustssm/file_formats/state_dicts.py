"""Which tensors of a torch file are the network's, and what else it tells."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import Flat, is_name
from robustssm.file_formats.pickle_globals import ALONE, Global, Made
from robustssm.file_formats.plain_values import Plain
from robustssm.file_formats.storages import TensorView

# Beside it, Lightning's state_dict holds averages.
_CURRENT = "current_model_state"
# Where training scripts put the state_dict; Lightning's is the first.
_STATES = (
    *("state_dict", "model_state_dict", "net_state_dict", "network_state_dict", "model_state"),
    *("model", "module", "net", "network", "params", "weights", _CURRENT),
)
# How averages of the weights are called, alone or in a word.
AVERAGED = re.compile(r"(?<![A-Za-z])(ema|EMA|swa|SWA|avg|averaged?)(?![a-z])")
_OPTIONS = ("hyper_parameters", "hparams")
BIG_ENDIAN = "its numbers are not little-endian; save it again on a usual machine"


def contents(
    path: Path, value: object, tensor: Callable[[TensorView], Tensor], limits: Limits
) -> Contents:
    """Return tensors by name, hyper-parameters and other plain values of what a torch file holds.

    The state_dict is the file itself, or stands at its top level under a usual name. Of several,
    averages among them, each has its place as a prefix. Optimizer states and the like are left out.
    """
    if not isinstance(value, dict):
        kind = value.name if isinstance(value, Made) else value
        raise ContentsError(f"holds {shown(kind)}, expected a state_dict")
    states = _states(value)
    flat = Flat(".", _view, limits, f"expected tensors only; {ALONE}")
    if states:
        rest = {key: one for key, one in value.items() if key not in states}
        for place, table in states.items():
            alone = len(states) == 1 and not AVERAGED.search(place)
            flat.take(table, "" if alone else f"{place}.")
    else:
        rest = {key: one for key, one in value.items() if _is_scalar(one)}
        flat.take({key: one for key, one in value.items() if key not in rest})
    keys = ", ".join(shown(key) for key in list(value)[:6])
    problem = f"holds no tensors under {', '.join(_STATES)} or by name; it has {keys}"
    require(bool(flat.tensors), problem)
    plain = Plain(limits)
    stated = [rest[key] for key in _OPTIONS if states and rest.get(key) is not None]
    options = plain(stated[0]) if stated else {}
    if not isinstance(options, dict):
        raise ContentsError(f"its hyper-parameters are {shown(options)}, expected a table")
    extra: dict[str, object] = {}
    for key, one in rest.items():
        if not is_name(key) or key in _OPTIONS:
            continue
        if _is_scalar(one):
            extra[key] = plain(one)
        elif isinstance(one, TensorView) and one.numel == 1:
            number = tensor(one).item()
            if not isinstance(number, complex):
                extra[key] = number
    tensors = {name: tensor(view) for name, view in flat.tensors.items()}
    return Contents("torch", tensors, options, extra, path)


def _states(value: Mapping[object, object]) -> dict[str, Mapping[object, object]]:
    """Return the tables of weights by their places: at the top, and averages in callbacks."""
    places = {str(key): one for key, one in value.items() if key in _STATES or _averaged(key)}
    callbacks = value.get("callbacks")
    for key, state in callbacks.items() if isinstance(callbacks, dict) else ():
        name = key.name if isinstance(key, Global) else key
        for inner, one in state.items() if isinstance(state, dict) else ():
            if _averaged(name) or _averaged(inner):
                places[f"callbacks.{name}.{inner}"] = one
    if _CURRENT in places and "state_dict" in places:
        places["averaged"] = places.pop("state_dict")
    return {
        place: table if place in _STATES else {k: v for k, v in table.items() if not _is_scalar(v)}
        for place, table in places.items()
        if isinstance(table, dict) and _tensors(table)
    }


def _averaged(key: object) -> bool:
    return isinstance(key, str) and AVERAGED.search(key) is not None


def _view(value: object) -> TensorView | None:
    return value if isinstance(value, TensorView) else None


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _tensors(table: Mapping[object, object]) -> bool:
    """Return whether a table has a tensor, at its top or in tables of it."""
    return any(
        isinstance(one, TensorView)
        or (isinstance(one, dict) and any(isinstance(two, TensorView) for two in one.values()))
        for one in table.values()
    )
