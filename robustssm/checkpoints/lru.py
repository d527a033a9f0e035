"""Checkpoints of the LRU (NicolasZucchet/minimal-LRU, JAX and flax): classifiers and layers.

    x_t = lambda x_{t-1} + exp(gamma_log) B u_t,  y_t = Re(C x_t) + D u_t,
    lambda = exp(-exp(nu_log) + i exp(theta_log)).

gamma_log is trained by itself, so that it is taken as it stands. It is a system in discrete time:
there is no step size, time is counted in samples, and log lambda holds the poles per sample.

References: arXiv 2303.06349; NicolasZucchet/minimal-LRU, lru/model.py.
"""

from collections.abc import Mapping

import torch

from robustssm.checkpoints.flax_classifier import DATA, classifier, dense, opened
from robustssm.checkpoints.imported import Imported, Part, lone_layer, sequence_network
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.file_formats import Contents

SOURCE = "NicolasZucchet/minimal-LRU"
_FORMULA = "lambda = exp(-exp(nu_log) + i exp(theta_log)), B exp(gamma_log), y = Re(C x) + D u"


def recognises(contents: Contents) -> bool:
    """Return whether the tensors hold an LRU of the code base."""
    return any(name.rpartition("/")[2] == "nu_log" for name in contents.tensors)


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of a checkpoint of minimal-LRU; raises as `state_spaces.build` does."""
    given = Overrides(overrides, SOURCE, contents.path)
    everything, w, statistics = opened(contents)
    notes = ["discrete time, no step size: frequencies are per sample, HiPPO's spikes mean nothing"]
    if "nu_log" in w:
        fields, tensors = lone_layer(*_layer(w))
    else:
        known = "batch" if "layers_0/normalization/mean" in statistics else None
        batch = given.choice("norm", ("layer", "batch"), known=known) == "batch"
        prenorm = given.flag("prenorm")
        pooling = given.choice("pooling", ("mean", "last", "none"))
        given.missing()
        fields, tensors = classifier(
            w,
            dense(w, "encoder/encoder", "encoder"),
            ("normalization", statistics if batch else None),
            {"value": "out1", "gate": "out2"},
            _layer,
        )
        fields |= {"prenorm": prenorm, "pooling": pooling, "output": "full-glu"}
        notes.append("multidim is taken as 1, which no file says")
    network = sequence_network(SOURCE, fields, tensors, given, everything)
    if "input_mean" not in given and "input_std" not in given:
        notes.append(DATA)
    return Imported(network, tuple(notes), "lru", _FORMULA)


def _layer(w: Weights) -> Part:
    """Return a mixer's options and tensors; Bbar is exp(gamma_log) B as it stands."""
    n, d = w.size("nu_log"), w.size("D")

    def pair(name: str, *shape: int) -> torch.Tensor:
        return torch.stack([w.take(f"{name}_{part}", shape) for part in ("re", "im")], dim=-1)

    logs = ("nu_log", "theta_log", "gamma_log")
    nu, theta, gamma = (torch.exp(w.take(name, (n,))) for name in logs)
    finite = bool(torch.isfinite(torch.stack([nu, theta, gamma])).all())
    w.require(finite, f"{w.prefix}: exp of {', '.join(logs)} overflows, expected finite numbers")
    tensors = {
        "ssm.dt": torch.ones(n, dtype=torch.float64),
        "ssm.A": torch.stack([-nu, theta], dim=-1),
        "ssm.B": gamma[:, None, None] * pair("B", n, d),
        "ssm.C": pair("C", d, n),
        "ssm.D": w.take("D", (d,)).reshape(1, d),
    }
    mixer: dict[str, object] = {"kind": "mimo", "n": n, "factor": 1, "discretization": "impulse"}
    return mixer, tensors
