"""What is left when a block is replaced by its tangent, bounded for every perturbation of norm r.

Of an activation v at a sample, v(c) - v(0) = J c + rho, |c| <= r; rho is known by three numbers
that hold at once: its entries, its l2 norm at each step, its l2 norm in all. A stage is one
nonlinear or linear piece of a network: it takes the bounds of its input's rho to those of its
output's, and says what it adds itself, e, |e_i| <= (curvature) (change of the input)^2. Curvatures
are suprema over what the input can reach, so that all bounds grow with r, and at t r with
0 <= t <= 1 none exceeds t^2 times itself at r: a change is at most t times that at r where rho is
at most t^2 times that at r, and then e is at most t^2 times e at r. (So it is where a bound that
splits a sum, by weights chosen at r, keeps its weights.)

The adjoint of the network's tangent takes every e to the logits. With weights omega >= |adjoint|,
sum omega |e| <= sum of D (J c + rho)^2 over the entries of its input: the `Form` of a stage.

Reference: Singla and Feizi, arXiv 2006.00731 (certificates from bounds of the curvature).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustssm.evaluations.certificates import curvature
from robustssm.evaluations.certificates.enclosures import (
    TINY,
    Base,
    Remainder,
    Source,
    StepMap,
    image,
)
from robustssm.evaluations.certificates.time_operators import TimeOperator

# Limits of the ratio in GLU's form.
MAX_RATIO = 1e3


@dataclass(frozen=True)
class Form:
    """sum over steps of v^T S v for v = J c, S (L, d, d) on base `base`, and that of rho."""

    base: int
    S: Tensor
    remainder: Tensor


@dataclass(frozen=True)
class Gate:
    """GELU, linear, GLU at one sample.

    z (L, d): GELU's input, spread (L, d) and spread_total (): bounds of J z per unit of r;
    omega_a, omega_y (L, d): weights at the outputs of GELU and GLU. inner (L, 2 d, d): z to the
    linear layer's output; spread_inner (L, 2 d). bg (L, 2 d): the linear layer's output.
    """

    base: int
    z: Tensor
    spread: Tensor
    spread_total: Tensor
    linear: StepMap
    inner: StepMap
    bg: Tensor
    spread_inner: Tensor
    omega_a: Tensor
    omega_y: Tensor

    def __call__(self, r: float, rho: Remainder, forms: list[Form]) -> list[Source]:
        """Return the sources at z, after GELU and after GLU; append the form."""
        d = self.z.shape[1]
        w_z = r * self.spread + rho.entry
        bend = 0.5 * curvature.gelu_bend(self.z, w_z)
        steepest = (bend * w_z).max()
        e = Remainder(bend * w_z**2, total=steepest * (r * self.spread_total + rho.total))
        D = bend * self.omega_a
        remainder = rho.weighted(D)

        at_bg = self.inner(rho) + self.linear(e)
        w = r * self.spread_inner + at_bg.entry
        b, (w_b, w_g) = self.bg[:, :d].abs(), (w[:, :d], w[:, d:])
        g = self.bg[:, d:]
        slope, curve = curvature.logistic_slope(g, w_g), 0.5 * b * curvature.logistic_bend(g, w_g)
        per_g = slope * w_b + curve * w_g
        gate_norm = self.inner.norm.max() * r * self.spread_total + at_bg.total
        e_y = Remainder(per_g * w_g, total=per_g.max() * gate_norm)
        # |b g| <= (t b^2 + g^2 / t) / 2, with t the ratio of what the two can reach.
        # Any t holds; the limits keep rounding small where one of them cannot move.
        ratio = ((w_g + TINY) / (w_b + TINY)).clamp(1.0 / MAX_RATIO, MAX_RATIO)
        D_bg = torch.cat([0.5 * slope * ratio, 0.5 * slope / ratio + curve], dim=1)
        D_bg = D_bg * self.omega_y.repeat(1, 2)
        remainder_bg = at_bg.weighted(D_bg)

        W = self.inner.matrix
        S = torch.diag_embed(D) + (W * D_bg[..., None]).mT @ W
        forms.append(Form(self.base, S, remainder + remainder_bg))
        rest = Remainder(bend * w_z * rho.entry, total=steepest * rho.total)
        rest_y = Remainder(per_g * at_bg.entry[:, d:], total=per_g.max() * at_bg.total)
        G = W[:, d:] * per_g[..., None]
        S_a = torch.diag_embed((bend * w_z) ** 2)
        return [
            Source(rho),
            Source(e, self.base, S_a, rest),
            Source(e_y, self.base, G.mT @ G, rest_y),
        ]


@dataclass(frozen=True)
class Norm:
    """LayerNorm at one sample, on a stream that is route (L, d, d) times the base's J c.

    length (L,): |P y|; spread (L,) and spread_total (): of |P route J|; omega (L,) weight of the
    normalised vector, centred (L, d, d) = P route; gamma: largest |gamma|.
    """

    base: int
    length: Tensor
    spread: Tensor
    spread_total: Tensor
    before: tuple[StepMap, ...]
    centred: Tensor
    gamma: Tensor
    eps: float
    omega: Tensor

    def __call__(self, r: float, rho: Remainder, forms: list[Form]) -> Source:
        """Return what the LayerNorm adds to the bounds rho of its input; append the form."""
        d = len(self.gamma)
        h = r * self.spread + rho.step
        bend = curvature.normalisation_bend(self.length, h, d, self.eps)
        largest = self.gamma.max()
        step = largest * bend * h**2
        total = largest * (bend * h).max() * (r * self.spread_total + rho.total)
        e = Remainder(self.gamma * (bend * h**2)[:, None], step, total)
        D = (self.omega * bend)[:, None]
        S = D[..., None] * (self.centred.mT @ self.centred)
        forms.append(Form(self.base, S, rho.weighted(D)))
        slope = largest * bend * h
        S_e = (slope**2)[:, None, None] * (self.centred.mT @ self.centred)
        rest = Remainder(
            (slope * rho.step)[:, None].expand_as(rho.entry),
            slope * rho.step,
            slope.max() * rho.total,
        )
        return Source(e, self.base, S_e, rest)


@dataclass(frozen=True)
class Layer:
    """An SSM layer: maps from every source to its input, and their norms (L,) once weighted."""

    operator: TimeOperator
    maps: tuple[StepMap, ...]
    weighted: tuple[Tensor, ...]

    def __call__(self, r: float, sources: Sequence[Source], root: Tensor) -> Remainder:
        """Return the bounds after the layer; root: what `joint` says of the sources."""
        at_input = image(self.maps, [source.bound for source in sources])
        op = self.operator
        joint = r * root
        split = torch.zeros(())
        for norm, source in zip(self.weighted, sources, strict=True):
            whole = source.bound.scaled(norm)
            split = split + whole
            joint = joint + (whole if source.rest is None else source.rest.scaled(norm))
        total = (at_input.total * op.norm).minimum(split).minimum(joint)
        # The weighted input has norm `scaled`; an output's row, over the weights, norm `share`.
        scaled = split.minimum(joint)
        entry = op.magnitudes(at_input.entry).minimum(op.reach * at_input.total)
        step = op.steps(at_input.step).minimum(op.step_reach * at_input.total)
        share, step_share = op.shares()
        return Remainder(entry.minimum(share * scaled), step.minimum(step_share * scaled), total)

    def joint(self, sources: Sequence[Source], bases: Sequence[Base]) -> Tensor:
        """Return the norm of what the sources' forms bring, weighted, per unit of |c|.

        (sum of k numbers)^2 <= sum of squares over theta, theta >= 0 of sum 1.
        """
        result = torch.zeros(())
        for index, base in enumerate(bases):
            forms = [
                norm[:, None, None] ** 2 * source.S
                for norm, source in zip(self.weighted, sources, strict=True)
                if source.S is not None and source.base == index
            ]
            if forms:
                size = torch.stack([(S * base.gram).sum().clamp(min=TINY).sqrt() for S in forms])
                theta = size / size.sum()
                S = sum(S / t for S, t in zip(forms, theta, strict=True))
                result = result + base.largest(S)
        return result


def largest_radius(slope: float, form: float, rest: float, r: float) -> float:
    """Return the largest t in [0, r] with slope t + (form t + rest (t / r)^2)^2 <= 1.

    form: square root of the quadratic form's largest eigenvalue; rest: norm of the remainders in
    it at r. The left side grows with t; by bisection to 2^-50 of r, the end that satisfies it.
    """

    def spent(t: float) -> float:
        return slope * t + (form * t + rest * (t / r) ** 2) ** 2

    if not math.isfinite(spent(r)):
        return 0.0
    if spent(r) < 1.0:
        return r
    low, high = 0.0, r
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if spent(middle) < 1.0 else (low, middle)
    return low
