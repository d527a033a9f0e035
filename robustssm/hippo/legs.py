"""HiPPO-LegS in closed form: A, B, its normal part and their transfer functions.

With a_i = i + 1/2, b_i = sqrt(2i + 1), P = b / sqrt(2) and A_N = A + P P^T the state of
x' = A x + B u has the Laplace transform x(s) = (sI - A)^-1 B in closed form:

    phi_0 = 1,  phi_{i+1} = phi_i (s - i) / (s + i + 1),  x_i(s) = b_i phi_i / (s + i + 1).

Row i of (sI - A) y = 1, y_i = x_i / b_i, reads (s + i + 1) y_i = 1 - sum_{j<i} (2j+1) y_j, and the
right-hand side is phi_i. Hence B^T x = 1 - phi_n, and by Sherman and Morrison the normal part with
half the input matrix (S4D-LegS) has the transfer function G / (1 + phi_n).

On the imaginary axis |phi_n| = omega / sqrt(omega^2 + n^2), so that the difference
G_diag - G = -G phi_n / (1 + phi_n) is O(omega / n) for fixed omega (weak convergence). At the
frequencies y_k ~ n^2 / ((2k-1) pi) where phi_n turns through the negative axis,
1 + phi_n ~ n^2 / (2 y_k^2) and G ~ C B / (i y_k): the difference is 2 |C B| y_k / n^2, largest at
k = 1, and its sup tends to (2 / pi) |C B| (no strong convergence).

References: HiPPO, arXiv 2008.07669, eq. (5) for A and B; S4, arXiv 2111.00396, Theorem 1 for the
low rank term; S4D, arXiv 2206.11893, section 3 for B / 2; arXiv 2310.01698, Lemma 1.
"""

from collections.abc import Iterator

import numpy as np

from robustssm.errors import ShapeError, UsageError
from robustssm.typing import Array, ComplexArray, FloatArray, IntArray

# Terms summed one by one before Euler-Maclaurin takes over; with five correction terms the
# remainder is below 1e-16 relative (the first neglected term is about 2 (1 / 2 pi J)^12).
EXPLICIT = 16
# B_{2k} / (2k)!, k = 1..5: corrections of the trapezoid rule.
TRAPEZOID = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)

# Below this a frequency counts as zero: phi is then smaller than 1e-100 and 1 + phi is exactly 1.
FLOOR = 1e-100
# Beyond this |s| squares would overflow and B / s is exact (n^2 / LARGE relative).
LARGE = 1e150
# Points taken at once: the eight arrays of a Horner step, 1 MiB, stay in the second-level cache.
BLOCK = 1 << 14


def check_order(n: int, minimum: int = 1) -> int:
    """Return n, or raise UsageError if it is not an integer of at least `minimum`."""
    if isinstance(n, bool) or int(n) != n or n < minimum:
        raise UsageError(f"HiPPO-LegS: state size is {n}, expected an integer >= {minimum}")
    return int(n)


def check_readout(C: FloatArray, n: int) -> FloatArray:
    """Return C as float64 of shape (n,), or raise ShapeError or UsageError (NaN, inf)."""
    C = np.asarray(C, dtype=np.float64)
    if C.shape != (n,):
        raise ShapeError(f"readout: C has shape {C.shape}, expected ({n},) for state size {n}")
    if not np.isfinite(C).all():
        raise UsageError("readout: C has NaN or infinite entries, expected finite numbers")
    largest = float(np.abs(C).max())
    if largest and not 1e-100 < largest < 1e100:
        raise UsageError(
            f"readout: C is as large as {largest:g}, expected 1e-100 to 1e100; scale it"
        )
    return C


def input_vector(n: int) -> FloatArray:
    """Return B_i = sqrt(2i + 1), shape (n,)."""
    return np.sqrt(2.0 * np.arange(check_order(n)) + 1.0)


def matrices(n: int) -> tuple[FloatArray, FloatArray]:
    """Return HiPPO-LegS (A, B), shapes (n, n) and (n,); A is lower triangular, stable."""
    B = input_vector(n)
    A = -np.tril(np.outer(B, B), -1) - np.diag(np.arange(1.0, n + 1.0))
    return A, B


def low_rank(n: int) -> FloatArray:
    """Return P_i = sqrt(i + 1/2), shape (n,): A + P P^T is normal."""
    return np.sqrt(np.arange(check_order(n)) + 0.5)


def _within(s: ComplexArray) -> tuple[ComplexArray, FloatArray]:
    """Return s, flat, shrunk to |s| <= LARGE so that squares are finite, and by what factors.

    x(s) is B / s there, to n^2 / LARGE: the factor makes up for the shrinking, and is 0 at
    infinity, to which `1j * inf` counts although its real part is NaN. Raises UsageError for NaN.
    """
    points = np.asarray(s, dtype=np.complex128).ravel()
    infinite = np.isinf(points)
    if np.isnan(points[~infinite]).any():
        raise UsageError("HiPPO-LegS: s has NaN entries, expected numbers or infinity")
    points = np.where(infinite, 1j * LARGE, points)
    shrink = LARGE / np.maximum(np.abs(points), LARGE)
    return points * shrink, np.where(infinite, 0.0, shrink)


def _factors(s: ComplexArray, i: IntArray, shift: int) -> Iterator[ComplexArray]:
    """Yield (s - i_k) / (s + i_k + shift) for each i_k >= 1 in turn, the shape of s (m,).

    On the imaginary axis as 1 - c / (1 + t^2) + i t c / (1 + t^2), t = Im s / (i_k + shift) and
    c = (2 i_k + shift) / (i_k + shift), in half the time of a complex division. The modulus is
    above 1/4, so that nothing is lost to cancellation, and all rounding is anew for each i_k:
    products do not drift. The array that is yielded is overwritten later.
    """
    rows = max(1, BLOCK // s.size)
    out = np.empty((min(rows, len(i)), s.size), dtype=np.complex128)
    t, part = np.empty((2, *out.shape))
    w = None if s.real.any() else s.imag.copy()
    for first in range(0, len(i), rows):
        lower = float(i[first]) if rows == 1 else 1.0 * i[first : first + rows, None]
        upper = lower + shift
        if first + rows > len(i):
            last = len(i) - first
            out, t, part = out[:last], t[:last], part[:last]
        if w is None:
            np.subtract(s, lower, out=out)
            out /= s + upper
        else:
            np.multiply(w, 1.0 / upper, out=t)
            np.multiply(t, t, out=part)
            part += 1.0
            np.divide((lower + upper) / upper, part, out=part)
            np.subtract(1.0, part, out=out.real)
            np.multiply(t, part, out=out.imag)
        yield from out


def phi(n: int, s: ComplexArray) -> ComplexArray:
    """Return phi_n(s) = prod_{i<n} (s - i) / (s + i + 1), the shape of s; 1 at infinity."""
    points, _ = _within(s)
    value = points / (points + 1.0) if n else np.ones_like(points)
    for start in range(0, points.size, BLOCK):
        product = value[start : start + BLOCK]
        for factor in _factors(points[start : start + BLOCK], np.arange(1, n), 1):
            product *= factor
    return value.reshape(np.shape(s))


def state(n: int, s: ComplexArray) -> ComplexArray:
    """Return x(s) = (sI - A)^-1 B, shape (n, *s.shape); s is no eigenvalue -1..-n; 0 at infinity.

    Raises UsageError for NaN.
    """
    points, shrink = _within(s)
    result = np.empty((check_order(n), points.size), dtype=np.complex128)
    result[0] = shrink / (points + 1.0)
    result[1:2] = result[0] * points / (points + 2.0)
    for start in range(0, points.size, BLOCK):
        x = result[1:, start : start + BLOCK]
        factors = _factors(points[start : start + BLOCK], np.arange(1, n - 1), 2)
        for i, factor in enumerate(factors):
            np.multiply(x[i], factor, out=x[i + 1])
    result *= input_vector(n)[:, None]
    return result.reshape((n, *np.shape(s)))


def transfer(C: FloatArray, s: ComplexArray) -> ComplexArray:
    """Return G(s) = C (sI - A)^-1 B by Horner's rule in O(n) per point.

    C has shape (n,); s any shape, Re s > -1. Every factor has modulus <= 1 for Re s >= -1/2, so
    nothing overflows; the error is a small multiple of n eps sum |C_i x_i|. 0 at infinity.
    Raises UsageError for NaN.
    """
    Cb = np.asarray(C, dtype=np.float64) * input_vector(len(C))
    points, shrink = _within(s)
    value = np.full_like(points, Cb[-1])
    order = np.arange(1, len(Cb) - 1)[::-1]
    for start in range(0, points.size, BLOCK):
        h = value[start : start + BLOCK]
        factors = _factors(points[start : start + BLOCK], order, 2)
        for coefficient, factor in zip(Cb[order].tolist(), factors, strict=True):
            h *= factor
            h += coefficient
    if len(Cb) > 1:
        value = Cb[0] + value * (points / (points + 2.0))
    value *= shrink / (points + 1.0)
    return value.reshape(np.shape(s))


def phase(n: int, omega: FloatArray) -> FloatArray:
    """Return arg phi_n(i omega) for finite omega > 0, continuous, from pi (n - 1/2) down to 0.

    psi = 2 sum_{j=1}^{n-1} atan(j / omega) + atan(n / omega), in O(1) per frequency by
    Euler-Maclaurin; relative error a few eps.
    """
    w = np.asarray(omega, dtype=np.float64)
    J = min(EXPLICIT, n)
    half = sum((np.arctan(j / w) for j in range(1, J)), np.zeros_like(w))
    if n == J:
        return 2.0 * half + np.arctan(n / w)
    half = half + 0.5 * np.arctan(J / w) + integral_atan(n, w) - integral_atan(J, w)
    for k, weight in enumerate(TRAPEZOID, start=1):
        half = half + weight * (derivative_atan(n, w, k) - derivative_atan(J, w, k))
    return 2.0 * half


def integral_atan(x: float, w: Array) -> Array:
    """Return int_0^x atan(t / w) dt, Re w > 0, by its series where x << |w| (no cancellation)."""
    z = x / w
    small = np.abs(z) < 0.01
    exact = x * np.arctan(z) - 0.5 * w * log1p(z * z)
    q = np.where(small, z, 0.01) ** 2
    series = x * z * (0.5 - q * (1 / 12 - q * (1 / 30 - q * (1 / 56 - q / 90))))
    return np.asarray(np.where(small, series, exact))


def log1p(z: Array) -> Array:
    """Return log(1 + z), accurate for small z; numpy's complex one loses the real part there."""
    if np.isrealobj(z):
        return np.log1p(z)
    x, y = np.real(z), np.imag(z)
    return np.asarray(0.5 * np.log1p(x * (2.0 + x) + y * y) + 1j * np.arctan2(y, 1.0 + x))


def derivative_atan(x: float, w: Array, k: int) -> Array:
    """Return the (2k-1)-th derivative of atan(t / w) in t at x, from log(w + i t)."""
    m = 2 * k - 1
    factorial = float(np.prod(np.arange(1, m), initial=1.0))
    upper = (1j / (w + 1j * x)) ** m
    if np.isrealobj(w):
        return factorial * np.imag(upper)
    return np.asarray(factorial * (upper - (-1j / (w - 1j * x)) ** m) / 2j)


def normal_ratio(n: int, omega: FloatArray, tau: float = 1.0) -> ComplexArray:
    """Return 1 + tau phi_n(i omega), shape of omega: G_t = G / (1 + tau phi_n).

    tau = 1 is the normal part with B/2 (S4D-LegS); tau = t / (2 - t) is the rank-one family
    A + t P P^T with input (1 - t/2) B. Free of cancellation near the spikes of tau = 1:
    1 + phi = (1 - r) + 2 r cos(psi/2) e^{i psi/2}, r = |phi| = omega / hypot(omega, n). At
    infinity 1 + tau. Raises UsageError for NaN.
    """
    omega = np.asarray(omega, dtype=np.float64)
    if np.isnan(omega).any():
        raise UsageError("HiPPO-LegS: omega has NaN entries, expected numbers or infinity")
    w = np.clip(np.abs(omega), FLOOR, LARGE)
    hypot = np.hypot(w, n)
    r, gap = w / hypot, n * (n / (hypot * (hypot + w)))
    psi = phase(n, w)
    if tau == 1.0:
        value = gap + 2.0 * r * np.cos(0.5 * psi) * np.exp(0.5j * psi)
    else:
        value = 1.0 + tau * r * np.exp(1j * psi)
    value = np.where(omega < 0, np.conj(value), value)
    return np.where(omega == 0.0, 1.0, value)


def log10_eigenvector_condition(n: int) -> float:
    """Return log10 kappa_2(V) of A_H's own eigenvectors, about 0.092 (3 + 2 sqrt 2)^n n^-1/4.

    Fitted to exact values for n = 4 to 64: 13%, 5%, 2% and 0.3% too small at n = 4, 8, 16 and 32,
    0.5% too large at n = 64. `numpy.linalg.cond` saturates near 1e20.
    """
    if n == 1:
        return 0.0
    return float(np.log10(0.092) + n * np.log10(3.0 + 2.0 * np.sqrt(2.0)) - 0.25 * np.log10(n))
