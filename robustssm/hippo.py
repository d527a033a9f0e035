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

import numpy as np

from robustssm.errors import ShapeError, UsageError
from robustssm.typing import Array, ComplexArray, FloatArray

# Terms summed one by one before Euler-Maclaurin takes over; with five correction terms the
# remainder is below 1e-16 relative (the first neglected term is about 2 (1 / 2 pi J)^12).
EXPLICIT = 16
# B_{2k} / (2k)!, k = 1..5: corrections of the trapezoid rule.
TRAPEZOID = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)


# Below this a frequency counts as zero: phi is then smaller than 1e-100 and 1 + phi is exactly 1.
FLOOR = 1e-100


def check_order(n: int, minimum: int = 1) -> int:
    """Return n, or raise UsageError where it is not an integer of at least `minimum`."""
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
    return C


def input_vector(n: int) -> FloatArray:
    """Return B_i = sqrt(2i + 1), shape (n,)."""
    return np.sqrt(2.0 * np.arange(check_order(n)) + 1.0)


def legs(n: int) -> tuple[FloatArray, FloatArray]:
    """Return HiPPO-LegS (A, B), shapes (n, n) and (n,); A is lower triangular, stable."""
    B = input_vector(n)
    A = -np.tril(np.outer(B, B), -1) - np.diag(np.arange(1.0, n + 1.0))
    return A, B


def low_rank(n: int) -> FloatArray:
    """Return P_i = sqrt(i + 1/2), shape (n,): A + P P^T is normal."""
    return np.sqrt(np.arange(check_order(n)) + 0.5)


def normal_part(n: int) -> FloatArray:
    """Return A_N = A + P P^T = K - I/2 with K real and skew, shape (n, n)."""
    A, _ = legs(n)
    P = low_rank(n)
    return A + np.outer(P, P)


def phi(n: int, s: ComplexArray) -> ComplexArray:
    """Return phi_n(s) = prod_{i<n} (s - i) / (s + i + 1), the shape of s."""
    s = np.asarray(s, dtype=np.complex128)
    value = np.ones_like(s, dtype=np.complex128)
    for i in range(n):
        value *= (s - i) / (s + (i + 1))
    return value


def state(n: int, s: ComplexArray) -> ComplexArray:
    """Return x(s) = (sI - A)^-1 B, shape (n, *s.shape); s is not an eigenvalue -1..-n."""
    s = np.asarray(s, dtype=np.complex128)
    i = np.arange(check_order(n)).reshape((n,) + (1,) * s.ndim)
    factors = np.empty((n, *s.shape), dtype=np.complex128)
    factors[0] = 1.0 / (s + 1.0)
    factors[1:] = (s - i[:-1]) / (s + (i[:-1] + 2.0))
    result: ComplexArray = np.multiply.accumulate(factors, axis=0)
    result *= input_vector(n).reshape(i.shape)
    return result


def transfer(C: FloatArray, s: ComplexArray) -> ComplexArray:
    """Return G(s) = C (sI - A)^-1 B by Horner's rule in O(n) per point.

    C has shape (n,); s any shape, Re s > -1. Every factor has modulus <= 1 for Re s >= -1/2, so
    nothing overflows; the error is a small multiple of n eps sum |C_i x_i|.
    """
    s = np.asarray(s, dtype=np.complex128)
    Cb = np.asarray(C, dtype=np.float64) * input_vector(len(C))
    h = np.full_like(s, Cb[-1])
    for i in range(len(C) - 2, -1, -1):
        h *= (s - i) / (s + (i + 2))
        h += Cb[i]
    return h / (s + 1.0)


def phase(n: int, omega: FloatArray) -> FloatArray:
    """Return arg phi_n(i omega) for omega > 0, continuous, from pi (n - 1/2) down to 0.

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
    result: Array = np.where(small, series, exact)
    return result


def log1p(z: Array) -> Array:
    """Return log(1 + z), accurate for small z; numpy's complex one loses the real part there."""
    if np.isrealobj(z):
        return np.log1p(z)
    x, y = np.real(z), np.imag(z)
    result: Array = 0.5 * np.log1p(x * (2.0 + x) + y * y) + 1j * np.arctan2(y, 1.0 + x)
    return result


def derivative_atan(x: float, w: Array, k: int) -> Array:
    """Return the (2k-1)-th derivative of atan(t / w) in t at x, from log(w + i t)."""
    m = 2 * k - 1
    factorial = float(np.prod(np.arange(1, m), initial=1.0))
    upper = (1j / (w + 1j * x)) ** m
    if np.isrealobj(w):
        return factorial * np.imag(upper)
    result: Array = factorial * (upper - (-1j / (w - 1j * x)) ** m) / 2j
    return result


def normal_ratio(n: int, omega: FloatArray, tau: float = 1.0) -> ComplexArray:
    """Return 1 + tau phi_n(i omega), shape of omega: G_t = G / (1 + tau phi_n).

    tau = 1 is the normal part with B/2 (S4D-LegS); tau = t / (2 - t) is the rank-one family
    A + t P P^T with input (1 - t/2) B. Free of cancellation near the spikes of tau = 1:
    1 + phi = (1 - r) + 2 r cos(psi/2) e^{i psi/2}, r = |phi| = omega / hypot(omega, n).
    """
    omega = np.asarray(omega, dtype=np.float64)
    w = np.maximum(np.abs(omega), FLOOR)
    hypot = np.hypot(w, n)
    r, gap = w / hypot, n * (n / (hypot * (hypot + w)))
    psi = phase(n, w)
    if tau == 1.0:
        value = gap + 2.0 * r * np.cos(0.5 * psi) * np.exp(0.5j * psi)
    else:
        value = 1.0 + tau * r * np.exp(1j * psi)
    value = np.where(omega < 0, np.conj(value), value)
    return np.where(omega == 0.0, 1.0, value)


def h2_norm(C: FloatArray) -> float:
    """Return ||G||_2 of C (sI - A)^-1 B in O(n): the Gramian of (A, B) is tridiagonal.

    W_ii = 1/2 and W_{i,i-1} = i / (2 sqrt(4 i^2 - 1)), the shifted-Legendre Jacobi matrix.
    """
    C = np.asarray(C, dtype=np.float64)
    i = np.arange(1, len(C))
    square = 0.5 * np.dot(C, C) + np.dot(C[1:] * C[:-1], i / np.sqrt(4.0 * i * i - 1.0))
    return float(np.sqrt(max(square, 0.0)))


def log10_eigenvector_condition(n: int) -> float:
    """Return log10 kappa_2(V) of A_H's own eigenvectors, about 0.092 (3 + 2 sqrt 2)^n n^-1/4.

    Fitted to exact values for n = 4 to 64: 13%, 5%, 2% and 0.3% too small at n = 4, 8, 16 and 32,
    0.5% too large at n = 64. `numpy.linalg.cond` saturates near 1e20.
    """
    if n == 1:
        return 0.0
    return float(np.log10(0.092) + n * np.log10(3.0 + 2.0 * np.sqrt(2.0)) - 0.25 * np.log10(n))
