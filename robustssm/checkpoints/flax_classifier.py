"""The frame that S5 and minimal-LRU share in flax: encoder, layers with norm and gates, decoder.

References: lindermanlab/S5, s5/seq_model.py; NicolasZucchet/minimal-LRU, lru/model.py.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from robustssm.checkpoints.imported import Part
from robustssm.checkpoints.weights import Weights
from robustssm.file_formats import Contents

DATA = "inputs are taken as the original's data loader gave them"


def opened(contents: Contents) -> tuple[Weights, Weights, Weights]:
    """Return all tensors of a file, its parameters, and the running statistics of its layers."""
    everything = Weights(contents.tensors, contents.path)
    root = "params/" if any(n.startswith("params/") for n in contents.tensors) else ""
    return everything, everything.scope(root), everything.scope("batch_stats/encoder/")


def dense(w: Weights, name: str, here: str, inputs: int = 0, outputs: int = 0) -> dict[str, Tensor]:
    """Return a flax Dense, kernel (in, out), by its names here: weight (out, in) and bias.

    Sizes of 0 are those in the file.
    """
    shape = (inputs or w.size(f"{name}/kernel"), outputs or w.size(f"{name}/kernel", 1))
    kernel = w.take(f"{name}/kernel", shape)
    bias = w.take(f"{name}/bias", shape[1:])
    return {f"{here}.weight": kernel.T.contiguous(), f"{here}.bias": bias}


def classifier(
    w: Weights,
    encoder: Mapping[str, Tensor],
    norm: tuple[str, Weights | None],
    gates: Mapping[str, str],
    layer: Callable[[Weights], Part],
) -> Part:
    """Return the fields and tensors of a classifier, all but pooling and where its norms stand.

    encoder: as of `dense`; norm: what a layer calls it, and the statistics of batch norm,
    None for layer norm; gates: Dense of a layer by their names in `Output`; layer: reads `seq`.
    """
    d, d_input = encoder["encoder.weight"].shape
    tensors = dict(encoder)
    found = {name.split("/")[1] for name in w.names() if name.startswith("encoder/layers_")}
    layers = sorted(found, key=lambda name: (len(name), name))
    stated = ", ".join(layers) or "none"
    numbered = bool(layers) and layers == [f"layers_{i}" for i in range(len(layers))]
    w.require(numbered, f"has layers {stated}, expected layers_0, layers_1, ...")
    mixers, (called, statistics) = [], norm
    for i, name in enumerate(layers):
        inner, block = w.scope(f"encoder/{name}/"), f"blocks.{i}"
        mixer, own = layer(inner.scope("seq/"))
        mixers.append(mixer)
        channels = own["ssm.D"].shape[1]
        w.require(channels == d, f"{name} has {channels} channels, expected {d}")
        tensors |= {f"{block}.{key}": value for key, value in own.items()}
        parts = {"weight": (inner, "scale"), "bias": (inner, "bias")}
        if statistics is not None:
            running = statistics.scope(f"{name}/")
            parts |= {"running_mean": (running, "mean"), "running_var": (running, "var")}
            tensors[f"{block}.norm.norm.num_batches_tracked"] = torch.tensor(0)
        for here, (scope, there) in parts.items():
            tensors[f"{block}.norm.norm.{here}"] = scope.take(f"{called}/{there}", (d,))
        for here, there in gates.items():
            tensors |= dense(inner, there, f"{block}.output.{here}", d, d)
    fields: dict[str, object] = {"d_input": d_input, "d_model": d, "mixers": tuple(mixers)}
    last = "decoder"
    if "decoder/layer2/kernel" in w:
        tensors |= dense(w, "decoder/layer1", "head.0", 4 * d)
        d, last = len(tensors["head.0.bias"]), "decoder/layer2"
        fields |= {"pair": "compared", "head_width": d, "head_activation": "gelu-tanh"}
    tensors |= dense(w, last, "decoder", d)
    norm_kind, eps = ("layer", 1e-6) if statistics is None else ("batch", 1e-5)
    fields |= {
        **{"d_output": len(tensors["decoder.bias"]), "norm": norm_kind, "norm_eps": eps},
        **{"residual": "add", "activation": "gelu-tanh", "log_softmax": True},
    }
    return fields, tensors
