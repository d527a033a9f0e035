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

# Numbers of one array that a scan holds at a time, on the CPU what its cache holds; and steps of
# Mamba-2 that are multiplied as matrices. None depends on the samples.
_HELD, _HELD_ELSEWHERE, _BLOCK = 1 << 17, 1 << 26, 32


@dataclass(frozen=True, kw_only=True)
class Options:
    """What fixes a mixer's function, apart from its weights.

    inner, n, heads, groups: E, n, H, G (Mamba: no heads, one group); conv: taps of the causal
    convolution; rank: of Mamba, channels that dt is made of; rms_eps: of FalconMamba, of the RMS
    that B, C, and dt before its last map, are divided by. Of Mamba-2, dt_limit: smallest and
    largest step; norm_eps: of the RMS norm at the gate; norm_groups: groups of channels that it is
    taken in; norm_before_gate: norm(y) SiLU(gate) in place of norm(y SiLU(gate)). None: no such
    norm or limit.
    """

    inner: int
    n: int
    conv: int
    bias: bool = False
    conv_bias: bool = True
    rank: int = 0
    rms_eps: float | None = None
    heads: int = 0
    groups: int = 1
    dt_limit: Sequence[float | None] = (0.0, None)
    norm_eps: float | None = None
    norm_groups: int = 1
    norm_before_gate: bool = False


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


class Selective(nn.Module, ABC):
    """A mixer (batch, length, d) -> (batch, length, d) with parameters still to be loaded.

    options: those of `Options`.
    """

    def __init__(self, d: int, **options: Any) -> None:
        super().__init__()
        o = self.o = Options(**options)
        self.d = self.d_out = d
        self.heads = o.heads or o.inner
        convolved = o.inner + (2 * o.groups * o.n if o.heads else 0)
        self.in_proj = nn.Linear(d, o.inner + convolved + o.heads, bias=o.bias)
        self.conv1d = nn.Conv1d(convolved, convolved, o.conv, groups=convolved, bias=o.conv_bias)
        self.A_log = nn.Parameter(torch.zeros((o.heads,) if o.heads else (o.inner, o.n)))
        self.D = nn.Parameter(torch.zeros(o.inner))
        if o.norm_eps is not None:
            self.norm = nn.Parameter(torch.ones(o.inner))
        self.out_proj = nn.Linear(o.inner, d, bias=o.bias)

    @property
    def A(self) -> Tensor:
        """The continuous poles of each head, below 0: (E, n), of Mamba-2 (H, 1)."""
        return -torch.exp(self.A_log).view(self.heads, -1)

    @abstractmethod
    def select(self, x: Tensor) -> Selection:
        """Return what the mixer makes of x (batch, L, d)."""

    @abstractmethod
    def scan(self, s: Selection) -> Tensor:
        """Return C h of every step, (batch, L, E)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (batch, L, d) of x (batch, L, d)."""
        s, o = self.select(x), self.o
        y, gate = self.scan(s) + self.D * s.u, functional.silu(s.gate)
        y = y if o.norm_before_gate else y * gate
        if o.norm_eps is not None:
            y = rms(y.unflatten(-1, (o.norm_groups, -1)), o.norm_eps).flatten(-2) * self.norm
        result: Tensor = self.out_proj(y * gate if o.norm_before_gate else y)
        return result

    def convolve(self, x: Tensor) -> Tensor:
        """Return SiLU of the causal convolution of each channel of x (batch, L, channels)."""
        weight, L = self.conv1d.weight[:, 0], x.shape[1]
        past = functional.pad(x, (0, 0, weight.shape[1] - 1, 0))
        y = past[:, :L] * weight[:, 0]
        for tap in range(1, weight.shape[1]):
            y = y + past[:, tap : tap + L] * weight[:, tap]
        return functional.silu(y if self.conv1d.bias is None else y + self.conv1d.bias)


class Mamba1(Selective):
    """The mixer of Mamba, and of FalconMamba."""

    def __init__(self, d: int, **options: Any) -> None:
        super().__init__(d, **options)
        o = self.o
        self.x_proj = nn.Linear(o.inner, o.rank + 2 * o.n, bias=False)
        self.dt_proj = nn.Linear(o.rank, o.inner)

    def select(self, x: Tensor) -> Selection:
        """Return what the mixer makes of x (batch, L, d)."""
        u, gate = self.in_proj(x).chunk(2, dim=-1)
        u = self.convolve(u)
        parts = self.x_proj(u).split([self.o.rank, self.o.n, self.o.n], dim=-1)
        if self.o.rms_eps is not None:
            parts = [rms(part, self.o.rms_eps) for part in parts]
        dt = functional.softplus(self.dt_proj(parts[0]))
        return Selection(u, gate, dt, parts[1][:, :, None], parts[2][:, :, None])

    def scan(self, s: Selection) -> Tensor:
        """Return C h of every step, (batch, L, E), step by step."""
        A = self.A.T.contiguous()
        held = _HELD if A.device.type == "cpu" else _HELD_ELSEWHERE
        samples = max(1, held // (4 * A.numel()))
        if len(s.u) > samples:
            parts = zip(*(v.split(samples) for v in s), strict=True)
            return torch.cat([self.scan(Selection(*part)) for part in parts])
        h = s.u.new_zeros(len(s.u), *A.shape)
        # Time first: what one step needs lies together.
        rows = [v.transpose(0, 1) for v in (s.dt, s.dt * s.u, s.B[:, :, 0], s.C[:, :, 0])]

        def advance(h: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
            dt, driven, B, C = parts
            keep = torch.exp(dt[:, :, None] * A)
            states, steps = B[..., None] * driven[:, :, None], []
            for a, b in zip(keep, states, strict=True):
                h = torch.addcmul(b, a, h, out=None if torch.is_grad_enabled() else b)
                steps.append(h)
            states = torch.stack(steps) if torch.is_grad_enabled() else states
            return (states * C[..., None]).sum(2), h

        return _in_parts(advance, h, rows, max(1, held // max(1, h.numel())), 0).transpose(0, 1)


class Mamba2(Selective):
    """The mixer of Mamba-2."""

    def __init__(self, d: int, **options: Any) -> None:
        super().__init__(d, **options)
        self.dt_bias = nn.Parameter(torch.zeros(self.heads))

    def select(self, x: Tensor) -> Selection:
        """Return what the mixer makes of x (batch, L, d)."""
        o = self.o
        sizes = [o.inner, self.conv1d.in_channels, o.heads]
        gate, inner, dt = self.in_proj(x).split(sizes, dim=-1)
        u, B, C = self.convolve(inner).split([o.inner, *[o.groups * o.n] * 2], dim=-1)
        dt = functional.softplus(dt + self.dt_bias).clamp(*o.dt_limit)
        B, C = (part.unflatten(-1, (o.groups, o.n)) for part in (B, C))
        return Selection(u, gate, dt, B, C)

    def scan(self, s: Selection) -> Tensor:
        """Return C h of every step, (batch, L, E): in blocks of steps by products of matrices.

        With a = dt A of a head, h at step i of a block that starts with h_0 is
        exp(a_1 + ... + a_i) h_0 + sum over j <= i of exp(a_(j+1) + ... + a_i) dt_j B_j u_j.
        Each sum is formed by itself: a difference of long sums would lose digits.
        """
        G, H = self.o.groups, self.heads // self.o.groups
        u = s.u.unflatten(-1, (G, H, -1))
        h = u.new_zeros(len(u), *u.shape[2:], self.o.n)
        A = self.A.view(G, H)

        def advance(h: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
            u, dt, B, C = parts
            T = dt.shape[1]
            a = (dt * A).movedim(1, -1)  # (batch, G, heads, T)
            past = torch.ones(T, T, dtype=torch.bool, device=a.device).tril(-1)
            sums = running_sums(torch.where(past, a[..., None], 0.0))
            decay = torch.where(past.T, 0.0, torch.exp(sums))
            B, C = B.movedim(1, -2)[:, :, None], C.movedim(1, -2)[:, :, None]  # (b, G, 1, T, n)
            driven = (u * dt[..., None]).movedim(1, -2)  # (batch, G, heads, T, P)
            kept = torch.exp(running_sums(a[..., None]))
            y = (decay * (C @ B.mT)) @ driven + kept * (C @ h.mT)
            h = kept[..., -1:, :] * h + (decay[..., -1, :, None] * driven).mT @ B
            return y.movedim(-2, 1).flatten(2), h

        return _in_parts(advance, h, [u, s.dt.unflatten(-1, (G, H)), s.B, s.C], _BLOCK, 1)


def running_sums(x: Tensor) -> Tensor:
    """Return the sums over the first entries of axis -2 of x (..., T, m).

    Elsewhere than on the CPU as a product: torch's sums are not repeatable on a GPU.
    """
    if x.device.type == "cpu":
        return x.cumsum(-2)
    return x.new_ones(x.shape[-2], x.shape[-2]).tril() @ x


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
    outputs, again = [], torch.is_grad_enabled() and rows[0].shape[time] > steps
    for parts in zip(*(row.split(steps, time) for row in rows), strict=True):
        arguments = (h, *parts)
        y, h = (
            checkpoint(advance, *arguments, use_reentrant=False, preserve_rng_state=False)
            if again
            else advance(*arguments)
        )
        outputs.append(y)
    return torch.cat(outputs, time)
