"""What a checkpoint is: its parts, its layers' spectra, and whether they say one thing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robustssm.checkpoints import Checkpoint
from robustssm.errors import RobustssmError
from robustssm.evaluations.trained_layers.initialization_of import fingerprint
from robustssm.evaluations.trained_layers.reading import layer_spectrum
from robustssm.layers.base import SSMLayer
from robustssm.philox import normal_tensor

# Steps over which convolution and recurrence are compared, and samples of noise.
STEPS, SAMPLES = 128, 2


@dataclass(frozen=True)
class Examination:
    """A checkpoint taken apart; refused, of a layer: why it has no fingerprint or no parity."""

    facts: dict[str, object]
    layers: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {"schema": 1, **self.facts, "layers": [*self.layers], "notes": list(self.notes)}


def examine(checkpoint: Checkpoint) -> Examination:
    """Return what a checkpoint is. The network is read, not changed."""
    network, card = checkpoint.network, checkpoint.card
    described = network.to_dict()
    facts: dict[str, object] = {
        "source": described.get("source", card.training.get("source", "robustssm")),
        "family": card.training.get("family", card.architecture.get("init", "")),
        "content_hash": checkpoint.content_hash,
        "parameters": sum(p.numel() for p in network.parameters()),
        "task": card.task or None,
        "train_seed": card.train_seed,
        "clean_accuracy": card.clean_accuracy,
        "vocabulary": network.tokens,
        **{k: v for k, v in described.items() if k not in ("kind", "source", "tokens")},
    }
    layers = tuple(_layer(number, layer) for number, layer in enumerate(network.ssm_layers()))
    return Examination(facts, layers, checkpoint.notes)


@torch.no_grad()
def _layer(number: int, layer: SSMLayer) -> dict[str, Any]:
    refused: list[str] = []
    looks: dict[str, str | float] = {}
    parity = None
    try:
        looks = fingerprint(layer_spectrum(layer))
    except RobustssmError as error:
        refused.append(str(error))
    try:
        parity = layer_parity(layer)
    except (RobustssmError, NotImplementedError) as error:
        refused.append(str(error))
    known = {"layer": number, "kind": layer.kind, "parity": parity}
    return {**known, **looks, "refused": [*dict.fromkeys(refused)]}


@torch.no_grad()
def layer_parity(layer: SSMLayer) -> float:
    """Return the largest difference of convolution and recurrence, relative to the largest output.

    In float64 over STEPS steps (fewer where the kernel ends before) of standard normal noise.
    Raises RobustssmError for a layer that is not causal.
    """
    L = layer.kernel_length(STEPS)
    u = normal_tensor("parity", np.arange(SAMPLES), L * layer.d).reshape(SAMPLES, L, layer.d)
    stepwise = layer.recurrence(u)
    difference = float((layer(u) - stepwise).abs().max())
    return difference / max(float(stepwise.abs().max()), float(np.finfo(np.float64).tiny))
