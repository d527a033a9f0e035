"""Checkpoints of Mamba: folders of Hugging Face transformers and of state-spaces/mamba.

Nothing is fetched and no code of the folder is run: the network is built from sizes, which must be
those of the tensors. References: transformers 5, models/mamba; state-spaces/mamba,
mamba_ssm/models/mixer_seq_simple.py. Licence of both: Apache-2.0.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robustssm.checkpoints.imported import Imported, standardisation
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.weights import Weights
from robustssm.errors import UsageError, require
from robustssm.file_formats import Contents
from robustssm.networks.mamba import CONFIG, MambaModel

FACTORY = "load it by your own code: module.py:function@weights"
_EMBEDDINGS = "backbone.embeddings.weight"
_HEAD = "lm_head.weight"
_OLD_EMBEDDINGS = "backbone.embedding.weight"
# Sizes that the shape of a tensor tells, of the first layer or of the whole, and along which axis.
_SIZES = {
    "vocab_size": (_EMBEDDINGS, 0),
    "hidden_size": (_EMBEDDINGS, 1),
    "state_size": ("mixer.A_log", 1),
    "conv_kernel": ("mixer.conv1d.weight", 2),
    "time_step_rank": ("mixer.dt_proj.weight", 1),
}
# Tokens and the largest relative difference from the recurrence in float64: float32 rounding,
# 1e-7, over the layers.
_TRIED, _PARITY = 8, 1e-4
# Options that have one value in every Mamba that is known here.
_ONLY = {"use_mambapy": (False, True), "time_step_scale": (1.0,), "rms_norm": (True,)}


def recognises(contents: Contents) -> bool:
    """Return whether the tensors are those of a Mamba language model."""
    names = contents.tensors
    mixer = any(name.endswith(".mixer.A_log") for name in names)
    return mixer and (_EMBEDDINGS in names or _OLD_EMBEDDINGS in names)


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of a folder.

    Raises RejectedInputError if tensors are missing, left over, mis-shaped or not finite, or
    its scan differs from the recurrence; UsageError if an option is not supported.
    """
    given = Overrides(overrides, "Mamba", contents.path)
    renamed = {_OLD_EMBEDDINGS: _EMBEDDINGS}
    tensors = {renamed.get(name, name): value for name, value in contents.tensors.items()}
    w = Weights(tensors, contents.path)
    config = _config(w, contents.options, given)
    tied = _tied(contents.options, tensors, w)
    network = MambaModel(config, meta=True)
    state: dict[str, Tensor] = {}
    for name, value in network.lm.state_dict().items():
        if name == _HEAD and tied and name not in w:  # the embeddings once more
            state[f"lm.{_HEAD}"] = state[f"lm.{_EMBEDDINGS}"].clone()
            continue
        state[f"lm.{name}"] = w.take(name, tuple(value.shape)).float()
    d = int(str(config["hidden_size"]))
    state |= standardisation(given, d)
    given.finish()
    w.finish()
    network.load_state_dict(state, strict=True, assign=True)
    network.eval().requires_grad_(False)
    _check_scan(network, w)
    notes = (
        "tokens are perturbed at their embeddings; logits are those of the last step",
        "its layers depend on the input: no fixed transfer function, no resonance",
    )
    return Imported(network, notes, "mamba")


def _tied(options: Mapping[str, Any], tensors: Mapping[str, Tensor], w: Weights) -> bool:
    """Return whether config.json says that the head is the embeddings; it is, if nothing is said.

    Raises RejectedInputError if the file has another head all the same: which of the two counts
    depends on the code that loads them.
    """
    keys = ("tie_word_embeddings", "tie_embeddings")
    said = [f"{key} = {options[key]}" for key in keys if key in options]
    tied = all(bool(options.get(key, True)) for key in keys)
    if _HEAD in w:
        same = not tied or torch.equal(tensors[_HEAD], tensors[_EMBEDDINGS])
        w.require(same, f"config.json says that {_HEAD} is tied, and it differs from {_EMBEDDINGS}")
    else:
        w.require(tied, f"{_HEAD} is missing, expected it, as config.json says {', '.join(said)}")
    return tied


def _config(w: Weights, options: Mapping[str, Any], given: Overrides) -> dict[str, object]:
    """Return the sizes and options, all of them checked against the tensors."""
    who = given.who
    if not options:
        raise UsageError(f"{who}: the tensors came without config.json; give the folder of both")
    kind = options.get("model_type", "mamba")
    cfg = options.get("ssm_cfg") or {}
    variant = cfg.get("layer", "Mamba1") if isinstance(cfg, dict) else "Mamba1"
    if kind != "mamba" or variant != "Mamba1" or options.get("attn_layer_idx"):
        raise UsageError(f"{who}: is a {kind} ({variant}), expected a Mamba; {FACTORY}")
    for name, allowed in _ONLY.items():
        value = options.get(name, allowed[0])
        require(value in allowed, f"{who}: option {name}", value, str(allowed[0]))
    config = {key: options.get(key, default) for key, default in CONFIG.items()}
    activation = config["hidden_act"]
    require(activation == "silu", f"{who}: hidden_act", activation, f"silu; {FACTORY}")
    first = {name.rpartition("layers.0.")[2]: w.shape(name) for name in w.names()}
    layers = sum(name.endswith(".mixer.A_log") for name in w.names())
    sizes: dict[str, Any] = {"num_hidden_layers": layers}
    for key, (name, axis) in _SIZES.items():
        shape = first.get(name, ())
        w.require(len(shape) > axis, f"has no tensor of the right shape that tells {key}")
        sizes[key] = shape[axis]
    inner, hidden = first["mixer.A_log"][0], sizes["hidden_size"]
    fits = inner % max(1, hidden) == 0
    w.require(fits, f"{inner} inner channels are no multiple of {hidden}")
    sizes["expand"] = inner // hidden
    sizes["use_bias"] = "mixer.in_proj.bias" in first
    sizes["use_conv_bias"] = "mixer.conv1d.bias" in first
    said = {"hidden_size": "d_model", "num_hidden_layers": "n_layer"}
    for key, size in sizes.items():
        names = [name for name in (key, said.get(key, key)) if name in options]
        told = options[names[0]] if names else size
        if key == "time_step_rank" and told == "auto":
            told = math.ceil(hidden / 16)
        if key == "vocab_size" and "pad_vocab_size_multiple" in options:
            multiple = int(str(options["pad_vocab_size_multiple"]))
            told = -(-int(str(told)) // multiple) * multiple
        w.require(told == size, f"config.json says {key} = {told}, its tensors {size}")
    return {**config, **sizes}


def _check_scan(network: MambaModel, w: Weights) -> None:
    from robustssm.networks.mamba_steps import parity

    assert network.tokens is not None
    tokens = torch.arange(_TRIED)[None] % network.tokens
    difference = parity(network, network.embed(tokens))
    w.require(
        difference <= _PARITY,
        "the scan of the installed transformers differs from the recurrence by "
        f"{difference:.1e} of the largest logit, expected at most {_PARITY:g}",
    )
