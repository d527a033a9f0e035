"""Resonances of trained layers brought down by damping their poles, without data.

S4D breaks where a pole near the imaginary axis, high above the frequencies that smooth signals
have, is amplified more than anything that the layer was trained to pass. A pole at -sigma + i omega
has gain rho / sigma at omega and rho / |omega - omega'| elsewhere, so that more damping lowers the
peak, and far from it changes little.
"""

from dataclasses import dataclass

import numpy as np
import torch

from robustssm.evaluations.trained_layers.linear_systems import fold
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.hippo.spectrum import spikes
from robustssm.layers import SSMLayer
from robustssm.networks.classifier import Classifier
from robustssm.typing import FloatArray

# Below this share of the highest spike of HiPPO's normal part a layer passes, above it resonates.
BAND = 0.25
# Frequencies of the band at which the gain that is passed is taken, a median.
_POINTS = 257
# A gain this far above the cap is at it: what damping by the excess leaves shrinks so fast.
_SLACK = 1e-2
_ROUNDS = 100


@dataclass(frozen=True)
class Damped:
    """What was done to one layer.

    poles: how many of its stored poles were damped; most: the largest factor; above: the largest
    ratio of gain and cap that is left at a pole's frequency, 1 or less where all are capped.
    """

    poles: int
    most: float
    above: float


def damp_resonances(network: Classifier, L: int, ratio: float) -> list[Damped]:
    """Damp, in place, the poles of every SSM layer at whose frequency its gain is above a cap.

    The cap of a channel (of S5: a layer) is `ratio` times its median gain on the band, up to a
    quarter of the highest spike; poles of that band are left as they are. A pole is damped by the
    excess, again and again until no gain is above the cap, or as long as that lowers it: poles of
    the band, or D, may be what keeps it above. L: length in samples. Raises UsageError for layers
    without stored poles or that are not stable (`layer_system`, `SSMLayer.damp`).
    """
    n = network.state_size
    spike = float(spikes(n, 1)[0]) if n else np.inf
    return [_damp(layer, L, BAND * spike, ratio) for layer in network.ssm_layers()]


def _damp(layer: SSMLayer, L: int, band: float, ratio: float) -> Damped:
    layer.damp(torch.ones(1))  # refuses a layer without stored poles before it is looked at
    systems = [layer_system(one, L) for one in layer.one_way()]
    passed = [
        np.median(
            s.gain(np.minimum(np.linspace(0.0, 1.0, _POINTS) * band * s.dt[:, None], np.pi)), axis=1
        )
        for s in systems
    ]
    cap = ratio * np.max(passed, axis=0)[:, None]
    stored = layer.eigenvalues().shape[-1]
    high = np.abs(systems[0].poles[:, :stored].imag) > band
    factors: FloatArray = np.ones(high.shape)
    excess = _excess(layer, L, cap, stored)
    for _ in range(_ROUNDS):
        over = high & (excess > 1.0 + _SLACK)
        if not over.any():
            break
        step = np.where(over, excess, 1.0)
        layer.damp(torch.from_numpy(step if len(step) > 1 or layer.mixing() is None else step[0]))
        factors *= step
        left = _excess(layer, L, cap, stored)
        # What more damping does not lower is due to something else.
        high &= ~over | (left < excess * (1.0 - _SLACK))
        excess = left
    highest = float(np.where(factors > 1.0, excess, 0.0).max())
    return Damped(int((factors > 1.0).sum()), float(factors.max()), highest)


def _excess(layer: SSMLayer, L: int, cap: FloatArray, stored: int) -> FloatArray:
    """Return the gain at each stored pole's frequency over the cap, (c, stored)."""
    found = []
    for one in layer.one_way():
        system = layer_system(one, L)
        theta = fold(system.poles[:, :stored].imag * system.step[:, :stored])
        found.append(system.gain(theta) / cap)
    return np.max(found, axis=0)
