"""The classifier of state-spaces/s4's example.py: minimal S4D layers, LayerNorm, mean.

Reference: state-spaces/s4, example.py (class S4Model). Its residuals are plain sums, and no norm
follows the last block.
"""

from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.state_spaces.backbone import Parts, norm_tensors
from robustssm.checkpoints.state_spaces.layers import read_layer
from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.weights import Weights


def read_example(w: Weights, overrides: Overrides, allow_unstable: bool) -> Parts:
    """Return the parts of the network; the file does not say `prenorm`, which is asked for."""
    prefix = "s4_layers."
    names = {n.removeprefix(prefix).split(".")[0] for n in w.names() if n.startswith(prefix)}
    indices = sorted(int(one) for one in names if one.isdecimal())
    if indices != list(range(len(names))):
        raise w.rejected(f"{prefix} has blocks {sorted(names)}, expected 0, 1, ...")
    options = Options({}, overrides)
    layers = [read_layer(w.scope(f"{prefix}{i}."), options, allow_unstable) for i in indices]
    d = layers[0].d
    inputs, classes = w.size("encoder.weight", -1), w.size("decoder.weight")
    tensors = {
        "encoder.weight": w.take("encoder.weight", (d, inputs)),
        "encoder.bias": w.take("encoder.bias", (d,)),
        "decoder.weight": w.take("decoder.weight", (classes, d)),
        "decoder.bias": w.take("decoder.bias", (classes,)),
    }
    for i, layer in enumerate(layers):
        if layer.d != d:
            raise w.rejected(f"{prefix}{i} has {layer.d} features, expected {d}")
        tensors |= {f"blocks.{i}.{key}": value for key, value in layer.tensors.items()}
        tensors |= norm_tensors(w.scope(f"norms.{i}."), "layer", d, f"blocks.{i}.norm.norm.")
    fields: dict[str, object] = {
        "d_input": inputs,
        "d_model": d,
        "d_output": classes,
        "mixers": tuple(layer.mixer for layer in layers),
        "prenorm": overrides.flag("prenorm"),
        **layers[0].output,
    }
    return Parts(fields, tensors, layers)
