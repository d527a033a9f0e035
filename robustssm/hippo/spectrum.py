"""The spectrum of the normal part of HiPPO-LegS and of the rank-one family, in closed form.

Eigenvalues of A_N = A + P P^T are -1/2 +- i y_k; those of A + t P P^T solve phi_n = -1 / tau with
tau = t / (2 - t). Eigenvectors are x(lambda) of `legs.state` in both cases, since
(lambda - A_t) v = 0 makes v a multiple of (lambda - A)^-1 P.

Reference: arXiv 2206.11893, section 3 (normal part); the rank-one family is this project's own.
"""

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from robustssm.errors import StabilityError, require
from robustssm.hippo import legs
from robustssm.typing import Array, ComplexArray, FloatArray

# B_{2k}(1/2) / (2k)!, k = 1..5: corrections of the midpoint rule.
MIDPOINT = (-1 / 24, 7 / 5760, -31 / 967680, 127 / 154828800, -73 / 3503554560)


def spikes(n: int, count: int | None = None) -> FloatArray:
    """Return the eigenfrequencies y_1 > y_2 > ... > 0 of A_N, eigenvalues -1/2 +- i y_k.

    y_k solves M(y) = sum_{j<n} atan(a_j / y) = (2k-1) pi/2, in O(1) each: M for y > n, its
    complement sum atan(y / a_j) for y <= n, so that the smallest are accurate to eps as well.
    An odd n has the eigenvalue -1/2 besides. y_k = n^2/q - q/6 + O(n^-2), q = (2k-1) pi.
    """
    available = legs.check_order(n) // 2
    count = available if count is None else count
    require(0 <= count <= available, "spikes: count", count, f"0 to {available} for n = {n}")
    k = np.arange(1, count + 1)
    target = (2 * k - 1) * (np.pi / 2)
    complement = (n - 2 * k + 1) * (np.pi / 2)
    # The smallest eigenfrequency exceeds pi / (4 sum 1 / a_j); both functions are monotone, M
    # convex and its complement concave, so a Newton step from below stays below the root.
    low = np.full(count, np.pi / (4.0 * np.sum(1.0 / (np.arange(n) + 0.5))))
    high = np.full(count, 2.0 * n * n / np.pi)
    y = np.clip(n * n / (2.0 * target) - target / 3.0, low, high)
    for _ in range(80):
        upper = y > n
        atan_sum, slope = _angle_sums(n, y)
        residual = np.where(upper, atan_sum - target, complement - (n * (np.pi / 2) - atan_sum))
        small = ~upper
        if small.any():
            residual[small] = complement[small] - _complement_sum(n, y[small])
        low = np.where(residual > 0, np.maximum(low, y), low)
        high = np.where(residual < 0, np.minimum(high, y), high)
        step = residual / slope
        new = y + step
        outside = (new <= low) | (new >= high)
        new = np.where(outside & (residual != 0), np.sqrt(low * high), new)
        if np.all(np.abs(new - y) <= 2e-16 * y):
            break
        y = new
    return y


def _angle_sums(n: int, w: Array) -> tuple[Array, Array]:
    """Return M(w) = sum atan(a_j / w) and -M'(w) = sum a_j / (a_j^2 + w^2), Re w > 0."""
    J = min(legs.EXPLICIT, n)
    M, slope = np.zeros_like(w), np.zeros_like(w)
    for j in range(J):
        a = j + 0.5
        M += np.arctan(a / w)
        slope += a / (a * a + w * w)
    if n > J:
        M += legs.integral_atan(n, w) - legs.integral_atan(J, w)
        slope += 0.5 * legs.log1p((n * n - J * J) / (J * J + w * w))
        for k, weight in enumerate(MIDPOINT, start=1):
            M += weight * (legs.derivative_atan(n, w, k) - legs.derivative_atan(J, w, k))
            slope += weight * (_derivative_log(n, w, k) - _derivative_log(J, w, k))
    return M, slope


def _complement_sum(n: int, w: Array) -> Array:
    """Return Theta(w) = sum atan(w / a_j), accurate where |w| << n."""
    J = min(legs.EXPLICIT, n)
    theta = np.zeros_like(w)
    for j in range(J):
        theta += np.arctan(w / (j + 0.5))
    if n > J:
        theta += n * np.arctan(w / n) - J * np.arctan(w / J)
        theta += 0.5 * w * legs.log1p((n * n - J * J) / (J * J + w * w))
        for k, weight in enumerate(MIDPOINT, start=1):
            theta -= weight * (legs.derivative_atan(n, w, k) - legs.derivative_atan(J, w, k))
    return theta


def _derivative_log(x: float, w: Array, k: int) -> Array:
    """Return the (2k-1)-th derivative of t / (t^2 + w^2) in t at x, from 1 / (t + i w)."""
    m = 2 * k - 1
    factorial = float(np.prod(np.arange(1, m + 1), initial=1.0))
    if np.isrealobj(w):
        return np.asarray(-factorial * np.real(1.0 / (x + 1j * w) ** (m + 1)))
    both = (x + 1j * w) ** -(m + 1.0) + (x - 1j * w) ** -(m + 1.0)
    return np.asarray(-0.5 * factorial * both)


def normal_eigenpairs(n: int) -> tuple[ComplexArray, ComplexArray]:
    """Return eigenvalues (n,) and unitary eigenvectors (n, n) of A_N, in closed form.

    v_k = x(lambda_k) / sqrt(N_k) with N_k = 2 sum a_i / (a_i^2 + y_k^2); then v_k^* B is
    2 / sqrt(N_k), real and positive. Order: y descending over all n, conjugates mirrored.
    """
    y = spikes(n)
    y = np.concatenate([y, np.zeros(n % 2), -y[::-1]])
    eigenvalues = -0.5 + 1j * y
    V = legs.state(n, eigenvalues) if n > 1 else np.ones((1, 1), dtype=np.complex128)
    _, slope = _angle_sums(n, np.maximum(np.abs(y), legs.FLOOR))
    V = V / np.sqrt(2.0 * slope) if n > 1 else V
    return eigenvalues, V


def damped_eigenvalues(n: int, tau: float) -> ComplexArray:
    """Return the n eigenvalues of the rank-one family, phi_n(lambda) = -1 / tau, 0 < tau <= 1.

    With lambda + 1/2 = i w this is 2 i M(w) = (2k-1) pi i - ln tau, k = 1..n/2, in O(1) each:
    followed from those of the normal part (tau = 1) by d z / d ln(1/tau) = 1 / L(z), z = i w and
    L = sum 2 a_i / (z^2 - a_i^2), then Newton. Raises StabilityError for tau below 1.5 tau_c,
    where the lowest pair collides (`defective_tau`) and the conjugate path does not exist.
    """
    require(0.0 < tau <= 1.0, "rank-one PTD: tau", tau, "0 < tau <= 1")
    limit = 1.5 * defective_tau(n)
    if tau < limit:
        raise StabilityError(
            f"rank-one PTD: tau is {tau:g}, expected at least {limit:.3g} at n = {n}, where the "
            "matrix is nearly defective; choose a larger tau"
        )
    z = (1j * spikes(n)).astype(np.complex128)
    span = -np.log(tau)
    steps = int(np.ceil(4.0 * span)) + 1
    h = span / steps
    for _ in range(steps if span else 0):
        k1 = 1.0 / log_phi_slope(n, z)
        k2 = 1.0 / log_phi_slope(n, z + 0.5 * h * k1)
        k3 = 1.0 / log_phi_slope(n, z + 0.5 * h * k2)
        k4 = 1.0 / log_phi_slope(n, z + h * k3)
        z = z + (h / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    k = np.arange(1, n // 2 + 1)
    target = (2 * k - 1) * (np.pi / 2) - 0.5j * span
    complement = (n - 2 * k + 1) * (np.pi / 2) + 0.5j * span
    for _ in range(4 if span else 0):
        w = -1j * z
        M, slope = _angle_sums(n, w)
        residual = np.where(np.abs(w) > n, M - target, complement - _complement_sum(n, w))
        z = z + 1j * residual / slope
    real = _damped_real(n, span) if n % 2 else np.zeros(0)
    centred: ComplexArray = np.concatenate([z, real, np.conj(z[::-1])])
    return centred - 0.5


def _damped_real(n: int, span: float) -> FloatArray:
    """Return z = lambda + 1/2 of the real eigenvalue for odd n: ln |phi| = span, z <= 0."""
    if n == 1 or span == 0.0:
        return np.array([-0.5 * np.tanh(0.5 * span)])

    def excess(z: float) -> float:
        a = np.arange(n) + 0.5
        return float(np.sum(np.log(np.abs(z - a)) - np.log(np.abs(z + a)))) - span

    return np.array([brentq(excess, np.nextafter(-0.5, 0.0), 0.0, xtol=1e-16, rtol=8.9e-16)])


def log_phi_slope(n: int, z: ComplexArray) -> ComplexArray:
    """Return L(z) = d ln phi_n / dz = sum_i 2 a_i / (z^2 - a_i^2), O(1) each; z off the real axis.

    For real z, where the sum has poles, it is summed term by term.
    """
    z = np.asarray(z, dtype=np.complex128)
    real = z.imag == 0.0
    if not real.any():
        w = np.where(z.imag > 0.0, -1j * z, 1j * z)
        return np.asarray(-2.0 * _angle_sums(n, w)[1], dtype=np.complex128)
    total = np.zeros_like(z)
    if not real.all():
        total[~real] = log_phi_slope(n, z[~real])
    a = np.arange(n) + 0.5
    total[real] = [np.sum(2.0 * a / (x * x - a * a)) for x in z[real].real]
    return total


def defective_tau(n: int) -> float:
    """Return tau_c(n) = 1 / min |phi_n(s)|, s in (-2, -1) (n even) or (-3, -2) (n odd).

    There the lowest conjugate pair of the rank-one family meets on the real axis, and the matrix
    is defective; for odd n the real eigenvalue stays apart, in (-1, -1/2). 0 for n = 1.
    """
    if n == 1:
        return 0.0
    right = -1.0 if n % 2 == 0 else -2.0
    i = np.arange(n)

    def log_modulus(s: float) -> float:
        return float(np.sum(np.log(np.abs(s - i)) - np.log(np.abs(s + i + 1.0))))

    bounds = (right - 1.0 + 1e-9, right - 1e-9)
    lowest = minimize_scalar(log_modulus, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return float(np.exp(-lowest.fun))
