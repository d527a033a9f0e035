"""Checks of gradients, which adversaries live on."""

import torch

from robustssm.evaluations.doctor.base import Finding, Setting, Subject, judge
from robustssm.evaluations.doctor.layers import noise
from robustssm.hippo.initializations import EVERY
from robustssm.networks.network import Architecture, build_network

_LENGTH = 24
_STEP = 1e-4
_SAMPLES = 32


def central_differences(setting: Setting) -> Finding:
    """Compare autograd with central differences on a small network of every initialisation."""
    errors = {name: _error(name) for name in EVERY}
    return judge(
        "autograd with central differences, float64, networks of 2 layers of 8 states",
        "largest error, relative to the largest entry of the gradient",
        max(errors.values()),
        f"step {_STEP:g}: truncation of order step^2 times the third derivative (LayerNorm: up to "
        "1e2), rounding 2e-16 / step",
        {"networks": len(errors), "worst": max(errors, key=errors.__getitem__)},
        tolerance=1e-6,
    )


def _error(name: str) -> float:
    network = build_network(Architecture(name, n=8, d_model=8, layers=2, d_output=3)).double()
    network.eval()
    x = noise(2, _LENGTH, 1)
    weights = noise(1, 3)[0]
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad((network(x) @ weights).sum(), x)
    with torch.no_grad():
        steps = _STEP * torch.eye(_LENGTH, dtype=torch.float64)[:, None, :, None]
        sides = [
            (network((x + sign * steps).flatten(0, 1)) @ weights).view(_LENGTH, -1)
            for sign in (1.0, -1.0)
        ]
        differences = ((sides[0] - sides[1]) / (2.0 * _STEP)).T[..., None]
    return float((gradient - differences).abs().max() / gradient.abs().max())


def zero_gradients(setting: Setting, subject: Subject) -> Finding:
    """Count the samples whose margin has no gradient at the input."""
    split, network = subject.task.splits["test"].first(_SAMPLES), subject.copy()
    network.eval()
    x = subject.inputs(split).requires_grad_(True)
    margins = subject.task.kind.margins(network(x), torch.from_numpy(split.labels))
    (gradient,) = torch.autograd.grad(margins.sum(), x)
    zero = gradient == 0.0
    broken = int((~torch.isfinite(gradient)).flatten(1).any(1).sum())
    return judge(
        "gradients of the margin at the input with what an adversary can follow",
        "samples whose gradient is zero everywhere, or not finite",
        int(zero.flatten(1).all(1).sum()) + broken,
        "where it is zero, adversaries see nothing and robustness looks better than it is",
        {"samples": len(x), "share of zero entries": f"{float(zero.double().mean()):.2%}"},
    )
