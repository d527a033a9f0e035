"""Logits of a perturbed network: at the input, at that of every SSM layer, or in the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.attacks.bands import Direction, Sum
from robustssm.attacks.base import Attack, Perturbation, Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.delivered import Delivered
from robustssm.attacks.kept import kept
from robustssm.attacks.perturbations.model_changes import ModelChange
from robustssm.attacks.units import norms
from robustssm.errors import UsageError
from robustssm.networks import inference
from robustssm.networks.classifier import Classifier
from robustssm.typing import IntArray

# Blocks of samples whose waves are drawn at a time.
_AHEAD = 8


@dataclass
class _Layer:
    """What is under way at a layer: ids, sums, their sizes if known, and what was added so far."""

    site: Site
    values: int
    ids: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    sums: Sum | None = None
    sizes: tuple[Tensor, ...] = ()
    added: list[tuple[Tensor, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class LayerNoise:
    """A perturbation of the input of every SSM layer of a network, for the samples of a batch.

    rate: samples per second; lengths: valid steps, (batch,), or None; delivered: where what is
    added is booked.
    """

    network: Classifier
    perturbation: Perturbation
    budget: Budget
    sample_id: IntArray
    seed: int
    rate: float | None = None
    lengths: Tensor | None = None
    delivered: Delivered | None = None
    _layers: dict[int, _Layer] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def sites(self) -> list[Site]:
        """The site of each layer."""
        return [
            Site(number, dt=layer.step_size().detach(), rate=self.rate)
            for number, layer in enumerate(self.network.ssm_layers())
        ]

    def change(self, number: int, u: Tensor, start: int) -> Tensor:
        """Return a layer's input in a program perturbed, in place if possible.

        Rows of u (rows, length, channels) beyond the samples repeat the last one. What is added
        in place is checked and booked by `book`.
        """
        p, (rows, L, channels) = self.perturbation, u.shape
        if self.lengths is not None or self.budget.clip != "none" or not p.whole:
            return self._some(number, u[: len(self.sample_id) - start], start)
        if start == 0:
            site = replace(self.sites[number], length=L)
            p.check_input(u[:0], None, site)
            self._layers[number] = _Layer(site, L * channels)
        at, first = self._layers[number], start % (_AHEAD * rows)
        if first == 0:
            places = np.arange(start, start + _AHEAD * rows)
            at.ids = self.sample_id[places.clip(max=len(self.sample_id) - 1)]
            like = u[:1].expand(_AHEAD * rows, -1, -1)
            at.sums = kept(p, like, at.ids, self.seed, at.site, p.sums) if p.free else None
            if at.sums is not None and not self.budget.norm.relative:
                at.sizes = self._sizes(like, at.sums, at.ids, at.site)
        part = slice(first, first + rows)
        ids, signal = at.ids[part], norms(u)
        sums = None if at.sums is None else at.sums.part(part)
        direction = sums or p.written(u, ids, self.seed, at.site)
        ahead = tuple(size[part] for size in at.sizes)
        sizes = ahead or self._sizes(u, direction, ids, at.site)
        direction.add_to(u, sizes[-1])
        at.added.append((*sizes, signal))
        return u

    @torch.no_grad()
    def _sizes(
        self, x: Tensor, direction: Direction, ids: IntArray, site: Site
    ) -> tuple[Tensor, ...]:
        """Return directions' norms, energies in the named band, largest moduli, and factors.

        Factors bring them to the budget at a layer's input x, without a range; all (batch,).
        """
        p = self.perturbation
        size, most = direction.sizes
        if p.fills or self.budget.unit != p.unit:
            own = self.budget.norm.of(size, most, x.shape[1] * x.shape[2])
            factor = self.budget.factor(x, own, p.who, ids)
        else:
            factor = torch.full_like(size, self.budget.eps)
        if direction.inside is None:
            confined = p.confined or type(p).in_band is Attack.in_band
            inside = size.square() if confined else p.in_band(direction.values, site)
            direction.inside = inside.double()
        return size, direction.inside, most, factor

    def book(self, dtype: torch.dtype) -> None:
        """Check and book what was added in place to signals of a dtype, before rounding to it."""
        real = np.arange(len(self.sample_id))
        for at in self._layers.values():
            columns = (torch.cat(each) for each in zip(*at.added, strict=True))
            size, inside, most, factor, signal = columns
            most, power = most * factor, factor.square()
            # A norm bounds each of its values.
            self.perturbation.check_result(signal, (signal + most).to(dtype), self.budget)
            measured = torch.stack([size.square() * power, signal.square(), inside * power, most])
            if self.delivered is not None:
                self.delivered.book(real, measured[:, : len(real)], at.values)

    def _some(self, number: int, u: Tensor, start: int) -> Tensor:
        """Return the input u (samples, length, channels) of a layer perturbed."""
        part, site = slice(start, start + len(u)), self.sites[number]
        lengths = None if self.lengths is None else self.lengths[part]
        after = self.perturbation.perturb(
            u, lengths, self.sample_id[part], self.seed, budget=self.budget, site=site
        )
        if self.delivered is not None:
            self.delivered.add(u, after, self.perturbation, site, lengths, start)
        return after

    @contextmanager
    def hooked(self, part: slice = slice(None)) -> Iterator[None]:
        """Perturb the network's own passes of the samples `part` while the body runs.

        Rows beyond these are padding of the batch and stay as they are. The perturbation is a
        constant to gradients. A layer whose `layout` is "bhl" has inputs (batch, channels, length).
        """
        start, count = part.start or 0, len(self.sample_id[part])

        def hook(
            number: int, module: nn.Module, arguments: tuple[Tensor, ...]
        ) -> tuple[Tensor, ...]:
            u = arguments[0]
            turned = layers[number].layout == "bhl"
            real = (u.transpose(1, 2) if turned else u)[:count]
            after = self._some(number, real, start)
            if torch.is_grad_enabled():
                after = real + (after - real).detach()
            after = after.transpose(1, 2).contiguous() if turned else after
            return (torch.cat([after, u[count:]]), *arguments[1:])

        layers = self.network.ssm_layers()
        handles = [
            layer.hooked.register_forward_pre_hook(partial(hook, number))
            for number, layer in enumerate(layers)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@torch.no_grad()
def perturbed_logits(
    network: Classifier,
    x: Tensor,
    perturbation: Perturbation,
    budget: Budget,
    sample_id: IntArray,
    seed: int,
    *,
    inject: str,
    site: Site,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Delivered]:
    """Return the logits (batch, classes) of perturbed samples, and what was delivered.

    The network stays the same.

    Parameters
    ----------
    network : Classifier
        The network.
    x : Tensor
        Samples, (batch, length, channels).
    perturbation, budget : Perturbation, Budget
        What is done, and how strongly.
    sample_id, seed : array of int, int
        What draws depend on; sample_id is (batch,).
    inject : str
        `input` (then `site` describes it), `layers`, or `model` for a change of the model, which
        delivers nothing to a signal, and after which logits may not be finite if it `breaks`.
    site : Site
        The input.
    lengths : Tensor, optional
        Valid steps, (batch,).
    """
    delivered = Delivered(len(x))
    if inject == "input":
        after = perturbation.perturb(x, lengths, sample_id, seed, budget=budget, site=site)
        delivered.add(x, after, perturbation, site, lengths)
        return inference.logits(network, after, lengths=lengths), delivered
    if inject == "model":
        if not isinstance(perturbation, ModelChange):
            where = " or ".join(perturbation.sites)
            raise UsageError(f"{perturbation.who}: acts at {where}, not at 'model'")
        with perturbation.applied(network, budget, seed):
            logits = inference.logits(network, x, lengths=lengths)
        if not (perturbation.breaks or bool(torch.isfinite(logits).all())):
            raise UsageError(
                f"{perturbation.who}: the changed network gives NaN or infinite logits; give a "
                "smaller eps, and an input without NaN"
            )
        return logits, delivered
    layers = LayerNoise(
        network, perturbation, budget, sample_id, seed, site.rate, lengths, delivered
    )
    if not inference.programmed(network):
        return inference.called(network, x, lengths, layers.hooked), delivered
    whole = inference.program(network, x, changing=not budget.nothing)
    logits = whole.logits(x, lengths, None if budget.nothing else layers.change)
    layers.book(x.dtype)
    return logits, delivered
