"""How far a block's nonlinear maps leave their tangent: sup of second derivatives on intervals.

GELU(z) = z Phi(z), with density p of N(0, 1):

    GELU' = Phi + z p,  GELU'' = (2 - z^2) p,  GELU''' = z (z^2 - 4) p,

so that |GELU''| on an interval is largest at an end, at 0 or at +-2. The logistic function s has
s' = s (1 - s), largest at 0, and |s''| = s' |1 - 2 s|, largest at +-log(2 + sqrt 3).

LayerNorm takes the direction of the centred vector u = P y / sqrt d:  n(u) = u / sqrt(|u|^2 + eps).
With q = 3 |u|^2 / (|u|^2 + eps) and x = cos^2 of the angle between u and h, |h| = 1,

    |D^2 n(u)[h, h]|^2 (|u|^2 + eps)^2 = (q / 3) (1 + (8 - 2 q) x + (q^2 - 4 q) x^2) <= 4 / 3:

where q >= 1 the maximum over x is at x = 1 / q and is 4 / 3 for every q; where q < 1 it is at
x = 1, q (3 - q)^2 / 3. So the second derivative is at most (2 / sqrt 3) / (|u|^2 + eps).

What a tangent leaves out never exceeds 2 |h|^2 / (|u|^2 + eps), however large h is. With sqrt eps
as one more coordinate n is w -> w / |w|; take |u| = 1, w = u + h, rho = |w|, x = |1 - rho| and
chi = |w / rho - u| <= 2. Then |h|^2 = x^2 + rho chi^2, and the remainder

    w / rho - u - (w - (u.w) u) = (1 - rho) (w / rho - u) - (rho chi^2 / 2) u

is at most x chi + rho chi^2 / 2. That is below 2 x^2 + 2 rho chi^2 where rho >= 1 or
x <= 11 / 12, since 2 x^2 + 1.5 rho chi^2 >= sqrt(12 rho) x chi; else the difference falls with
chi up to 2 and is 2 (1 - x) (3 - x) there.

Reference for GELU: Hendrycks and Gimpel, arXiv 1606.08415, section 2.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# |s''| of the logistic function is largest here.
LOGISTIC_BEND = math.log(2.0 + math.sqrt(3.0))
# Powers of two of the Gram matrix in `spectral_norms`: a matrix of rank k gives at most k^(1/32)
# too much, 1.12 for k = 32.
SQUARINGS = 4


def gelu_slope(z: Tensor) -> Tensor:
    """Return GELU'(z), any shape."""
    return torch.special.ndtr(z) + z * _density(z)


def gelu_bend(z: Tensor, radius: Tensor) -> Tensor:
    """Return sup |GELU''| on [z - radius, z + radius], shape of z."""
    return _largest(_gelu_second, (-2.0, 0.0, 2.0), z, radius)


def logistic_slope(z: Tensor, radius: Tensor) -> Tensor:
    """Return sup s' on [z - radius, z + radius], shape of z."""
    nearest = torch.sigmoid((z.abs() - radius).clamp(min=0.0))
    return nearest * (1.0 - nearest)


def logistic_bend(z: Tensor, radius: Tensor) -> Tensor:
    """Return sup |s''| on [z - radius, z + radius], shape of z."""
    return _largest(_logistic_second, (-LOGISTIC_BEND, LOGISTIC_BEND), z, radius)


def _largest(
    curve: Callable[[Tensor], Tensor], extrema: tuple[float, ...], z: Tensor, radius: Tensor
) -> Tensor:
    """Return the largest of the curve at the ends of the interval and at the extrema inside."""
    low, high = z - radius, z + radius
    result = torch.maximum(curve(low), curve(high))
    for point in extrema:
        inside = (low <= point) & (point <= high)
        result = torch.where(inside, curve(torch.full_like(z, point)).maximum(result), result)
    return result


def normalisation_bend(length: Tensor, radius: Tensor, d: int, eps: float) -> Tensor:
    """Return c with |remainder of P y / s(y)| <= c |P Delta|^2 for |P Delta| <= radius.

    length: |P y| of vectors with d channels; radius: of their shape, so is the result.
    s^2 = |P y|^2 / d + eps is at its least on the segment where |P y| is.
    """
    least = (length - radius).clamp(min=0.0) ** 2 / d + eps
    bend = 1.0 / (math.sqrt(3.0) * least)
    return bend.minimum(2.0 / (length**2 / d + eps)) / math.sqrt(d)


def spectral_norms(matrices: Tensor) -> Tensor:
    """Return an upper bound of the spectral norm of each matrix (..., a, b), shape (...).

    The largest eigenvalue of a Gram matrix A is at most (tr A^k)^(1/k), here k = 16.
    """
    a, b = matrices.shape[-2:]
    gram = matrices.mT @ matrices if b <= a else matrices @ matrices.mT
    return spectral_radii(gram).sqrt()


def spectral_radii(gram: Tensor) -> Tensor:
    """Return an upper bound of the largest eigenvalue of positive matrices (..., a, a), (...)."""
    scale = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    safe = torch.where(scale > 0.0, scale, torch.ones_like(scale))
    power = gram / safe[..., None, None]
    for _ in range(SQUARINGS):
        power = power @ power
    trace = power.diagonal(dim1=-2, dim2=-1).sum(-1)
    return scale * trace.clamp(min=0.0) ** (1.0 / 2**SQUARINGS)


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def _gelu_second(z: Tensor) -> Tensor:
    return ((2.0 - z * z) * _density(z)).abs()


def _logistic_second(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return (s * (1.0 - s) * (1.0 - 2.0 * s)).abs()
