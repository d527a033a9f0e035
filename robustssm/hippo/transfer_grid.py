"""Transfer functions on large frequency grids with torch, on CPU or GPU, in bounded memory.

G(i omega) = C (i omega - A)^-1 B of HiPPO-LegS and the damped family G / (1 + tau phi_n). The forms
are those of `robustssm.hippo.legs`; here they run in real arithmetic on (real, imaginary) pairs,
one operation at a time:

    f_i = (s - i) / (s + i + 2) = (t^2 - l + i t c) / (1 + t^2),  s = i omega,  t = omega / (i + 2),
    l = i / (i + 2),  c = (2i + 2) / (i + 2),

so that every value is that of IEEE arithmetic, whatever the chunk it was computed in, by Horner's
rule, h_i = C_i b_i + f_i h_{i+1}.

complex64 is for G alone. Rounding omega moves G / (1 + phi_n) at its spikes by 0.64 n^2 eps, 4% in
float32 at n = 1024; hence omega and 1 + tau phi_n are float64 always (`legs.normal_ratio`).

References: HiPPO, arXiv 2008.07669, eq. (5); S4D, arXiv 2206.11893, section 3 (B / 2).
"""

import numpy as np
import numpy.typing as npt
import torch

from robustssm.errors import require
from robustssm.execution import resolve_device
from robustssm.hippo import legs
from robustssm.typing import FloatArray

# Bytes of every array that is held at once beside C, omega and the result, on host and device
# together; what libraries keep inside themselves (the CUDA context) is not counted.
MEMORY = 256 << 20
# (factor, frequency) pairs worked on at once. CPU: the arrays stay in the caches; else: enough to
# fill a GPU.
PAIRS = {"cpu": 1 << 16}
PAIRS_ELSEWHERE = 1 << 20
# Squares of |omega| below this are finite; above it G is C B / (i omega), n^2 / LARGE relative.
LARGE = {torch.float64: legs.LARGE, torch.float32: 1e18}
REAL = {torch.complex128: torch.float64, torch.complex64: torch.float32}
# Bytes of a frequency on the host: the float64 omega and the temporaries of `normal_ratio`.
HOST = 512


def transfer_grid(
    C: npt.ArrayLike,
    omega: npt.ArrayLike,
    *,
    tau: float = 0.0,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.complex128,
) -> torch.Tensor:
    """Return G(i omega) / (1 + tau phi_n(i omega)) of HiPPO-LegS on the device.

    C (n,): a real readout. omega: rad per unit time, any shape, that of the result; at 0 the value
    is C_0 exactly, at infinity 0. tau: 0 is G itself, 1 the normal part with B/2 (S4D-LegS),
    between them the rank-one family of `diagonalize.rank_one`. device: `auto` is cuda if there is
    one, else cpu. dtype: complex128, or complex64, where omega and 1 + tau phi_n remain float64.

    It is computed in chunks of MEMORY bytes. With tau = 0 the result is the same to the bit
    whatever the chunk; tau > 0 may differ in the last digits.

    The error of G is a small multiple of n eps sum |C_i x_i|, eps that of dtype (in complex64 the
    rounding of omega is part of it); the factor 1 / (1 + phi_n) has 0.64 n^2 eps at the spikes,
    from the rounding of omega to float64. Raises UsageError for NaN and for an unknown device,
    dtype or tau; ShapeError for a C of another shape.
    """
    require(not np.iscomplexobj(C), "readout: C", "complex", "real numbers")
    readout = np.asarray(C, dtype=np.float64)
    readout = legs.check_readout(readout, max(1, readout.size))
    require(not np.iscomplexobj(omega), "grid: omega", "complex", "real frequencies")
    w = np.asarray(omega, dtype=np.float64).ravel()
    require(not np.isnan(w).any(), "grid: omega", np.nan, "real numbers, 0 or infinity")
    where = resolve_device(device)
    require(dtype in REAL, "grid: dtype", dtype, "torch.complex128 or torch.complex64")
    require(0.0 <= tau <= 1.0, "grid: tau", tau, "0 (G itself) to 1 (normal part)")
    real, n = REAL[dtype], len(readout)
    result = torch.empty(w.size, dtype=dtype, device=where)
    # Reals of a frequency: omega and seven others, four for a factor, two of the sum. Beside them
    # C b and the coefficients of all factors, with the copies made on the way.
    most = max(1, (MEMORY - 128 * n) // (real.itemsize * 14 + HOST))
    most = min(most, PAIRS.get(where.type, PAIRS_ELSEWHERE))
    for start in range(0, w.size, most):
        part = slice(start, start + most)
        limited = np.clip(w[part], -LARGE[real], LARGE[real])
        points = torch.from_numpy(limited).to(where, real)
        rows = max(1, most // len(points))
        _horner(readout, points, rows, torch.view_as_real(result[part]))
        _scale(result[part], w[part], n, tau, LARGE[real])
    return result.reshape(np.shape(omega))


def _factors(w: torch.Tensor, coefficients: torch.Tensor, work: torch.Tensor) -> None:
    """Write Re f_i and Im f_i to work[0] and work[1]; work has shape (4, factors, points)."""
    real, imag, t, square = work
    inverse, lower, weight = coefficients
    torch.mul(w, inverse, out=t)
    torch.mul(t, t, out=square)
    torch.sub(square, lower, out=real)
    square.add_(1.0).reciprocal_()
    real.mul_(square)
    torch.mul(t, square, out=imag)
    imag.mul_(weight)


def _horner(C: FloatArray, w: torch.Tensor, rows: int, out: torch.Tensor) -> None:
    """Write G(i w) to out (points, 2) by Horner's rule, `rows` factors at a time."""
    Cb = (C * legs.input_vector(len(C)))[::-1].tolist()
    i = np.arange(len(C) - 2.0, -1.0, -1.0)
    upper = i + 2.0
    # 1 / (i + 2), l and c of each factor f_i.
    coefficients = np.stack([1.0 / upper, i / upper, (2.0 * i + 2.0) / upper])[..., None]
    table = torch.from_numpy(coefficients).to(w.device, w.dtype)
    p, q = torch.full_like(w, Cb[0]), torch.zeros_like(w)
    a, b = torch.empty_like(w), torch.empty_like(w)
    work = torch.empty((4, rows, len(w)), dtype=w.dtype, device=w.device)
    for first in range(0, len(C) - 1, rows):
        block = table[:, first : first + rows]
        part = work[:, : block.shape[1]]
        _factors(w, block, part)
        real, imag = part[0].unbind(), part[1].unbind()
        for u, v, coefficient in zip(real, imag, Cb[first + 1 : first + rows + 1], strict=True):
            torch.mul(v, p, out=a)
            torch.mul(v, q, out=b)
            p.mul_(u).sub_(b).add_(coefficient)
            q.mul_(u).add_(a)
    # h / (1 + i w) = (p + q w + i (q - p w)) / (1 + w^2)
    square = (w * w).add_(1.0)
    torch.mul(q, w, out=a)
    torch.mul(p, w, out=b)
    out[:, 0] = p.add_(a).div_(square)
    out[:, 1] = q.sub_(b).div_(square)


def _scale(values: torch.Tensor, w: FloatArray, n: int, tau: float, large: float) -> None:
    """Divide values (points,) by 1 + tau phi_n, and by |omega| / large beyond it, in place."""
    inverse = np.ones(len(w), dtype=np.complex128)
    if tau > 0.0:
        inverse /= legs.normal_ratio(n, np.clip(w, -legs.LARGE, legs.LARGE), tau)
    beyond = np.abs(w) > large
    if tau > 0.0 or beyond.any():
        inverse[beyond] *= large / np.abs(w[beyond])
        values *= torch.from_numpy(inverse).to(values.device, values.dtype)
