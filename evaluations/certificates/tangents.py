"""A network's tangent at one sample, and the stages that bound what it leaves out.

Written out once per sample: the Jacobian of every SSM layer's output with respect to the
coordinates c of the perturbation, (L, d, m), and between SSM layers the d x d map of each step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustssm.evaluations.certificates.curvature import gelu_slope, spectral_norms, spectral_radii
from robustssm.evaluations.certificates.enclosures import (
    Base,
    Remainder,
    Source,
    StepMap,
    image,
    root,
)
from robustssm.evaluations.certificates.lipschitz import batch_scale, normalisation
from robustssm.evaluations.certificates.remainders import Form, Gate, Layer, Norm
from robustssm.evaluations.certificates.tangent_setting import Setting, through, trace
from robustssm.evaluations.certificates.time_operators import TimeOperator
from robustssm.layers import SSMLayer
from robustssm.networks.network import Block


@dataclass(frozen=True)
class Stream:
    """An activation between SSM layers: value (L, d), Jacobian route (L, d, d) times a base's.

    maps: the matrices (L, d, d) from every open source of remainders to it.
    """

    value: Tensor
    base: int
    route: Tensor
    maps: tuple[Tensor, ...]

    def then(self, value: Tensor, matrix: Tensor, *more: Tensor) -> "Stream":
        """Return the stream after a map with this value and these derivatives (L, d, d)."""
        maps = (*(matrix @ each for each in self.maps), *more)
        return Stream(value, self.base, matrix @ self.route, maps)


@dataclass(frozen=True)
class Sum:
    """Where sources are added up and replaced by one: the end of a block with a residual."""

    maps: tuple[StepMap, ...]


class Start:
    """Where a block starts: a residual adds what is known here."""


@dataclass
class Bounds:
    """At every SSM layer: root (what the sources' forms bring) and output; the stages' forms."""

    r: float
    roots: list[Tensor] = field(default_factory=list)
    outputs: list[Remainder] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)

    @property
    def rest(self) -> float:
        """The norm of rho in all forms."""
        return float(sum(float(form.remainder) for form in self.forms)) ** 0.5


@dataclass
class Tangent:
    """The stages of one sample, in order; slope: the largest |margin's gradient in c| / margin."""

    setting: Setting
    slope: float
    bases: list[Base] = field(default_factory=list)
    stages: list[Gate | Norm | Layer | Sum | Start] = field(default_factory=list)

    def layer(self, layer: SSMLayer, operator: TimeOperator, stream: Stream) -> Tensor:
        """Add an SSM layer on the stream and a base after it; return its output (L, d)."""
        first = self.setting.first if stream.base == 0 else None
        if first is None:
            first = Base(through(layer, stream.route @ self.bases[stream.base].J))
        self.bases.append(first)
        maps = tuple(map(StepMap, stream.maps))
        weighted = tuple(spectral_norms(operator.gains[:, None] * each) for each in stream.maps)
        self.stages.append(Layer(operator, maps, weighted))
        return layer(stream.value[None])[0]

    def norm(self, part: nn.Module, stream: Stream, omega: Tensor) -> Stream:
        """Add a normalisation; omega (L,) weighs the normalised vectors."""
        norm = normalisation(part)
        value: Tensor = part(stream.value[None])[0]
        if isinstance(norm, nn.BatchNorm1d):
            return stream.then(value, torch.diag(batch_scale(norm))[None])
        d = stream.value.shape[1]
        centred = stream.value - stream.value.mean(1, keepdim=True)
        deviation = torch.sqrt((centred**2).mean(1) + norm.eps)[:, None, None]
        unit = centred[..., None] / deviation
        eye = torch.eye(d, dtype=torch.float64)
        P = eye - 1.0 / d
        matrix = norm.weight[:, None] * (P - unit @ unit.mT / d) / deviation
        route = P @ stream.route
        base = self.bases[stream.base]
        stage = Norm(
            base=stream.base,
            length=torch.linalg.vector_norm(centred, dim=1),
            spread=spectral_radii(route @ base.gram @ route.mT).sqrt(),
            spread_total=spectral_norms(route).max() * base.norm,
            before=tuple(map(StepMap, stream.maps)),
            centred=route,
            gamma=norm.weight.abs(),
            eps=norm.eps,
            omega=omega,
        )
        self.stages.append(stage)
        return stream.then(value, matrix, eye[None])

    def gate(self, block: Block, z: Tensor, omega_a: Tensor, omega_y: Tensor) -> Stream:
        """Add GELU, the linear layer and GLU on the last base, whose value is z (L, d)."""
        base, d = len(self.bases) - 1, z.shape[1]
        slope = gelu_slope(z)
        bg: Tensor = block.output(nn.functional.gelu(z))
        open_ = torch.sigmoid(bg[:, d:])
        W = block.output.weight
        after = open_[..., None] * W[:d] + (bg[:, :d] * open_ * (1.0 - open_))[..., None] * W[d:]
        inner = W * slope[:, None]
        J = self.bases[base]
        stage = Gate(
            base=base,
            z=z,
            spread=J.gram.diagonal(dim1=1, dim2=2).sqrt(),
            spread_total=J.norm,
            linear=StepMap(W[None]),
            inner=StepMap(inner),
            bg=bg,
            spread_inner=J.spread(inner),
            omega_a=omega_a,
            omega_y=omega_y,
        )
        self.stages.append(stage)
        route = after * slope[:, None]
        eye = torch.eye(d, dtype=torch.float64)[None]
        return Stream(bg[:, :d] * open_, base, route, (route, after, eye))

    def residual(self, stream: Stream, gated: Stream) -> Stream:
        """Add the sum of a block's input and output, and a base at it."""
        J = [part.route @ self.bases[part.base].J for part in (stream, gated)]
        self.bases.append(Base(J[0] + J[1]))
        eye = torch.eye(gated.value.shape[1], dtype=torch.float64)[None]
        self.stages.append(Sum(tuple(map(StepMap, (*stream.maps, *gated.maps)))))
        return Stream(stream.value + gated.value, len(self.bases) - 1, eye, (eye,))

    def remainders(self, r: float, guess: Sequence[Tensor] = ()) -> Bounds:
        """Return the bounds for norms up to r; guess: roots of an earlier call to use, unproved."""
        d = self.setting.network.architecture.d_model
        zero = torch.zeros(len(self.setting.basis), d, dtype=torch.float64)
        sources = [Source(Remainder(zero))]
        result, skip, guessed = Bounds(r), list[Source](), iter(guess)
        for stage in self.stages:
            if isinstance(stage, Start):
                skip = sources
            elif isinstance(stage, Layer):
                root = next(guessed) if guess else stage.joint(sources, self.bases)
                result.roots.append(root)
                result.outputs.append(stage(r, sources, root))
                sources = [Source(result.outputs[-1])]
            elif isinstance(stage, Gate):
                sources = stage(r, sources[0].bound, result.forms)
            elif isinstance(stage, Norm):
                at = image(stage.before, [source.bound for source in sources])
                sources = [*sources, stage(r, at, result.forms)]
            else:
                at = image(stage.maps, [source.bound for source in (*skip, *sources)])
                sources = [Source(at)]
        return result

    def largest(self, bounds: Bounds) -> float:
        """Return the square root of the largest eigenvalue of all forms together."""
        m = self.bases[0].J.shape[2]
        total = torch.zeros(m, m, dtype=torch.float64)
        for index, base in enumerate(self.bases):
            forms = [form.S for form in bounds.forms if form.base == index]
            if forms:
                total += base.form(sum(forms[1:], forms[0]))
        return float(root(total))


def tangent(setting: Setting, x: Tensor, label: int) -> Tangent | None:
    """Return the tangent at x (L, channels), None if the network does not predict `label`."""
    network = setting.network
    classes = network.architecture.d_output
    copies = x.expand(classes, -1, -1).clone().requires_grad_()
    logits, spots = trace(network, copies)
    margins = logits[:, label] - logits.diagonal()
    gradients = torch.autograd.grad(margins.sum(), [copies, *spots])
    others = torch.arange(classes) != label
    margin = margins.detach()[others]
    if bool((margin <= 0.0).any()):
        return None
    in_band = torch.einsum("kta,tm->kam", gradients[0][others], setting.basis).flatten(1)
    slope = (torch.linalg.vector_norm(in_band, dim=1) / margin).amax()
    relative = [g[others] / margin[:, None, None] for g in gradients[1:]]
    with torch.no_grad():
        return _walk(setting, x, relative, float(slope))


def _walk(setting: Setting, x: Tensor, relative: list[Tensor], slope: float) -> Tangent:
    """Return the tangent; relative: margins' gradients over the margins at every spot."""
    network = setting.network
    result = Tangent(setting, slope)
    following = iter(relative)

    def normalise(part: nn.Module, stream: Stream) -> Stream:
        gradient = next(following) * normalisation(part).weight
        omega = torch.linalg.vector_norm(gradient, dim=2).amax(0)
        return result.norm(part, stream, omega)

    result.bases.append(setting.encoded)
    eye = torch.eye(network.architecture.d_model, dtype=torch.float64)[None]
    stream = Stream(network.encoder((x - network.mean) / network.std), 0, eye, (eye,))
    for block, operator in zip(network.blocks, setting.operators, strict=True):
        assert isinstance(block, Block)
        result.stages.append(Start())
        v = normalise(block.norm, stream) if block.prenorm else stream
        z = result.layer(block.ssm, operator, v)
        gated = result.gate(block, z, next(following).abs().amax(0), next(following).abs().amax(0))
        gated = result.residual(stream, gated) if block.residual else gated
        stream = gated if block.prenorm else normalise(block.norm, gated)
    if network.architecture.prenorm:
        normalise(network.final_norm, stream)
    return result
