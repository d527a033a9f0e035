"""A sequence network: normalise, encode, blocks of an SSM layer and a GLU, pool, decode.

The default block is that of the PTD paper's robustness test (arXiv 2310.01698, section 5.2 and
its released script): no residual, no D, GELU, GLU, LayerNorm after the block.
"""

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustssm.errors import UsageError, require, require_one_of
from robustssm.hippo.initializations import initialization, parse
from robustssm.layers import LAYERS
from robustssm.layers.base import KernelLayer
from robustssm.layers.bidirectional import Bidirectional
from robustssm.networks.classifier import BlockClassifier, Classifier, decoded, pooled, steps_before
from robustssm.targets import KINDS, Values
from robustssm.tasks.base import Task

_CHOICES = {
    "norm": ("layer", "batch"),
    "pooling": ("mean", "last"),
    "target": tuple(KINDS),
    "discretization": ("default", "zoh", "bilinear"),
}
# Fields that were added after the first checkpoints, off by default.
_LATER = ("tokens", "bidirectional", "target")


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes a network's shape and function apart from its weights.

    init: name of the initialisation; n: state size; d_model: channels. `discretization`
    default is bilinear for s4 and zoh for the rest. tokens: size of the vocabulary if the raw
    inputs are tokens, 0 else; then d_input is d_model, and the network takes what `embed` returns.
    bidirectional: a second layer beside each, which runs backwards in time. target: name of the
    kind of target, empty for classes; one that has an answer at every step is not pooled.
    """

    init: str
    n: int = 32
    d_model: int = 32
    layers: int = 3
    d_input: int = 1
    d_output: int = 10
    dropout: float = 0.1
    norm: str = "layer"
    prenorm: bool = False
    residual: bool = False
    feedthrough: bool = False
    pooling: str = "mean"
    discretization: str = "default"
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    tokens: int = 0
    bidirectional: bool = False
    target: str = ""

    def __post_init__(self) -> None:
        parse(self.init)
        for key, allowed in _CHOICES.items():
            require_one_of(f"architecture: {key}", getattr(self, key), allowed)
        for key in ("n", "d_model", "layers", "d_input", "d_output"):
            value = getattr(self, key)
            require(value >= 1, f"architecture: {key}", value, ">= 1")
        if self.tokens < 0 or (self.tokens and self.d_input != self.d_model):
            raise UsageError(
                f"architecture: tokens is {self.tokens} and d_input {self.d_input}, expected 0, or "
                f"a vocabulary and d_input = d_model ({self.d_model})"
            )
        dropout = self.dropout
        require(0.0 <= dropout < 1.0, "architecture: dropout", dropout, "0 or more, below 1")
        if not 0.0 < self.dt_min <= self.dt_max < math.inf:
            raise UsageError(
                f"architecture: dt_min is {self.dt_min} and dt_max {self.dt_max}, expected "
                "0 < dt_min <= dt_max"
            )

    @classmethod
    def for_task(cls, init: str, task: Task, **fields: Any) -> "Architecture":
        """Return the architecture whose input and output are those of a task."""
        tokens = task.tokens or 0
        channels = fields.get("d_model", cls.d_model) if tokens else task.channels
        ends: dict[str, Any] = {"d_input": channels, "d_output": task.classes, "tokens": tokens}
        return cls(init, **ends, target=task.kind.name, **fields)

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as they stand on a checkpoint's card and in its content hash.

        What came later is left out if it changes nothing, so that older files keep theirs.
        """
        fields = asdict(self)
        return {key: value for key, value in fields.items() if key not in _LATER or value}


class Normalisation(nn.Module):
    """LayerNorm or BatchNorm over the channels of (batch, length, channels)."""

    def __init__(self, kind: str, d: int) -> None:
        super().__init__()
        self.kind = kind
        self.norm: nn.Module = nn.LayerNorm(d) if kind == "layer" else nn.BatchNorm1d(d)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return x normalised; valid: steps before a sample's end, (batch, length).

        Statistics of a batch are those of the valid steps; what is behind them becomes zero then.
        """
        if self.kind == "layer":
            return self.norm(x)
        if self.training and valid is not None:
            return torch.zeros_like(x).masked_scatter(valid[..., None], self.norm(x[valid]))
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    """[norm] -> SSM -> GELU -> dropout -> GLU -> dropout [+ residual] -> [norm]."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.prenorm, self.residual = a.prenorm, a.residual
        self.norm = Normalisation(a.norm, a.d_model)
        init = initialization(a.init, a.n)
        rule = "" if a.discretization == "default" else a.discretization
        options = {"dt_min": a.dt_min, "dt_max": a.dt_max, "feedthrough": a.feedthrough}
        make = partial(LAYERS[init.name.family], init, a.d_model, discretization=rule, **options)
        directions = [make() for _ in range(1 + a.bidirectional)]
        self.bidirectional = a.bidirectional
        # In what order dropout draws: the steps of a channel first, or the channels of a step.
        self.by_channel = isinstance(directions[0], KernelLayer)
        self.ssm = Bidirectional(*directions) if a.bidirectional else directions[0]
        self.output = nn.Linear(a.d_model, 2 * a.d_model)
        self.dropout = nn.Dropout(a.dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the block's output, shape of x (batch, length, channels).

        valid: steps before a sample's end, (batch, length). Those behind it have no influence on
        those before: causal layers do not look ahead, others see zeros there.
        """
        y = self.norm(x, valid) if self.prenorm else x
        if self.bidirectional and valid is not None:
            y = torch.where(valid[..., None], y, 0.0)
        y = nn.functional.gelu(self.ssm(y))
        if self.training and self.dropout.p and self.by_channel:
            y = y * self.dropout(y.new_ones(y.mT.shape)).mT.contiguous()
        else:
            y = self.dropout(y)
        y = self.dropout(nn.functional.glu(self.output(y)))
        y = x + y if self.residual else y
        return y if self.prenorm else self.norm(y, valid)


class Network(BlockClassifier):
    """A sequence network on raw inputs (batch, length, d_input); returns logits, or values.

    The input's mean and standard deviation are buffers, so that perturbations act on raw data; so
    are those of the targets, where these are values.
    Where the raw inputs are tokens, `embed` makes the inputs of `forward` of them.
    """

    output_mean: Tensor
    output_std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        a = architecture
        super().__init__(a.d_input, a.d_output, a.tokens or None)
        self.architecture = a
        if a.tokens:
            self.embedding = nn.Embedding(a.tokens, a.d_model)
        self.encoder = nn.Identity() if a.tokens else nn.Linear(a.d_input, a.d_model)
        self.blocks = nn.ModuleList(Block(a) for _ in range(a.layers))
        self.final_norm = Normalisation(a.norm, a.d_model) if a.prenorm else nn.Identity()
        self.decoder = nn.Linear(a.d_model, a.d_output)
        self.every_step = KINDS[a.target].every_step
        self._values = isinstance(KINDS[a.target], Values)
        if self._values:
            self.register_buffer("output_mean", torch.zeros(a.d_output))
            self.register_buffer("output_std", torch.ones(a.d_output))

    def standardise(self, task: Task) -> None:
        """Take mean and standard deviation of inputs and of values from a task's training split."""
        if task.tokens is None:
            self.mean.copy_(torch.from_numpy(task.mean))
            self.std.copy_(torch.from_numpy(task.std))
        if self._values:
            targets = task.splits["train"].labels.reshape(-1, task.classes)
            self.output_mean.copy_(torch.from_numpy(targets.mean(0)))
            self.output_std.copy_(torch.from_numpy(targets.std(0)))

    def scaled_decoder(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the last map, in units of the targets."""
        assert isinstance(self.decoder, nn.Linear)
        weight, bias = self.decoder.weight, self.decoder.bias
        if not self._values:
            return weight, bias
        return weight * self.output_std[:, None], bias * self.output_std + self.output_mean

    @property
    def state_size(self) -> int:
        """Order n of the SSM layers."""
        return self.architecture.n

    def to_dict(self) -> dict[str, object]:
        """Return the architecture, as on a checkpoint's card."""
        return self.architecture.to_dict()

    @property
    def input_weight(self) -> Tensor:
        """The encoder's weight (d_model, d_input); the identity if inputs are embeddings."""
        if isinstance(self.encoder, nn.Linear):
            return self.encoder.weight
        return torch.eye(self.d_input, dtype=self.std.dtype, device=self.std.device)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits or values (batch, d_output), or (batch, length, d_output) of every step.

        Samples end after `lengths` steps if they are given.
        """
        self.check_input(x)
        x = self.encoder((x - self.mean) / self.std)
        valid = steps_before(lengths, x)
        for block in self.blocks:
            x = block(x, valid)
        if self.architecture.prenorm:
            x = self.final_norm(x, valid)
        if not self.every_step:
            x = pooled(x, lengths, self.architecture.pooling)
        return decoded(*self.scaled_decoder(), x)


def build_network(architecture: Architecture, seed: int = 0) -> Network:
    """Return a freshly initialised network; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(architecture)


def own_network(network: Classifier, who: str) -> Network:
    """Return a network of this project as such; UsageError if it is from elsewhere."""
    if not isinstance(network, Network):
        raise UsageError(
            f"{who}: reads the parts of this project's own networks, not of a "
            f"{type(network).__name__}; take sweep, attack noises, gain or inspect for it"
        )
    return network
