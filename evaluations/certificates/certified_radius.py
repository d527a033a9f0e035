"""A radius per sample within which no perturbation in a band changes the prediction, proved.

The threat is delta = Q c, Q an orthonormal basis of some DFT bins of every input channel,
|c| = |delta|_2 <= r in raw units. With M_j the margin of the label over class j, the network
replaced stage by stage by its tangent at the sample gives, exactly,

    M_j(c) = M_j(0) + g_j.c + sum over stages of adjoint_j . e,

e being what a stage (GELU, GLU, LayerNorm) leaves out. |adjoint_j . e| / M_j(0) is at most a
quadratic form in the stages' inputs J c + rho, the same for all j, so that the prediction holds if

    s r + (f r + rest(r))^2 < 1,    s = max over j of |g_j| / M_j(0),

f^2 the form's largest eigenvalue, over c and over all stages at once, rest the norm of rho in it.
J is exact; rho is bounded stage by stage (`remainders`). The rounding of convolutions by FFT is
part of their bounds (`time_operators`). All other rounding of float64 is not accounted for;
it is small beside each term, but not beside a margin that is itself of the size of the logits'
rounding. Radii are those of the network in float64: in float32 the prediction may differ for
samples that close to the boundary.

Reference: Singla and Feizi, arXiv 2006.00731, for certificates from curvature.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robustssm.attacks.bands import fourier_basis
from robustssm.errors import ShapeError, UsageError, require
from robustssm.evaluations.certificates.enclosures import TINY
from robustssm.evaluations.certificates.lipschitz import double_copy, features_constant
from robustssm.evaluations.certificates.remainders import largest_radius
from robustssm.evaluations.certificates.tangent_setting import Setting
from robustssm.evaluations.certificates.tangents import Bounds, Tangent, tangent
from robustssm.networks.network import Network
from robustssm.typing import FloatArray

BOUNDS = ("local", "global")
# First trial, as a share of 1 / s; trials at most, by how much one may differ from the last, and
# secant steps at most to find it.
START, TRIALS, LEAP, GUESSES = 0.007, 20, 8.0, 8


def certified_radii(
    network: Network,
    x: Tensor,
    labels: Tensor,
    modes: Sequence[int],
    *,
    bound: str = "local",
    tolerance: float = 1e-2,
) -> FloatArray:
    """Return for every sample a radius within which the predicted class is proved to stay, (N,).

    x (N, L, channels), labels (N,); modes: bins of the DFT of length L, within 0 to L / 2, that a
    perturbation of every channel may use. Radii are L2 norms in the input's own units; 0 where
    the prediction is not the label. `local`: at least (1 - tolerance) times the largest radius
    that these bounds can prove, from the tangent at each sample, one sample's Jacobian in memory
    at a time (L d m floats per layer). `global`: margin over Lipschitz constants, for any
    perturbation, whatever its band. The network is copied to float64 and not changed.

    Raises UsageError for a network or block of another kind, bins that do not exist, a tolerance
    outside (0, 1), an unknown bound, or if `global` meets a block without a constant;
    ShapeError if x, labels and the network do not fit.
    """
    channels = network.architecture.d_input if isinstance(network, Network) else x.shape[-1]
    if x.ndim != 3 or x.shape[2] != channels or labels.shape != x.shape[:1]:
        raise ShapeError(
            f"certificate: input has shape {tuple(x.shape)} and labels {tuple(labels.shape)}, "
            f"expected (samples, length, {channels}) and (samples,)"
        )
    require(bound in BOUNDS, "certificate: bound", bound, f"one of {', '.join(BOUNDS)}")
    if not 0.0 < tolerance < 1.0:
        raise UsageError(f"certificate: tolerance is {tolerance:g}, expected between 0 and 1")
    if bound == "global":
        fourier_basis(x.shape[1], modes)
        return _global(network, x.double(), labels)
    fixed = Setting(network, x.shape[1], modes)
    radii = np.zeros(len(x))
    for row, (sample, label) in enumerate(zip(x.double(), labels.tolist(), strict=True)):
        at = tangent(fixed, sample, label)
        reach = 1.0 + float(torch.linalg.vector_norm(sample))
        radii[row] = 0.0 if at is None else search(at, tolerance, reach)
    return radii


@torch.no_grad()
def _global(network: Network, x: Tensor, labels: Tensor) -> FloatArray:
    """Return min over classes j of margin / (|w_y - w_j| constant of the features), (N,)."""
    constant = features_constant(network, x.shape[1])
    twin = double_copy(network)
    logits = torch.cat([twin(part) for part in x.split(64)])
    margins = logits.gather(1, labels[:, None]) - logits
    weight = twin.decoder.weight
    apart = torch.linalg.vector_norm(weight[labels][:, None] - weight, dim=2)
    # The label's own row is 0 / 0.
    of_label = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    radii = (margins / (apart * constant)).masked_fill(of_label, math.inf).amin(1)
    return radii.clamp(min=0.0).numpy()


@torch.no_grad()
def search(at: Tangent, tolerance: float, reach: float = math.inf) -> float:
    """Return the largest radius that the tangent's bounds prove, to within `tolerance`.

    reach: the first trial's limit; if the network is flat its slope says nothing about how far
    to go.

    A trial at r proves some radius up to r, whether or not r itself. What is spent, the left side
    of the condition, is at t r, t <= 1, at most t times that at r. So a trial that spends less
    than 1 also says that no radius beyond r / spent can be proved.
    """
    trial = min(START / at.slope if at.slope > 0.0 else 1.0, reach)
    best, limit = 0.0, math.inf
    for _ in range(TRIALS):
        bounds = at.remainders(trial)
        form = at.largest(bounds)
        best = max(best, largest_radius(at.slope, form, bounds.rest, trial))
        spent = at.slope * trial + (form * trial + bounds.rest) ** 2
        limit = min(limit, trial / spent if 0.0 < spent < 1.0 else trial)
        if best >= (1.0 - tolerance) * limit:
            break
        trial = _next(at, bounds, form, 1.0 - 0.5 * tolerance)
        if not best < trial < limit:
            trial = math.sqrt(best * limit) if best > 0.0 else limit / LEAP**2
    return best


def _next(at: Tangent, bounds: Bounds, form: float, goal: float) -> float:
    """Return a trial to spend `goal`, within LEAP of that of `bounds`, whose curvature it takes."""

    def expected(log_share: float) -> float:
        share = math.exp(log_share)
        near = at.remainders(share * bounds.r, [share * root for root in bounds.roots])
        r = share * bounds.r
        return math.log(max(at.slope * r + (form * r + near.rest) ** 2, TINY))

    if not math.isfinite(form):
        return bounds.r / LEAP**2
    reach, power = math.log(LEAP), 2.0
    here, value = 0.0, expected(0.0)
    for _ in range(GUESSES):
        if abs(value - math.log(goal)) < 0.25 * (1.0 - goal):
            break
        there = here + (math.log(goal) - value) / power
        there = max(-reach, min(reach, there))
        if there == here:
            break
        after = expected(there)
        power = max(1.0, (after - value) / (there - here))
        here, value = there, after
    return bounds.r * math.exp(here)
