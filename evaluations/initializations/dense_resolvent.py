"""sigma_min(zI - M) of a dense real matrix: Schur form and inverse Lanczos, many points at once.

Reference: Trefethen and Embree, Spectra and Pseudospectra (2005), section 39 (inverse Lanczos on
the Schur factor); Golub and Van Loan, Matrix Computations (2013), section 10.4 (Golub-Kahan).
"""

import numpy as np
from scipy.linalg import eigh, schur

from robustssm.evaluations.initializations.responses import in_blocks
from robustssm.typing import ComplexArray, FloatArray

# Estimated relative error at which Lanczos stops, and the steps at which it is estimated. Where
# singular values cluster the error itself is up to a hundred times larger (measured).
LANCZOS_TOLERANCE = 1e-9
CHECKS = (3, 5, 8, 11, 15, 20, 27, 36, 48, 64, 85, 113, 150, 200)
# Rows of a diagonal block in a triangular solve, and points solved together.
ROWS, COLUMNS = 32, 512


class Dense:
    """Any real matrix M (n, n): complex Schur form, inverse Lanczos on the triangular factor.

    The Schur form is exact for a matrix within eps |M|: sigma_min has that absolute accuracy,
    and if it comes out below `floor` = eps |M|_2, that is returned, an upper bound. Costs
    O(n^3) once and O(n^2) per point and step.
    """

    def __init__(self, M: FloatArray) -> None:
        self.M = M
        self.T = schur(M, output="complex")[0].astype(np.complex128)
        self.eigenvalues: ComplexArray = np.diag(self.T).copy()
        self.floor = float(np.finfo(np.float64).eps * np.linalg.norm(M, 2))

    def log10_sigma(self, z: ComplexArray) -> FloatArray:
        """Return log10 of the larger of sigma_min(zI - M) and the floor, the shape of z."""
        return in_blocks(self._log10_sigma, z, COLUMNS)

    @property
    def numerical_abscissa(self) -> float:
        """The largest eigenvalue of (M + M^T) / 2."""
        return float(self.support(np.zeros(1))[0][0])

    def support(self, theta: FloatArray) -> tuple[FloatArray, ComplexArray]:
        """Return the support function and boundary points at theta (m,), both (m,); O(n^3) each."""
        top = [len(self.M) - 1] * 2
        values, points = np.empty(len(theta)), np.empty(len(theta), dtype=np.complex128)
        for k, angle in enumerate(theta):
            turned = np.exp(-1j * angle) * self.M
            value, v = eigh(0.5 * (turned + turned.conj().T), subset_by_index=top)
            values[k], points[k] = value[0], v[:, 0].conj() @ (self.M @ v[:, 0])
        return values, points

    def _log10_sigma(self, z: ComplexArray) -> FloatArray:
        """Golub-Kahan-Lanczos on (zI - T)^-1 at all points at once; converged points leave."""
        n, m = len(self.M), len(z)
        start = np.random.default_rng(0).standard_normal(n)
        start /= np.linalg.norm(start)
        v: ComplexArray = np.tile(start[:, None], (1, m)).astype(np.complex128)
        u: ComplexArray = np.zeros_like(v)
        beta, active = np.zeros(m), np.arange(m)
        diagonal, upper = np.zeros((m, CHECKS[-1])), np.zeros((m, CHECKS[-1]))
        result = np.empty(m)
        for k in range(1, CHECKS[-1] + 1):
            u, alpha = _normalised(self._solve(z[active], v) - beta * u)
            v, beta = _normalised(self._solve_adjoint(z[active], u) - alpha * v)
            diagonal[active, k - 1], upper[active, k - 1] = alpha, beta
            if k not in CHECKS:
                continue
            value, error = _top(diagonal[active, :k], upper[active, :k])
            result[active] = value
            keep = error > LANCZOS_TOLERANCE
            active, beta, u, v = active[keep], beta[keep], u[:, keep], v[:, keep]
            if not len(active):
                break
        # One point in a thousand, where singular values cluster: a singular value decomposition.
        for point in active:
            shifted = z[point] * np.eye(n) - self.M
            result[point] = 1.0 / max(np.linalg.svd(shifted, compute_uv=False)[-1], self.floor)
        return np.log10(np.maximum(1.0 / result, self.floor))

    def _pivots(self, z: ComplexArray) -> ComplexArray:
        """Return z - t_ii, (n, m), none smaller than the floor."""
        pivots = z - self.eigenvalues[:, None]
        return np.where(np.abs(pivots) < self.floor, self.floor, pivots)

    def _solve(self, z: ComplexArray, V: ComplexArray) -> ComplexArray:
        """Return (zI - T)^-1 V column by column, V (n, m), by blocks of rows from the last."""
        X, pivots, n = V.copy(), self._pivots(z), len(V)
        for start in range((n - 1) // ROWS * ROWS, -1, -ROWS):
            end = min(start + ROWS, n)
            X[start:end] += self.T[start:end, end:] @ X[end:]
            for i in range(end - 1, start - 1, -1):
                X[i] = (X[i] + self.T[i, i + 1 : end] @ X[i + 1 : end]) / pivots[i]
        return X

    def _solve_adjoint(self, z: ComplexArray, V: ComplexArray) -> ComplexArray:
        """Return (zI - T)^-* V column by column, V (n, m), by blocks of rows from the first."""
        X, pivots, L = V.copy(), self._pivots(z).conj(), self.T.conj().T
        for start in range(0, len(V), ROWS):
            end = min(start + ROWS, len(V))
            X[start:end] += L[start:end, :start] @ X[:start]
            for i in range(start, end):
                X[i] = (X[i] + L[i, start:i] @ X[start:i]) / pivots[i]
        return X


def _normalised(X: ComplexArray) -> tuple[ComplexArray, FloatArray]:
    """Return the columns of X (n, m) at unit length, and their lengths (m,)."""
    length = np.linalg.norm(X, axis=0)
    return X / np.maximum(length, np.finfo(np.float64).tiny), length


def _top(diagonal: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the largest singular value of each upper bidiagonal, and its relative error.

    diagonal, upper (m, k), the last of `upper` outside. The residual r bounds the distance to
    some singular value; r^2 / gap, the gap of the Ritz values, estimates it to second order.
    """
    k = diagonal.shape[1]
    i = np.arange(k)
    scale = diagonal.max(axis=1, keepdims=True)
    alpha, beta = diagonal / scale, upper / scale
    gram = np.zeros((len(alpha), k, k))
    gram[:, i, i] = alpha**2
    gram[:, i[:-1], i[:-1]] += beta[:, :-1] ** 2
    gram[:, i[:-1], i[1:]] = gram[:, i[1:], i[:-1]] = alpha[:, 1:] * beta[:, :-1]
    values, vectors = np.linalg.eigh(gram)
    largest = values[:, -1]
    residual = alpha[:, -1] * beta[:, -1] * np.abs(vectors[:, -1, -1]) / largest
    gap = np.maximum((largest - values[:, -2]) / largest, np.finfo(np.float64).tiny)
    return scale[:, 0] * np.sqrt(largest), 0.5 * np.minimum(residual, residual**2 / gap)
