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
    "none": "none",
    "id": "none",
    "identity": "none",
    "linear": "none",
    "gelu": "gelu",
    "relu": "relu",
    "tanh": "tanh",
    "elu": "elu",
    "swish": "silu",
    "silu": "silu",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "sqrelu": "relu-squared",
    "relu2": "relu-squared",
    "laplace": "laplace",
}
# Spellings of kernels in `mode` or `kernel`, by whether they are of low rank.
_MODES = {"nplr": True, "dplr": True, "diag": False, "diagonal": False, "s4d": False}
NAMES = ("s4", "s4d", "s4d_minimal", "s4d_example", "s4_simple")
# What has no bearing on a trained layer's function, or is read off its tensors.
_WITHOUT_EFFECT = (
    "_name_ layer transposed dropout tie_dropout drop_kernel initializer weight_norm verbose lr wd "
    "trainable d_state d_model rank n_ssm tie_state hurwitz init init_args measure measure_args "
    "dt_min dt_max dt_tie deterministic backend keops gate_act real_tolerance is_real H N "
    "length_correction use_state B_init C_init scaling imag_scale real_scale random_real "
    "random_imag normalize diagonal"
)
_READ = (
    "activation final_act postact channels bidirectional swap_channels l_max mode kernel disc "
    "dt_transform dt_fast real_transform imag_transform real_type bandlimit "
    "gate bottleneck hyper_act shift linear mult_act comp resample"
)


@dataclass(frozen=True)
class Layer:
    """A layer as a block of a SequenceModel takes it.

    mixer: options; tensors: by their names inside a block; output: fields of the blueprint.
    """

    mixer: dict[str, object]
    tensors: dict[str, Tensor]
    output: dict[str, str]
    family: str
    version: str

    @property
    def d(self) -> int:
        """Features."""
        return self.tensors["ssm.D"].shape[1]


LayerReader = Callable[[Weights, Options, bool], Layer]


def read_layer(w: Weights, options: Options, allow_unstable: bool) -> Layer:
    """Return an S4 or S4D layer of any version; errors as the parts of it raise."""
    layout = layout_of(w)
    if layout is None:
        raise w.rejected(
            f"{w.prefix or 'the file'} holds no S4 or S4D kernel that is known "
            f"({', '.join(w.names()[:4])}, ...); expected the tensors of v2, v3 or v4"
        )
    options.only(set(f"{_WITHOUT_EFFECT} {_READ}".split()))
    _refuse(options)
    _agree(options, layout.low_rank)
    kernels = 1 if layout.minimal else w.size(f"{layout.prefix}C")
    D, bidirectional = feedthrough(w, options, layout.feedthrough, kernels)
    kernel = KernelReader(w, layout, options, D.shape[1], kernels).read(allow_unstable)
    dead = {f"{layout.prefix}{name}" for name in layout.dead}
    w.ignore(lambda name: name in dead)
    # v2 lengthens its kernel to that of the input, whatever l_max is.
    l_max = None if layout.version in ("v2", "minimal") else cap(options, "l_max")
    return finished(w, options, kernel, (D, bidirectional, l_max), layout.version)


def feedthrough(w: Weights, options: Options, name: str, kernels: int) -> tuple[Tensor, bool]:
    """Return D (channels, d) and whether the kernels, so many per feature, go both ways."""
    shape = w.shape(name)
    channels, d = (1, *shape) if len(shape) == 1 else (*shape, 0, 0)[:2]
    D = w.take(name, (channels, d), (d,)) if channels == 1 else w.take(name, (channels, d))
    if kernels not in (channels, 2 * channels):
        raise w.rejected(
            f"{w.prefix}kernel has {kernels} rows per feature, expected {channels} or "
            f"{2 * channels}, as {w.prefix}{name} has {channels}"
        )
    _same(options, "channels", channels)
    _same(options, "bidirectional", kernels == 2 * channels)
    return D, kernels == 2 * channels


def finished(
    w: Weights,
    options: Options,
    kernel: Kernel,
    sides: tuple[Tensor, bool, int | None],
    version: str,
) -> Layer:
    """Return a layer: its kernel, what follows it, and D, whether both ways, and l_max (sides)."""
    D, bidirectional, l_max = sides
    channels, d = D.shape
    mixer = {
        **kernel.options,
        "channels": channels,
        "bidirectional": bidirectional,
        "l_max": l_max,
    }
    tensors = {f"ssm.{key}": value for key, value in kernel.tensors.items()} | {"ssm.D": D}
    output = {"activation": "none", "output": "none", "final_activation": "none"}
    # A layer of v3 may be the SSM alone.
    if (options.config or {}).get("linear") is not True:
        minimal = version == "minimal"
        output["activation"] = (
            "gelu" if minimal else options.word("activation", ACTIVATIONS, "gelu")
        )
        swapped = version == "v4" and options.flag("swap_channels", False)
        read, weights = _output(w, options, (d, channels), swapped, version)
        output |= read
        tensors |= weights
    if output["output"] == "none" and channels > 1:
        raise options.unsupported("channels", channels, "1 where no linear map follows")
    return Layer(mixer, tensors, output, kernel.family, version)


def _refuse(options: Options) -> None:
    for name in ("gate", "bottleneck", "hyper_act"):
        options.refuse(name)
    options.refuse("shift", False)
    options.refuse("comp", False)
    options.refuse("resample", False)
    options.refuse("mult_act", "id", "identity", "linear", "none")
    options.refuse("layer", "fftconv")


def _same(options: Options, name: str, of_tensors: int | bool) -> None:
    """Raise UsageError if the file's options or the user say other than the tensors."""
    said = (options.config or {}).get(name)
    if said is not None and said != of_tensors:
        raise options.unsupported(name, said, f"{of_tensors}, as the tensors have it")
    if isinstance(of_tensors, bool):
        options.overrides.flag(name, known=of_tensors)
    else:
        options.overrides.number(name, known=of_tensors)


def _agree(options: Options, low_rank: bool) -> None:
    config = options.config or {}
    for name in ("mode", "kernel"):
        mode = config.get(name)
        if mode is not None and _MODES.get(str(mode)) is not low_rank:
            tensors = "nplr or dplr" if low_rank else "diag or s4d"
            raise options.unsupported(name, mode, f"{tensors}, as the tensors have it")


def cap(options: Options, name: str) -> int | None:
    """Return the option that caps a kernel's length, None if it is null."""
    value = options.number(name, None)
    if value is not None and (value != int(value) or value < 1):
        raise options.unsupported(name, value, "a whole number, 1 or more")
    return None if value is None else int(value)


def folded(w: Weights, name: str, rows: int, columns: int) -> Tensor:
    """Return a linear map's weight (rows, columns), weight norm multiplied out.

    Reference: torch.nn.utils.weight_norm, w = g v / |v| over each row.
    """
    plain = ((rows, columns), (rows, columns, 1))
    for g, v in (
        (f"{name}weight_g", f"{name}weight_v"),
        (f"{name}parametrizations.weight.original0", f"{name}parametrizations.weight.original1"),
    ):
        if g in w:
            direction = w.take(v, *plain)
            length = w.take(g, (rows, 1), (rows, 1, 1))
            return length * direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    return w.take(f"{name}weight", *plain)


def _rows(w: Weights, name: str) -> int | None:
    for key in ("weight", "weight_v", "parametrizations.weight.original1"):
        if f"{name}{key}" in w:
            return w.size(f"{name}{key}")
    return None


def _output(
    w: Weights, options: Options, sizes: tuple[int, int], swapped: bool, version: str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the blueprint's fields and the tensors of what follows the activation."""
    d, channels = sizes
    inside = next((n for n in ("output_linear.0.", "output_linear.") if _rows(w, n)), None)
    rows = None if inside is None else _rows(w, inside)
    final = "glu" if version == "minimal" else _final(options, version, inside, rows == 2 * d)
    if final is None:
        if inside is not None:
            raise w.rejected(f"{w.prefix}{inside}weight is there, expected none (final_act null)")
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
    config = options.config
    if config is not None:
        if version != "v4":
            return options.word("postact", words, "glu" if version == "v3" else None)
        if config.get("postact") is not None:
            return options.word("postact", words, None)
        return (
            None
            if config.get("final_act", "glu") is None
            else options.word("final_act", words, "glu")
        )
    if inside is None:
        return None
    if doubled:
        return "glu"
    # A bare linear map, outside a Sequential, has no activation behind it.
    return "none" if inside == "output_linear." else options.word("final_act", words, None, True)
