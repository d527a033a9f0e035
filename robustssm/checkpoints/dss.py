"""Checkpoints of the original DSS, a fork of state-spaces v2: networks and single layers.

With Lambda (N,) shared by all features, dt_re and dt_im of each, z = dt_re Re Lambda +
i dt_im Im Lambda and r(x) = conj(x) / (|x|^2 + 1e-7),

    softmax       K_l = Re sum W (e^z - 1) r((e^{L z} - 1) Lambda) e^{l z}, see layers.siso
    exp, clip     K_l = Re sum W (e^z - 1) / Lambda e^{l z}
    ... no-scale  K_l = Re sum W e^{l z}

All N modes are stored, none stands for a conjugate. Licence of the original: Apache-2.0.

References: arXiv 2203.14343, equations (5) to (7); ag1988/dss, src/models/sequence/ss/
standalone/dss.py (classes DSSKernel and DSS).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from robustssm.checkpoints.imported import Imported
from robustssm.checkpoints.state_spaces.assemble import assembled
from robustssm.checkpoints.state_spaces.kernels import Kernel, check_stable, pairs
from robustssm.checkpoints.state_spaces.layers import Layer, cap, feedthrough, finished
from robustssm.checkpoints.state_spaces.options import Options
from robustssm.checkpoints.state_spaces.versions import is_kernel
from robustssm.checkpoints.weights import Weights
from robustssm.file_formats import Contents

SOURCE = "ag1988/dss"
NAMES = ("dss",)
_MARKERS = ("kernel.Lambda", "kernel.Lambda_im", "kernel.Lambda_log_im")
# The versions of a kernel that has the tensor.
_VERSIONS = {
    "Lambda": ("softmax", "clip", "clip-no-scale"),
    "Lambda_im": ("exp", "exp-no-scale"),
    "Lambda_log_im": ("exp-re-im",),
}
# Squared moduli below it are raised to it before they divide.
_EPSILON = 1e-7
_OPTIONS = (
    "_name_ transposed dropout tie_dropout initializer weight_norm verbose lr wd trainable d_state "
    "d_model l_max dt_min dt_max sep_dt_re_im Lambda_init activation postact channels "
    "bidirectional max_kernel_length version epsilon max_real_Lambda hyper_act"
)


def recognises(contents: Contents) -> bool:
    """Return whether the tensors hold a kernel of the original DSS."""
    names = list(contents.tensors)
    weights = any(is_kernel(name, ("kernel.W",)) for name in names)
    return weights and any(is_kernel(name, _MARKERS) for name in names)


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of an original DSS checkpoint; raises as `state_spaces.build` does."""
    return assembled(contents, overrides, SOURCE, read_layer, NAMES)


def read_layer(w: Weights, options: Options) -> Layer:
    """Return a DSS layer; errors as the parts of it raise."""
    options.only(_OPTIONS)
    options.refuse("hyper_act")
    options.refuse("epsilon", _EPSILON)
    kernels = w.size("kernel.W")
    D = feedthrough(w, options, "D", kernels)
    kernel = _kernel(w.scope("kernel."), options, D.shape[1], kernels)
    formula = (
        f"Lambda from {', '.join(n for n in w.names() if 'Lambda' in n)}, shared, D u is added"
    )
    return finished(w, options, kernel, D, cap(options, "max_kernel_length"), "dss", formula)


def _eigenvalues(w: Weights, options: Options) -> tuple[Tensor, str]:
    """Return Lambda (N,) and the version of the kernel."""
    name = next((one for one in _VERSIONS if one in w), "Lambda")
    n = w.size(name)
    words = _VERSIONS[name]
    if len(words) == 1 and not options.known:
        version = options.overrides.choice("version", words, known=words[0])
    else:
        version = options.one_of("version", words, "softmax", ask=True)
    if name == "Lambda":
        Lambda = w.complex(name, n)
        if version.startswith("clip"):
            largest = options.get("max_real_Lambda", 1e-4)
            options.require(isinstance(largest, float), "max_real_Lambda", largest, "a number")
            assert isinstance(largest, float)
            return torch.complex(Lambda.real.clamp(max=largest), Lambda.imag), version
        return Lambda, version
    real, imag = -torch.exp(w.take("Lambda_log_neg_re", (n,))), w.take(name, (n,))
    return torch.complex(real, torch.exp(imag) if name == "Lambda_log_im" else imag), version


def _kernel(w: Weights, options: Options, d: int, kernels: int) -> Kernel:
    Lambda, version = _eigenvalues(w, options)
    n = len(Lambda)
    check_stable(w, options, Lambda.real, allowed=version == "softmax")
    shape = w.shape("log_dt")
    dt = torch.exp(w.take("log_dt", (d,) if len(shape) == 1 else (d, 2))).reshape(d, -1)
    # One step for Re Lambda, one for Im Lambda: as A under the first step.
    ratio = dt[:, -1:] / dt[:, :1]
    A = torch.complex(Lambda.real.expand(d, n), ratio * Lambda.imag)
    W = w.complex("W", kernels, d, n)
    tensors = {"dt": dt[:, 0], "A": A, "B": torch.ones_like(A), "C": W}
    if version == "softmax":
        discretization = "dss"
        tensors["divisor"] = Lambda.expand(d, n)
    elif version.endswith("no-scale"):
        discretization = "impulse"
    else:
        discretization = "zoh"
        problem = f"{w.prefix}Lambda holds 0, expected no such pole in version {version}"
        w.require(bool((Lambda != 0).all()), problem)
        size = (Lambda.real**2 + Lambda.imag**2).clamp(min=_EPSILON)
        tensors["B"] = A * (Lambda.conj() / size)
    fields: dict[str, object] = {
        "kind": "diagonal",
        "n": n,
        "discretization": discretization,
        "factor": 1,
        "steps": "channel",
    }
    return Kernel(fields, pairs(tensors), "dss")
