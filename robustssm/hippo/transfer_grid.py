"""Transfer functions on large frequency grids with torch, on CPU or GPU, in bounded memory.

G(i omega) = C (i omega - A)^-1 B of HiPPO-LegS, the damped family G / (1 + tau phi_n) and sums over
poles. The closed forms are those of `robustssm.hippo.legs`; here
they run in real arithmetic on (real, imaginary) pairs, one operation at a time:

    f_i = (s - i) / (s + i + 2) = (t^2 - l + i t c) / (1 + t^2),  s = i omega,  t = omega / (i + 2),
    l = i / (i + 2),  c = (2i + 2) / (i + 2),

so that every value is that of IEEE arithmetic, whatever the chunk it was computed in, by Horner's
rule, h_i = C_i b_i + f_i h_{i+1}.

complex64 is for G alone. Rounding omega moves G / (1 + phi_n) at its spikes by 0.64 n^2 eps, 4% in
float32 at n = 1024; hence omega and 1 + tau phi_n are float64 always (`hippo.normal_ratio`).

References: HiPPO, arXiv 2008.07669, eq. (5); S4D, arXiv 2206.11893, section 3 (B / 2).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from robustssm.errors import ShapeError, UsageError, require
from robustssm.execution import resolve_device
from robustssm.hippo import legs
from robustssm.typing import FloatArray

# Bytes held at once by default, see `transfer_grid`.
MEMORY = 256 << 20
# Poles of a sum that are held at once.
POLES = 64
# (pole, frequency) pairs worked on at once. CPU: the arrays stay in the caches; else: enough to
# fill a GPU.
PAIRS = {"cpu": 1 << 20}
PAIRS_ELSEWHERE = 1 << 24
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
    memory: int = MEMORY,
) -> torch.Tensor:
    """Return G(i omega) / (1 + tau phi_n(i omega)) of HiPPO-LegS on the device.

    C (n,): a real readout. omega: rad per unit time, any shape, that of the result; at 0 the value
    is C_0 exactly, at infinity 0. tau: 0 is G itself, 1 the normal part with B/2 (S4D-LegS),
    between them the rank-one family of `diagonalize.rank_one`. device: `auto` is cuda if there is
    one, else cpu. dtype: complex128, or complex64, where omega and 1 + tau phi_n remain float64.

    memory: bytes of every array that is held at once beside C, omega and the result, on host and
    device together; what libraries keep inside themselves (the CUDA context) is not counted. The
    number of frequencies in a chunk follows from it. With tau = 0 the result is the same to the bit
    whatever the chunk; tau > 0 may differ in the last digits.

    The error of G is a small multiple of n eps sum |C_i x_i|, eps that of dtype (in complex64 the
    rounding of omega is part of it); the factor 1 / (1 + phi_n) has 0.64 n^2 eps at the spikes,
    from the rounding of omega to float64. Raises UsageError for NaN, for an unknown device, dtype
    or tau, and if memory does not hold one frequency; ShapeError for a C of another shape.
    """
    require(not np.iscomplexobj(C), "readout: C", "complex", "real numbers")
    readout = np.asarray(C, dtype=np.float64)
    readout = legs.check_readout(readout, max(1, readout.size))
    w, shape = _frequencies(omega)
    where = resolve_device(device)
    require(dtype in REAL, "grid: dtype", dtype, "torch.complex128 or torch.complex64")
    require(0.0 <= tau <= 1.0, "grid: tau", tau, "0 (G itself) to 1 (normal part)")
    real, n = REAL[dtype], len(readout)
    result = torch.empty(w.size, dtype=dtype, device=where)
    # Reals of a frequency: omega and seven others, four for a factor, two of the sum. Beside them
    # C b and the coefficients of all factors, with the copies made on the way.
    bytes_each, room = real.itemsize * 14 + HOST, memory - 128 * n
    # A factor takes more arrays than a pole.
    pairs = PAIRS.get(where.type, PAIRS_ELSEWHERE) // 16
    for part in _chunks(w.size, pairs, room, bytes_each):
        limited = np.clip(w[part], -LARGE[real], LARGE[real])
        points = torch.from_numpy(limited).to(where, real)
        rows = min(room // bytes_each, pairs) // len(points)
        _horner(readout, points, max(1, rows), torch.view_as_real(result[part]))
        _scale(result[part], w[part], n, tau, LARGE[real])
    return result.reshape(shape)


def pole_grid(
    poles: npt.ArrayLike,
    residues: npt.ArrayLike,
    omega: npt.ArrayLike,
    *,
    device: str | torch.device = "auto",
    memory: int = MEMORY,
) -> torch.Tensor:
    """Return sum_k r_k / (i omega - lambda_k) in complex128 on the device.

    poles (m,), Re < 0, all of them (conjugates are not added); residues (m,); omega, memory and the
    result's shape as in `transfer_grid`. There is no complex64: next to a pole the result moves by
    the rounding of omega over |Re lambda|. Raises UsageError for NaN, infinite poles or Re >= 0,
    and ShapeError if residues do not fit poles.
    """
    at = np.asarray(poles, dtype=np.complex128)
    r = np.asarray(residues, dtype=np.complex128)
    if at.ndim != 1 or r.shape != at.shape or r.size == 0:
        raise ShapeError(
            f"pole sum: poles have shape {at.shape}, residues {r.shape}, expected (m,) and (m,)"
        )
    if not (np.isfinite(at).all() and np.isfinite(r).all() and (at.real < 0.0).all()):
        raise UsageError("pole sum: expected finite residues and finite poles with Re < 0")
    w, shape = _frequencies(omega)
    where = resolve_device(device)
    result = torch.zeros(w.size, dtype=torch.complex128, device=where)
    # (i omega - lambda)^-1 of the block, two reals each, as much again; four reals of the sum.
    bytes_each = 8 * (4 * POLES + 4) + HOST
    pairs = PAIRS.get(where.type, PAIRS_ELSEWHERE) // POLES
    for part in _chunks(w.size, pairs, memory - 48 * POLES, bytes_each):
        points = torch.from_numpy(np.clip(w[part], -legs.LARGE, legs.LARGE)).to(where)
        parts = torch.view_as_real(result[part])
        for first in range(0, len(at), POLES):
            block = slice(first, first + POLES)
            # 1 / (d + i e) = (d - i e) / (d^2 + e^2), d = -Re lambda, e = omega - Im lambda.
            d = torch.from_numpy(-at.real[block, None]).to(where)
            e = points - torch.from_numpy(at.imag[block, None].copy()).to(where)
            square = (e * e).add_(d * d)
            e.div_(square)
            square.reciprocal_().mul_(d)
            r_real = torch.from_numpy(r.real[None, block].copy()).to(where)
            r_imag = torch.from_numpy(r.imag[None, block].copy()).to(where)
            parts[:, 0] += (r_real @ square).addmm_(r_imag, e)[0]
            parts[:, 1] += (r_imag @ square).addmm_(r_real, e, alpha=-1.0)[0]
        _scale(result[part], w[part], 1, 0.0, legs.LARGE)
    return result.reshape(shape)


def _frequencies(omega: npt.ArrayLike) -> tuple[FloatArray, tuple[int, ...]]:
    """Return omega as float64, flat, and its shape."""
    if np.iscomplexobj(omega):
        raise UsageError("grid: omega is complex, expected real frequencies (s = i omega)")
    w = np.asarray(omega, dtype=np.float64)
    if np.isnan(w).any():
        raise UsageError("grid: omega has NaN entries, expected real numbers, 0 or infinity")
    return w.ravel(), w.shape


def _chunks(size: int, most: int, memory: int, bytes_each: int) -> Iterator[slice]:
    """Yield slices of `size` frequencies, at most `most` in each and as many as memory holds."""
    if memory < bytes_each:
        raise UsageError(
            f"grid: memory leaves {max(memory, 0)} bytes, expected at least {bytes_each} for one "
            "frequency; raise memory"
        )
    step = min(most, memory // bytes_each)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def _coefficients(i: FloatArray, w: torch.Tensor) -> torch.Tensor:
    """Return 1 / (i + 2), l and c of each factor f_i, shape (3, len(i), 1), as w is."""
    upper = i + 2.0
    table = np.stack([1.0 / upper, i / upper, (2.0 * i + 2.0) / upper])[..., None]
    return torch.from_numpy(table).to(w.device, w.dtype)


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
    table = _coefficients(np.arange(len(C) - 2.0, -1.0, -1.0), w)
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
