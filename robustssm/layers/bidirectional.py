"""Two causal layers of one kind, one of which runs backwards in time."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustssm.layers.base import SSMLayer
from robustssm.layers.systems import Spectrum


class Bidirectional(SSMLayer):
    """y = ahead(u) + R behind(R u), R the reversal of time: u_t enters through both.

    It is not causal. If the input is zero behind a sample's end, so is what `behind` has seen
    by then, and the output up to that end does not depend on the padding.

    Reference: lindermanlab/S5, s5/ssm.py, where the second direction starts at the last step as
    well (state-spaces/s4 shifts it by one step).
    """

    rules = ()
    recurrence = SSMLayer.both_ways

    def __init__(self, ahead: SSMLayer, behind: SSMLayer) -> None:
        super().__init__(ahead.d, bidirectional=True)
        self.ahead, self.behind = ahead, behind

    @property
    def order(self) -> int:
        """Order of the layer that runs ahead."""
        return self.ahead.order

    def step_size(self) -> Tensor:
        """Return dt per channel of the layer that runs ahead, shape (channels,), float64."""
        return self.ahead.step_size()

    def impulse(self, L: int) -> Any:
        """Raise UsageError: there is no causal impulse response."""
        self.check_causal("impulse response", L)

    def system(self, L: int) -> Any:
        """Raise UsageError: there is no causal system."""
        self.check_causal("linear system", L)

    def one_way(self) -> tuple[SSMLayer, ...]:
        """Return the two layers."""
        return self.ahead, self.behind

    def spectrum(self) -> Spectrum:
        """Return the poles of the systems of both directions, 2 c of them."""
        one, two = (way.spectrum() for way in self.one_way())
        arrays = {key: v for key, v in vars(one).items() if isinstance(v, np.ndarray)}
        both: dict[str, Any] = {
            key: np.concatenate([v, getattr(two, key)], v.ndim - 2) for key, v in arrays.items()
        }
        return replace(one, **both)

    def forward(self, u: Tensor) -> Tensor:
        """Return both directions' outputs for u (batch, length, channels), added."""
        return self.ahead(u) + torch.flip(self.behind(torch.flip(u, (1,))), (1,))
