"""Which tensors of a torch file are the network's, and what else it tells."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.flat_names import Flat, is_name
from robustssm.file_formats.pickle_globals import Made
from robustssm.file_formats.plain_values import Plain
from robustssm.file_formats.storages import TensorView

# Where training scripts put the state_dict; Lightning's is the first.
_STATES = ("state_dict", "model_state_dict", "model", "module", "net", "network")
_OPTIONS = ("hyper_parameters", "hparams")
BIG_ENDIAN = "its numbers are not little-endian; save it again on a usual machine"


def contents(
    path: Path, value: object, tensor: Callable[[TensorView], Tensor], limits: Limits
) -> Contents:
    """Return tensors by name, hyper-parameters and other plain values of what a torch file holds.

    The state_dict is the file itself, or stands at its top level under a usual name. Optimizer
    states, callbacks and the like are left out.
    """
    if not isinstance(value, dict):
        kind = value.name if isinstance(value, Made) else value
        raise ContentsError(f"holds {shown(kind)}, expected a state_dict")
    states = [key for key in _STATES if isinstance(value.get(key), dict) and _tensors(value[key])]
    one_state = len(states) < 2 or states[0] == "state_dict"
    held = ", ".join(states)
    require(one_state, f"holds the states {held}, expected one; save the one that is meant alone")
    flat = Flat(".", _view, limits, _ONLY_TENSORS)
    if states:
        rest = {key: one for key, one in value.items() if key != states[0]}
        flat.take(value[states[0]])
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


_ONLY_TENSORS = (
    "expected tensors only; save the state_dict alone, as in torch.save(model.state_dict(), path)"
)


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
