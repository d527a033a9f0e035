"""What SSM layers of other code bases share: parameters as they act, in float64.

Such a layer holds A, B, C and dt themselves, not what its original trained them through: an
importer applies the original's transforms once, in float64. It is evaluated, not trained.
"""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustssm.errors import UsageError
from robustssm.layers.base import SSMLayer


class GeneralLayer(SSMLayer):
    """A linear layer (batch, length, d) -> (batch, length, d_out), d_out = channels d.

    Output channel c of feature h is column c d + h. It need not be causal: `bidirectional`.
    Parameters of the dynamics are float64, complex ones as (..., 2). l_max: samples of the kernel
    that are used, None for all.
    """

    def __init__(
        self,
        d: int,
        *,
        channels: int = 1,
        bidirectional: bool = False,
        l_max: int | None = None,
    ) -> None:
        super().__init__(d, feedthrough=False)
        self.channels, self.bidirectional, self.l_max = channels, bidirectional, l_max
        self.d_out = channels * d

    @property
    @abstractmethod
    def order(self) -> int:
        """Order of each system, every conjugate pole counted."""

    def exact(self, *shape: int) -> nn.Parameter:
        """Return a float64 Parameter of the dynamics, zeros until it is loaded."""
        result = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        result.ssm = True  # type: ignore[attr-defined]
        return result

    def kernel_length(self, L: int) -> int:
        """Return how many samples of the kernel an input of length L meets."""
        return L if self.l_max is None else min(L, self.l_max)

    def causal(self, what: str) -> None:
        """Raise UsageError where the layer looks ahead."""
        if self.bidirectional:
            raise UsageError(
                f"{what}: the layer is bidirectional and not causal, expected a causal one; its "
                "convolution is there (forward, kernels)"
            )

    def uncut(self, what: str, L: int) -> None:
        """Raise UsageError where l_max cuts the kernel of an input of length L."""
        if self.kernel_length(L) < L:
            raise UsageError(
                f"{what}: the kernel ends after l_max = {self.l_max} steps and the input has {L}; "
                f"expected {self.l_max} or fewer"
            )

    def feed_through(self, u: Tensor, y: Tensor) -> Tensor:
        """Return y + D u, D (channels, d) or (d,); y where the layer has no D."""
        if self.D is None:
            return y
        return y + (u[:, :, None, :] * self.D.to(u.dtype)).flatten(2)


class KernelLayer(GeneralLayer):
    """SISO systems: `channels` kernels a feature, and as many again that run backwards.

    With kernels k (forward) and k' (backward), as state-spaces/s4 convolves,
    y_t = sum_{j>=0} k_j u_{t-j} + sum_{j>=0} k'_j u_{t+1+j} + D u_t:
    u_t itself enters through k only.

    Reference: state-spaces/s4, src/models/sequence/kernels/fftconv.py (class FFTConv).
    """

    @property
    def directions(self) -> int:
        """Kernels per channel and feature: 2 where the layer is bidirectional."""
        return 2 if self.bidirectional else 1

    @abstractmethod
    def kernels(self, L: int) -> Tensor:
        """Return the kernels of an input of length L, (directions channels, d, K), float64.

        K is L, or l_max where that is less; backward kernels follow the forward ones.
        """

    def impulse(self, L: int) -> Tensor:
        """Return the kernel (d, L), float64, zero behind l_max.

        Raises UsageError where there is more than one kernel a feature.
        """
        self.causal("impulse response")
        if self.channels != 1:
            raise UsageError(
                f"impulse response: the layer has {self.channels} channels, expected 1; take "
                "kernels"
            )
        k = self.kernels(L)[0]
        return nn.functional.pad(k, (0, L - k.shape[1]))

    def _built(self, L: int, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        k = self.kernels(L).to(dtype)
        n = L + k.shape[-1]
        if self.bidirectional:
            ahead, behind = k.chunk(2)
            k = nn.functional.pad(ahead, (0, L)) + nn.functional.pad(behind.flip(-1), (L, 0))
        spectrum = torch.fft.rfft(k, n=n)

        def convolve(u: Tensor) -> Tensor:
            product = torch.fft.rfft(u.transpose(1, 2), n=n)[:, None] * spectrum
            y = torch.fft.irfft(product, n=n)[..., :L]
            return y.flatten(1, 2).transpose(1, 2)

        return convolve
