"""Mamba language models through `transformers`: embeddings in, logits of the last step out.

A Mamba layer's B, C and step size depend on its input: it has no transfer function, and no step
size that resonance could use. What is fixed is the function from embeddings to logits.

Reference: arXiv 2312.00752; transformers, models/mamba/modeling_mamba.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustssm.errors import UsageError
from robustssm.layers.base import SSMLayer
from robustssm.networks.classifier import Classifier, pooled

# What fixes the function of a Mamba apart from its weights, with the defaults of transformers.
CONFIG: dict[str, object] = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "state_size": 16,
    "num_hidden_layers": 32,
    "layer_norm_epsilon": 1e-5,
    "expand": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "residual_in_fp32": True,
    "time_step_rank": "auto",
}


def read_config(content: object) -> dict[str, object]:
    """Return the options that a card holds; TypeError for those that a Mamba does not have."""
    if not isinstance(content, dict):
        raise TypeError("its config is no table")
    for key, value in content.items():
        kinds = {type(CONFIG.get(key)), *((int,) if key == "time_step_rank" else ())}
        if key not in CONFIG or type(value) not in kinds:
            raise TypeError(f"its config has {key} {value!r:.80}")
    return {**CONFIG, **content}


class MambaModel(Classifier):
    """A Mamba on embeddings (batch, length, hidden size); returns logits (batch, vocabulary).

    The logits are those of the last valid step. Weights of embeddings and output are kept apart
    where the original tied them. transformers computes norms and logits in float32 whatever the
    precision of the rest.
    """

    d_input: int

    def __init__(self, config: Mapping[str, object], meta: bool = False) -> None:
        try:
            import transformers
        except ImportError:
            raise UsageError(
                "Mamba: transformers is not installed; run pip install 'robustssm[hf]'"
            ) from None
        # It would tell at every start that kernels for GPUs are not installed.
        transformers.logging.set_verbosity_error()
        options: dict[str, Any] = {key: config.get(key, default) for key, default in CONFIG.items()}
        chosen = transformers.MambaConfig(**options, tie_word_embeddings=False, use_cache=False)
        # Channels of the embeddings; classes are the vocabulary.
        super().__init__(chosen.hidden_size, chosen.vocab_size, chosen.vocab_size)
        with torch.device("meta" if meta else "cpu"):
            self.lm: Any = transformers.MambaForCausalLM(chosen)
        self.config = {key: getattr(chosen, key) for key in CONFIG}

    def to_dict(self) -> dict[str, object]:
        """Return what fixes the function apart from the weights, as on a checkpoint's card."""
        sizes = {"d_input": self.d_input, "d_output": self.d_output}
        return {"kind": "mamba", "source": "Mamba", **sizes, "config": dict(self.config)}

    @property
    def blocks(self) -> nn.ModuleList:
        """The residual blocks: norm and mixer."""
        layers: nn.ModuleList = self.lm.backbone.layers
        return layers

    def ssm_layers(self) -> Sequence[SSMLayer]:
        """Return nothing: no layer has a step size of its own."""
        return []

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings (batch, length, hidden size) of tokens (batch, length)."""
        result: Tensor = self.lm.backbone.embeddings(tokens)
        return result

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the logits of the last valid step, (batch, vocabulary).

        What stands behind a sample's end cannot reach it: the network is causal.
        """
        self.check_input(x, "embeddings ")
        x = (x - self.mean) / self.std
        hidden: Tensor = self.lm.backbone(inputs_embeds=x, use_cache=False)[0]
        result: Tensor = self.lm.lm_head(pooled(hidden, lengths, "last"))
        return result
