"""Checkpoints of the PyTorch port of S5 (i404788/s5-pytorch): an S5 layer or an S5Block.

The state holds both halves of the spectrum, y = Re(C x) + D u without a factor 2; zero-order hold.
A block is x' = S5(LN(x)) through GELU, plus LN(x), then LN and GEGLU, plus that norm. Licence of
the original: MPL-2.0 (its setup.py says MIT).

Reference: i404788/s5-pytorch, s5/s5_model.py (classes S5, S5Block).
"""

from collections.abc import Mapping

from robustssm.checkpoints.imported import Imported, Part, lone_layer, sequence_network
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.s5 import mimo_tensors
from robustssm.checkpoints.weights import Weights
from robustssm.file_formats import Contents
from robustssm.layers.parameters import real_pair

SOURCE = "i404788/s5-pytorch"


def recognises(contents: Contents) -> bool:
    """Return whether the tensors hold a layer of the port."""
    names = set(contents.tensors)
    return any(f"{prefix}seq.Lambda" in names for prefix in ("", "s5."))


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of a checkpoint of the port; errors as of `robustssm.checkpoints.s5`."""
    given = Overrides(overrides, SOURCE, contents.path)
    w = Weights(contents.tensors, contents.path)
    block = "s5.seq.Lambda" in w
    mixer, tensors = _layer(w.scope("s5.seq." if block else "seq."), given)
    d = tensors["ssm.D"].shape[1]
    fields, tensors = lone_layer(mixer, tensors)
    if block:
        fields |= {"norm": "layer", "prenorm": True, "residual": "normalised"}
        hidden = w.size("ff_dec.weight", 1)
        fields |= {"activation": "gelu", "feed_forward": hidden}
        tensors |= w.affine("attn_norm", "blocks.0.norm.norm", d)
        tensors |= w.affine("ff_norm", "blocks.0.feed_forward.norm", d)
        tensors["blocks.0.feed_forward.inner.weight"] = w.take("ff_enc.weight", (2 * hidden, d))
        tensors["blocks.0.feed_forward.outer.weight"] = w.take("ff_dec.weight", (d, hidden))
    network = sequence_network(SOURCE, fields, tensors, given, w)
    notes = () if "step_scale" in given else ("step_scale is taken as 1, which no file says",)
    formula = "Lambda as it stands, dt = step_scale exp(log_step), y = Re(C x) + D u"
    return Imported(network, notes, "s5", formula)


def _layer(w: Weights, given: Overrides) -> Part:
    """Return a mixer's options and tensors."""
    scale = given.number("step_scale", 1.0)
    allow_unstable = given.flag("allow_unstable", False)
    n, d = w.size("Lambda"), w.size("D")
    A = w.take("Lambda", (n,), imaginary=True)
    largest = float(A.real.max())
    w.require(
        largest < 0.0 or allow_unstable,
        f"{w.prefix}Lambda has a real part of {largest:.3g}, expected below 0; give "
        "--set allow_unstable=true if it is meant",
    )
    problem = f"{w.prefix}Lambda holds an eigenvalue 0, expected none with zoh"
    w.require(bool((A != 0).all()), problem)
    both = w.size("C", 1) == 2 * n
    C = real_pair(w.take("C", (d, 2 * n if both else n), imaginary=True))
    mixer: dict[str, object] = {"kind": "mimo", "n": n, "bidirectional": both, "factor": 1}
    return mixer, mimo_tensors(w, A, C, scale)
