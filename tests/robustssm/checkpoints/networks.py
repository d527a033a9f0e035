"""Networks in the key layout of state-spaces/s4 with random weights, and their evaluation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustssm.checkpoints import state_spaces
from robustssm.file_formats import Contents
from robustssm.networks.foreign import SequenceModel
from robustssm.typing import FloatArray
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    f64,
    minimal_layer,
    minimal_output,
    sigmoid,
)

NORMS = ("layer", "batch", "group", "instance", "transposed", "none")


def built(contents: Contents, settings: Mapping[str, str] | None = None) -> SequenceModel:
    network = state_spaces.build(contents, settings or {}).network
    assert isinstance(network, SequenceModel)
    return network


def network_tensors(norm: str, residual: str, prenorm: bool) -> dict[str, Tensor]:
    draw = Draw(7)
    t = {
        "encoder.0.weight": draw(D, 2),
        "encoder.0.bias": draw(D),
        "decoder.0.output_transform.weight": draw(3, D),
        "decoder.0.output_transform.bias": draw(3),
    }
    places = [f"model.layers.{i}.norm.norm." for i in range(2)] + ["model.norm.norm."] * prenorm
    for place in places:
        if norm == "transposed":
            t |= {f"{place}m": draw(1), f"{place}s": draw(1)}
        if norm in ("layer", "batch", "group"):
            t |= {f"{place}weight": draw(D), f"{place}bias": draw(D)}
        if norm == "batch":
            t |= {f"{place}running_mean": draw(D), f"{place}running_var": draw(D).abs() + 0.5}
            t[f"{place}num_batches_tracked"] = torch.tensor(3)
    for i in range(2):
        t |= minimal_layer(draw, f"model.layers.{i}.layer.")
        place = f"model.layers.{i}.residual."
        if residual == "A":
            t[f"{place}affine"] = draw(1)
        if residual == "H":
            for key in ("Wx", "Wy"):
                t |= {f"{place}{key}.weight": draw(D, D), f"{place}{key}.bias": draw(D)}
    return t


def normed(t: dict[str, Tensor], norm: str, place: str, x: FloatArray) -> FloatArray:
    if norm == "none":
        return x
    if norm == "transposed":
        mean, std = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
        return f64(t[f"{place}s"]) / std * (x - mean + f64(t[f"{place}m"]))
    axes: Any = {"layer": -1, "group": (1, 2), "instance": 1}.get(norm)
    if norm == "batch":
        mean, var = f64(t[f"{place}running_mean"]), f64(t[f"{place}running_var"])
    else:
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    y = (x - mean) / np.sqrt(var + 1e-5)
    return y if norm == "instance" else y * f64(t[f"{place}weight"]) + f64(t[f"{place}bias"])


def naive(
    t: dict[str, Tensor], norm: str, residual: str, prenorm: bool, u: FloatArray
) -> FloatArray:
    """Features behind the last norm."""
    x = u @ f64(t["encoder.0.weight"]).T + f64(t["encoder.0.bias"])
    for i in range(2):
        place = f"model.layers.{i}."
        y = normed(t, norm, f"{place}norm.norm.", x) if prenorm else x
        y = minimal_output(t, y, f"{place}layer.")
        beta = (i + 1) ** -0.5
        if residual == "R":
            y = x + y
        elif residual == "A":
            y = x + f64(t[f"{place}residual.affine"]) * y
        elif residual == "D":
            y = np.sqrt(1 - beta**2) * x + beta * y
        elif residual == "H":
            r = sigmoid(
                x @ f64(t[f"{place}residual.Wx.weight"]).T
                + f64(t[f"{place}residual.Wx.bias"])
                + y @ f64(t[f"{place}residual.Wy.weight"]).T
                + f64(t[f"{place}residual.Wy.bias"])
            )
            y = (1 - r) * x + r * y
        x = y if prenorm else normed(t, norm, f"{place}norm.norm.", y)
    return normed(t, norm, "model.norm.norm.", x) if prenorm else x


def pooled(x: FloatArray, mode: str) -> FloatArray:
    return {"pool": x.mean(1), "last": x[:, -1], "first": x[:, 0], "sum": x.sum(1)}[mode]


def config(norm: str, residual: str, prenorm: bool, mode: str) -> dict[str, object]:
    return {
        "model": {
            "_name_": "model",
            "prenorm": prenorm,
            "transposed": norm == "transposed",
            "n_layers": 2,
            "d_model": D,
            "residual": residual,
            "norm": {"transposed": "layer", "none": None}.get(norm, norm),
            "pool": {"_name_": "pool", "stride": 1, "expand": None},
            "layer": {"_name_": "s4d", "dropout": 0.1, "transposed": False, "lr": 0.001},
        },
        "encoder": "linear",
        "decoder": {"_name_": "sequence", "mode": mode},
        "dataset": {"_name_": "mnist", "permute": True},
        "train": {"ema": 0.99},
    }
