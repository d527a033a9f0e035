"""Checkpoints of S5 (lindermanlab/S5, JAX and flax): classifiers and single layers.

No hyper-parameter is stored. Sizes, the kind of norm and the directions are told by the tensors;
the rest is asked for by the names of the original's command line, or taken from its defaults if
the user says so: `defaults=original`. Licence of the original: MIT.

Reference: arXiv 2208.04933; lindermanlab/S5, s5/ssm.py, s5/layers.py, s5/seq_model.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from robustssm.checkpoints.imported import Imported, lone_layer, sequence_network
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.errors import UsageError
from robustssm.file_formats import Contents
from robustssm.layers.parameters import real_pair

SOURCE = "lindermanlab/S5"
FACTORY = "load it by your own code: module.py:function@weights"
# The defaults of the original's command line.
ORIGINAL = {
    "activation_fn": "half_glu1",
    "prenorm": True,
    "mode": "pool",
    "discretization": "zoh",
    "conj_sym": True,
    "clip_eigs": False,
}
# Largest real part if eigenvalues are clipped.
_CLIP = -1e-4
_OUTPUTS = {
    "gelu": "none",
    "half_glu1": "half-glu1",
    "half_glu2": "half-glu2",
    "full_glu": "full-glu",
}
_POOLING = {"pool": "mean", "last": "last"}


def recognises(contents: Contents) -> bool:
    """Return whether the tensors hold an S5 layer of the original."""
    return any(name.rpartition("/")[2] == "Lambda_re" for name in contents.tensors)


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of a checkpoint of S5; raises as `state_spaces.build` does."""
    given = _Options(overrides, SOURCE, contents.path)
    everything = Weights(contents.tensors, contents.path)
    root = "params/" if any(n.startswith("params/") for n in contents.tensors) else ""
    w = everything.scope(root)
    if "Lambda_re" in w:
        fields, tensors = lone_layer(*_layer(w, given))
    else:
        fields, tensors = _classifier(w, everything.scope("batch_stats/encoder/"), given)
    network = sequence_network(SOURCE, fields, tensors, given, everything)
    notes = list(dict.fromkeys(given.notes))
    if "input_mean" not in given and "input_std" not in given:
        notes.append("inputs are taken as the original's data loader gave them")
    return Imported(network, tuple(notes), "s5")


class _Options(Overrides):
    """The overrides, with the original's defaults if the user asks for them."""

    def __init__(self, given: Mapping[str, str], importer: str, path: object) -> None:
        super().__init__(given, importer, path)
        self.notes: list[str] = []
        self._original = self.choice("defaults", ("none", "original"), "none") == "original"

    def original(self, name: str) -> object:
        """Return the original's default of an option, None if nobody asked for it."""
        if not self._original:
            return None
        if name not in self:
            default = f"{ORIGINAL[name]}, the original's default"
            self.notes.append(f"{name} is not in the file: {default}")
        return ORIGINAL[name]

    def told(self, name: str) -> bool:
        """Return a truth value that the file does not hold."""
        default = self.original(name)
        return self.flag(name, None if default is None else bool(default))

    def word(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return a word that the file does not hold."""
        default = self.original(name)
        return self.choice(name, allowed, None if default is None else str(default))


def _layer(w: Weights, given: _Options) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return a mixer's options and tensors."""
    conj_sym, clip = given.told("conj_sym"), given.told("clip_eigs")
    discretization = given.word("discretization", ("zoh", "bilinear"))
    rescale = given.number("step_rescale", 1.0)
    allow_unstable = given.flag("allow_unstable", False)
    n, d = w.size("Lambda_re"), w.size("D")
    real = w.take("Lambda_re", (n,))
    real = real.clamp(max=_CLIP) if clip else real
    A = torch.complex(real, w.take("Lambda_im", (n,)))
    given.missing()  # What is needed comes first: the checks below depend on it.
    growing = int((real >= 0.0).sum())
    w.require(
        growing == 0 or allow_unstable,
        f"{w.prefix}Lambda_re has {growing} entries of 0 or more (largest "
        f"{float(real.max()):.3g}), expected a stable system; give --set clip_eigs=true if it "
        "was trained so, or --set allow_unstable=true",
    )
    problem = f"{w.prefix}Lambda_re holds an eigenvalue 0, expected none with zoh"
    w.require(discretization != "zoh" or bool((A != 0).all()), problem)
    if "C1" in w:
        C = torch.cat([w.take(key, (d, n, 2)) for key in ("C1", "C2")], dim=1)
    else:
        C = w.take("C", (d, 2 * n if w.size("C", 1) == 2 * n else n, 2))
    tensors = mimo_tensors(w, A, C, rescale)
    both = C.shape[1] == 2 * n
    given.flag("bidirectional", known=both)
    mixer: dict[str, object] = {
        **{"kind": "mimo", "n": n, "bidirectional": both, "factor": 2 if conj_sym else 1},
        "discretization": discretization,
    }
    return mixer, tensors


def mimo_tensors(w: Weights, A: Tensor, C: Tensor, step_scale: float) -> dict[str, Tensor]:
    """Return a mixer's tensors, by their names inside a block.

    A (n,): complex; C (d, n, 2), or (d, 2 n, 2) with the columns of the backward direction last.
    """
    n, d = len(A), len(C)
    return {
        "ssm.dt": step_scale * torch.exp(w.take("log_step", (n,), (n, 1))),
        "ssm.A": real_pair(A),
        "ssm.B": w.take("B", (n, d, 2)),
        "ssm.C": torch.cat(C.split(n, dim=1)),
        "ssm.D": w.take("D", (d,)).reshape(1, d),
    }


def _dense(w: Weights, name: str, shape: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """Return a flax Dense, kernel (in, out), as weight (out, in) and bias."""
    shape = shape or (*w.shape(f"{name}/kernel"), 0, 0)[:2]  # type: ignore[assignment]
    assert shape is not None
    kernel = w.take(f"{name}/kernel", shape)
    return {"weight": kernel.T.contiguous(), "bias": w.take(f"{name}/bias", (shape[1],))}


def _classifier(
    w: Weights, statistics: Weights, given: _Options
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return the fields and tensors of BatchClassificationModel."""
    if any(name.startswith(("decoder/layer1", "decoder/layer2")) for name in w.names()):
        raise UsageError(f"{given.who}: a retrieval model has no counterpart here; {FACTORY}")
    encoder = _dense(w, "encoder/encoder")
    d, d_input = encoder["weight"].shape
    tensors = {f"encoder.{key}": value for key, value in encoder.items()}
    names = {name.split("/")[1] for name in w.names() if name.startswith("encoder/layers_")}
    layers = sorted(names, key=lambda name: int(name.rpartition("_")[2]))
    numbered = bool(layers) and layers == [f"layers_{i}" for i in range(len(layers))]
    stated = ", ".join(layers) or "none"
    w.require(numbered, f"has layers {stated}, expected layers_0, layers_1, ...")
    first = w.scope(f"encoder/{layers[0]}/")
    if "out2/kernel" in first and "out1/kernel" not in first:
        activation = given.word("activation_fn", ("half_glu1", "half_glu2"))
    else:
        known = "full_glu" if "out2/kernel" in first else "gelu"
        activation = given.choice("activation_fn", (known,), known=known)
    batch = "layers_0/norm/mean" in statistics
    given.flag("batchnorm", known=batch)
    prenorm, mode = given.told("prenorm"), given.word("mode", ("pool", "last"))
    mixers = []
    for i, name in enumerate(layers):
        inner, block = w.scope(f"encoder/{name}/"), f"blocks.{i}"
        mixer, own = _layer(inner.scope("seq/"), given)
        mixers.append(mixer)
        channels = own["ssm.D"].shape[1]
        w.require(channels == d, f"{name} has {channels} channels, expected {d}")
        tensors |= {f"{block}.{key}": value for key, value in own.items()}
        tensors[f"{block}.norm.norm.weight"] = inner.take("norm/scale", (d,))
        tensors[f"{block}.norm.norm.bias"] = inner.take("norm/bias", (d,))
        if batch:
            running = statistics.scope(f"{name}/norm/")
            tensors[f"{block}.norm.norm.running_mean"] = running.take("mean", (d,))
            tensors[f"{block}.norm.norm.running_var"] = running.take("var", (d,))
            tensors[f"{block}.norm.norm.num_batches_tracked"] = torch.tensor(0)
        parts = {"gelu": (), "full_glu": (("out1", "value"), ("out2", "gate"))}
        for there, here in parts.get(activation, (("out2", "gate"),)):
            dense = _dense(inner, there, (d, d))
            tensors |= {f"{block}.output.{here}.{key}": value for key, value in dense.items()}
    decoder = _dense(w, "decoder")
    classes, channels = decoder["weight"].shape
    w.require(channels == d, f"decoder/kernel takes {channels} channels, expected {d}")
    tensors |= {f"decoder.{key}": value for key, value in decoder.items()}
    fields: dict[str, object] = {
        **{"d_input": d_input, "d_model": d, "d_output": classes},
        **{"mixers": tuple(mixers), "norm": "batch" if batch else "layer"},
        **{"norm_eps": 1e-5 if batch else 1e-6, "prenorm": prenorm, "residual": "add"},
        **{"activation": "gelu-tanh", "output": _OUTPUTS[activation]},
        **{"pooling": _POOLING[mode], "log_softmax": True},
    }
    return fields, tensors
