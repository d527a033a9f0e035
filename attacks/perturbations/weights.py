"""Changes of a network's stored weights: noise, fewer bits, flipped bits; and of all it stores.

Draws are counter-based, functions of (seed, perturbation, tensor name). What is changed is what the
file holds (`robustssm.networks.weight_groups`), in the precision in which it is held.

`Precision` rounds weights, the output of every module, and in SSM layers the kernel with the maps
around it (`conv`), or Abar, Bbar, C and the state after every step (`step`). Between two such
values sums are wide, float32 in a module and float64 in a recurrence, as in accumulators of matrix
units: the same on every machine, whatever formats that has.

References: arXiv 1806.08342, section 2.2 (symmetric uniform quantiser); arXiv 1903.12269 (flips
of stored bits); arXiv 1710.03740, section 3.3 (accumulation in float32).
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from robustssm import philox
from robustssm.attacks.base import family
from robustssm.attacks.perturbations.model_changes import ModelChange
from robustssm.networks.classifier import Classifier
from robustssm.networks.weight_groups import GROUPS, groups_of, weights

FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}
# Of so many bits weights stay what they are; more bits than these are not flipped.
_WHOLE, _MOST = 32, 1_000_000
_ONE = np.zeros(1, dtype=np.int64)


class WeightChange(ModelChange):
    """What `values` makes of the weights of a group, one of GROUPS."""

    foreign: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_word("group", GROUPS)

    @contextmanager
    def changing(self, network: Classifier, eps: float, seed: int) -> Iterator[None]:
        """Change the weights."""
        self.check_groups("the network", groups_of(network))
        held = {name: one.data for name, one in weights(network, self.group).items()}
        before = {name: value.clone() for name, value in held.items()}
        try:
            for name, value in self.values(before, eps, seed).items():
                held[name].copy_(value)
            yield
        finally:
            for name, value in before.items():
                held[name].copy_(value)

    @abstractmethod
    def values(self, before: Mapping[str, Tensor], eps: float, seed: int) -> dict[str, Tensor]:
        """Return what becomes of weights, by name; `before` is not to be written to."""


@family
class WeightNoise(WeightChange):
    """Gaussian noise in every tensor of a group; eps, 0 to 1, is its norm over that of the tensor.

    A tensor of zeros stays as it is.

    Parameters
    ----------
    group : str
        `all`, `A`, `B`, `C`, `D`, `dt`, `mixing` or `norms`.
    """

    group: str = "all"

    strengths: ClassVar[tuple[float, ...] | None] = None

    def values(self, before: Mapping[str, Tensor], eps: float, seed: int) -> dict[str, Tensor]:
        """Return the weights with noise of the norm wanted, in float64 before they are stored."""

        def noisy(name: str, value: Tensor) -> Tensor:
            key, whole = f"{seed}|{self!r}|{name}", value.double()
            noise = philox.normal_tensor(key, _ONE, value.numel(), value.device)
            return whole + (eps * whole.norm() / noise.norm()) * noise.view(value.shape)

        return {name: noisy(name, value) for name, value in before.items()}


@family
class WeightQuantise(WeightChange):
    """Weights rounded to 2^bits - 1 levels, evenly spaced from -m to m, m the largest modulus.

    32 bits leave them as they are. eps is 1, or 0 for nothing.

    Parameters
    ----------
    bits : int
        2 to 32.
    per : str
        `tensor`: one m each; `channel`: one for each first index of a tensor that has several
        axes, the output channel of a dense map.
    group : str
        As of `WeightNoise`.
    """

    bits: int
    per: str = "tensor"
    group: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(2 <= self.bits <= _WHOLE, "bits", f"2 to {_WHOLE}")
        self.check_word("per", ("tensor", "channel"))

    def values(self, before: Mapping[str, Tensor], eps: float, seed: int) -> dict[str, Tensor]:
        """Return the rounded weights."""
        whole = self.bits == _WHOLE
        return {} if whole else {name: self._rounded(v.double()) for name, v in before.items()}

    def _rounded(self, value: Tensor) -> Tensor:
        axes = tuple(range(self.per == "channel" and value.ndim > 1, value.ndim))
        step = value.abs().amax(axes, keepdim=True) / (2 ** (self.bits - 1) - 1)
        return torch.round(value / torch.where(step > 0.0, step, 1.0)) * step


@family
class BitFlip(WeightChange):
    """Bits of the stored weights flipped, of sign, exponent and mantissa alike.

    They are drawn evenly from all bits of the group; one that is drawn twice is flipped once. A
    sample whose answer is not finite any more counts as wrong. eps is 1, or 0 for nothing.

    Parameters
    ----------
    count : int
        How many are drawn; 0 flips none.
    group : str
        As of `WeightNoise`.
    """

    count: int
    group: str = "all"

    breaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(0 <= self.count <= _MOST, "count", f"0 to {_MOST:,}")

    def values(self, before: Mapping[str, Tensor], eps: float, seed: int) -> dict[str, Tensor]:
        """Return the weights of which bits were flipped."""
        flat = [value.cpu().reshape(-1).view(torch.uint8) for value in before.values()]
        whole = torch.cat(flat).numpy()
        draws = philox.uniform(f"{seed}|{self!r}|{self.group}", _ONE, self.count)
        places = np.unique((draws * 8 * len(whole)).astype(np.int64))
        np.bitwise_xor.at(whole, places >> 3, np.left_shift(1, places & 7).astype(np.uint8))
        parts = torch.from_numpy(whole).split([len(part) for part in flat])
        named = zip(before.items(), parts, strict=True)
        return {name: part.view(old.dtype).view(old.shape) for (name, old), part in named}


@family
class Precision(WeightChange):
    """Evaluation in a format of numbers; eps is 1, or 0 for nothing.

    `Precision('float32')` is the network as it is. A sample whose answer is not finite counts as
    wrong.

    Parameters
    ----------
    format : str
        `bf16`, `fp16` or `float32`.
    path : str
        `conv`: SSM layers as convolutions; `step`: step by step through their states.
    """

    format: str
    path: str = "conv"

    foreign: ClassVar[bool] = False
    breaks: ClassVar[bool] = True
    called: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_word("format", FORMATS)
        self.check_word("path", ("conv", "step"))

    def values(self, before: Mapping[str, Tensor], eps: float, seed: int) -> dict[str, Tensor]:
        """Return the weights in the format."""
        return {name: value.to(FORMATS[self.format]) for name, value in before.items()}

    @contextmanager
    def changing(self, network: Classifier, eps: float, seed: int) -> Iterator[None]:
        """Round the weights, and what is stored while the network answers."""
        dtype = FORMATS[self.format]

        def rounded(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output.to(dtype).to(output.dtype)

        with super().changing(network, eps, seed), ExitStack() as stack:
            if (self.format, self.path) != ("float32", "conv"):
                for layer in network.ssm_layers():
                    stack.callback(vars(layer).update, storage="", stepwise=False)
                    layer.storage = str(dtype).removeprefix("torch.")
                    layer.stepwise = self.path == "step"
                for part in network.modules():
                    if not [*part.children()]:
                        stack.enter_context(part.register_forward_hook(rounded))
            yield
