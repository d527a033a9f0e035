"""Which tensors of a torch file are the network's, and what else it tells."""

from collections.abc import Callable, Mapping

from torch import Tensor

from robustssm.file_formats.contents import ContentsError, Limits, shown
from robustssm.file_formats.pickle_globals import Made
from robustssm.file_formats.plain_values import Plain
from robustssm.file_formats.storages import TensorView

Parts = tuple[dict[str, Tensor], dict[str, object], dict[str, object]]
# Where training scripts put the state_dict; Lightning's is the first.
_STATES = ("state_dict", "model_state_dict", "model", "module", "net", "network")
_OPTIONS = ("hyper_parameters", "hparams")
_NAME = 500


def parts(value: object, tensor: Callable[[TensorView], Tensor], limits: Limits) -> Parts:
    """Return tensors by name, hyper-parameters and other plain values of what a torch file holds.

    The state_dict is the file itself, or stands at its top level under a usual name. Optimizer
    states, callbacks and the like are left out.
    """
    if isinstance(value, Made):
        raise ContentsError(f"holds a {shown(value.name)}, expected a state_dict")
    if not isinstance(value, dict):
        raise ContentsError(f"holds {shown(value)}, expected a state_dict")
    states = [key for key in _STATES if isinstance(value.get(key), dict) and _tensors(value[key])]
    if len(states) > 1 and states[0] != "state_dict":
        raise ContentsError(
            f"holds the states {', '.join(states)}, expected one; save the one that is meant alone"
        )
    flat = _Flat(limits)
    if states:
        rest = {key: one for key, one in value.items() if key != states[0]}
        flat.take(value[states[0]])
    else:
        own = {key: one for key, one in value.items() if not _is_scalar(one)}
        rest = {key: one for key, one in value.items() if key not in own}
        flat.take(own)
    if not flat.views:
        keys = ", ".join(shown(key) for key in list(value)[:6])
        raise ContentsError(
            f"holds no tensors under {', '.join(_STATES)} or by name; it has {keys}"
        )
    plain = Plain(limits)
    options: object = {}
    for key in _OPTIONS:
        if states and rest.get(key) is not None:
            options = plain(rest[key])
            break
    if not isinstance(options, dict):
        raise ContentsError(f"its hyper-parameters are {shown(options)}, expected a table")
    extra = {
        str(key): plain(one)
        for key, one in rest.items()
        if _is_name(key) and key not in _OPTIONS and _is_scalar(one)
    }
    for key, one in rest.items():
        if _is_name(key) and isinstance(one, TensorView) and one.numel == 1:
            number = tensor(one).item()
            if not isinstance(number, complex):
                extra[str(key)] = number
    return {name: tensor(view) for name, view in flat.views.items()}, options, extra


def _is_name(key: object) -> bool:
    return isinstance(key, str) and len(key) <= _NAME and key.isprintable()


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _tensors(table: Mapping[object, object]) -> bool:
    """Return whether a table has a tensor, at its top or in tables of it."""
    return any(
        isinstance(one, TensorView)
        or (isinstance(one, dict) and any(isinstance(two, TensorView) for two in one.values()))
        for one in table.values()
    )


class _Flat:
    """Tensors by their names, tables joined by "."; visits are counted, shared tables each time."""

    def __init__(self, limits: Limits) -> None:
        self.views: dict[str, TensorView] = {}
        self._limits, self._left = limits, limits.values

    def take(self, table: Mapping[object, object], prefix: str = "", depth: int = 0) -> None:
        """Add the tensors of a table; raises ContentsError where it holds something else."""
        if depth > self._limits.nesting:
            raise ContentsError(f"its tables are nested more than {self._limits.nesting} deep")
        self._left -= 1 + len(table)
        if self._left < 0:
            raise ContentsError(f"holds more than {self._limits.values} entries")
        for key, value in table.items():
            if not _is_name(key):
                raise ContentsError(f"a tensor is named {shown(key)}, expected a printable name")
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                self.take(value, f"{name}.", depth + 1)
            elif isinstance(value, TensorView):
                self._add(name, value)
            elif value is not None:
                raise ContentsError(
                    f"holds {shown(value)} under {shown(name)}, expected tensors only; save the "
                    "state_dict alone, as in torch.save(model.state_dict(), path)"
                )

    def _add(self, name: str, view: TensorView) -> None:
        if name in self.views:
            raise ContentsError(f"two tensors are named {shown(name)}")
        if len(self.views) >= self._limits.tensors:
            raise ContentsError(f"holds more than {self._limits.tensors} tensors")
        self.views[name] = view
