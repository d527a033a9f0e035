"""Checkpoints of Mamba, Mamba-2 and FalconMamba: folders, and state dicts without config.json.

References: transformers 5, models/mamba, mamba2 and falcon_mamba; state-spaces/mamba,
mamba_ssm/models/mixer_seq_simple.py and modules; johnma2006/mamba-minimal, model.py.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robustssm.checkpoints.imported import Imported, sequence_network
from robustssm.checkpoints.mamba_config import SOURCES, Said
from robustssm.checkpoints.overrides import Overrides
from robustssm.checkpoints.state_spaces.frames import JACOBIAN, JACOBIAN_NOTE
from robustssm.checkpoints.state_spaces.layers import Layer
from robustssm.checkpoints.weights import Weights
from robustssm.errors import UsageError
from robustssm.file_formats import Contents
from robustssm.networks.classifier import Classifier
from robustssm.networks.foreign import mixer

_BACKBONE, _FIRST, _S6 = "backbone.", "layers.0.mixer.A_log", "mapping_layers.0.A_log"
_SCORE, _HEAD, _TIED = "score.weight", "lm_head.weight", "tie_word_embeddings"
_FORMULA = "A = -exp(A_log), dt = softplus of its projection and bias, D x is added"
_SELECTIVE = "its layers depend on the input: no fixed transfer function, no resonance"


def recognises(contents: Contents) -> bool:
    """Return whether the tensors are those of blocks of Mamba."""
    return any(name in contents.tensors for name in (_FIRST, f"{_BACKBONE}{_FIRST}", _S6))


def build(contents: Contents, overrides: Mapping[str, str]) -> Imported:
    """Return the network of a folder or state dict.

    Raises RejectedInputError if tensors are missing, left over, mis-shaped or not finite;
    UsageError if an option is not supported, or is needed.
    """
    given = Overrides(overrides, "Mamba", contents.path)
    w = Weights(contents.tensors, contents.path)
    if _S6 in w:
        return _s6(w, given)
    said = Said(contents.options, given, w)
    body = w.scope("" if _FIRST in w else _BACKBONE)
    named = "embedding.weight" if "embedding.weight" in body else "embeddings.weight"
    kind = _kind(body.scope("layers.0.mixer."), said, given, named == "embeddings.weight")
    told = said.get("layer_norm_epsilon", kind=float)
    eps = given.number("layer_norm_epsilon", 1e-5, known=told, minimum=0.0)
    table = body.take(named)
    w.require(table.ndim == 2, f"{body.prefix}{named} has shape {list(table.shape)}")
    tokens, d = table.shape
    head = _head(body, w, said, given, named)
    norm = "layer" if "norm_f.bias" in body else "rms"
    rms = said.get("rms_norm", kind=bool, default=True) if said.original else norm == "rms"
    w.require(rms == (norm == "rms"), f"config.json says rms_norm = {rms}, its norms are {norm}")
    tensors = {"embedding.weight": table}
    tensors |= body.affine("norm_f", "final_norm.norm", d, bare=True)
    mixers: list[dict[str, Any]] = []
    while f"layers.{len(mixers)}.mixer.A_log" in body:
        block, here = body.scope(f"layers.{len(mixers)}."), f"blocks.{len(mixers)}."
        own = block.scope("mixer.")
        options = mamba2(own, said, given, eps) if kind == "mamba2" else mamba1(own)
        if kind == "falcon_mamba":
            options["rms_eps"] = float(said.get("mixer_rms_eps", kind=float, default=1e-6))
        tensors |= {f"{here}{key}": value for key, value in taken(own, d, options).items()}
        tensors |= block.affine("norm", f"{here}norm.norm", d, bare=True)
        mixers.append(options)
    inner, heads = options["inner"], options.get("heads", 1)
    sizes = {"d": d, "layers": len(mixers), "expand": inner / d, "head_dim": inner // heads}
    said.check({**options, **sizes})
    vocabulary = said.get("vocab_size", kind=int, default=tokens)
    multiple = said.get("pad_vocab_size_multiple", kind=int, default=8 if said.original else 1) or 1
    padded = -(-vocabulary // multiple) * multiple
    w.require(padded == tokens, f"config.json says vocab_size = {padded}, its tensors {tokens}")
    fields: dict[str, object] = {
        **{"tokens": tokens, "d_input": d, "d_model": d, "d_output": len(head["decoder.weight"])},
        **{"encoder": "embedding", "norm": norm, "norm_eps": eps, "prenorm": True},
        **{"mixers": tuple(mixers), "activation": "none", "output": "none", "final_norm": True},
        **{"pooling": "last", "decoder_bias": "decoder.bias" in head},
    }
    network = sequence_network(SOURCES[kind], fields, tensors | head, given, w)
    notes = [
        "tokens are perturbed at their embeddings; logits are of the last step, for texts of all",
        _SELECTIVE,
    ]
    if not contents.options:
        notes.append(
            f"without a config.json layer_norm_epsilon={eps:g}, and where they count mixer_rms_eps="
            "1e-06, dt_limit=(0, inf), norm_before_gate=false are assumed; give the folder of both "
            "if it says otherwise"
        )
    return Imported(network, tuple(notes), "mamba", _FORMULA)


def of_card(config: object, tensors: Mapping[str, Tensor]) -> Classifier:
    """Return the network of a native file of kind `mamba`, written before 2026-11-30."""
    standard = {key: value for key, value in tensors.items() if key in ("mean", "std")}
    held = {key.removeprefix("lm."): v for key, v in tensors.items() if key not in standard}
    options = {**config, "model_type": "mamba", _TIED: False} if isinstance(config, dict) else {}
    network = build(Contents("safetensors", held, options), {}).network
    network.load_state_dict({**network.state_dict(), **standard})
    return network


def _s6(w: Weights, given: Overrides) -> Imported:
    """Return a classifier of Mamba's mixers in the frame of the jacobian study."""

    def layer(one: Weights) -> Layer:
        options, d = mamba1(one), one.size("out_proj.weight")
        plain = {"activation": "none", "output": "none"}
        return Layer(d, options, taken(one, d, options), plain, "mamba", "", _FORMULA)

    parts = JACOBIAN.read(w, layer)
    network = sequence_network("S6", parts.fields, parts.tensors, given, w)
    return Imported(network, (JACOBIAN_NOTE, _SELECTIVE), "mamba", _FORMULA)


def mamba1(w: Weights) -> dict[str, Any]:
    """Return the options of a mixer of Mamba, from the shapes of its tensors."""
    sizes = {
        **{"inner": w.size("A_log"), "n": w.size("A_log", 1)},
        **{"rank": w.size("dt_proj.weight", 1), "conv": w.size("conv1d.weight", 2)},
    }
    w.require(min(sizes.values()) > 0, f"{w.prefix}: has no tensors that tell {', '.join(sizes)}")
    biases = {"bias": "in_proj.bias" in w, "conv_bias": "conv1d.bias" in w}
    return {"kind": "mamba", **sizes, **biases}


def mamba2(w: Weights, said: Said, given: Overrides, eps: float) -> dict[str, Any]:
    """Return the options of a mixer of Mamba-2, from its tensors and what is said."""
    inner, heads, conv = w.size("out_proj.weight", 1), w.size("A_log"), w.size("conv1d.weight", 2)
    unsaid = 1 if said.original else None if said.kind is None else 8
    known = said.get("n_groups", "ngroups", kind=int, default=unsaid)
    number = given.number("ngroups", known=known, minimum=1)
    groups = int(number)
    shared = w.size("conv1d.weight") - inner
    fits = number == groups and min(inner, heads, conv, shared, groups) > 0
    fits = fits and shared % (2 * groups) == inner % heads == heads % groups == 0
    sizes = (
        f"{inner} inner channels, {heads} heads, {shared} rows of B and C, {number!s:.20} groups"
    )
    given.missing()
    w.require(fits, f"{w.prefix}: {sizes}, expected groups of equal size")
    normed = "norm.weight" in w
    # transformers 4 and Mamba2Simple take one RMS of all channels, mamba_ssm and transformers 5 one
    # of each group.
    grouped, whole = "d_ssm/ngroups", "d_ssm"
    version = said.get("transformers_version", kind=str, default="")
    new = said.original or version.partition(".")[0] not in ("", *"01234")
    chosen = grouped
    if groups > 1 and normed:
        chosen = given.choice("group_size", (grouped, whole), known=grouped if new else None)
    expected = said.get("rmsnorm", kind=bool, default=normed if said.kind is None else True)
    w.require(
        normed == expected,
        f"{w.prefix}norm.weight is {'there' if normed else 'missing'}, "
        f"config.json says rmsnorm = {expected}",
    )
    return {
        **{"kind": "mamba2", "inner": inner, "n": shared // (2 * groups), "heads": heads},
        **{"groups": groups, "conv": conv, "bias": "in_proj.bias" in w},
        **{"conv_bias": "conv1d.bias" in w, "dt_limit": list(said.limit())},
        "norm_eps": eps if normed else None,
        "norm_groups": groups if chosen == grouped else 1,
        "norm_before_gate": said.original
        and said.get("norm_before_gate", kind=bool, default=False),
    }


def taken(w: Weights, d: int, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a mixer of these options, by their names in a block."""
    with torch.device("meta"):
        shapes = {key: tuple(v.shape) for key, v in mixer(d, options).state_dict().items()}
    shapes["D"] = (w.size("D"),)  # of each head, or of each channel
    named = {key: w.take("norm.weight" if key == "norm" else key, shapes[key]) for key in shapes}
    inner, own = options["inner"], shapes["D"][0]
    fits = own in (inner, options.get("heads"))
    w.require(fits, f"{w.prefix}D has length {own}, expected one of each head or channel")
    named["D"] = named["D"].repeat_interleave(inner // own)
    return {f"ssm.{key}": value for key, value in named.items()}


def _kind(first: Weights, said: Said, given: Overrides, transformers: bool) -> str:
    """Return which network it is, by the tensors of the first mixer and what is said."""
    if "dt_bias" in first:
        kind: str = "mamba2"
    elif said.kind is None and transformers:
        # FalconMamba has the same tensors.
        kind = given.choice("model_type", ("mamba", "falcon_mamba"))
    else:
        kind = "falcon_mamba" if said.kind == "falcon_mamba" else "mamba"
    fits = said.kind in (None, kind)
    first.require(fits, f"config.json says that it is a {said.kind}, its tensors are a {kind}'s")
    return kind


def _head(body: Weights, w: Weights, said: Said, given: Overrides, named: str) -> dict[str, Tensor]:
    """Return the decoder: a classifier's or a language model's head, or the embeddings again."""
    d = body.shape(named)[1]
    if _SCORE in w:
        return w.affine("score", "decoder", w.size(_SCORE), d, bare=True)
    flags = {key: said.get(key, kind=bool) for key in (_TIED, "tie_embeddings")}
    told = {key: value for key, value in flags.items() if value is not None}
    embeddings = body.take(named)
    if _HEAD in w:
        head = w.take(_HEAD, embeddings.shape)
        same = not told or not all(told.values()) or torch.equal(head, embeddings)
        differs = f"config.json says that {_HEAD} is tied, and it differs from the embeddings"
        w.require(same, differs)
        return {"decoder.weight": head}
    if not body.prefix and _TIED not in given:
        raise UsageError(
            f"{given.who}: is a backbone without a head ({_HEAD} or {_SCORE}), so that it has no "
            f"class scores; --set {_TIED}=true takes its embeddings as the head, or, with a head "
            f"of your own, {given.own_code}"
        )
    known = all(told.values()) if told and body.prefix else None
    default = True if said.kind in ("mamba", "falcon_mamba") else None
    tied = given.flag(_TIED, default, known=known)
    said_so = ", ".join(f"{key} = {value}" for key, value in told.items()) or f"{_TIED} = false"
    w.require(
        tied or given.pending, f"{_HEAD} is missing, expected it, as config.json says {said_so}"
    )
    return {"decoder.weight": embeddings.clone()}
