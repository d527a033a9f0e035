"""A network under attack, whose passes are counted."""

import torch
from torch import Tensor

from robustssm.errors import UsageError, require
from robustssm.layers.kept import kept
from robustssm.networks.classifier import Classifier
from robustssm.networks.inference import ROW_BLOCK, at_a_time, padded, programmed
from robustssm.networks.network import Network
from robustssm.networks.slopes import Slopes
from robustssm.targets import CLASSES, Kind


class Victim:
    """A network in evaluation mode, whose passes are counted in samples.

    The mode of every part of the network and its parameters' requires_grad are restored by
    `close`, or at the end of a `with` block. forwards: samples sent through; backwards: samples
    whose gradient was taken (each of these is counted in forwards as well). Raises UsageError if
    the network was put into training mode meanwhile.

    Parameters
    ----------
    network : Classifier
        The network, (batch, length, channels) to logits.
    batch_size : int
        Samples per pass.
    kind : Kind
        Of its targets, which says what a margin and a loss is.
    """

    def __init__(self, network: Classifier, batch_size: int = 64, kind: Kind = CLASSES) -> None:
        require(batch_size >= 1, "victim: batch_size", batch_size, "at least 1")
        network = network.answering(True) if kind.every_step else network
        self.network, self.batch_size, self.kind = network, batch_size, kind
        self.forwards = 0
        self.backwards = 0
        self._training = {name: part.training for name, part in network.named_modules()}
        self._requires_grad = {name: p.requires_grad for name, p in network.named_parameters()}
        network.eval()
        network.requires_grad_(False)

    @property
    def was_training(self) -> bool:
        """Whether any part of the network was in training mode when it came."""
        return any(self._training.values())

    def close(self) -> None:
        """Give the network back as it was."""
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(self._requires_grad[name])
        for name, part in self.network.named_modules():
            part.training = self._training[name]

    def __enter__(self) -> "Victim":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def check_mode(self) -> None:
        """Raise UsageError if a part of the network is in training mode."""
        training = [name for name, part in self.network.named_modules() if part.training]
        if training:
            raise UsageError(
                f"victim: {training[0] or 'the network'} was put into training mode during the "
                "attack; leave the mode alone until the victim is closed"
            )

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return the answers (batch, ...) to x (batch, length, channels), float64."""
        self.check_mode()
        self.forwards += len(x)
        if programmed(self.network):
            return self._program(x).logits(x.to(self.network.mean.dtype)).double()
        size = self.size(x)
        parts = [self.network(padded(p, min(ROW_BLOCK, size)))[: len(p)] for p in x.split(size)]
        return torch.cat(parts).double()

    def size(self, x: Tensor) -> int:
        """Return how many samples such as x (batch, length, channels) are worked on at a time."""
        return at_a_time(self.network, x.shape[1], self.batch_size)

    def _program(self, x: Tensor) -> Slopes:
        """Return the program of one of our networks, for inputs such as x."""
        network, L = self.network, x.shape[1]
        assert isinstance(network, Network)
        return kept(network, Slopes, (L, network.architecture), lambda: Slopes(network, L))

    def margins(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the margin of each sample of x, (batch,)."""
        size = at_a_time(self.network, x.shape[1], max(1, len(x)))
        parts = zip(x.split(size), labels.split(size), strict=True)
        return torch.cat([self.kind.margins(self.logits(a), own) for a, own in parts])

    def slopes(
        self, x: Tensor, labels: Tensor, loss: str, aims: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return margins (batch,), losses (batch,) by name and their gradients in x, float64.

        aims: classes (batch,) that the loss is targeted at.
        """
        self.check_mode()
        self.forwards += len(x)
        self.backwards += len(x)
        margins, losses = x.new_empty((2, len(x)), dtype=torch.float64)

        def by_logits(logits: Tensor, part: slice) -> Tensor:
            own = labels[part]
            aimed = () if aims is None else (aims[part],)
            margins[part] = self.kind.margins(logits, own)
            with torch.enable_grad():
                value = self.kind.loss(loss)(logits.requires_grad_(), own, *aimed)
                losses[part] = value.detach()
                return torch.autograd.grad(value.sum(), logits)[0]

        if programmed(self.network):
            x = x.to(self.network.mean.dtype)
            return margins, losses, self._program(x).slopes(x, by_logits).double()
        slopes = []
        for start in range(0, len(x), size := self.size(x)):
            with torch.enable_grad():
                leaf = x[start : start + size].detach().clone().requires_grad_()
                logits = self.network(padded(leaf, min(ROW_BLOCK, size)))[: len(leaf)]
            slope = by_logits(logits.detach(), slice(start, start + size))
            slopes.append(torch.autograd.grad(logits, leaf, slope)[0].double())
        return margins, losses, torch.cat(slopes)


def cleaned(g: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradients g (batch, ...) with those that are not finite zero, and counts (2, batch).

    The counts are whether a sample's gradient is exactly zero, and whether it is not finite.
    """
    finite = torch.isfinite(g).flatten(1).all(1)
    zero = (g == 0.0).flatten(1).all(1)
    return torch.where(finite[:, None, None], g, 0.0), torch.stack([zero, ~finite]).long()
