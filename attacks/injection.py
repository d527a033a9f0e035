"""Logits of a perturbed network: at the input, at that of every SSM layer, or in the model."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from robustssm.attacks.base import Perturbation, Site
from robustssm.attacks.budget import Budget
from robustssm.attacks.delivered import Delivered
from robustssm.attacks.perturbations.model_changes import ModelChange
from robustssm.errors import UsageError
from robustssm.networks import inference
from robustssm.networks.classifier import Classifier
from robustssm.tasks import Task
from robustssm.typing import IntArray


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


@contextmanager
def perturbed_layers(
    network: Classifier,
    perturbation: Perturbation,
    budget: Budget,
    sample_id: IntArray,
    seed: int,
    delivered: Delivered | None = None,
    lengths: Tensor | None = None,
    rate: float | None = None,
    first: int = 0,
) -> Iterator[None]:
    """Perturb the input of every SSM layer in the network's own passes while the body runs.

    Rows beyond len(sample_id) are padding of the batch and stay as they are. The perturbation is
    a constant to gradients. first: number of the first sample in `delivered`. Evaluations of a
    Network, which take another way, have `perturbed_logits`. A layer whose `layout` is "bhl" has
    inputs (batch, channels, length).
    """
    handles = []
    for number, layer in enumerate(network.ssm_layers()):
        site = Site(layer=number, dt=layer.step_size().detach(), rate=rate)

        def add(
            module: nn.Module, arguments: tuple[Tensor, ...], site: Site = site
        ) -> tuple[Tensor, ...]:
            u = arguments[0]
            turned = getattr(module, "layout", "blh") == "bhl"
            real = (u.transpose(1, 2) if turned else u)[: len(sample_id)]
            after = perturbation.perturb(real, lengths, sample_id, seed, budget=budget, site=site)
            if delivered is not None:
                delivered.add(real, after, perturbation, site, lengths, first)
            if torch.is_grad_enabled():
                after = real + (after - real).detach()
            after = after.transpose(1, 2).contiguous() if turned else after
            return (torch.cat([after, u[len(sample_id) :]]), *arguments[1:])

        handles.append(layer.register_forward_pre_hook(add))
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
    """Return the logits (batch, classes) of perturbed samples x, and what was delivered.

    inject: `input` (then `site` describes it), `layers`, or `model` for a change of the model,
    which delivers nothing to a signal. The network is the same afterwards.
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
    sites = [
        Site(layer=number, dt=layer.step_size().detach(), rate=site.rate)
        for number, layer in enumerate(network.ssm_layers())
    ]

    def change(number: int, u: Tensor, start: int) -> Tensor:
        part = slice(start, start + len(u))
        own, valid = sample_id[part], None if lengths is None else lengths[part]
        after = perturbation.perturb(u, valid, own, seed, budget=budget, site=sites[number])
        delivered.add(u, after, perturbation, sites[number], valid, start)
        return after

    if not inference.programmed(network):

        def around(part: slice) -> AbstractContextManager[None]:
            valid = None if lengths is None else lengths[part]
            return perturbed_layers(
                network,
                perturbation,
                budget,
                sample_id[part],
                seed,
                delivered,
                valid,
                site.rate,
                part.start,
            )

        return inference.called(network, x, lengths, around), delivered
    whole = inference.program(network, x, changing=not budget.nothing)
    return whole.logits(x, lengths, None if budget.nothing else change), delivered
