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

With columns Re m_k, Im m_k of a real matrix M (n, n), lambda_k = a_k + i y_k and d_k = (s - a_k)^2
+ y_k^2, x_E = M p, p = 2 ((s - a) / d, -y / d); a real pole has one column and p = 1 / (s - a).
Gradients are those of torch.

What a condition number costs at least: z(t) = V exp(t diag(lambda)) V^-1 z(0) has |V^-1 z|
log-convex in t, so |z(t1)| <= kappa |z(t0)|^(1-l) |z(t2)|^l for t1 = (1-l) t0 + l t2. HiPPO's
states die out after the delay of phi_n, a perturbed system's cannot at once. Where phi_n acts as
a pure delay this leaves 1 / (kappa sqrt(2 log kappa)) of the error to reach, rank-one having
1 / kappa; for finite n no sharp bound is known.

Reference: the objective kappa(V) + gamma |E| that this one replaces is arXiv 2310.01698, section
4.2 (in the code released with it, kappa(V)^2 + lambda |E|_F); L-BFGS-B is Byrd, Lu, Nocedal and
Zhu, SIAM J. Sci. Comput. 16 (1995).
"""

import numpy as np
import torch
from scipy.optimize import minimize

from robustssm.errors import require
from robustssm.execution import one_thread
from robustssm.hippo import legs
from robustssm.hippo.diagonalize import MAX_REAL, Diagonalization, perturb, tau_of_kappa
from robustssm.hippo.spectrum import damped_eigenvalues, log_phi_slope
from robustssm.typing import FloatArray

POWERS = (16, 32, 64, 128)
# Weight of the squared excess of log kappa: at the minimum the excess is 1 / (2 WEIGHT), 0.2%.
WEIGHT = 300.0
# Frequencies between neighbouring poles; each gap holds one turn of phi_n.
PER_GAP = 16
# The p-norm exceeds the true kappa by a share that a final round or two takes into account.
ROUNDS, CLOSE = 4, 1e-3
MEMORY = 30


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
        scale = np.concatenate([norm, norm[: self.pairs]])
        # A real pole enters c + c' twice.
        weight = np.where(np.arange(len(start)) < self.pairs, 1.0, 0.5)
        columns = np.concatenate([residues.real, residues.imag[:, : self.pairs]], axis=1)
        self.start: FloatArray = np.concatenate(
            [np.zeros(len(start) + self.pairs), (columns / scale).ravel()]
        )
        # The least log Re lambda over the start's, shape (m,): Re lambda <= -1/4.
        self.lower = np.log(MAX_REAL / start.real)
        self.damping, self.height = torch.from_numpy(-start.real), torch.from_numpy(start.imag)
        self.scale, self.weight = torch.from_numpy(scale), torch.from_numpy(weight)
        share = norm**2 / np.sum(norm**2) / (2.0 * weight)
        self.share = torch.from_numpy(np.concatenate([share, np.zeros(self.pairs)]))
        self.B = torch.from_numpy(legs.input_vector(n))
        self.log_kappa = 0.0
        self.power = POWERS[0]
        self.follow(self.start)

    def follow(self, variables: FloatArray) -> None:
        """Choose frequencies between the poles, below the lowest and above the highest."""
        y = np.sort(np.abs(self.system(torch.from_numpy(variables))[1].numpy()[: self.pairs]))[::-1]
        y = np.maximum(y, 1e-3)
        k = np.linspace(0.0, len(y) - 1.0, PER_GAP * (len(y) - 1) + 1)
        between = np.exp(np.interp(k, np.arange(len(y)), np.log(y)))
        below, above = y[-1] * np.linspace(0.0, 1.0, PER_GAP), y[0] * np.geomspace(1.0, 50.0, 40)
        s = 1j * np.unique(np.concatenate([below, between, above]))
        self.s, self.x = torch.from_numpy(s), torch.from_numpy(legs.state(self.n, s))

    def system(self, variables: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return Re and Im >= 0 of the poles, (m,) each, and M (n, n): Re of all residues, Im."""
        m = len(self.damping)
        logs, shifts, columns = variables.split([m, self.pairs, self.n**2])
        y = self.height + torch.nn.functional.pad(shifts, (0, m - self.pairs)) * self.damping
        M = columns.reshape(self.n, self.n) * self.scale
        if not self.free:
            missing = self.B - 2.0 * M[:, :m] @ self.weight
            M = M + torch.outer(missing, self.share)
        return -self.damping * torch.exp(logs), y, M

    def __call__(self, variables: FloatArray) -> tuple[float, FloatArray]:
        """Return the objective and its gradient, the shape of the variables."""
        at = torch.from_numpy(variables).requires_grad_()
        value = self.value(at)
        (gradient,) = torch.autograd.grad(value, at)
        return value.item(), gradient.numpy()

    def value(self, variables: torch.Tensor) -> torch.Tensor:
        """Return the objective."""
        a, y, M = self.system(variables)
        shifted = self.s - a[:, None]
        square = shifted * shifted + (y * y)[:, None]
        pair = y[: self.pairs, None] / square[: self.pairs]
        p = torch.cat([self.weight[:, None] * shifted / square, -pair])
        error = 2.0 * M.to(p.dtype) @ p - self.x
        size = torch.linalg.vector_norm(error, dim=0)
        value = log_norm(size, self.power) - np.log(len(size)) / self.power
        sigma = torch.linalg.svdvals(self.unit_columns(M))
        log_kappa = log_norm(sigma, self.power) + log_norm(1.0 / sigma, self.power)
        return value + WEIGHT * torch.relu(log_kappa - self.log_kappa) ** 2

    def unit_columns(self, M: torch.Tensor) -> torch.Tensor:
        """Return the real form of the unit eigenvectors V, with the singular values of V."""
        m = len(self.damping)
        square = torch.sum(M * M, dim=0)
        # A pair's two columns (v, conj v) are unitarily sqrt 2 (Re v, Im v).
        pair = 0.5 * (square[: self.pairs] + square[m:])
        return M / torch.sqrt(torch.cat([pair, square[self.pairs : m], pair]))

    def kappa(self, variables: FloatArray) -> float:
        """Return the 2-norm condition number of the unit eigenvectors."""
        *_, M = self.system(torch.from_numpy(variables))
        return float(np.linalg.cond(self.unit_columns(M).numpy()))

    def matrices(self, variables: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return E (n, n) and B_E (n,): A + E = M R M^-1, R the real form of the poles."""
        m, pairs = len(self.damping), self.pairs
        a, y, M = self.system(torch.from_numpy(variables))
        R, k = np.diag(np.concatenate([a, a[:pairs]])), np.arange(pairs)
        R[k, m + k], R[m + k, k] = y[:pairs], -y[:pairs]
        V = self.unit_columns(M).numpy()
        E = np.linalg.solve(V.T, (V @ R).T).T - legs.matrices(self.n)[0]
        B_E = 2.0 * M[:, :m] @ self.weight if self.free else self.B
        return E, B_E.numpy()


def log_norm(values: torch.Tensor, power: int) -> torch.Tensor:
    """Return the logarithm of the p-norm of positive values, without overflow."""
    return torch.logsumexp(power * torch.log(values), dim=0) / power


def minimax(
    n: int, *, kappa: float = 10.0, free_input: bool = False, steps: int = 800
) -> Diagonalization:
    """Return the (E, B_E) of least error for the worst unit readout that was found, kappa(V) given.

    steps bounds the iterations of each of the four stages. B_E is HiPPO's B unless free_input. A
    local minimum: that it is the least is not claimed. Raises UsageError for n < 4, bad settings,
    or a kappa that the rank-one family, the start, does not have.
    """
    legs.check_order(n, minimum=4)
    require(steps >= 1, "ptd minimax: steps", steps, "at least 1")
    objective = Objective(n, tau_of_kappa(n, kappa), free_input)
    x = objective.start
    bounds = np.full((len(x), 2), (-np.inf, np.inf))
    bounds[: len(objective.lower), 0] = objective.lower
    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": MEMORY}

    def descend(x: FloatArray) -> FloatArray:
        objective.follow(x)
        end = minimize(objective, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return np.asarray(end.x)

    with one_thread():
        for objective.power in POWERS:
            # Over n singular values the p-norms exceed the maxima by at most log n / p each.
            slack = 2.0 * np.log(max(n / 4.0, 1.0)) / objective.power
            objective.log_kappa = float(np.log(kappa) + slack)
            x = descend(x)
        for _ in range(ROUNDS):
            objective.log_kappa += float(np.log((1.0 - CLOSE) * kappa / objective.kappa(x)))
            x = descend(x)
            if (1.0 - 2.0 * CLOSE) * kappa <= objective.kappa(x) <= kappa:
                break
        E, B = objective.matrices(x)
    settings = {"kappa": kappa, "free_input": free_input, "steps": steps}
    return perturb(E, "minimax", settings, B=B)
