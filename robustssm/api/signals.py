"""Perturbations of arrays in memory, the same as those of a sweep."""

from typing import Any

import numpy as np
import torch

from robustssm.api.arguments import MEMORY, array_of, numbers, samples, whole, wrong
from robustssm.attacks import Attack, Perturbation, Site
from robustssm.attacks.base import input_site
from robustssm.attacks.expressions import make_budget, parse_expression
from robustssm.errors import UsageError
from robustssm.tasks.reading import Array, Source


def perturb(
    x: Any,
    noise: Any,
    eps: float | None = None,
    *,
    unit: str | None = None,
    seed: int = 0,
    sample_id: Any = None,
    lengths: Any = None,
    site: Site | None = None,
) -> Array:
    """Return x perturbed, shape and dtype as before: what a sweep of x with this seed evaluates.

    Parameters
    ----------
    x : array or Tensor
        Real numbers, (batch, length, channels), or (batch, length) for one channel.
    noise : Attack or str
        A perturbation, as in `robustssm.attacks.Fourier(8)`, or its text, which may name eps.
    eps : float, optional
        Its strength; transforms are applied whole without one.
    unit : str, optional
        `std` (of x, per channel), `rms`, `l2`, `linf`, `snr-db` or `mix`; its own by default.
    seed : int
        Seed of the draws.
    sample_id, lengths : array, optional
        Numbers that draws depend on (0, 1, ... by default), and valid steps, (batch,).
    site : Site, optional
        What is known of the input: `scale`, another std, (channels,); `rate`; `image`.
    """
    values, text = array_of("perturb: x", x), repr(noise) if isinstance(noise, Attack) else noise
    data = samples(Source("perturb", MEMORY), values, "x", sample_id=sample_id, lengths=lengths)
    data.values("perturb", whole=False)
    if not isinstance(text, str) or not isinstance(site, Site | None):
        raise wrong("perturb", (noise, site), "a perturbation or its text, and a Site or None")
    attack, settings = parse_expression(text)
    if not isinstance(attack, Perturbation) or len(attack.alternatives()) > 1:
        raise UsageError(f"{attack.who}: needs a model; use sweep")
    given = {} if eps is None else {"eps": numbers("eps", eps, 1)[0]}
    settings |= given if unit is None else {**given, "unit": unit}
    if "eps" not in settings and attack.unit != "mix":
        raise UsageError(f"perturb: {text} has no strength; give eps, as in eps=0.3")
    budget, split = make_budget(text, settings, attack, "input"), data.splits["test"]
    flat = values.reshape(split.inputs.shape) if values.dtype.kind == "f" else split.inputs
    ends = None if split.lengths is None else torch.from_numpy(split.lengths)
    place, number = input_site(data) if site is None else site, whole("seed", seed, 0)
    after = attack.perturb(
        torch.from_numpy(flat), ends, split.sample_id, number, budget=budget, site=place
    )
    return after.numpy() if values.ndim == 3 else np.asarray(after[:, :, 0])
