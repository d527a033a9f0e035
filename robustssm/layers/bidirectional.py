"""Two causal layers of one kind, one of which runs backwards in time."""

import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.layers.base import SSMLayer


class Bidirectional(SSMLayer):
    """y = ahead(u) + R behind(R u), R the reversal of time: u_t enters through both.

    It is not causal. Where the input is zero behind a sample's end, so is what `behind` has seen
    by then, and the output up to that end does not depend on the padding.

    Reference: lindermanlab/S5, s5/ssm.py, where the second direction starts at the last step as
    well (state-spaces/s4 shifts it by one step).
    """

    def __init__(self, ahead: SSMLayer, behind: SSMLayer) -> None:
        super().__init__(ahead.d, feedthrough=False)
        self.ahead, self.behind = ahead, behind

    def step_size(self) -> Tensor:
        """Return dt per channel of the layer that runs ahead, shape (channels,), float64."""
        return self.ahead.step_size()

    def impulse(self, L: int) -> Tensor:
        """Raise UsageError: there is no causal impulse response."""
        raise UsageError(
            "layer Bidirectional: it is not causal, expected a causal layer; its two directions "
            "are `ahead` and `behind`"
        )

    def recurrence(self, u: Tensor) -> Tensor:
        """Return the same output as `forward`, step by step, both ways."""
        return self.ahead.recurrence(u) + self.behind.recurrence(u.flip(1)).flip(1)

    def forward(self, u: Tensor) -> Tensor:
        """Return both directions' outputs for u (batch, length, channels), added."""
        return self.ahead(u) + torch.flip(self.behind(torch.flip(u, (1,))), (1,))
