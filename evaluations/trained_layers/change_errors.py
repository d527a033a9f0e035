"""By how much a change of a model moves the transfer functions of its layers, certified.

The difference of two pole sums is a pole sum: its peak gain, sup over frequencies of |G - G'|
(largest singular value), is enclosed as that of one layer is.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from robustssm.attacks import ModelChange, parse_perturbation
from robustssm.errors import StabilityError, UsageError
from robustssm.evaluations.suprema.certified import Bracket, brackets
from robustssm.evaluations.trained_layers.linear_systems import LayerSystem
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.evaluations.trained_layers.two_sided import TwoSided
from robustssm.networks.classifier import Classifier


def difference_peaks(one: LayerSystem, other: LayerSystem, rtol: float) -> list[Bracket]:
    """Return the certified sup |G - G'| of every system of two layers of one kind and shape.

    low is attained at omega, tan(theta / 2) at theta rad per sample; high bounds it, rounding
    included, for the poles and residues in float64, and is infinite if either is not stable.
    Raises UsageError for layers that run both ways.
    """
    if isinstance(one, TwoSided):
        raise UsageError("change of a layer: it runs both ways in time, expected a causal one")
    pairs = ((value, getattr(other, key)) for key, value in vars(one).items())
    if all(np.array_equal(x, y) for x, y in pairs if isinstance(x, np.ndarray)):
        return [Bracket(0.0, 0.0, 0.0)] * len(one.dt)
    minus = replace(other, C=-other.C, D=-other.D).family()
    try:
        return brackets(one.family(), rtol, minus, turn=1.0)
    except StabilityError:
        return [Bracket(0.0, np.inf, np.nan)] * len(one.dt)


def change_errors(
    network: Classifier, noise: str, *, length: int, layers: Sequence[int] = (), rtol: float = 1e-3
) -> pd.DataFrame:
    """Return error_low <= sup |G - G'| <= error_high, a row per channel (S5: layer) of a layer.

    noise: a change of the model with its eps, drawn with seed 0; the rest as of `model_gain`. The
    network is the same afterwards. Raises UsageError for what leaves no linear layers.
    """
    change, budget = parse_perturbation(noise)
    if not isinstance(change, ModelChange) or change.called:
        raise UsageError(
            f"{change.who}: leaves no linear layers to compare, expected a change of the model "
            "such as 'WeightQuantise(8)' or 'StepSize(eps=1)'"
        )
    stored = network.ssm_layers()
    numbers = layers or range(len(stored))
    # Copies, since arrays of float64 layers are the memory of their parameters.
    before = [layer_system(copy.deepcopy(stored[k]), length) for k in numbers]
    with change.applied(network, budget):
        after = [layer_system(stored[k], length) for k in numbers]
    rows = [
        (number, channel, bracket.low, bracket.high)
        for number, one, other in zip(numbers, before, after, strict=True)
        for channel, bracket in enumerate(difference_peaks(one, other, rtol))
    ]
    return pd.DataFrame(rows, columns=["layer", "channel", "error_low", "error_high"])
