"""Networks of Mamba and Mamba-2 in numpy, loops over time, and their files in every layout."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustssm.checkpoints import mamba
from robustssm.file_formats import Contents
from robustssm.networks.classifier import Classifier
from robustssm.typing import FloatArray
from tests.robustssm.checkpoints.foreign import Draw

D, V, E, N, R, K = 6, 11, 12, 4, 2, 3
HEADS = 6


@dataclass(frozen=True)
class Net:
    """What fixes a network apart from its weights, as the originals' options say it.

    flip: one step done otherwise than the original does it, for tests that see the difference.
    """

    two: bool = False
    falcon: float | None = None
    groups: int = 1
    norm_groups: int = 1
    bias: bool = False
    conv_bias: bool = True
    rmsnorm: bool = True
    norm_before_gate: bool = False
    limit: tuple[float, float] = (0.0, np.inf)
    per_channel: bool = False
    layer_norm: bool = False
    eps: float = 1e-5
    flip: str = ""
    seed: int = 0
    heads: int = HEADS

    @property
    def shared(self) -> int:
        return 2 * self.groups * N


def mixer_tensors(net: Net, draw: Draw) -> dict[str, Tensor]:
    """Return the tensors of one mixer by the names of both code bases."""
    convolved = E + net.shared if net.two else E
    t = {
        "conv1d.weight": draw(convolved, 1, K),
        "out_proj.weight": 0.3 * draw(D, E),
        "D": draw(E if net.per_channel or not net.two else net.heads),
    }
    if net.two:
        t["in_proj.weight"] = 0.5 * draw(E + convolved + net.heads, D)
        t |= {"A_log": draw(net.heads), "dt_bias": draw(net.heads) - 1}
        if net.rmsnorm:
            t["norm.weight"] = 1 + 0.3 * draw(E)
    else:
        t |= {"in_proj.weight": 0.5 * draw(2 * E, D), "A_log": 0.5 * draw(E, N)}
        t |= {"x_proj.weight": 0.3 * draw(R + 2 * N, E), "dt_proj.weight": draw(E, R)}
        t["dt_proj.bias"] = draw(E) - 2
    if net.conv_bias:
        t["conv1d.bias"] = 0.1 * draw(convolved)
    if net.bias:
        t |= {"in_proj.bias": draw(len(t["in_proj.weight"])), "out_proj.bias": draw(D)}
    return t


def tensors(net: Net, layers: int = 2) -> dict[str, Tensor]:
    """Return the tensors of a language model with a head of its own, as transformers names them."""
    draw = Draw(net.seed)

    def norm(name: str) -> dict[str, Tensor]:
        bias = {f"{name}.bias": 0.1 * draw(D)} if net.layer_norm else {}
        return {f"{name}.weight": 1 + 0.3 * draw(D), **bias}

    t = {"backbone.embeddings.weight": draw(V, D), "lm_head.weight": draw(V, D)}
    t |= norm("backbone.norm_f")
    for i in range(layers):
        here = f"backbone.layers.{i}."
        t |= {f"{here}mixer.{k}": v for k, v in mixer_tensors(net, draw).items()} | norm(
            f"{here}norm"
        )
    return t


def silu(x: FloatArray) -> FloatArray:
    y: FloatArray = x / (1 + np.exp(-x))
    return y


def rms(x: FloatArray, eps: float) -> FloatArray:
    y: FloatArray = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)
    return y


def mixed(net: Net, w: Mapping[str, FloatArray], x: FloatArray) -> FloatArray:
    """Return a mixer's output (length, D) of one sample x (length, D), step by step."""
    inner = x @ w["in_proj.weight"].T + w.get("in_proj.bias", 0.0)
    if net.two:
        gate, u, raw = np.split(inner, [E, 2 * E + net.shared], axis=1)
    else:
        u, gate = np.split(inner, 2, axis=1)
    past = np.concatenate([np.zeros((K - 1, u.shape[1])), u])
    taps = w["conv1d.weight"][:, 0].T
    u = np.stack([(past[t : t + K] * taps).sum(0) for t in range(len(x))])
    u = silu(u + w.get("conv1d.bias", 0.0))
    if net.two:
        u, B, C = np.split(u, [E, E + net.shared // 2], axis=1)
        dt = np.clip(np.log1p(np.exp(raw + w["dt_bias"])), *net.limit)
    state, y = np.zeros((E, N)), np.zeros((len(x), E))
    through = np.repeat(w["D"], E // len(w["D"]))
    for t in range(len(x)):
        if net.two:
            rows = np.arange(E) // (E // net.heads)
            step, A = dt[t][rows][:, None], -np.exp(w["A_log"][rows])[:, None]
            group = rows * net.groups // net.heads
            b, c = (v[t].reshape(net.groups, N)[group] for v in (B, C))
        else:
            parts = np.split(w["x_proj.weight"] @ u[t], [R, R + N])
            if net.falcon is not None:
                parts = [rms(part, net.falcon) for part in parts]
            step = np.log1p(np.exp(w["dt_proj.weight"] @ parts[0] + w["dt_proj.bias"]))[:, None]
            A, b, c = -np.exp(w["A_log"]), parts[1][None], parts[2][None]
        A = -A if net.flip == "sign" else A
        kept = np.exp(step * A)
        state = kept * state + (1.0 if net.flip == "step" else step) * b * u[t][:, None]
        y[t] = (state * c).sum(1) + (0.0 if net.flip == "D" else through) * u[t]
    return gated(net, w, y, silu(gate)) @ w["out_proj.weight"].T + w.get("out_proj.bias", 0.0)


def gated(net: Net, w: Mapping[str, FloatArray], y: FloatArray, gate: FloatArray) -> FloatArray:
    """Return the states' outputs behind the gate, and around it the norm of Mamba-2."""
    before = net.norm_before_gate != (net.flip == "gate")
    y = y if before and net.two else y * gate
    if net.two and net.rmsnorm:
        grouped = y.reshape(len(y), net.norm_groups, -1)
        y = rms(grouped, net.eps).reshape(y.shape) * w["norm.weight"]
    return y * gate if before and net.two else y


def logits(net: Net, held: Mapping[str, Tensor], tokens: FloatArray, layers: int = 2) -> FloatArray:
    """Return the logits of the last of one sample's tokens, from names as transformers has them."""
    t = {name: value.double().numpy() for name, value in held.items()}

    def normed(name: str, x: FloatArray) -> FloatArray:
        if net.layer_norm:
            x = x - x.mean(-1, keepdims=True)
        y: FloatArray = rms(x, net.eps) * t[f"{name}.weight"] + t.get(f"{name}.bias", 0.0)
        return y

    x: FloatArray = t["backbone.embeddings.weight"][tokens]
    for i in range(layers):
        own = f"backbone.layers.{i}.mixer."
        w = {k.removeprefix(own): v for k, v in t.items() if k.startswith(own)}
        y = normed(f"backbone.layers.{i}.norm", x) if net.flip != "postnorm" else x
        y = mixed(net, w, y)
        x = y if net.flip == "residual" else x + y
        if net.flip == "postnorm":
            x = normed(f"backbone.layers.{i}.norm", x)
    x = x.mean(0) if net.flip == "pooling" else x[-1]
    last: FloatArray = normed("backbone.norm_f", x) @ t["lm_head.weight"].T
    return last


def transformers_config(net: Net, **changes: object) -> dict[str, object]:
    """Return a config.json as transformers 5 writes it."""
    both: dict[str, object] = {
        **{"vocab_size": V, "hidden_size": D, "state_size": N, "num_hidden_layers": 2},
        **{"conv_kernel": K, "expand": 2, "use_bias": net.bias, "use_conv_bias": net.conv_bias},
        **{"hidden_act": "silu", "layer_norm_epsilon": net.eps, "tie_word_embeddings": False},
        "transformers_version": "5.23.0",
    }
    if net.two:
        high: object = {"__float__": "Infinity"} if net.limit[1] == np.inf else net.limit[1]
        own: dict[str, object] = {
            **{"model_type": "mamba2", "num_heads": net.heads, "head_dim": E // net.heads},
            **{"n_groups": net.groups, "time_step_limit": [net.limit[0], high], "chunk_size": 2},
        }
    elif net.falcon is not None:
        own = {"model_type": "falcon_mamba", "mixer_rms_eps": net.falcon, "time_step_rank": R}
    else:
        own = {"model_type": "mamba", "time_step_rank": R}
    return {**both, **own, **changes}


def original_config(net: Net, **changes: object) -> dict[str, object]:
    """Return a config.json as state-spaces/mamba writes it; what is the default is left out."""
    cfg: dict[str, object] = {"d_state": N, "d_conv": K}
    if net.two:
        cfg |= {"layer": "Mamba2", "headdim": E // net.heads, "ngroups": net.groups}
        cfg |= {"norm_before_gate": True} if net.norm_before_gate else {}
        cfg |= {} if net.rmsnorm else {"rmsnorm": False}
        cfg |= {"D_has_hdim": True} if net.per_channel else {}
        cfg |= {} if net.limit == (0.0, np.inf) else {"dt_limit": list(net.limit)}
    else:
        cfg["dt_rank"] = R
    cfg |= {"bias": True} if net.bias else {}
    cfg |= {} if net.conv_bias else {"conv_bias": False}
    return {
        **{"d_model": D, "n_layer": 2, "vocab_size": V - 2, "pad_vocab_size_multiple": V},
        **{"ssm_cfg": cfg, "attn_layer_idx": [], "attn_cfg": {}, "d_intermediate": 0},
        **{"rms_norm": not net.layer_norm, "residual_in_fp32": True, "fused_add_norm": True},
        **{"tie_embeddings": False, **changes},
    }


def original_names(held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by the names of state-spaces/mamba."""
    return {name.replace("embeddings", "embedding"): value for name, value in held.items()}


Held = dict[str, Tensor]
TOKENS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])


def built(held: Held, config: dict[str, object] | None, **settings: str) -> Any:
    contents = Contents("huggingface", held, config or {}, path=Path("model"))
    return mamba.build(contents, settings)


def answers(network: Classifier, tokens: np.ndarray = TOKENS) -> np.ndarray:
    """The logits of one sample in float64."""
    double = network.double()
    with torch.no_grad():
        result: np.ndarray = double(double.embed(torch.from_numpy(tokens)[None]))[0].numpy()
    return result


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
