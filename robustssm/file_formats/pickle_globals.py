"""The globals that a checkpoint's pickle may name, each replaced by something that only holds.

Nothing here is imported or called: a name stands for what is built in its place. torch.save and
Lightning write these; a pickle that names anything else is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import torch

from robustssm.file_formats.contents import ContentsError, Limits, shown
from robustssm.file_formats.storages import STORAGE_TYPES, TensorView, tensor_view


@dataclass(eq=False)
class Made:
    """What a pickle builds of a class: its name, its items (of a dictionary) and its state."""

    name: str
    items: dict[object, object] = field(default_factory=dict)
    state: dict[object, object] = field(default_factory=dict)


Build = Callable[[tuple[object, ...]], object]


@dataclass(frozen=True, eq=False)
class Global:
    """A name in a pickle. build: what calling it gives, None where it is a mere name."""

    name: str
    build: Build | None = None
    dtype: torch.dtype | None = None


# Nodes of omegaconf and dictionaries of Lightning: hyper_parameters are made of them.
_HELD = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode",
    "argparse.Namespace",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)
# Names that stand for types, and the keys of callbacks in Lightning before 1.5.
_NAMES = (
    *(f"builtins.{name}" for name in ("int", "float", "str", "bool", "tuple", "complex")),
    "typing.Any",
    *(
        f"torch.{name}"
        for name in (
            *("float16", "float32", "float64", "bfloat16", "complex64", "complex128"),
            *("int8", "int16", "int32", "int64", "uint8", "bool"),
        )
    ),
    *(
        f"{package}.callbacks.{module}.{name}"
        for package in ("pytorch_lightning", "lightning.pytorch")
        for module, name in (
            ("model_checkpoint", "ModelCheckpoint"),
            ("early_stopping", "EarlyStopping"),
            ("lr_monitor", "LearningRateMonitor"),
            ("progress", "ProgressBar"),
            ("timer", "Timer"),
        )
    ),
)
_PY2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_PY2_NAMES = {"builtins.long": "builtins.int", "builtins.unicode": "builtins.str"}
_SCALAR = re.compile(r"[<|=]?(f2|f4|f8|i1|i2|i4|i8|u1|u2|u4|u8|b1)")
# Characters of bytes that protocol 2 writes as text: those of a NumPy scalar.
_CODED = 32


class Globals:
    """The allowed globals of one pickle.

    spend: is told how many entries a call copies, and raises where they are too many.
    """

    def __init__(self, limits: Limits, spend: Callable[[int], None]) -> None:
        self._limits, self._spend = limits, spend
        builds: dict[str, Build | None] = dict.fromkeys(_NAMES)
        builds |= {name: self._holder(name) for name in _HELD}
        builds |= {f"pathlib.{kind}": self._path for kind in ("PosixPath", "WindowsPath")}
        builds |= {f"pathlib._local.{kind}": self._path for kind in ("PosixPath", "WindowsPath")}
        builds |= dict.fromkeys(("builtins.list", "builtins.set", "collections.deque"), self._list)
        builds |= dict.fromkeys(
            ("builtins.dict", "collections.OrderedDict", "collections.Counter"), self._dict
        )
        for package in ("numpy.core", "numpy._core"):
            builds[f"{package}.multiarray.scalar"] = _numpy_scalar
        builds |= {
            "collections.defaultdict": self._default_dict,
            "torch._utils._rebuild_tensor_v2": lambda given: tensor_view(limits, given),
            "torch._utils._rebuild_parameter": _parameter,
            "torch._utils._rebuild_parameter_with_state": _parameter,
            "torch.Size": _size,
            "torch.device": _device,
            "numpy.dtype": _numpy_type,
            "_codecs.encode": _encoded,
        }
        self._table = {name: Global(name, build) for name, build in builds.items()}
        for name, dtype in STORAGE_TYPES.items():
            for module in ("torch", "torch.storage"):
                self._table[f"{module}.{name}"] = Global(f"{module}.{name}", None, dtype)

    def find(self, module: object, name: object) -> Global:
        """Return what stands for a global; the fault names one that is not allowed."""
        full = f"{shown(module)}.{shown(name)}"
        if isinstance(module, str) and isinstance(name, str):
            full = f"{_PY2.get(module, module)}.{name}"
            found = self._table.get(_PY2_NAMES.get(full, full))
            if found is not None:
                return found
        raise ContentsError(
            f"holds {shown(full)}, which would run code when loaded; nothing was "
            "run; save the state_dict alone, as in torch.save(model.state_dict(), path)"
        )

    def _holder(self, name: str) -> Build:
        def build(given: tuple[object, ...]) -> Made:
            if given:
                raise _odd(name)
            return Made(name)

        return build

    def _list(self, given: tuple[object, ...]) -> list[object]:
        if not given:
            return []
        if not isinstance(given[0], list | tuple) or given[1:] not in ((), (None,)):
            raise _odd("list")
        self._spend(len(given[0]))
        return list(given[0])

    def _dict(self, given: tuple[object, ...]) -> dict[object, object]:
        if not given:
            return {}
        pairs = given[0]
        if len(given) == 1 and isinstance(pairs, dict):
            self._spend(len(pairs))
            return dict(pairs)
        if len(given) == 1 and isinstance(pairs, list | tuple):
            self._spend(len(pairs))
            if all(isinstance(p, list | tuple) and len(p) == 2 and hashable(p[0]) for p in pairs):
                return {p[0]: p[1] for p in pairs}
        raise _odd("dict")

    def _default_dict(self, given: tuple[object, ...]) -> dict[object, object]:
        return self._dict(given[1:])

    def _path(self, given: tuple[object, ...]) -> str:
        if not all(isinstance(part, str) for part in given):
            raise _odd("path")
        self._spend(sum(len(str(part)) for part in given))
        windows = any(":" in str(part) for part in given[:1])
        return str((PureWindowsPath if windows else PurePosixPath)(*map(str, given)))


def hashable(key: object) -> bool:
    """Return whether `key` may be a key: a scalar, a name, or a short tuple of scalars."""
    if isinstance(key, tuple):
        return (
            len(key) <= 8
            and not any(isinstance(one, tuple) for one in key)
            and all(map(hashable, key))
        )
    if isinstance(key, int):
        return key.bit_length() < 64
    return key is None or isinstance(key, str | float | bytes | Global)


def _odd(name: str) -> ContentsError:
    return ContentsError(
        f"its pickle makes a {name} in a way that torch.save does not; save it again"
    )


def _parameter(given: tuple[object, ...]) -> TensorView:
    if not given or not isinstance(given[0], TensorView):
        raise _odd("parameter")
    return given[0]


def _size(given: tuple[object, ...]) -> tuple[object, ...]:
    if len(given) != 1 or not isinstance(given[0], tuple):
        raise _odd("torch.Size")
    return given[0]


def _device(given: tuple[object, ...]) -> str:
    if not given or not isinstance(given[0], str):
        raise _odd("torch.device")
    return given[0]


def _numpy_type(given: tuple[object, ...]) -> Made:
    if not given or not isinstance(given[0], str) or not _SCALAR.fullmatch(given[0]):
        raise _odd("numpy.dtype")
    return Made("numpy.dtype", state={"code": given[0]})


def _numpy_scalar(given: tuple[object, ...]) -> object:
    if len(given) == 2 and isinstance(given[0], Made) and isinstance(given[1], bytes):
        code = str(given[0].state.get("code"))[-2:]
        if given[0].name == "numpy.dtype" and given[0].state.get("order", "<") in ("<", "|", "="):
            dtype = np.dtype(f"<{code}")
            if dtype.itemsize == len(given[1]):
                return np.frombuffer(given[1], dtype)[0].item()
    raise _odd("NumPy scalar")


def _encoded(given: tuple[object, ...]) -> bytes:
    if len(given) != 2 or given[1] != "latin1":
        raise _odd("byte string")
    text = given[0]
    if not isinstance(text, str) or len(text) > _CODED or any(ord(c) > 255 for c in text):
        raise _odd("byte string")
    return text.encode("latin1")
