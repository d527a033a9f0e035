"""Logits of a perturbed network: at the input, at that of every SSM layer, or in the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.attacks.bands import Direction, Sum
from robustssm.attacks.base import Perturbation, Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.delivered import Delivered
from robustssm.attacks.perturbations.model_changes import ModelChange
from robustssm.attacks.units import norms
from robustssm.errors import UsageError
from robustssm.networks import inference
from robustssm.networks.classifier import Classifier
from robustssm.tasks import Task
from robustssm.typing import IntArray

# Blocks of samples whose waves are drawn at a time.
_AHEAD = 8


@torch.no_grad()
def embedded(network: Classifier, task: Task) -> Site:
    """Return the site of the embeddings of a task of tokens: their deviation per channel.

    Over the training tokens, without what is behind the samples' ends. A token's embedding does not
    depend on the others, so that each is embedded once and counts as often as it occurs.
    """
    split = task.splits["train"]
    tokens = split.inputs
    if split.lengths is not None:
        tokens = tokens[np.arange(tokens.shape[1]) < split.lengths[:, None]]
    present, counts = np.unique(tokens, return_counts=True)
    values = network.embed(torch.from_numpy(present)[None].to(network.mean.device))[0].double()
    weight = torch.from_numpy(counts / counts.sum()).to(values.device)[:, None]
    centred = values - (weight * values).sum(0)
    return Site(scale=(weight * centred.square()).sum(0).sqrt(), rate=task.rate)


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

    @cached_property
    def sites(self) -> list[Site]:
        """The site of each layer."""
        return [
            Site(number, dt=layer.step_size().detach(), rate=self.rate)
            for number, layer in enumerate(self.network.ssm_layers())
        ]

    def change(self, number: int, u: Tensor, start: int) -> Tensor:
        """Return a layer's input in a program perturbed, in place if possible.

        Rows of u (rows, length, channels) beyond the samples repeat the last one.
        """
        real = min(len(u), len(self.sample_id) - start)
        if self.lengths is not None or self.budget.clip != "none":
            return self._some(number, u[:real], start)
        site = replace(self.sites[number], length=u.shape[1])
        if start == 0:
            self.perturbation.check_input(u, None, site)
        ids = self._repeated(start, len(u))
        first = start % (_AHEAD * len(u))
        if first == 0:
            every = self._repeated(start, _AHEAD * len(u))
            like = u[:1].expand(len(every), -1, -1)
            self._sums[number] = self.perturbation.sums(like, every, self.seed, site)
        sums = self._sums[number]
        if sums is None:
            direction: Direction = self.perturbation.written(u, ids, self.seed, site)
        else:
            direction = sums.part(slice(first, first + len(u)))
        measured = self._add(u, direction, ids, site)
        if self.delivered is not None:
            self.delivered.book(start + np.arange(real), measured[:, :real], u[0].numel())
        return u

    @torch.no_grad()
    def _add(self, x: Tensor, direction: Direction, ids: IntArray, site: Site) -> Tensor:
        """Bring directions to the budget and add them to a layer's input x, in place.

        Without a range, for samples of one length. Returns of each sample the energy of what was
        added, that of x before, what lies in the named band, and the largest modulus of what was
        added, (4, batch), before rounding to x's dtype.
        """
        p, signal = self.perturbation, norms(x)
        size, most = direction.sizes()
        if p.fills or self.budget.unit != p.unit:
            own = self.budget.norm.of(size, most, x[0].numel())
            factor = self.budget.factor(x, own, p.who, ids)
        else:
            factor = torch.full_like(size, self.budget.eps)
        inside = size.square()
        if not p.confined:
            inside = p.in_band(direction.values, site).double()
        direction.add_to(x, factor)
        most = most * factor
        # A norm bounds each of its values.
        if not bool((most + signal < torch.finfo(x.dtype).max).all()):
            p.check_result(signal, x, self.budget)
        power = factor.square()
        return torch.stack([size.square() * power, signal.square(), inside * power, most])

    @cached_property
    def _sums(self) -> dict[int, Sum | None]:
        """The directions of the next blocks at each layer, if they are sums of waves."""
        return {}

    def _repeated(self, start: int, count: int) -> IntArray:
        """Return the ids of `count` samples from a first one on, the last one repeated."""
        return self.sample_id[np.arange(start, start + count).clip(max=len(self.sample_id) - 1)]

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
        delivers nothing to a signal.
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
        with perturbation.applied(network, budget):
            logits = inference.logits(network, x, lengths=lengths)
        if not bool(torch.isfinite(logits).all()):
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
    return whole.logits(x, lengths, None if budget.nothing else layers.change), delivered
