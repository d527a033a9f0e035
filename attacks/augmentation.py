"""Perturbations as training augmentation: at the input, or at the input of every SSM layer."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from robustssm.attacks.base import input_site
from robustssm.attacks.expressions import parse_perturbation
from robustssm.attacks.injection import LayerNoise
from robustssm.attacks.kept import forget
from robustssm.errors import UsageError
from robustssm.networks.network import Network
from robustssm.tasks import Task
from robustssm.training.objective import Batch
from robustssm.typing import IntArray


class Augmentation:
    """The augmentation that an expression such as `BandNoise(1, 16, eps=0.3)` names.

    A sample's draws are a function of the seed it is called with (one an epoch) and its id. At
    layers the perturbation is a constant to the gradient, as noise that does not depend on the
    signal is; transforms do depend on it, so there they are refused. Raises UsageError.
    """

    def __init__(self, text: str, task: Task) -> None:
        self.perturbation, self.budget = parse_perturbation(text)
        self.inject = self.perturbation.sites[0]
        self.site = input_site(task)
        who = self.perturbation.who
        if self.inject not in ("input", "layers"):
            raise UsageError(f"{who}: changes the model; augmentation perturbs signals")
        if self.inject == "layers" and self.perturbation.unit == "mix":
            raise UsageError(f"{who}: is no constant to the gradient; augment at the input")
        if len(self.perturbation.alternatives()) > 1:
            raise UsageError(f"{who}: the worst of several needs a model; name one")

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of the perturbed samples."""
        with self.applied(batch.network, batch.x, batch.sample_id, batch.seed, batch.lengths) as x:
            return batch.loss(batch.answers(x))

    @contextmanager
    def applied(
        self,
        network: Network,
        x: Tensor,
        sample_id: IntArray,
        seed: int,
        lengths: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield the input to train on in place of x (batch, length, channels), to samples' ends."""
        if self.inject == "input":
            yield self.perturbation.perturb(
                x, lengths, sample_id, seed, budget=self.budget, site=self.site
            )
        else:
            p, rate = self.perturbation, self.site.rate
            with LayerNoise(network, p, self.budget, sample_id, seed, rate, lengths).hooked():
                yield x
        # No other step has these samples and this seed.
        forget()
