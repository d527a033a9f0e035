"""Mamba, Mamba-2 and FalconMamba in every layout, against loops over time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustssm.errors import RejectedInputError, UsageError
from tests.robustssm.checkpoints.foreign import Draw
from tests.robustssm.checkpoints.selective import (
    TOKENS,
    D,
    Held,
    Net,
    V,
    answers,
    built,
    logits,
    off,
    original_config,
    original_names,
    tensors,
    transformers_config,
)


def minimal(held: Held) -> Held:
    """The names of mamba-minimal, whose head is the embeddings."""
    named = {name.removeprefix("backbone."): v for name, v in original_names(held).items()}
    return {**named, "lm_head.weight": named["embedding.weight"].clone()}


ORDINARY = {
    "plain": Net(),
    "biased": Net(bias=True, conv_bias=False, eps=1e-3),
    "falcon": Net(falcon=1e-2),
    "mamba2": Net(two=True),
    "grouped": Net(two=True, groups=3, norm_groups=3, bias=True, limit=(0.1, 0.9), eps=1e-3),
    "open above": Net(two=True, groups=2, norm_groups=2, limit=(0.3, np.inf), conv_bias=False),
    "one head": Net(two=True, heads=1),
}
ORIGINAL = {
    "plain": Net(),
    "layer norm": Net(layer_norm=True, bias=True),
    "mamba2": Net(two=True, groups=2, norm_groups=2),
    "norm before gate": Net(two=True, groups=3, norm_groups=3, norm_before_gate=True),
    "no norm": Net(two=True, rmsnorm=False, per_channel=True, limit=(0.0, 0.5)),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_files_of_transformers(name: str) -> None:
    net = ORDINARY[name]
    held = tensors(net)
    found = answers(built(held, transformers_config(net)).network)
    assert off(found, logits(net, held, TOKENS)) < 1e-12


@pytest.mark.parametrize("name", ORIGINAL)
def test_files_of_the_original_package(name: str) -> None:
    """Its vocabulary is padded, and defaults are not in its ssm_cfg."""
    net = ORIGINAL[name]
    held = tensors(net)
    found = answers(built(original_names(held), original_config(net)).network)
    assert off(found, logits(net, held, TOKENS)) < 1e-12


@pytest.mark.parametrize("flip", ["sign", "residual", "pooling", "D", "step", "postnorm"])
@pytest.mark.parametrize("net", [Net(), Net(two=True)], ids=["mamba", "mamba2"])
def test_each_flip_would_be_seen(net: Net, flip: str) -> None:
    held = tensors(net)
    found = answers(built(held, transformers_config(net)).network)
    assert off(found, logits(replace(net, flip=flip), held, TOKENS)) > 1e-3


@pytest.mark.parametrize(
    "change", [{"norm_groups": 1}, {"flip": "gate"}, {"limit": (0.0, np.inf)}], ids=str
)
def test_each_reading_of_mamba2_would_be_seen(change: dict[str, Any]) -> None:
    net = ORDINARY["grouped"]
    held = tensors(net)
    found = answers(built(held, transformers_config(net)).network)
    assert off(found, logits(replace(net, **change), held, TOKENS)) > 1e-3


def test_a_state_dict_without_config() -> None:
    """Which of two networks of the same tensors it is, and how many groups, is asked."""
    held, alike = tensors(Net()), "mamba|falcon_mamba"
    with pytest.raises(UsageError, match=rf"give --set model_type={alike}".replace("|", r"\|")):
        built(held, None)
    for net in (Net(), Net(falcon=1e-6)):
        kind = str(transformers_config(net)["model_type"])
        imported = built(held, None, model_type=kind)
        assert off(answers(imported.network), logits(net, held, TOKENS)) < 1e-12
        assert any("without a config.json layer_norm_epsilon=1e-05" in n for n in imported.notes)
    own = minimal(held)
    expected = logits(Net(), {**held, "lm_head.weight": own["embedding.weight"]}, TOKENS)
    assert off(answers(built(own, None).network), expected) < 1e-12
    net = Net(two=True, groups=3, norm_groups=3)
    held = original_names(tensors(net))
    with pytest.raises(UsageError, match="give --set ngroups=NUMBER"):
        built(held, None)
    with pytest.raises(UsageError, match=r"give --set group_size=d_ssm/ngroups\|d_ssm"):
        built(held, None, ngroups="3")
    with pytest.raises(RejectedInputError, match=r"1\.5 groups, expected groups of equal size"):
        built(held, None, ngroups="1.5", group_size="d_ssm")
    for setting, groups in (("d_ssm/ngroups", 3), ("d_ssm", 1)):
        network = built(held, None, ngroups="3", group_size=setting).network
        expected = logits(replace(net, norm_groups=groups), tensors(net), TOKENS)
        assert off(answers(network), expected) < 1e-12


def test_groups_of_an_older_transformers_are_asked_for() -> None:
    """transformers 4 took one RMS over all channels, whatever the groups."""
    net = ORDINARY["grouped"]
    for version in ("4.44.0", None):
        config = transformers_config(net, transformers_version=version)
        with pytest.raises(UsageError, match="give --set group_size="):
            built(tensors(net), config)


def test_heads() -> None:
    """A head of its own, tied, a classifier's, and none."""
    net, config = Net(), transformers_config(Net())
    held, tied = tensors(net), transformers_config(net, tie_word_embeddings=True)
    bare = {name: value for name, value in held.items() if name != "lm_head.weight"}
    again = {**held, "lm_head.weight": held["backbone.embeddings.weight"]}
    assert off(answers(built(bare, tied).network), logits(net, again, TOKENS)) < 1e-12
    with pytest.raises(RejectedInputError, match=r"lm_head\.weight is missing, expected it"):
        built(bare, config)
    with pytest.raises(RejectedInputError, match=r"lm_head\.weight is tied, and it differs"):
        built(held, tied)
    for bias in ({}, {"score.bias": Draw(3)(4)}):
        score = {"score.weight": Draw(2)(4, D), **bias}
        network = built({**bare, **score}, tied).network
        plain = {**held, "lm_head.weight": score["score.weight"]}
        expected = logits(net, plain, TOKENS) + (bias["score.bias"].numpy() if bias else 0.0)
        assert network.d_output == 4
        assert off(answers(network), expected) < 1e-7
    body = {name.removeprefix("backbone."): value for name, value in bare.items()}
    with pytest.raises(UsageError, match=r"a backbone without a head .* has no class scores"):
        built(body, tied)
    network = built(body, tied, tie_word_embeddings="true").network
    assert off(answers(network), logits(net, again, TOKENS)) < 1e-12


@pytest.mark.parametrize(
    ("config", "change", "error", "message"),
    [
        ({"model_type": "mamba2"}, {}, RejectedInputError, "says that it is a mamba2, its tensors"),
        ({"model_type": "nemotron_h"}, {}, UsageError, "model_type is 'nemotron_h' in config.json"),
        ({"hidden_act": "relu"}, {}, UsageError, "hidden_act is 'relu'"),
        ({"ssm_cfg": {"layer": "Mamba3"}, "d_model": D, "model_type": None}, {}, UsageError, "Mam"),
        ({"ssm_cfg": {"bimamba": True}}, {}, UsageError, "bimamba is True"),
        ({"attn_layer_idx": [3]}, {}, UsageError, "attn_layer_idx is \\[3\\]"),
        ({"hidden_size": 8}, {}, RejectedInputError, "says hidden_size = 8, its tensors 6"),
        ({"vocab_size": 1 << 40}, {}, RejectedInputError, "says vocab_size"),
        ({"use_bias": True}, {}, RejectedInputError, "says use_bias = True, its tensors False"),
        ({"layer_norm_epsilon": "x"}, {}, RejectedInputError, "says layer_norm_epsilon = 'x'"),
        ({}, {"more": torch.zeros(1)}, RejectedInputError, "unexpected more"),
        ({}, {"backbone.layers.1.mixer.D": None}, RejectedInputError, "mixer.D is missing"),
        ({}, {"backbone.layers.1.mixer.D": torch.zeros(5)}, RejectedInputError, "D has length 5"),
        ({}, {"backbone.norm_f.weight": torch.full((D,), torch.nan)}, RejectedInputError, "NaN"),
        ({}, {"backbone.embeddings.weight": torch.zeros(V)}, RejectedInputError, "has shape"),
    ],
)
def test_mistakes_are_one_line(
    config: dict[str, object],
    change: dict[str, Tensor | None],
    error: type[Exception],
    message: str,
) -> None:
    net = Net()
    held = {name: v for name, v in {**tensors(net), **change}.items() if v is not None}
    said = {k: v for k, v in transformers_config(net, **config).items() if v is not None}
    with pytest.raises(error, match=message) as caught:
        built(held, said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_groups": 5}, "5 groups, expected groups of equal size"),
        ({"n_groups": 0}, "0 groups, expected groups of equal size"),
        ({"n_groups": -1}, "-1 groups, expected groups of equal size"),
        ({"n_groups": 10**400}, "groups, expected groups of equal size"),
        ({"num_heads": 3}, "says num_heads = 3, its tensors 6"),
        ({"head_dim": 3}, "says head_dim = 3, its tensors 2"),
        ({"time_step_limit": [0.5, 0.1]}, "steps are limited to"),
        ({"time_step_limit": [0.5]}, "steps are limited to"),
    ],
)
def test_mistakes_of_mamba2(config: dict[str, object], message: str) -> None:
    net = Net(two=True)
    with pytest.raises(RejectedInputError, match=message):
        built(tensors(net), transformers_config(net, **config))
