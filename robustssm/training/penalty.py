"""What a training may penalise of the layers themselves."""

import torch
from torch import Tensor

from robustssm.networks.network import Network


def crest(network: Network, L: int) -> Tensor:
    """Return how far the peak gain of SSM layers is above their mean gain, over length L.

    The logarithm of the largest |H|^2 over its mean, at the frequencies of a DFT of 2 L samples of
    the impulse response, averaged over layers and their systems; of a system of all channels |H| is
    Frobenius's norm. A factor on a layer's output, which maps behind it undo, does not change it.
    """
    found = []
    for layer in network.ssm_layers():
        k, mixing = layer.impulse(L), layer.mixing()
        if mixing is not None:
            B, C = mixing
            k = 2.0 * torch.einsum("hm,ml,mj->hjl", C, k, B).real
        power = torch.fft.rfft(k, n=2 * L).abs().square()
        power = power if mixing is None else power.sum((0, 1))[None]
        found.append(torch.log(power.amax(1) / power.mean(1)).mean())
    return torch.stack(found).mean()
