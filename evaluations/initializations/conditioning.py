"""How well conditioned the diagonalisations are at any size, without forming eigenvectors.

Lanczos on closed forms: |A|_2 of HiPPO-LegS, kappa of the rank-one family, and the size of the
coefficients of HiPPO's own eigenvectors, in logarithms.
"""

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.special import gammaln

from robustssm.evaluations.initializations.responses import real_gram
from robustssm.hippo import legs
from robustssm.hippo.spectrum import log_phi_slope
from robustssm.typing import ComplexArray, FloatArray


def optimal_condition(n: int, poles: ComplexArray, tau: float) -> float:
    """Return kappa(V) of the rank-one family, columns x(lambda_k) (|L_k| / tau)^-1/2.

    V^-1 is then conj(V)^* up to unitary diagonals, so kappa = |V|^2, the largest eigenvalue of
    V^* V = (tau^-2 - 1) / -(conj z_k + z_l) in that scaling, z = lambda + 1/2: by Lanczos in
    real form. poles (m,), one of each conjugate pair; 0 < tau < 1. Takes 8 n^2 bytes.
    """
    z = poles + 0.5
    scale = np.sqrt((tau**-2 - 1.0) * tau / np.abs(log_phi_slope(n, z)))
    gram = real_gram(z)
    full = np.concatenate([scale, scale[z.imag != 0.0]])
    gram *= full[:, None]
    gram *= full
    start = np.random.default_rng(0).standard_normal(n)
    return float(eigsh(gram, k=1, which="LA", v0=start, tol=1e-9, return_eigenvectors=False)[0])


def spectral_norm(n: int) -> float:
    """Return |A|_2 of HiPPO-LegS by Lanczos on A^T A, O(n) a step (n >= 3; else dense)."""
    if n < 3:
        return float(np.linalg.norm(legs.matrices(n)[0], 2))
    b, diagonal = legs.input_vector(n), np.arange(1.0, n + 1.0)

    def product(v: FloatArray) -> FloatArray:
        v = v.ravel()
        w = b * v
        below = -b * (np.cumsum(w) - w) - diagonal * v
        w = b * below
        return -b * (np.cumsum(w[::-1])[::-1] - w) - diagonal * below

    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    top = eigsh(operator, k=1, which="LM", v0=b, tol=0.0, return_eigenvectors=False)
    return float(np.sqrt(top[0]))


def log10_real_coefficient(C: FloatArray) -> float:
    """Return log10 max_m sum_i |C_i| |V_im|: a bound of G's residues at the poles -1..-n.

    V_im = (-1)^{i+m} sqrt(2i+1) binom(i, m) binom(i+m, m) are the eigenvectors of A with
    V^-1 B = 1; in logarithms, since they grow like (3 + 2 sqrt 2)^n. 0 for C = 0.
    """
    n = len(C)
    factorial: FloatArray = gammaln(np.arange(2.0 * n) + 1.0)
    used = np.flatnonzero(C)
    if not len(used):
        return 0.0
    log_b = np.log(np.abs(C[used])) + np.log(legs.input_vector(n)[used])
    best = -np.inf
    for m in range(0, int(used[-1]) + 1):
        first = int(np.searchsorted(used, m))
        i = used[first:]
        terms = log_b[first:] + factorial[i + m] - factorial[i - m] - 2.0 * factorial[m]
        best = max(best, float(np.logaddexp.reduce(terms)))
    return float(best / np.log(10.0))
