"""Layers of state-spaces/s4: kernel, D, activation and the linear map behind them.

References: state-spaces/s4, src/models/sequence/modules/s4block.py (class S4Block), models/s4/
s4d.py (class S4D), tags v2 and v3.0.0, src/models/sequence/ss/s4.py (class S4).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.checkpoints.state_spaces.kernels import Kernel, KernelReader
from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.state_spaces.versions import layout_of
from robustssm.checkpoints.weights import Weights

ACTIVATIONS = {
    **dict.fromkeys(("none", "id", "identity", "linear"), "none"),
    **{name: name for name in ("gelu", "relu", "tanh", "elu")},
    **dict.fromkeys(("swish", "silu"), "silu"),
    **{name: name for name in ("sigmoid", "softplus")},
    **dict.fromkeys(("sqrelu", "relu2"), "relu-squared"),
    "laplace": "laplace",
}
# Spellings of kernels in `mode` or `kernel`, by whether they are of low rank.
_MODES = {"nplr": True, "dplr": True, "diag": False, "diagonal": False, "s4d": False}
NAMES = ("s4", "s4d", "s4d_minimal", "s4d_example", "s4_simple")
# Options with no counterpart here, with the values that change nothing, beside null.
_REFUSED: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("gate", "bottleneck", "hyper_act"), ()),
    **dict.fromkeys(("shift", "comp", "resample"), (False,)),
    "mult_act": ("id", "identity", "linear", "none"),
    "layer": ("fftconv",),
}
# Versions in which a GLU follows, whatever a config says.
_GATED = ("minimal", "HOPE", "v4 of S4-PTD", "v4 of FreqBias")
# Directions of weight norm, and their lengths.
_NORMED = {
    "weight_v": "weight_g",
    "parametrizations.weight.original1": "parametrizations.weight.original0",
}
# What has no bearing on a trained layer's function, or is read off its tensors.
_WITHOUT_EFFECT = (
    "_name_ layer transposed dropout tie_dropout drop_kernel initializer weight_norm verbose lr wd "
    "trainable d_state d_model rank n_ssm tie_state hurwitz init init_args measure measure_args "
    "dt_min dt_max dt_tie deterministic backend keops gate_act real_tolerance is_real H N "
    "length_correction use_state B_init C_init scaling imag_scale real_scale random_real "
    "random_imag normalize diagonal freqscale lr_s"
)
_READ = (
    "activation final_act postact channels bidirectional swap_channels l_max mode kernel disc "
    "dt_transform dt_fast real_transform imag_transform real_type bandlimit "
    "gate bottleneck hyper_act shift linear mult_act comp resample"
)


@dataclass(frozen=True)
class Layer:
    """A layer as a block of a SequenceModel takes it.

    d: features; mixer: options; tensors: by their names inside a block; output: fields of the
    blueprint.
    """

    d: int
    mixer: dict[str, object]
    tensors: dict[str, Tensor]
    output: dict[str, str]
    family: str
    version: str
    formula: str


LayerReader = Callable[[Weights, Options], Layer]


def read_layer(w: Weights, options: Options) -> Layer:
    """Return an S4 or S4D layer of any version; errors as the parts of it raise."""
    layout = layout_of(w)
    if layout is None:
        raise w.rejected(
            f"{w.prefix or 'the file'} holds no S4 or S4D kernel that is known "
            f"({', '.join(w.names()[:4])}, ...); expected the tensors of v2, v3 or v4"
        )
    options.only(f"{_WITHOUT_EFFECT} {_READ}")
    for name, harmless in _REFUSED.items():
        options.refuse(name, *harmless)
    for name in ("mode", "kernel"):
        mode = options.get(name)
        fits = mode is None or _MODES.get(str(mode)) is layout.low_rank
        tensors = "nplr or dplr" if layout.low_rank else "diag or s4d"
        options.require(fits, name, mode, f"{tensors}, as the tensors have it")
    kernels = 1 if layout.minimal else w.size(f"{layout.prefix}C")
    if layout.minimal and "kernel.B" in w and "D" not in w:
        D = torch.zeros(1, w.size("kernel.C"), dtype=torch.float64)
    else:
        D = feedthrough(w, options, layout.feedthrough, kernels)
    kernel = KernelReader(w, layout, options, D.shape[1], kernels).read()
    if layout.folded and "layer.s" in w:
        kernel.options["kind"] = "sobolev"
        kernel.tensors["s"] = w.take("layer.s", D.shape)
    dead = {f"{layout.prefix}{name}" for name in layout.dead}
    w.ignore(lambda name: name in dead)
    # v2 lengthens its kernel to that of the input, whatever l_max is.
    l_max = None if layout.version == "v2" or layout.minimal else cap(options, "l_max")
    formula = layout.formula(kernel.imag_sign or layout.imag_sign, layout.feedthrough in w)
    return finished(w, options, kernel, D, l_max, layout.version, formula)


def feedthrough(w: Weights, options: Options, name: str, kernels: int) -> Tensor:
    """Return D (channels, d) of a layer of so many kernels per feature."""
    shape = w.shape(name)
    channels, d = (1, *shape) if len(shape) == 1 else (*shape, 0, 0)[:2]
    D = w.take(name, (channels, d), (d,)) if channels == 1 else w.take(name, (channels, d))
    w.require(
        kernels in (channels, 2 * channels),
        f"{w.prefix}kernel has {kernels} rows per feature, expected {channels} or {2 * channels}, "
        f"as {w.prefix}{name} has {channels}",
    )
    both = kernels == 2 * channels
    for option, value in (("channels", channels), ("bidirectional", both)):
        said = options.get(option)
        fits = said is None or said == value
        options.require(fits, option, said, f"{value}, as the tensors have it")
    options.overrides.number("channels", known=channels)
    options.overrides.flag("bidirectional", known=both)
    return D


def finished(
    w: Weights,
    options: Options,
    kernel: Kernel,
    D: Tensor,
    l_max: int | None,
    version: str,
    formula: str,
) -> Layer:
    """Return a layer: its kernel, D, what follows them, and the kernel's longest length."""
    channels, d = D.shape
    mixer = dict(kernel.options)
    if "C" in kernel.tensors:
        both = len(kernel.tensors["C"]) == 2 * channels
        mixer |= {"channels": channels, "bidirectional": both, "l_max": l_max}
    tensors = {f"ssm.{key}": value for key, value in kernel.tensors.items()} | {"ssm.D": D}
    output = {"activation": "none", "output": "none", "final_activation": "none"}
    # A layer of v3 may be the SSM alone.
    if options.get("linear") is not True:
        if version in ("minimal", "HOPE"):
            output["activation"] = "gelu"
        else:
            output["activation"] = options.word("activation", ACTIVATIONS, "gelu")
        swapped = version == "v4" and options.flag("swap_channels", False)
        read, weights = _output(w, options, (d, channels), swapped, version)
        output |= read
        tensors |= weights
    mapped = output["output"] != "none" or channels == 1
    options.require(mapped, "channels", channels, "1 where no linear map follows")
    return Layer(d, mixer, tensors, output, kernel.family, version, formula)


def cap(options: Options, name: str) -> int | None:
    """Return the option that caps a kernel's length, None if it is null."""
    value = options.number(name, None)
    fits = value is None or (value == int(value) and value >= 1)
    options.require(fits, name, value, "a whole number, 1 or more")
    return None if value is None else int(value)


def folded(w: Weights, name: str, rows: int, columns: int) -> Tensor:
    """Return a linear map's weight (rows, columns), weight norm multiplied out.

    Reference: torch.nn.utils.weight_norm, w = g v / |v| over each row.
    """
    plain = ((rows, columns), (rows, columns, 1))
    for v, g in _NORMED.items():
        if f"{name}{g}" in w:
            direction = w.take(f"{name}{v}", *plain)
            length = w.take(f"{name}{g}", (rows, 1), (rows, 1, 1))
            return length * direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    return w.take(f"{name}weight", *plain)


def _rows(w: Weights, name: str) -> int:
    """Return the rows of a linear map's weight, 0 if there is no such map."""
    return next((w.size(f"{name}{v}") for v in ("weight", *_NORMED) if f"{name}{v}" in w), 0)


def _output(
    w: Weights, options: Options, sizes: tuple[int, int], swapped: bool, version: str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the blueprint's fields and the tensors of what follows the activation."""
    d, channels = sizes
    inside = next((n for n in ("output_linear.0.", "output_linear.") if _rows(w, n)), None)
    doubled = inside is not None and _rows(w, inside) == 2 * d
    final = "glu" if version in _GATED else _final(options, version, inside, doubled)
    if final is None:
        problem = f"{w.prefix}{inside}weight is there, expected none (final_act null)"
        w.require(inside is None, problem)
        return {}, {}
    prefix = inside or "output_linear.0."
    wide = 2 * d if final == "glu" else d
    weight = folded(w, prefix, wide, channels * d)
    if swapped:
        weight = weight.unflatten(1, (d, channels)).transpose(1, 2).flatten(1)
    bias = w.take(f"{prefix}bias", (wide,), (wide, 1))
    tensors = {"output.linear.weight": weight, "output.linear.bias": bias}
    if final == "glu":
        return {"output": "glu"}, tensors
    return {"output": "linear", "final_activation": final}, tensors


def _final(options: Options, version: str, inside: str | None, doubled: bool) -> str | None:
    """Return glu, an activation behind the linear map, or None if there is no map.

    v4 has no map where final_act is null; before, postact null is a map with nothing behind it.
    """
    words = {"glu": "glu", **ACTIVATIONS}
    if options.known:
        if version != "v4":
            return options.word("postact", words, "glu" if version == "v3" else None)
        if options.get("postact") is not None:
            return options.word("postact", words, None)
        if options.get("final_act", "glu") is None:
            return None
        return options.word("final_act", words, "glu")
    if inside is None:
        return None
    if doubled:
        return "glu"
    # A bare linear map, outside a Sequential, has no activation behind it.
    return "none" if inside == "output_linear." else options.word("final_act", words, None, True)
