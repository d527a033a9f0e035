"""What stands around the SSM layers of networks from elsewhere: norms, outputs, residuals.

References: state-spaces/s4, src/models/nn (normalization.py, residual.py, activation.py);
lindermanlab/S5, s5/layers.py; i404788/s5-pytorch, s5/s5_model.py.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {
    "none": lambda x: x,
    "gelu": functional.gelu,
    "gelu-tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": functional.elu,
    "softplus": functional.softplus,
    "relu-squared": lambda x: torch.square(functional.relu(x)),
    # The Gaussian distribution function of mean 0.707107 and deviation 0.282095.
    "laplace": lambda x: 0.5 * (1.0 + torch.erf((x - 0.707107) / (0.282095 * 2.0**0.5))),
}


class TransposedLayerNorm(nn.Module):
    """s / std (x - mean + m) over the channels, biased std, no eps; m and s scalars."""

    def __init__(self) -> None:
        super().__init__()
        self.m, self.s = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (batch, length, channels) normalised."""
        std, mean = torch.std_mean(x, dim=-1, unbiased=False, keepdim=True)
        return self.s / std * (x - mean + self.m)


class Norm(nn.Module):
    """A norm over (batch, length, channels), by its name in a blueprint."""

    def __init__(self, kind: str, d: int, eps: float) -> None:
        super().__init__()
        makers = {
            "layer": lambda: nn.LayerNorm(d, eps),
            "batch": lambda: nn.BatchNorm1d(d, eps),
            "group": lambda: nn.GroupNorm(1, d, eps),
            "instance": lambda: nn.InstanceNorm1d(d, eps),
            "transposed-layer": TransposedLayerNorm,
            "rms": lambda: nn.RMSNorm(d, eps),
            "none": nn.Identity,
        }
        self.norm: nn.Module = makers[kind]()
        self._transposes = kind in ("batch", "group", "instance")

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalised."""
        if self._transposes:
            return self.norm(x.transpose(1, 2)).transpose(1, 2)
        return self.norm(x)


class Output(nn.Module):
    """The activation after an SSM layer and the map behind it, from m channels to d.

    kind: `output` of a blueprint; final: activation behind a linear map.
    """

    def __init__(self, d: int, m: int, kind: str, activation: str, final: str) -> None:
        super().__init__()
        self.kind = kind
        self._activation, self._final = ACTIVATIONS[activation], ACTIVATIONS[final]
        if self.kind in ("linear", "glu"):
            self.linear = nn.Linear(m, d if self.kind == "linear" else 2 * d)
        if self.kind in ("half-glu1", "half-glu2", "full-glu"):
            self.gate = nn.Linear(d, d)
        if self.kind == "full-glu":
            self.value = nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, length, d)."""
        g = self._activation(x)
        if self.kind == "none":
            return g
        if self.kind == "linear":
            return self._final(self.linear(g))
        if self.kind == "glu":
            return functional.glu(self.linear(g), dim=-1)
        gate = torch.sigmoid(self.gate(g))
        value = {"half-glu1": lambda: g, "half-glu2": lambda: x, "full-glu": lambda: self.value(g)}
        return value[self.kind]() * gate


class Residual(nn.Module):
    """What is added to a block's output y: by its name in a blueprint, of block number i."""

    def __init__(self, kind: str, d: int, i: int) -> None:
        super().__init__()
        self.kind, self._beta = kind, (i + 1) ** -0.5
        if kind == "affine":
            self.affine = nn.Parameter(torch.ones(d))
        if kind == "highway":
            self.Wx, self.Wy = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the combination of x and y, both (batch, length, d)."""
        if self.kind in ("add", "normalised"):
            return x + y
        if self.kind == "affine":
            return x + self.affine * y
        if self.kind == "highway":
            # state-spaces/s4, src/models/nn/residual.py, Highway: what is mixed is Wy y, not y.
            y = self.Wy(y)
            r = torch.sigmoid(self.Wx(x) + y)
            return (1.0 - r) * x + r * y
        if self.kind == "decay":
            return (1.0 - self._beta**2) ** 0.5 * x + self._beta * y
        return y


class GEGLU(nn.Module):
    """Norm and ff_dec(a gelu(b)), (a, b) = ff_enc of the norm, added to the norm."""

    def __init__(self, d: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d, eps)
        self.inner = nn.Linear(d, 2 * hidden, bias=False)
        self.outer = nn.Linear(hidden, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, length, d)."""
        y = self.norm(x)
        a, b = self.inner(y).chunk(2, dim=-1)
        return self.outer(a * functional.gelu(b)) + y
