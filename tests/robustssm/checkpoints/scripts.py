"""Files in the layouts of single scripts and of the authors' forks, and their evaluation in numpy.

Loops over time and plain DFT sums; nothing of the project is used.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustssm.typing import FloatArray
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    N,
    c128,
    convolved,
    dense_kernel,
    f64,
    gelu,
    glu,
    minimal_layer,
    rows,
    stack,
    zoh,
)
from tests.robustssm.checkpoints.kernels import v4_diagonal
from tests.robustssm.checkpoints.networks import normed

CLASSES = 3


class Meaning(NamedTuple):
    """What a script does beyond what its file holds."""

    imag_sign: float = 1.0
    residual: bool = True
    pooling: str = "mean"
    pool_from: int = 0
    mirrored: bool = False
    norm: str = "layer"


def script_tensors(kind: str, norm: str = "layer") -> dict[str, Tensor]:
    """A classifier of two layers; kind: minimal, B (no D) or H, by what a layer's kernel holds."""
    draw = Draw(5)
    t = {
        **{"encoder.weight": draw(D, 2), "encoder.bias": draw(D)},
        **{"decoder.weight": draw(CLASSES, D), "decoder.bias": draw(CLASSES)},
    }
    for i in range(2):
        p = f"s4_layers.{i}."
        t |= minimal_layer(draw, p)
        if kind == "B":
            t[f"{p}kernel.B"] = draw(D, N, 2)
            del t[f"{p}D"]
        if kind == "H":
            for name in ("C", "log_A_real", "A_imag"):
                del t[f"{p}kernel.{name}"]
            t[f"{p}kernel.H"] = draw(2 * D, 5, 2)
            t[f"{p}kernel.log_dt"] = draw(2 * D) * 0.5 - 1
        t |= {f"norms.{i}.weight": draw(D), f"norms.{i}.bias": draw(D)}
        if norm == "batch":
            t[f"norms.{i}.running_mean"] = draw(D)
            t[f"norms.{i}.running_var"] = draw(D).abs() + 0.5
            t[f"norms.{i}.num_batches_tracked"] = torch.tensor(3)
    return t


def hope(t: dict[str, Tensor], p: str, u: FloatArray) -> FloatArray:
    """The layer by its DFT sums, s_m by its own quotient."""
    length = u.shape[1]
    half = length // 2
    z = np.exp(2j * np.pi * np.arange(half) / half)
    H, dt = c128(t[f"{p}kernel.H"]), np.exp(f64(t[f"{p}kernel.log_dt"]))[:, None]
    s = ((1 + dt) * z + dt - 1) / ((dt - 1) * z + dt + 1)
    G = sum(H[:, k - 1, None] * s**-k for k in range(1, H.shape[1] + 1))
    times = np.outer(np.arange(length), np.arange(length))
    U = np.einsum("mt,bth->bmh", np.exp(-2j * np.pi * times / length), u)
    Y = U * np.concatenate([G[:D], G[D:, ::-1]], axis=1).T
    y = np.einsum("tm,bmh->bth", np.exp(2j * np.pi * times / length), Y).real / length
    return y + f64(t[f"{p}D"]) * u


def causal(t: dict[str, Tensor], p: str, u: FloatArray, imag_sign: float) -> FloatArray:
    """A diagonal layer, B = 1 and D = 0 where there is none."""
    imag = imag_sign * 1j * f64(t[f"{p}kernel.A_imag"])
    A, dt = imag - np.exp(f64(t[f"{p}kernel.log_A_real"])), np.exp(f64(t[f"{p}kernel.log_dt"]))
    B = c128(t[f"{p}kernel.B"]) if f"{p}kernel.B" in t else np.ones_like(A)
    feed = f64(t[f"{p}D"]) if f"{p}D" in t else np.zeros(D)
    system = stack([zoh(A[h], B[h], dt[h]) for h in range(D)])
    K = dense_kernel(*system, 2 * c128(t[f"{p}kernel.C"])[None], u.shape[1])
    return convolved(u, K, feed[None], False)


def script_logits(
    t: dict[str, Tensor], meaning: Meaning, prenorm: bool, u: FloatArray
) -> FloatArray:
    x = u @ f64(t["encoder.weight"]).T + f64(t["encoder.bias"])
    x = np.concatenate([x, x[:, ::-1]], axis=1) if meaning.mirrored else x
    for i in range(2):
        p, place = f"s4_layers.{i}.", f"norms.{i}."
        y = normed(t, meaning.norm, place, x) if prenorm else x
        y = hope(t, p, y) if f"{p}kernel.H" in t else causal(t, p, y, meaning.imag_sign)
        weights = (t[f"{p}output_linear.0.{part}"] for part in ("weight", "bias"))
        y = glu(gelu(y), *weights)
        y = x + y if meaning.residual else y
        x = y if prenorm else normed(t, meaning.norm, place, y)
    x = x[:, meaning.pool_from :]
    features = x[:, -1] if meaning.pooling == "last" else x.mean(1)
    return features @ f64(t["decoder.weight"]).T + f64(t["decoder.bias"])


def fork_layer(systems: int, both: bool, weighted: bool) -> dict[str, Tensor]:
    """A v4 layer of S4-PTD: no B, all N modes, GLU with a convolution's weight; FreqBias has s."""
    draw = Draw(systems)
    t = v4_diagonal(systems, 1, both)
    del t["layer.kernel.B"]
    t["output_linear.0.weight"] = t["output_linear.0.weight"][..., None]
    return t | ({"layer.s": draw(1, D) * 0.5} if weighted else {})


def fork_options(both: bool) -> dict[str, Any]:
    """Options of its layer; `final_act` says what that code does not read."""
    said = {
        "_name_": "s4",
        "mode": "diag",
        "init": "legs",
        "d_state": N,
        "dt_transform": "softplus",
    }
    return said | {"bidirectional": both, "final_act": "gelu", "freqscale": 3, "lr_s": 0.2}


def fork_output(t: dict[str, Tensor], u: FloatArray) -> FloatArray:
    """The layer and its GLU: the circular convolution over 2L steps, filtered by plain DFT sums."""
    L = u.shape[1]
    A = rows(-np.exp(f64(t["layer.kernel.A_real"])) - 1j * f64(t["layer.kernel.A_imag"]))
    dt = np.log1p(np.exp(f64(t["layer.kernel.inv_dt"])))[:, 0]
    K = dense_kernel(
        *stack([zoh(A[h], np.ones(N), dt[h]) for h in range(D)]),
        2 * c128(t["layer.kernel.C"]),
        L,
    )
    y = convolved(u, K, np.zeros((1, D)), len(K) == 2)
    if "layer.s" in t:
        kernel = np.zeros((D, 2 * L))
        kernel[:, :L] = K[0]
        if len(K) == 2:
            kernel[:, L:] = K[1, :, ::-1]
        whole = np.zeros((len(u), 2 * L, D))
        for t0 in range(L):
            for j in range(2 * L):
                whole[:, (t0 + j) % (2 * L)] += kernel[:, j] * u[:, t0]
        bins = np.minimum(np.arange(2 * L), 2 * L - np.arange(2 * L))
        weight = (1 + bins[:, None] / (2 * L)) ** f64(t["layer.s"])[0]
        phase = np.exp(-2j * np.pi * np.outer(np.arange(2 * L), np.arange(2 * L)) / (2 * L))
        spectrum = np.einsum("kt,bth->bkh", phase, whole) * weight
        y = np.einsum("kt,bkh->bth", phase.conj(), spectrum).real[:, :L] / (2 * L)
    y = gelu(y + f64(t["layer.D"]) * u)
    return glu(y, t["output_linear.0.weight"], t["output_linear.0.bias"])
