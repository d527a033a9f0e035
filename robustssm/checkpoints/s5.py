"""Checkpoints of S5 (lindermanlab/S5, JAX and flax): classifiers and single layers.

No hyper-parameter is stored. Sizes, the kind of norm and the directions are told by the tensors;
the rest is asked for by the names of the original's command line, or taken from its defaults if
the user says so: `defaults=original`. Licence of the original: MIT.

Reference: arXiv 2208.04933; lindermanlab/S5, s5/ssm.py, s5/layers.py, s5/seq_model.py.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustssm.checkpoints.imported import Imported, lone_layer, sequence_network
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.errors import UsageError
from robustssm.layers.parameters import real_pair

if TYPE_CHECKING:
    from robustssm.file_formats import Contents

SOURCE = "lindermanlab/S5"
FACTORY = "load it by your own code: name=module.py:function"
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


def recognises(contents: "Contents") -> bool:
    """Return whether the tensors hold an S5 layer of the original."""
    return any(name.rpartition("/")[2] == "Lambda_re" for name in contents.tensors)


def build(contents: "Contents", overrides: Mapping[str, str]) -> Imported:
    """Return the network of a checkpoint of S5.

    overrides: what the file does not say, by the names of the original's options. Raises
    RejectedInputError if tensors are missing, left over, mis-shaped, not finite or unstable;
    UsageError if an option is needed, unknown, contradicts the file or is not supported.
    """
    given = _Options(overrides, SOURCE, contents.path)
    everything = Weights(contents.tensors, contents.path)
    root = "params/" if any(n.startswith("params/") for n in contents.tensors) else ""
    w = everything.scope(root)
    if "Lambda_re" in w:
        mixer, tensors = _layer(w, given)
        ssm = {f"ssm.{key}": value for key, value in tensors.items()}
        fields, tensors = lone_layer(mixer, ssm, tensors["D"].shape[1])
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
            self.notes.append(
                f"{name} is not in the file: {ORIGINAL[name]}, the original's default"
            )
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
    n = w.size("Lambda_re")
    d = w.size("D")
    real = w.take("Lambda_re", (n,))
    real = real.clamp(max=_CLIP) if clip else real
    A = torch.complex(real, w.take("Lambda_im", (n,)))
    given.missing()  # What is needed comes first: the checks below depend on it.
    if bool((real >= 0.0).any()) and not allow_unstable:
        raise w.rejected(
            f"{w.prefix}Lambda_re has {int((real >= 0.0).sum())} entries of 0 or more (largest "
            f"{float(real.max()):.3g}), expected a stable system; give --set clip_eigs=true if it "
            "was trained so, or --set allow_unstable=true"
        )
    if discretization == "zoh" and bool((A == 0).any()):
        raise w.rejected(f"{w.prefix}Lambda_re holds an eigenvalue 0, expected none with zoh")
    dt = rescale * torch.exp(w.take("log_step", (n,), (n, 1)))
    B = torch.view_as_complex(w.take("B", (n, d, 2)))
    if "C1" in w:
        C = torch.cat([torch.view_as_complex(w.take(key, (d, n, 2))) for key in ("C1", "C2")])
    else:
        both = w.size("C", 1) == 2 * n
        stored = torch.view_as_complex(w.take("C", (d, 2 * n if both else n, 2)))
        C = torch.cat(stored.split(n, dim=1))
    given.flag("bidirectional", known=len(C) == 2 * d)
    mixer: dict[str, object] = {
        "kind": "mimo",
        "n": n,
        "bidirectional": len(C) == 2 * d,
        "discretization": discretization,
        "factor": 2 if conj_sym else 1,
    }
    tensors = {"dt": dt, "A": real_pair(A), "B": real_pair(B), "C": real_pair(C)}
    return mixer, {**tensors, "D": w.take("D", (d,)).reshape(1, d)}


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
    if layers != [f"layers_{i}" for i in range(len(layers))] or not layers:
        raise w.rejected(
            f"has layers {', '.join(layers) or 'none'}, expected layers_0, layers_1, ..."
        )
    first = w.scope(f"encoder/{layers[0]}/")
    allowed = ("full_glu",) if "out1/kernel" in first else ("half_glu1", "half_glu2")
    if "out2/kernel" in first:
        activation = (
            given.choice("activation_fn", allowed, known="full_glu")
            if len(allowed) == 1
            else given.word("activation_fn", allowed)
        )
    else:
        activation = given.choice("activation_fn", ("gelu",), known="gelu")
    batch = "layers_0/norm/mean" in statistics
    given.flag("batchnorm", known=batch)
    prenorm, mode = given.told("prenorm"), given.word("mode", ("pool", "last"))
    mixers = []
    for i, name in enumerate(layers):
        inner, block = w.scope(f"encoder/{name}/"), f"blocks.{i}"
        mixer, own = _layer(inner.scope("seq/"), given)
        mixers.append(mixer)
        if own["D"].shape[1] != d:
            raise w.rejected(f"{name} has {own['D'].shape[1]} channels, expected {d}")
        tensors |= {f"{block}.ssm.{key}": value for key, value in own.items()}
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
    if decoder["weight"].shape[1] != d:
        raise w.rejected(
            f"decoder/kernel takes {decoder['weight'].shape[1]} channels, expected {d}"
        )
    tensors |= {f"decoder.{key}": value for key, value in decoder.items()}
    fields: dict[str, object] = {
        **{"d_input": d_input, "d_model": d, "d_output": decoder["weight"].shape[0]},
        **{"mixers": tuple(mixers), "norm": "batch" if batch else "layer"},
        **{"norm_eps": 1e-5 if batch else 1e-6, "prenorm": prenorm, "residual": "add"},
        **{"activation": "gelu-tanh", "output": _OUTPUTS[activation]},
        **{"pooling": _POOLING[mode], "log_softmax": True},
    }
    return fields, tensors
