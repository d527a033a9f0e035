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
from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.weights import Weights

_RESIDUALS = {
    **dict.fromkeys(("R", "residual"), "add"),
    **dict.fromkeys(("F", "N", "none", "ff", "feedforward"), "none"),
    **dict.fromkeys(("A", "affine"), "affine"),
    **dict.fromkeys(("H", "highway"), "highway"),
    **dict.fromkeys(("D", "decay"), "decay"),
}
_NORMS = ("layer", "batch", "group", "instance", "none")
_DEAD = ("loss.", "loss_val.", "task.")
_MODEL = (
    "_name_ layer prenorm transposed n_layers d_model bidirectional n_repeat residual pool norm "
    "dropout tie_dropout drop_path dropinp track_norms"
)


@dataclass
class Parts:
    """The fields of a blueprint and the tensors of its network, as they are gathered.

    script: the program that saved them, if there is no other source.
    """

    fields: dict[str, object] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    script: str = ""


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

    def read(self) -> Parts:
        """Return the parts of the network."""
        self._w.ignore(lambda name: name.startswith(_DEAD) or name.endswith("num_batches_tracked"))
        self._check_model()
        parts = Parts(layers=self._read_layers())
        d = parts.layers[0].d
        stated = self._model.get("d_model", d)
        self._w.require(stated == d, f"layers have {d} features, d_model says {stated}")
        outputs = [layer.output for layer in parts.layers]
        if any(one.d != d for one in parts.layers) or any(out != outputs[0] for out in outputs):
            raise self._overrides.unsupported("blocks differ in width or activation")
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
        return parts

    def _check_model(self) -> None:
        model = self._model
        if model.config is None:
            return
        name = model.get("_name_")
        model.require(name in (None, "model"), "_name_", name, "model")
        model.only(_MODEL)
        model.refuse("bidirectional", False)
        pool, arguments = named(model.get("pool"))
        fits = pool is None or (
            pool in ("pool", "sample")
            and arguments.get("stride", 1) in (None, 1)
            and arguments.get("expand") in (None, 1)
            and set(arguments) <= {"stride", "expand"}
        )
        model.require(fits, "pool", model.get("pool"), "stride 1 and no expand")

    def _read_layers(self) -> list[Layer]:
        """Return the layers, as many as the configuration says, its own ones in turn."""
        prefix = f"{self._root}layers."
        names = block_names(self._w, prefix)
        # No network has 10^9 blocks, and longer texts may be more than int takes.
        numbered = bool(names) and all(name.isdecimal() and len(name) < 10 for name in names)
        self._w.require(numbered, f"{prefix} has blocks {sorted(names)!s:.200}, expected 0, 1, ...")
        indices, configs = sorted(map(int, names)), self._layer_configs()
        wanted = len(indices)
        n_layers, repeat = (self._model.get(key, 1) for key in ("n_layers", "n_repeat"))
        if self._model.known and isinstance(n_layers, int) and isinstance(repeat, int):
            wanted = n_layers * repeat * len(configs)
        numbers = ", ".join(map(str, indices))
        problem = f"{prefix} has blocks {numbers}, expected {wanted} of them from 0 on"
        fits = len(indices) == wanted and indices == list(range(len(indices)))
        self._w.require(fits, problem)
        layers = []
        for i in indices:
            options = Options(configs[i % len(configs)], self._overrides)
            name = options.get("_name_")
            known = name is None or name in self._names
            options.require(known, "_name_", name, ", ".join(self._names))
            layers.append(self._layer(self._w.scope(f"{prefix}{i}.layer."), options))
        return layers

    def _layer_configs(self) -> list[Mapping[str, object] | None]:
        if not self._model.known:
            return [None]
        layer = self._model.get("layer")
        many = layer if isinstance(layer, list | tuple) else [layer]
        return [table(one, "model.layer", self._overrides) for one in many]

    def _named(self, part: str) -> tuple[dict[str, object], Options]:
        """Return the arguments of a configured part, and options of which its name is one."""
        name, arguments = named(self._model.get(part))
        config = {part: name} if self._model.known else None
        return arguments, Options(config, self._overrides, "model")

    def _residual(self, parts: Parts, d: int) -> dict[str, object]:
        value = self._model.get("residual")
        arguments, options = self._named("residual")
        kept = {"alpha", "beta"} if options.get("residual") in ("R", "residual") else set()
        options.require(set(arguments) <= kept, "residual", value, "no arguments")
        plain = all(one == 1 for one in arguments.values())
        options.require(plain, "residual", value, "alpha and beta 1")
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
                    parts.tensors |= w.affine(key, f"{own}{key}", d, d)
        return {"residual": kind}

    def _norms(self, parts: Parts, d: int, prenorm: bool) -> dict[str, object]:
        value = self._model.get("norm")
        arguments, options = self._named("norm")
        eps = arguments.pop("eps", 1e-5)
        fits = not arguments and isinstance(eps, float)
        options.require(fits, "norm", value, "a name, with eps at most")
        first = self._w.scope(f"{self._root}layers.0.norm.norm.")
        transposed = "m" in first
        if options.known:
            kind = options.one_of("norm", _NORMS, None)
            transposed = transposed or bool(self._model.get("transposed"))
        else:
            kind = "layer" if transposed else stored_norm(first, options)
        kind = "transposed-layer" if kind == "layer" and transposed else kind
        for i in range(len(parts.layers)):
            scope = self._w.scope(f"{self._root}layers.{i}.norm.norm.")
            parts.tensors |= norm_tensors(scope, kind, d, f"blocks.{i}.norm.norm.")
        if prenorm:
            scope = self._w.scope(f"{self._root}norm.norm.")
            parts.tensors |= norm_tensors(scope, kind, d, "final_norm.norm.")
        return {"norm": kind, "norm_eps": eps, "final_norm": prenorm}


def block_names(w: Weights, prefix: str) -> set[str]:
    """Return what the names of tensors have between the prefix and the next point."""
    return {n.removeprefix(prefix).split(".")[0] for n in w.names() if n.startswith(prefix)}


def stored_norm(first: Weights, options: Options, default: str | None = None) -> str:
    """Return the kind of norm that the first one's tensors leave; default: of one with a weight."""
    if "running_mean" in first:
        return options.overrides.choice("norm", ("batch",), known="batch")
    if "weight" in first:
        return options.one_of("norm", ("layer", "group"), default)
    return options.one_of("norm", ("none", "instance"), None)


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
