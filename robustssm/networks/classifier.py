"""What evaluation asks of any network: raw inputs in, logits out, and its SSM layers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from robustssm.layers.base import SSMLayer


class Classifier(nn.Module, ABC):
    """A network on raw inputs (batch, length, channels), normalised inside by mean and std.

    d_input, d_output: channels and classes, None where a module of somebody else does not say.
    tokens: size of the vocabulary where the raw inputs are embedded tokens, else None.
    """

    mean: Tensor
    std: Tensor

    @property
    @abstractmethod
    def d_input(self) -> int | None:
        """Input channels."""

    @property
    @abstractmethod
    def d_output(self) -> int | None:
        """Classes."""

    @property
    def tokens(self) -> int | None:
        """Size of the vocabulary; then `embed` is there."""
        return None

    @property
    def state_size(self) -> int | None:
        """Order of the state-space systems in HiPPO's sense, None where not known."""
        return None

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embedding of each token (batch, length): (batch, length, channels)."""
        raise NotImplementedError

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """Return what fixes the function apart from the weights, as on a checkpoint's card."""

    @abstractmethod
    def ssm_layers(self) -> Sequence[SSMLayer]:
        """Return the layers that have a step size, in order: resonance acts at their inputs."""
