"""Encoder, residual blocks, norms and decoder of state-spaces/s4 as one SequenceModel.

References: state-spaces/s4, src/models/sequence/backbones/ (model.py, block.py), src/models/nn/
(normalization.py, residual.py), src/tasks/ (encoders.py, decoders.py); tag v2, the same classes
in src/models/sequence/model.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.state_spaces.ends import named, read_decoder, read_encoder, table
from robustssm.checkpoints.state_spaces.layers import Layer, LayerReader
from robustssm.checkpoints.state_spaces.options import FACTORY, Options
from robustssm.checkpoints.weights import Weights
from robustssm.errors import UsageError

_RESIDUALS = {
    **dict.fromkeys(("R", "residual"), "add"),
    **dict.fromkeys(("F", "N", "none", "ff", "feedforward"), "none"),
    **dict.fromkeys(("A", "affine"), "affine"),
    **dict.fromkeys(("H", "highway"), "highway"),
    **dict.fromkeys(("D", "decay"), "decay"),
}
_NORMS = {name: name for name in ("layer", "batch", "group", "instance", "none")}
_DEAD = ("loss.", "loss_val.", "task.")
_MODEL = (
    "_name_ layer prenorm transposed n_layers d_model bidirectional n_repeat residual pool norm "
    "dropout tie_dropout drop_path dropinp track_norms"
)


@dataclass
class Parts:
    """The fields of a blueprint and the tensors of its network, as they are gathered."""

    fields: dict[str, object] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


class BackboneReader:
    """Reads a network whose blocks are `<root>layers.<i>.`.

    config: the file's hyper-parameters, None if it has none; layer: reads what is inside one;
    names: what the `_name_` of a layer may be.
    """

    def __init__(
        self,
        w: Weights,
        config: Mapping[str, object] | None,
        overrides: Overrides,
        layer: LayerReader,
        names: Sequence[str],
    ) -> None:
        self._w, self._overrides, self._layer, self._names = w, overrides, layer, names
        self._config = config
        self._root = "model." if any(n.startswith("model.layers.") for n in w.names()) else ""
        model = None
        if config is not None:
            model = table(config.get("model"), "model", overrides)
        self._model = Options(model, overrides, "model")
        self.assumed: dict[str, object] = {}

    def read(self, allow_unstable: bool) -> Parts:
        """Return the parts of the network."""
        self._w.ignore(lambda name: name.startswith(_DEAD) or name.endswith("num_batches_tracked"))
        self._check_model()
        parts = Parts()
        indices = self._indices()
        parts.layers = self._read_layers(indices, allow_unstable)
        d = parts.layers[0].d
        stated = (self._model.config or {}).get("d_model", d)
        if stated != d:
            raise self._w.rejected(f"layers have {d} features, d_model says {stated}")
        outputs = [layer.output for layer in parts.layers]
        if any(one.d != d for one in parts.layers) or any(out != outputs[0] for out in outputs):
            raise UsageError(
                f"{self._overrides.who}: blocks differ in width or activation; {FACTORY}"
            )
        for i, layer in enumerate(parts.layers):
            parts.tensors |= {f"blocks.{i}.{key}": v for key, v in layer.tensors.items()}
        parts.fields = {
            "d_model": d,
            "mixers": tuple(layer.mixer for layer in parts.layers),
            "mask_padding": True,
            **outputs[0],
        }
        prenorm = self._model.flag("prenorm", True, ask=True)
        parts.fields |= {"prenorm": prenorm} | self._residual(parts, d)
        parts.fields |= self._norms(parts, d, prenorm)
        for read in (read_encoder, read_decoder):
            fields, tensors = read(self._w, self._config, self._overrides, d)
            parts.fields |= fields
            parts.tensors |= tensors
        self.assumed |= self._model.assumed
        return parts

    def _check_model(self) -> None:
        model = self._model
        if model.config is None:
            return
        name = model.config.get("_name_")
        if name not in (None, "model"):
            raise model.unsupported("_name_", name, "model")
        model.only(set(_MODEL.split()))
        model.refuse("bidirectional", False)
        pool, arguments = named(model.config.get("pool"))
        if pool is not None and (
            pool not in ("pool", "sample")
            or arguments.get("stride", 1) not in (None, 1)
            or arguments.get("expand") not in (None, 1)
            or set(arguments) - {"stride", "expand"}
        ):
            raise model.unsupported("pool", model.config["pool"], "stride 1 and no expand")

    def _indices(self) -> list[int]:
        prefix = f"{self._root}layers."
        names = {
            n.removeprefix(prefix).split(".")[0] for n in self._w.names() if n.startswith(prefix)
        }
        if not all(one.isdecimal() for one in names) or not names:
            raise self._w.rejected(f"{prefix} has blocks {sorted(names)}, expected 0, 1, ...")
        indices = sorted(map(int, names))
        count = len(self._layer_configs())
        expected = None
        if self._model.config is not None:
            n_layers, repeat = (self._model.config.get(k, 1) for k in ("n_layers", "n_repeat"))
            if isinstance(n_layers, int) and isinstance(repeat, int):
                expected = n_layers * repeat * count
        wanted = len(indices) if expected is None else expected
        if len(indices) != wanted or indices != list(range(len(indices))):
            raise self._w.rejected(
                f"{prefix} has blocks {', '.join(map(str, indices))}, expected {wanted} of them "
                "from 0 on"
            )
        return indices

    def _layer_configs(self) -> list[Mapping[str, object] | None]:
        if self._model.config is None:
            return [None]
        layer = self._model.config.get("layer")
        many = layer if isinstance(layer, list | tuple) else [layer]
        return [table(one, "model.layer", self._overrides) for one in many]

    def _read_layers(self, indices: list[int], allow_unstable: bool) -> list[Layer]:
        configs = self._layer_configs()
        layers = []
        for i in indices:
            options = Options(configs[i % len(configs)], self._overrides)
            name = (options.config or {}).get("_name_")
            if name is not None and name not in self._names:
                raise options.unsupported("_name_", name, ", ".join(self._names))
            scope = self._w.scope(f"{self._root}layers.{i}.layer.")
            layers.append(self._layer(scope, options, allow_unstable))
            self.assumed |= options.assumed
        return layers

    def _residual(self, parts: Parts, d: int) -> dict[str, object]:
        value = (self._model.config or {}).get("residual")
        name, arguments = named(value)
        if arguments and not (name in ("R", "residual") and set(arguments) <= {"alpha", "beta"}):
            raise self._model.unsupported("residual", value, "no arguments")
        if any(one != 1 for one in arguments.values()):
            raise self._model.unsupported("residual", value, "alpha and beta 1")
        options = Options(
            None if self._model.config is None else {"residual": name}, self._overrides, "model"
        )
        first = self._w.scope(f"{self._root}layers.0.residual.")
        if not options.known and "affine" in first:
            kind = "affine"
        elif not options.known and "Wx.weight" in first:
            kind = "highway"
        else:
            kind = options.word("residual", _RESIDUALS, None, ask=True)
        for i in range(len(parts.layers)):
            w, own = self._w.scope(f"{self._root}layers.{i}.residual."), f"blocks.{i}.residual."
            if kind == "affine":
                parts.tensors[f"{own}affine"] = w.take("affine", w.shape("affine")).expand(d)
            if kind == "highway":
                for key in ("Wx", "Wy"):
                    parts.tensors[f"{own}{key}.weight"] = w.take(f"{key}.weight", (d, d))
                    parts.tensors[f"{own}{key}.bias"] = w.take(f"{key}.bias", (d,))
        return {"residual": kind}

    def _norms(self, parts: Parts, d: int, prenorm: bool) -> dict[str, object]:
        value = (self._model.config or {}).get("norm")
        name, arguments = named(value)
        eps = arguments.pop("eps", 1e-5)
        if arguments or not isinstance(eps, float):
            raise self._model.unsupported("norm", value, "a name, with eps at most")
        first = self._w.scope(f"{self._root}layers.0.norm.norm.")
        options = Options(
            None if self._model.config is None else {"norm": name}, self._overrides, "model"
        )
        transposed = "m" in first
        if options.known:
            kind = options.word("norm", _NORMS, None)
            if (self._model.config or {}).get("transposed") and kind == "layer":
                transposed = True
        elif transposed:
            kind = "layer"
        elif "running_mean" in first:
            kind = "batch"
        elif "weight" in first:
            kind = options.word("norm", {k: k for k in ("layer", "group")}, None, ask=True)
        else:
            kind = options.word("norm", {k: k for k in ("none", "instance")}, None, ask=True)
        kind = "transposed-layer" if kind == "layer" and transposed else kind
        for i in range(len(parts.layers)):
            scope = self._w.scope(f"{self._root}layers.{i}.norm.norm.")
            parts.tensors |= norm_tensors(scope, kind, d, f"blocks.{i}.norm.norm.")
        if prenorm:
            scope = self._w.scope(f"{self._root}norm.norm.")
            parts.tensors |= norm_tensors(scope, kind, d, "final_norm.norm.")
        return {"norm": kind, "norm_eps": eps, "final_norm": prenorm}


def norm_tensors(w: Weights, kind: str, d: int, own: str) -> dict[str, Tensor]:
    """Return a norm's tensors under the names of the network; none if it has none."""
    names = {
        "transposed-layer": {"m": (1,), "s": (1,)},
        "layer": {"weight": (d,), "bias": (d,)},
        "group": {"weight": (d,), "bias": (d,)},
        "batch": dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (d,)),
    }.get(kind, {})
    tensors = {f"{own}{name}": w.take(name, shape) for name, shape in names.items()}
    if kind == "batch":
        tensors[f"{own}num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return tensors
