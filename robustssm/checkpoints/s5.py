"""Checkpoints of S5 and S5-PTD (JAX and flax): classifiers of sequences or pairs, single layers.

No hyper-parameter is stored. Sizes, the kind of norm and the directions are told by the tensors;
the rest is asked for by the names of the original's command line, or taken from its defaults if
the user says so: `defaults=original`. S5-PTD has `force_neg` beside these: Re Lambda = -|Re|, after
the clip if there is one. Licence of the original: MIT.

References: arXiv 2208.04933; lindermanlab/S5, s5/ssm.py, s5/layers.py, s5/seq_model.py;
AnnanYu/Approximate_Diagonal, S5-PTD/s5/ssm.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from robustssm.checkpoints.flax_classifier import DATA, classifier, dense, opened
from robustssm.checkpoints.imported import PAIRS, Imported, Part, lone_layer, sequence_network
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.errors import UsageError
from robustssm.file_formats import Contents
from robustssm.layers.parameters import real_pair

SOURCE = "lindermanlab/S5"
# The defaults of the original's command line.
ORIGINAL = {
    "activation_fn": "half_glu1",
    "prenorm": "true",
    "mode": "pool",
    "discretization": "zoh",
    "conj_sym": "true",
    "clip_eigs": "false",
}
# Largest real part if eigenvalues are clipped.
_CLIP = -1e-4
# Steps of the cosine that S5-PTD as released adds to its inputs.
_COSINE = 1024
# What the original's activations are called here, and the names of their maps there.
_OUTPUTS: dict[str, tuple[str, dict[str, str]]] = {
    "gelu": ("none", {}),
    "half_glu1": ("half-glu1", {"gate": "out2"}),
    "half_glu2": ("half-glu2", {"gate": "out2"}),
    "full_glu": ("full-glu", {"value": "out1", "gate": "out2"}),
}


def recognises(contents: Contents) -> bool:
    """Return whether the tensors hold an S5 layer of the original."""
    return any(name.rpartition("/")[2] == "Lambda_re" for name in contents.tensors)


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of a checkpoint of S5; raises as `state_spaces.build` does."""
    given = Overrides(overrides, SOURCE, contents.path, ORIGINAL)
    everything, w, statistics = opened(contents)
    if "Lambda_re" in w:
        fields, tensors = lone_layer(*_layer(w, given))
    else:
        _check_frame(w, given)
        fields, tensors = _classifier(w, statistics, given)
    network = sequence_network(SOURCE, fields, tensors, given, everything)
    notes = [
        f"{name} is not in the file: {value}, the original's default"
        for name, value in given.assumed.items()
    ]
    if fields["norm"] == "layer":
        notes.append("no running statistics (batch_stats) are in the file: norms are LayerNorm")
    if "pair" in fields:
        notes.append(PAIRS)
    if "input_mean" not in given and "input_std" not in given:
        notes.append(DATA)
    return Imported(network, tuple(notes), "s5", _formula(given))


def _formula(given: Overrides) -> str:
    real = f"min(Lambda_re, {_CLIP:g})" if given.flag("clip_eigs") else "Lambda_re"
    real = f"-|{real}|" if given.flag("force_neg", False) else real
    rescale, factor = given.number("step_rescale", 1.0), 2 if given.flag("conj_sym") else 1
    return (
        f"Lambda = {real} + i Lambda_im, dt = {rescale:g} exp(log_step), y = {factor} Re(C x) + D u"
    )


def _layer(w: Weights, given: Overrides) -> Part:
    """Return a mixer's options and tensors."""
    conj_sym, clip = given.flag("conj_sym"), given.flag("clip_eigs")
    discretization = given.choice("discretization", ("zoh", "bilinear"))
    rescale = given.number("step_rescale", 1.0)
    unstable = given.flag("allow_unstable", False)
    n, d = w.size("Lambda_re"), w.size("D")
    real = w.take("Lambda_re", (n,))
    real = real.clamp(max=_CLIP) if clip else real
    # Where other options are missing it is asked for with these, if the signs need it.
    asked = given.pending and not unstable and bool((real >= 0.0).any())
    real = -real.abs() if given.flag("force_neg", None if asked else False) else real
    A = torch.complex(real, w.take("Lambda_im", (n,)))
    given.missing()  # What is needed comes first: the checks below depend on it.
    growing = int((real >= 0.0).sum())
    w.require(
        growing == 0 or unstable,
        f"{w.prefix}Lambda_re has {growing} entries of 0 or more (largest {real.max():.3g}), "
        "expected a stable system; give --set force_neg=true if S5-PTD trained it so, "
        "--set clip_eigs=true if it was trained so, or --set allow_unstable=true",
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


def _check_frame(w: Weights, given: Overrides) -> None:
    """Raise RejectedInputError if the layers are in a network of another code base."""
    name = next(name for name in w.names() if name.endswith("Lambda_re"))
    single = len(w.shape(name)) == 1
    whose = "a code base that is not known" if single else "srush/annotated-s4"
    w.require(
        single and name.startswith("encoder/layers_"),
        f"a network of {whose} ({name} {list(w.shape(name))}), which is not read here; "
        f"{given.own_code}",
    )


def _encoder(w: Weights, given: Overrides) -> dict[str, Tensor]:
    """Return the encoder; of 1024 inputs, which S5-PTD may have made of one, as the user says."""
    encoder = dense(w, "encoder/encoder", "encoder")
    if encoder["encoder.weight"].shape[1] != _COSINE:
        return encoder
    if "d_input" not in given:
        raise UsageError(
            f"{given.who}: encoder/encoder/kernel has {_COSINE} rows, which S5-PTD as released "
            "makes of one input channel by a cosine; give --set d_input=1 to add them up (each "
            f"sees the same input), or --set d_input={_COSINE} for data of so many channels"
        )
    if given.choice("d_input", ("1", str(_COSINE))) == "1":
        encoder["encoder.weight"] = encoder["encoder.weight"].sum(1, keepdim=True)
    return encoder


def _classifier(w: Weights, statistics: Weights, given: Overrides) -> Part:
    """Return the fields and tensors of BatchClassificationModel or RetrievalModel."""
    encoder = _encoder(w, given)
    first = w.scope("encoder/layers_0/")
    if "out2/kernel" in first and "out1/kernel" not in first:
        activation = given.choice("activation_fn", ("half_glu1", "half_glu2"))
    else:
        known = "full_glu" if "out2/kernel" in first else "gelu"
        activation = given.choice("activation_fn", (known,), known=known)
    batch = "layers_0/norm/mean" in statistics
    given.flag("batchnorm", known=batch)
    pooled = "pool" if "decoder/layer2/kernel" in w else None
    prenorm, mode = given.flag("prenorm"), given.choice("mode", ("pool", "last"), known=pooled)
    output, gates = _OUTPUTS[activation]
    fields, tensors = classifier(
        w,
        encoder,
        ("norm", statistics if batch else None),
        gates,
        lambda layer: _layer(layer, given),
    )
    fields |= {"prenorm": prenorm, "output": output, "pooling": mode.replace("pool", "mean")}
    return fields, tensors
