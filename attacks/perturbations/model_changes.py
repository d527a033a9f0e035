"""Changes of the model instead of the input: other step sizes, another discretisation.

A state-space layer is a system in continuous time, read at a step size. Data that come at another
rate ask for other step sizes, as for speech at half the rate in the S4 paper (arXiv 2111.00396),
and other code may discretise the same system otherwise.
"""

import math
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from robustssm.attacks.base import Perturbation, Site, family
from robustssm.attacks.budget import Budget
from robustssm.errors import UsageError, require
from robustssm.layers import SSMLayer
from robustssm.networks.classifier import Classifier
from robustssm.typing import IntArray

TO = ("longer", "shorter")
METHODS = ("zoh", "bilinear")


class ModelChange(Perturbation):
    """What is done to a network while it answers; the input stays as it is.

    eps is 1, or 0 for nothing, unless it says otherwise. group: of the weights that have to be
    there; foreign: whether networks from elsewhere can be changed, not only causal ones of ours;
    breaks: whether answers may stop being finite, and count as wrong then; called: whether a
    changed network has to be called as a module.
    """

    sites: ClassVar[tuple[str, ...]] = ("model",)
    unit: ClassVar[str] = "mix"
    strengths: ClassVar[tuple[float, ...] | None] = (1.0,)
    group = "all"
    foreign: ClassVar[bool] = False
    breaks: ClassVar[bool] = False
    called: ClassVar[bool] = False

    @final
    @contextmanager
    def applied(self, network: Classifier, budget: Budget, seed: int = 0) -> Iterator[Classifier]:
        """Give the network changed as the budget says; its parameters are the same bits after.

        Also after an exception. The network is changed in place: nobody else may use it meanwhile.
        Raises UsageError, with the network as it was, if it cannot be changed.
        """
        self.check_budget(budget, "model")
        with nullcontext() if budget.nothing else self.changing(network, budget.eps, seed):
            yield network

    @contextmanager
    def changing(self, network: Classifier, eps: float, seed: int) -> Iterator[None]:
        """Change a network while the body runs, and restore it: here, each of its SSM layers."""
        with ExitStack() as stack:
            for number, layer in enumerate(network.ssm_layers()):
                who = f"{self.who}: layer {number} ({type(layer).__name__})"
                stack.enter_context(self.changed(layer, eps, who))
            yield

    @contextmanager
    def changed(self, layer: SSMLayer, eps: float, who: str) -> Iterator[None]:
        """Change a layer while the body runs, and restore it; who: it, in messages."""
        yield

    def check_groups(self, model: str, groups: Collection[str]) -> None:
        """Raise UsageError if a model has weights of other groups alone."""
        expected = f"one of {', '.join(groups)}"
        require(self.group in groups, f"{self.who}: group of {model}", self.group, expected)

    @final
    def direction(self, x: Tensor, sample_id: IntArray, seed: int, site: Site) -> Tensor:
        """Return zeros: the signal stays as it is."""
        return torch.zeros_like(x)


@family
class StepSize(ModelChange):
    """Every step size of every SSM layer times 2^eps, or divided by it: eps in `octaves`.

    If step sizes belong to states (S5) each is changed. Products are rounded as log dt is stored,
    in float32.

    Parameters
    ----------
    to : str
        `longer` (the data come at a lower rate) or `shorter` (at a higher one).
    """

    to: str = "longer"

    unit: ClassVar[str] = "octaves"
    strengths: ClassVar[tuple[float, ...] | None] = None

    def __post_init__(self) -> None:
        self.check_word("to", TO)

    @contextmanager
    def changed(self, layer: SSMLayer, eps: float, who: str) -> Iterator[None]:
        """Change log dt."""
        log_dt = getattr(layer, "log_dt", None)
        if not isinstance(log_dt, nn.Parameter):
            raise UsageError(f"{who}: has no parameter log_dt, expected a layer with step sizes")
        before = log_dt.detach().clone()
        shift = eps * math.log(2.0)
        try:
            with torch.no_grad():
                log_dt.add_(shift if self.to == "longer" else -shift)
            yield
        finally:
            with torch.no_grad():
                log_dt.copy_(before)


@family
class Discretization(ModelChange):
    """The same continuous system by another rule; eps is 1, or 0 for nothing.

    For diagonal layers, S5 among them. S4 exists in bilinear form and DSS under zero-order hold
    only; these, and layers that follow the method already, are refused.

    Parameters
    ----------
    method : str
        `zoh` or `bilinear`.
    """

    method: str

    def __post_init__(self) -> None:
        self.check_word("method", METHODS)

    @contextmanager
    def changed(self, layer: SSMLayer, eps: float, who: str) -> Iterator[None]:
        """Change the layer's rule."""
        if len(layer.rules) < 2 or self.method not in layer.rules:
            raise UsageError(
                f"{who}: knows no other discretisation than {' '.join(layer.rules) or 'its own'}, "
                "expected a diagonal layer such as S4D or S5"
            )
        before = layer.discretization
        if before == self.method:
            raise UsageError(f"{who}: is {before} already; nothing would change")
        try:
            layer.discretization = self.method
            yield
        finally:
            layer.discretization = before
