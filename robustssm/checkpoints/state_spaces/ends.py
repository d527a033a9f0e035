"""Encoders and decoders of state-spaces/s4, and how its configuration names parts.

Reference: state-spaces/s4, src/tasks/encoders.py and src/tasks/decoders.py.
"""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor

from robustssm.checkpoints.imported import Part
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.state_spaces.options import Config, Options
from robustssm.checkpoints.weights import Weights
from robustssm.targets import CLASSES, STEPS, VALUES

_POOLINGS = {"pool": "mean", "last": "last", "first": "first", "sum": "sum"}
# Data sets of one label, or value, per sequence: there the original's l_output is 0.
_OF_SEQUENCES = ("mnist", "cifar", "sc", "imdb", "listops", "pathfinder", "bidmc")


def named(value: object) -> tuple[object, dict[str, object]]:
    """Return the name and the arguments of a configured part: a word, or a table with _name_."""
    if isinstance(value, Mapping):
        arguments = {str(key): v for key, v in value.items()}
        return arguments.pop("_name_", None), arguments
    return value, {}


def single(value: object) -> object:
    """Return the only part of a list of parts; the value itself if it is none."""
    if isinstance(value, list | tuple):
        parts = [one for one in value if named(one)[0] not in (None, "id")]
        return parts[0] if len(parts) == 1 else (list(parts) or None)
    return value


def read_encoder(w: Weights, config: Config, overrides: Overrides, d: int) -> Part:
    """Return the encoder's fields and tensors; without a config its tensors tell what it is."""
    if config is not None:
        value = single(config.get("encoder"))
        name, arguments = named(value)
        fits = name in ("linear", "embedding", None, "id") and not arguments
        whole = Options(config, overrides, "network")
        whole.require(fits, "encoder", value, "linear, embedding or none")
    elif "encoder.0.weight" in w:
        name = "linear" if "encoder.0.bias" in w else "embedding"
    else:
        name = None
    if name in (None, "id"):
        return {"encoder": "none", "d_input": d}, {}
    shape = w.shape("encoder.0.weight")
    if name == "embedding":
        tokens = w.size("encoder.0.weight")
        tensors = {"embedding.weight": w.take("encoder.0.weight", (tokens, d))}
        return {"encoder": "embedding", "d_input": d, "tokens": tokens}, tensors
    inputs = shape[-1] if len(shape) == 2 else 0
    return {"encoder": "linear", "d_input": inputs}, w.affine("encoder.0", "encoder", d, inputs)


def read_decoder(w: Weights, config: Config, overrides: Overrides, d: int) -> Part:
    """Return the decoder's fields and tensors; without a config its options are asked for."""
    name: object = None
    own: dict[str, object] | None = None
    missing = not any(n.startswith("decoder.") for n in w.names())
    if config is not None:
        value = single(config.get("decoder"))
        name, own = named(value)
        missing = name in (None, "id")
        whole = Options(config, overrides, "network")
        known = missing or name in ("sequence", "nd", "retrieval")
        whole.require(known, "decoder", value, "sequence, nd or retrieval")
    if name == "retrieval" or "decoder.0.retrieval.classifier.0.weight" in w:
        return _retrieval(w, Options(own, overrides, "decoder"), d)
    if missing:
        return {"decoder": False, "d_output": d, "pooling": "none"}, {}
    options = Options(own, overrides, "decoder")
    options.only("mode l_output use_lengths d_output d_model")
    if own is not None and name == "nd":
        options = Options({"mode": own.get("mode", "pool"), "l_output": 0}, overrides, "decoder")
    mode = options.word("mode", _POOLINGS, "last", ask=True)
    pooled = _pooled(options, config)
    fits = pooled or mode not in ("mean", "sum") or overrides.pending
    options.require(fits, "l_output", "none", f"0 with mode {mode}")
    classes = w.size("decoder.0.output_transform.weight")
    fields = {"decoder": True, "d_output": classes, "pooling": mode if pooled else "none"}
    return fields, w.affine("decoder.0.output_transform", "decoder", classes, d)


def read_target(config: Config, pooling: object) -> str | None:
    """Return the name of the kind of target that the loss is of; None if that is not known."""
    task = (config or {}).get("task")
    loss = named(task.get("loss"))[0] if isinstance(task, Mapping) else None
    if loss == "cross_entropy":
        return CLASSES.name
    values = STEPS if pooling == "none" else VALUES
    return values.name if loss in ("mse", "mae") else None


def _retrieval(w: Weights, options: Options, d: int) -> Part:
    """Return the fields and tensors of a decoder of two documents: nli tells the features."""
    options.only("mode use_lengths nli activation d_model d_output")
    head = w.scope("decoder.0.retrieval.classifier.")
    # Linear maps at even places, activations between.
    compared = "4.weight" not in head
    options.overrides.flag("nli", known=compared)
    said = options.get("nli", True)
    options.require(not options.known or said == compared, "nli", said, str(compared))
    activation = options.one_of("activation", ("relu", "gelu"), "relu", ask=True)
    width = head.size("0.weight")
    widths = [(4 if compared else 2) * d, width, *(() if compared else (width // 2,))]
    tensors: dict[str, Tensor] = {}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        tensors |= head.affine(str(2 * i), f"head.{i}", outputs, inputs)
    last = str(2 * len(widths) - 2)
    classes = head.size(f"{last}.weight")
    tensors |= head.affine(last, "decoder", classes, widths[-1])
    return {
        **{"decoder": True, "d_output": classes, "head_width": width},
        **{"pair": "compared" if compared else "joined", "head_activation": activation},
        "pooling": options.word("mode", _POOLINGS, "last", ask=True),
    }, tensors


def _pooled(options: Options, config: Config) -> bool:
    """Return whether the decoder gives one output per sequence (l_output = 0)."""
    known = None
    dataset = table((config or {}).get("dataset") or {}, "dataset", options.overrides)
    if "l_output" in (options.config or {}):
        value = options.get("l_output")
        options.require(value in (0, None), "l_output", value, "0 or null")
        known = "none" if value is None else "0"
    elif str(dataset.get("_name_")) in _OF_SEQUENCES:
        known = "0"
    return options.overrides.choice("l_output", ("0", "none"), known=known) == "0"


def table(value: object, name: str, overrides: Overrides) -> dict[str, object]:
    """Return a hyper-parameter that is a table; UsageError if it is none."""
    if not isinstance(value, Mapping):
        raise overrides.unsupported(f"hyper-parameter {name} is {value!r}, expected a table")
    return {str(key): one for key, one in value.items()}
