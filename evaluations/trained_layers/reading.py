"""SSM layers of any kind read as linear systems."""

from dataclasses import fields

import torch

from robustssm.errors import RejectedInputError, require
from robustssm.evaluations.trained_layers.linear_systems import (
    Dense,
    Diagonal,
    Dplr,
    LayerSystem,
    Mimo,
)
from robustssm.evaluations.trained_layers.two_sided import TwoSided
from robustssm.layers import SSMLayer
from robustssm.layers.systems import Spectrum
from robustssm.typing import FloatArray


@torch.no_grad()
def layer_system(layer: SSMLayer, L: int) -> LayerSystem:
    """Return a layer as a linear system of which gains and norms can be taken.

    `Mimo` if channels share states, `Dplr` beside a low-rank term, `Dense` of full matrices, else
    `Diagonal`; `TwoSided` of two of them if the layer runs both ways. L: the length in samples,
    which matters to DSS alone, whose kernel depends on it. The layer is not changed. Raises
    RejectedInputError if a parameter is not finite; UsageError for L < 1, or a layer that is not
    stable or not of that form.
    """
    require(L >= 1, "layer: length", L, "at least 1")
    _check_finite(layer)
    ahead, *behind = (_one_way(one, L) for one in layer.one_way())
    return TwoSided.of(ahead, behind[0], layer.lag) if behind else ahead


def _one_way(layer: SSMLayer, L: int) -> LayerSystem:
    """Return a causal layer as a linear system."""
    system, mixing = layer.system(L), layer.mixing()

    def kernel(length: int) -> FloatArray:
        with torch.no_grad():
            k = layer.impulse(length)
            if mixing is not None:
                k = 2.0 * torch.einsum("hm,ml,mj->hjl", mixing[1], k, mixing[0]).real
            result: FloatArray = k.double().cpu().numpy().copy()
        result[..., 0] += system.D.reshape(result.shape[:-1])
        return result

    kind: type[LayerSystem] = Dplr if system.low_rank else Diagonal
    if mixing is not None or system.Abar is not None:
        kind = Mimo if system.Abar is None else Dense
    return kind(**{f.name: getattr(system, f.name) for f in fields(system)}, kernel=kernel)


def layer_spectrum(layer: SSMLayer) -> Spectrum:
    """Return a layer's poles; RejectedInputError if a parameter is not finite."""
    _check_finite(layer)
    return layer.spectrum()


def _check_finite(layer: SSMLayer) -> None:
    for key, parameter in layer.named_parameters():
        if not parameter.isfinite().all():
            raise RejectedInputError(
                f"layer {layer.kind}: {key} has NaN or infinite entries, expected "
                "finite numbers; take an intact checkpoint"
            )
