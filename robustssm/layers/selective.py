"""Selective SSMs, the mixers of Mamba and Mamba-2: dt, B and C depend on the input.

E: inner channels; H: heads, each of E/H channels with one step dt; G: groups of heads that share B
and C; n: states per channel. At step t of a sample, channel e of head h and group g,

    h_t = exp(dt_h A_h) h_(t-1) + dt_h B_g u_e,    y_e = C_g h_t + D_e u_e.

Mamba has H = E, G = 1 and A (E, n); Mamba-2 one A per head. Such a layer has no step size and no
poles of its own, so that it is no `SSMLayer`.

References: arXiv 2312.00752, section 3; arXiv 2405.21060, section 6 (the blocks of Mamba-2);
state-spaces/mamba, mamba_ssm/modules; transformers, models/falcon_mamba (RMS of dt, B and C).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# Numbers of one array that a scan holds at a time, so that they stay in a cache; and steps of
# Mamba-2 that are multiplied as matrices. Neither depends on the samples.
_HELD, _BLOCK = 1 << 18, 32


class Selection(NamedTuple):
    """What a mixer makes of its input (batch, L, d).

    u (batch, L, E): what enters the states; gate (batch, L, E); dt (batch, L, H); B and C
    (batch, L, G, n).
    """

    u: Tensor
    gate: Tensor
    dt: Tensor
    B: Tensor
    C: Tensor


@dataclass(frozen=True, kw_only=True)
class Options:
    """What both mixers have: E, n, taps of the causal convolution, and where there are biases."""

    inner: int
    n: int
    conv: int
    bias: bool = False
    conv_bias: bool = True


@dataclass(frozen=True, kw_only=True)
class Options1(Options):
    """What a mixer of Mamba has: channels that dt is made of, and FalconMamba's norm.

    rms_eps: of the RMS that B, C, and dt before its last map, are divided by; None for none.
    """

    rank: int
    rms_eps: float | None = None


@dataclass(frozen=True, kw_only=True)
class Options2(Options):
    """What a mixer of Mamba-2 has: H, G, and the norm at the gate.

    dt_limit: smallest and largest step, the largest None for none; norm_eps: of the RMS norm,
    None for no norm; norm_groups: groups of channels that it is taken in; norm_before_gate:
    norm(y) SiLU(gate) in place of norm(y SiLU(gate)).
    """

    heads: int
    groups: int
    dt_limit: Sequence[float | None] = (0.0, None)
    norm_eps: float | None = 1e-5
    norm_groups: int = 1
    norm_before_gate: bool = False


class Selective(nn.Module, ABC):
    """A mixer (batch, length, d) -> (batch, length, d) with parameters still to be loaded.

    Parameters
    ----------
    d : int
        Channels.
    o : Options
        What fixes its function.
    heads, groups : int
        H and G.
    convolved, projected : int
        Channels that are convolved, and those of the first map.
    """

    def __init__(
        self, d: int, o: Options, *, heads: int, groups: int, convolved: int, projected: int
    ) -> None:
        super().__init__()
        self.d = self.d_out = d
        self.inner, self.n, self.heads, self.groups = o.inner, o.n, heads, groups
        self.in_proj = nn.Linear(d, projected, bias=o.bias)
        self.conv1d = nn.Conv1d(convolved, convolved, o.conv, groups=convolved, bias=o.conv_bias)
        self.D = nn.Parameter(torch.zeros(o.inner))
        self.out_proj = nn.Linear(o.inner, d, bias=o.bias)

    @property
    @abstractmethod
    def A(self) -> Tensor:
        """The continuous poles of each head, (H, n) or (H, 1), below 0."""

    @abstractmethod
    def select(self, x: Tensor) -> Selection:
        """Return what the mixer makes of x (batch, L, d)."""

    @abstractmethod
    def scan(self, s: Selection) -> Tensor:
        """Return C h of every step, (batch, L, E)."""

    @abstractmethod
    def gated(self, y: Tensor, gate: Tensor) -> Tensor:
        """Return the states' outputs (batch, L, E) behind the gate."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (batch, L, d) of x (batch, L, d)."""
        s = self.select(x)
        y: Tensor = self.out_proj(self.gated(self.scan(s) + self.D * s.u, s.gate))
        return y

    def convolve(self, x: Tensor) -> Tensor:
        """Return SiLU of the causal convolution of each channel of x (batch, L, channels)."""
        weight, L = self.conv1d.weight[:, 0], x.shape[1]
        taps = weight.shape[1]
        past = functional.pad(x, (0, 0, taps - 1, 0))
        y = past[:, :L] * weight[:, 0]
        for tap in range(1, taps):
            y = y + past[:, tap : tap + L] * weight[:, tap]
        return functional.silu(y if self.conv1d.bias is None else y + self.conv1d.bias)


class Mamba1(Selective):
    """The mixer of Mamba, and of FalconMamba; options: those of `Options1`."""

    def __init__(self, d: int, **options: Any) -> None:
        o = self.o = Options1(**options)
        super().__init__(d, o, heads=o.inner, groups=1, convolved=o.inner, projected=2 * o.inner)
        self.x_proj = nn.Linear(o.inner, o.rank + 2 * o.n, bias=False)
        self.dt_proj = nn.Linear(o.rank, o.inner)
        self.A_log = nn.Parameter(torch.zeros(o.inner, o.n))

    @property
    def A(self) -> Tensor:
        """The continuous poles, (E, n)."""
        return -torch.exp(self.A_log)

    def select(self, x: Tensor) -> Selection:
        """Return what the mixer makes of x (batch, L, d)."""
        u, gate = self.in_proj(x).chunk(2, dim=-1)
        u = self.convolve(u)
        parts = self.x_proj(u).split([self.o.rank, self.n, self.n], dim=-1)
        if self.o.rms_eps is not None:
            parts = [rms(part, self.o.rms_eps) for part in parts]
        dt = functional.softplus(self.dt_proj(parts[0]))
        return Selection(u, gate, dt, parts[1][:, :, None], parts[2][:, :, None])

    def scan(self, s: Selection) -> Tensor:
        """Return C h of every step, (batch, L, E), step by step."""
        A = self.A.T.contiguous()
        h = s.u.new_zeros(len(s.u), self.n, self.inner)
        # Time first: what one step needs lies together.
        rows = [v.transpose(0, 1) for v in (s.dt, s.dt * s.u, s.B[:, :, 0], s.C[:, :, 0])]
        steps = max(1, _HELD // max(1, h.numel()))

        def advance(h: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
            dt, driven, B, C = parts
            keep = torch.exp(dt[:, :, None] * A)
            states = B[..., None] * driven[:, :, None]
            if torch.is_grad_enabled():
                stepped = []
                for a, b in zip(keep.unbind(), states.unbind(), strict=True):
                    h = torch.addcmul(b, a, h)
                    stepped.append(h)
                states = torch.stack(stepped)
            else:
                for a, b in zip(keep.unbind(), states.unbind(), strict=True):
                    h = torch.addcmul(b, a, h, out=b)
                h = h.clone()
            return (states * C[..., None]).sum(2), h

        return _in_parts(advance, h, rows, steps, 0).transpose(0, 1)

    def gated(self, y: Tensor, gate: Tensor) -> Tensor:
        """Return y SiLU(gate)."""
        return y * functional.silu(gate)


class Mamba2(Selective):
    """The mixer of Mamba-2; options: those of `Options2`."""

    def __init__(self, d: int, **options: Any) -> None:
        o = self.o = Options2(**options)
        convolved = o.inner + 2 * o.groups * o.n
        sizes = {"convolved": convolved, "projected": o.inner + convolved + o.heads}
        super().__init__(d, o, heads=o.heads, groups=o.groups, **sizes)
        self.dt_bias = nn.Parameter(torch.zeros(o.heads))
        self.A_log = nn.Parameter(torch.zeros(o.heads))
        if o.norm_eps is not None:
            self.norm = nn.Parameter(torch.ones(o.inner))

    @property
    def A(self) -> Tensor:
        """The continuous pole of each head, (H, 1)."""
        return -torch.exp(self.A_log)[:, None]

    def select(self, x: Tensor) -> Selection:
        """Return what the mixer makes of x (batch, L, d)."""
        sizes = [self.inner, self.conv1d.in_channels, self.heads]
        gate, inner, dt = self.in_proj(x).split(sizes, dim=-1)
        shared = self.groups * self.n
        u, B, C = self.convolve(inner).split([self.inner, shared, shared], dim=-1)
        dt = functional.softplus(dt + self.dt_bias).clamp(*self.o.dt_limit)
        B, C = (part.unflatten(-1, (self.groups, self.n)) for part in (B, C))
        return Selection(u, gate, dt, B, C)

    def scan(self, s: Selection) -> Tensor:
        """Return C h of every step, (batch, L, E): in blocks of steps by products of matrices.

        With a = dt A of a head, h at step i of a block that starts with h_0 is
        exp(a_1 + ... + a_i) h_0 + sum over j <= i of exp(a_(j+1) + ... + a_i) dt_j B_j u_j.
        Each sum is formed by itself: a difference of long sums would lose digits.
        """
        G, P = self.groups, self.inner // self.heads
        per_head = (self.heads // G, P)
        A = self.A[:, 0]
        h = s.u.new_zeros(len(s.u), G, *per_head, self.n)
        rows = [s.u.unflatten(-1, (G, *per_head)), s.dt.unflatten(-1, (G, per_head[0])), s.B, s.C]

        def advance(h: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
            u, dt, B, C = parts
            T = dt.shape[1]
            a = (dt * A.view(G, -1)).movedim(1, -1)  # (batch, G, heads, T)
            past = torch.ones(T, T, dtype=torch.bool, device=a.device).tril(-1)
            sums = torch.where(past, a[..., None], 0.0).cumsum(-2)
            decay = torch.where(past.T, 0.0, torch.exp(sums))
            B, C = B.movedim(1, -2)[:, :, None], C.movedim(1, -2)[:, :, None]  # (b, G, 1, T, n)
            driven = (u * dt[..., None]).movedim(1, -2)  # (batch, G, heads, T, P)
            kept = torch.exp(a.cumsum(-1))[..., None]
            y = (decay * (C @ B.mT)) @ driven + kept * (C @ h.mT)
            h = kept[..., -1:, :] * h + (decay[..., -1, :, None] * driven).mT @ B
            return y.movedim(-2, 1).flatten(2), h

        return _in_parts(advance, h, rows, _BLOCK, 1)

    def gated(self, y: Tensor, gate: Tensor) -> Tensor:
        """Return the norm of y SiLU(gate), or SiLU(gate) times the norm of y."""
        gate = functional.silu(gate)
        y = y if self.o.norm_before_gate else y * gate
        if self.o.norm_eps is not None:
            grouped = rms(y.unflatten(-1, (self.o.norm_groups, -1)), self.o.norm_eps)
            y = grouped.flatten(-2) * self.norm
        return y * gate if self.o.norm_before_gate else y


def rms(x: Tensor, eps: float) -> Tensor:
    """Return x over the root of its mean square along the last axis, plus eps."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def _in_parts(
    advance: Callable[..., tuple[Tensor, Tensor]],
    h: Tensor,
    rows: list[Tensor],
    steps: int,
    time: int,
) -> Tensor:
    """Return the outputs of all steps; advance(h, *rows) gives those of a part, and the next h.

    steps: of a part; time: the axis. For gradients a part is computed again instead of kept.
    """
    outputs = []
    whole = rows[0].shape[time] <= steps
    for parts in zip(*(row.split(steps, time) for row in rows), strict=True):
        if torch.is_grad_enabled() and not whole:
            y, h = checkpoint(advance, h, *parts, use_reentrant=False)
        else:
            y, h = advance(h, *parts)
        outputs.append(y)
    return torch.cat(outputs, time)
