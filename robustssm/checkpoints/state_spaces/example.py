"""The classifier of state-spaces/s4's example.py: minimal S4D layers, LayerNorm, mean.

Reference: state-spaces/s4, example.py (class S4Model). Its residuals are plain sums, and no norm
follows the last block.
"""

from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.state_spaces.backbone import Parts, block_names, norm_tensors
from robustssm.checkpoints.state_spaces.layers import read_layer
from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.weights import Weights


def read_example(w: Weights, overrides: Overrides) -> Parts:
    """Return the parts of the network; the file does not say `prenorm`, which is asked for."""
    prefix = "s4_layers."
    names = block_names(w, prefix)
    indices = range(len(names))
    numbered = set(map(str, indices)) == names
    w.require(numbered, f"{prefix} has blocks {sorted(names)}, expected 0, 1, ...")
    options = Options({}, overrides)
    layers = [read_layer(w.scope(f"{prefix}{i}."), options) for i in indices]
    d = layers[0].d
    inputs, classes = w.size("encoder.weight", -1), w.size("decoder.weight")
    tensors = w.affine("encoder", "encoder", d, inputs)
    tensors |= w.affine("decoder", "decoder", classes, d)
    for i, layer in enumerate(layers):
        w.require(layer.d == d, f"{prefix}{i} has {layer.d} features, expected {d}")
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
