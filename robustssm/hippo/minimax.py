"""Perturb-then-diagonalize with the error itself as objective: least sup error at a given kappa.

Instead of E the poles and residues are the unknowns. A real system with n states is

    x_E(s) = sum_k m_k / (s - lambda_k) over conjugate pairs,  A + E = V diag(lambda) V^-1,

with the residues m_k = beta_k v_k, beta = V^-1 B_E, so that B_E = sum_k m_k, kappa(V) is that of
the matrix of residues with unit columns, and neither eigenvalues nor their derivatives have to be
computed. Every such pair of poles and residues is some (E, B_E), and every diagonalisable (E, B_E)
with B_E in no invariant subspace is such a pair. The problem is

    minimise log sup_omega |x_E(i omega) - x(i omega)|_2  subject to  kappa(V) <= kappa_0,
    Re lambda_k <= -1/4 and, unless the input is free, sum_k m_k = B.

The error is that of the worst unit readout. The suprema over frequencies and over singular values
are replaced by p-norms with p = 16, 32, 64, 128 in turn, the condition by a quadratic penalty on
log kappa, the bound on the poles is kept by L-BFGS-B, the sum by elimination. The frequencies
follow the poles. The start is the rank-one family at kappa_0, so that the result is deterministic.

With columns Re m_k, Im m_k of a real matrix M (n, n) and c_k = 1 / (i omega - lambda_k),
c'_k = 1 / (i omega - conj lambda_k), x_E = M p, p = (c + c', i (c - c')); a real pole has one
column and p = c. Gradients: dp from dc_k = c_k^2 d lambda_k, and d sigma = u^T dV w for kappa.

What a condition number costs at least: z(t) = V exp(t diag(lambda)) V^-1 z(0) has |V^-1 z|
log-convex in t, so |z(t1)| <= kappa |z(t0)|^(1-l) |z(t2)|^l for t1 = (1-l) t0 + l t2. HiPPO's
states die out after the delay of phi_n, a perturbed system's cannot at once. Where phi_n acts as
a pure delay this leaves 1 / (kappa sqrt(2 log kappa)) of the error to reach, rank-one having
1 / kappa; for finite n no sharp bound is known.

Reference: the objective kappa(V) + gamma |E| that this one replaces is arXiv 2310.01698, section
4.2; L-BFGS-B is Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16 (1995).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from robustssm.errors import UsageError
from robustssm.execution import one_thread
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import MAX_REAL, tau_of_kappa
from robustssm.hippo.spectrum import damped_eigenvalues, log_phi_slope
from robustssm.typing import ComplexArray, FloatArray

POWERS = (16, 32, 64, 128)
# Weight of the squared excess of log kappa: at the minimum the excess is 1 / (2 WEIGHT), 0.2%.
WEIGHT = 300.0
# Frequencies between neighbouring poles; each gap holds one turn of phi_n.
PER_GAP = 16
# The p-norm exceeds the true kappa by a share that a final round or two takes into account.
ROUNDS, CLOSE = 4, 1e-3
MEMORY = 30


@dataclass(frozen=True)
class Minimax:
    """E (n, n) and B_E (n,) with kappa(V) at most `target`, and the rank-one tau it started from.

    steps: iterations of L-BFGS-B a stage; spent: all that were taken.
    """

    E: FloatArray
    B: FloatArray
    target: float
    free_input: bool
    tau: float
    steps: int
    spent: int


class Objective:
    """log p-norm of the error plus the penalty on log kappa, and its gradient.

    Variables, shape (m + n // 2 + n^2,), m = (n + 1) // 2: the logarithm of Re lambda over that of
    the start, the shift of Im lambda in units of Re lambda at the start, the columns of M over the
    norm of the start's residues. All zero but the columns: the start.
    """

    def __init__(self, n: int, tau: float, free_input: bool) -> None:
        self.n, self.pairs, self.free = n, n // 2, free_input
        start = damped_eigenvalues(n, tau)[: (n + 1) // 2]
        residues = -legs.state(n, start) / log_phi_slope(n, start + 0.5)
        norm = np.linalg.norm(residues, axis=0)
        self.damping, self.height = -start.real, start.imag
        self.scale = np.concatenate([norm, norm[: self.pairs]])
        # A real pole enters c + c' twice.
        self.weight = np.where(np.arange(len(start)) < self.pairs, 1.0, 0.5)
        self.share = norm**2 / np.sum(norm**2) / (2.0 * self.weight)
        self.B = legs.input_vector(n)
        columns = np.concatenate([residues.real, residues.imag[:, : self.pairs]], axis=1)
        self.start: FloatArray = np.concatenate(
            [np.zeros(len(start) + self.pairs), (columns / self.scale).ravel()]
        )
        self.log_kappa = 0.0
        self.power = POWERS[0]
        self.follow(self.start)

    @property
    def lower(self) -> FloatArray:
        """The least log Re lambda over the start's, shape (m,): Re lambda <= -1/4."""
        return np.log(-MAX_REAL / self.damping)

    def follow(self, variables: FloatArray) -> None:
        """Choose frequencies between the poles, below the lowest and above the highest."""
        y = np.sort(np.abs(self.system(variables)[0].imag[: self.pairs]))[::-1]
        y = np.maximum(y, 1e-3)
        k = np.linspace(0.0, len(y) - 1.0, PER_GAP * (len(y) - 1) + 1)
        between = np.exp(np.interp(k, np.arange(len(y)), np.log(y)))
        below, above = y[-1] * np.linspace(0.0, 1.0, PER_GAP), y[0] * np.geomspace(1.0, 50.0, 40)
        self.omega = np.unique(np.concatenate([below, between, above]))
        self.x = legs.state(self.n, np.asarray(1j * self.omega, dtype=np.complex128))

    def system(self, variables: FloatArray) -> tuple[ComplexArray, FloatArray]:
        """Return the poles (m,), Im >= 0, and M (n, n): Re of all residues, Im of the pairs'."""
        m = len(self.damping)
        y = self.height.copy()
        y[: self.pairs] += variables[m : m + self.pairs] * self.damping[: self.pairs]
        poles = -self.damping * np.exp(variables[:m]) + 1j * y
        M = variables[m + self.pairs :].reshape(self.n, self.n) * self.scale
        if not self.free:
            missing = self.B - 2.0 * M[:, :m] @ self.weight
            M = M + np.pad(np.outer(missing, self.share), ((0, 0), (0, self.pairs)))
        return poles, M

    def __call__(self, variables: FloatArray) -> tuple[float, FloatArray]:
        """Return the objective and its gradient, the shape of the variables."""
        m, pairs = len(self.damping), self.pairs
        poles, M = self.system(variables)
        c = 1.0 / (1j * self.omega - poles[:, None])
        mirrored = 1.0 / (1j * self.omega - np.conj(poles)[:, None])
        w = self.weight[:, None]
        p = np.concatenate([w * (c + mirrored), 1j * (c - mirrored)[:pairs]])
        error = M @ p.real + 1j * (M @ p.imag) - self.x
        size = np.linalg.norm(error, axis=0)
        ratio = (size / size.max()) ** self.power
        value = float(np.log(size.max()) + np.log(ratio.mean()) / self.power)
        # d value = sum Re <pull, d error>
        pull = error * (ratio / size**2 / ratio.sum())
        toward_M = pull.real @ p.real.T + pull.imag @ p.imag.T
        t = M.T @ pull.real - 1j * (M.T @ pull.imag)
        dc, dm = c * c, mirrored * mirrored
        by_real = w * t[:m] * (dc + dm)
        by_real[:pairs] += 1j * t[m:] * (dc - dm)[:pairs]
        by_imag = 1j * t[:pairs] * (dc - dm)[:pairs] - t[m:] * (dc + dm)[:pairs]
        log_kappa, toward_kappa = self.smooth_kappa(M)
        excess = log_kappa - self.log_kappa
        if excess > 0.0:
            value += WEIGHT * excess**2
            toward_M += 2.0 * WEIGHT * excess * toward_kappa
        if not self.free:
            toward_M[:, :m] -= 2.0 * np.outer(toward_M[:, :m] @ self.share, self.weight)
        gradient = np.concatenate(
            [
                np.sum(by_real.real, axis=1) * poles.real,
                np.sum(by_imag.real, axis=1) * self.damping[:pairs],
                (toward_M * self.scale).ravel(),
            ]
        )
        return value, gradient

    def unit_columns(self, M: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the real form of V, singular values those of V, and the norms divided out."""
        m = len(self.damping)
        square = np.sum(M * M, axis=0)
        square[: self.pairs] += square[m:]
        # A pair's two columns (v, conj v) are unitarily sqrt 2 (Re v, Im v).
        norm = np.sqrt(square[:m] * np.where(np.arange(m) < self.pairs, 0.5, 1.0))
        norm = np.concatenate([norm, norm[: self.pairs]])
        return M / norm, norm

    def smooth_kappa(self, M: FloatArray) -> tuple[float, FloatArray]:
        """Return the log of the p-norm of sigma times that of 1 / sigma, and its gradient in M."""
        m, pairs = len(self.damping), self.pairs
        V, norm = self.unit_columns(M)
        U, sigma, Wt = np.linalg.svd(V)
        up, down = (sigma / sigma[0]) ** self.power, (sigma[-1] / sigma) ** self.power
        value = np.log(sigma[0] / sigma[-1])
        value += (np.log(up.sum()) + np.log(down.sum())) / self.power
        toward_V = (U * ((up / up.sum() - down / down.sum()) / sigma)) @ Wt
        inner = np.sum(V * toward_V, axis=0)
        inner[:pairs] = 0.5 * (inner[:pairs] + inner[m:])
        inner[m:] = inner[:pairs]
        return float(value), (toward_V - V * inner) / norm

    def kappa(self, variables: FloatArray) -> float:
        """Return the 2-norm condition number of the unit eigenvectors."""
        return float(np.linalg.cond(self.unit_columns(self.system(variables)[1])[0]))

    def matrices(self, variables: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return E (n, n) and B_E (n,): A + E = M R M^-1, R the real form of the poles."""
        m = len(self.damping)
        poles, M = self.system(variables)
        V, _ = self.unit_columns(M)
        real, imag = (
            np.concatenate([poles.real, poles.real[: self.pairs]]),
            poles.imag[: self.pairs],
        )
        product = V * real
        product[:, : self.pairs] -= V[:, m:] * imag
        product[:, m:] += V[:, : self.pairs] * imag
        E = np.linalg.solve(V.T, product.T).T - legs.matrices(self.n)[0]
        return E, 2.0 * M[:, :m] @ self.weight if self.free else self.B


def minimax(n: int, *, kappa: float = 10.0, free_input: bool = False, steps: int = 800) -> Minimax:
    """Return the (E, B_E) of least error for the worst unit readout that was found, kappa(V) given.

    steps bounds the iterations of each of the four stages. B_E is HiPPO's B unless free_input. A
    local minimum: that it is the least is not claimed. Raises UsageError for n < 4, bad settings,
    or a kappa that the rank-one family, the start, does not have.
    """
    legs.check_order(n, minimum=4)
    if steps < 1:
        raise UsageError(f"ptd minimax: steps is {steps}, expected at least 1")
    tau = tau_of_kappa(n, kappa)
    objective = Objective(n, tau, free_input)
    x, spent = objective.start, 0
    bounds = [(low, None) for low in objective.lower] + [(None, None)] * (
        len(x) - len(objective.lower)
    )
    settings = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": MEMORY}

    def descend() -> None:
        nonlocal x, spent
        objective.follow(x)
        found = minimize(objective, x, jac=True, method="L-BFGS-B", bounds=bounds, options=settings)
        x, spent = found.x, spent + int(found.nit)

    with one_thread():
        for objective.power in POWERS:
            # Over n singular values the p-norms exceed the maxima by at most log n / p each.
            slack = 2.0 * np.log(max(n / 4.0, 1.0)) / objective.power
            objective.log_kappa = float(np.log(kappa) + slack)
            descend()
        for _ in range(ROUNDS):
            objective.log_kappa += float(np.log((1.0 - CLOSE) * kappa / objective.kappa(x)))
            descend()
            if (1.0 - 2.0 * CLOSE) * kappa <= objective.kappa(x) <= kappa:
                break
        E, B = objective.matrices(x)
    return Minimax(E, B, kappa, free_input, tau, steps, spent)
