"""Perturb-then-diagonalize: a real E with A + E = V diag(lambda) V^-1 well conditioned and stable.

arXiv 2310.01698 (section 4.2) minimises Phi(E) = kappa(V) + gamma |E| by gradient descent; the code
released with it kappa(V)^2 + lambda |E|_F, and loads matrices made beforehand. Here

    Psi(E) = log kappa(V) + gamma |E|_F / |A|_2 + sum_k max(0, Re lambda_k + margin)^2

is minimised by Adam from several starts: kappa is the 2-norm condition number of V with unit
columns, log kappa descends like kappa with the weight gamma kappa of |E|_F / |A|_2, and like
kappa^2 with 2 gamma kappa^2; the last term keeps A + E stable without reflecting eigenvalues. Small
kappa and |E| do not bound the transfer error, so the restarts that meet the limits are ranked by
sup_omega |G_E(i omega) - G(i omega)| for the readout e_0, G_E(s) = e_0^T (sI - A - E)^-1 B.
Gradients are those of torch.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from robustssm.errors import UsageError, require
from robustssm.execution import one_thread
from robustssm.hippo.diagonalize import MAX_REAL, Diagonalization, perturb
from robustssm.hippo.legs import check_order, low_rank, matrices
from robustssm.typing import ComplexArray, FloatArray

# Weight of |E|_F / |A|_2. Psi is stationary near |E|_F / |A|_2 = 1 / gamma, where kappa is about 9.
GAMMA = 28.0
# Adam works on X = E / (SCALE P P^T): entries of the perturbation grow like those of A, and one
# step size for all of them loses the low-frequency modes. |SCALE P P^T|_F is 0.03 |A|_2.
SCALE = 0.15
# The penalty starts this far before MAX_REAL, so that the float32 E ends inside the limit.
STABILITY_GAP = 0.1
# Limits that are met if a restart meets them: kappa(V) and |E|_2 / |A|_2.
MAX_KAPPA, MAX_RELATIVE_NORM = 10.0, 0.035
# Added to Adam's root mean square of the gradient, whose entries are of order 1.
ADAM_EPS = 1e-14
# The sup error is sampled at |Im lambda| plus or minus these multiples of |Re lambda|.
OFFSETS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Start:
    """One kind of start: E = t P P^T with t = 2 tau / (1 + tau), plus noise |noise| |A|_2."""

    name: str
    rate: float  # Adam step, in units of SCALE P P^T
    tau: float = 0.0
    noise: float = 0.0  # 2-norm of the Gaussian part over |A|_2
    grading: int = 0  # noise entries are scaled by (P_i P_j)^grading


# Restart k uses STARTS[k % len(STARTS)]. Random starts need the larger step to get anywhere.
STARTS = (
    Start("rank-one tau=0.03", 0.01, tau=0.03),
    Start("random", 0.1, noise=0.03),
    Start("rank-one tau=0.1", 0.01, tau=0.1),
    Start("random growing", 0.1, noise=0.03, grading=1),
    Start("rank-one tau=0.03 + noise", 0.01, tau=0.03, noise=0.003, grading=1),
    Start("random decaying", 0.1, noise=0.03, grading=-1),
    Start("rank-one tau=0.01", 0.01, tau=0.01),
    Start("rank-one tau=0.1 + noise", 0.01, tau=0.1, noise=0.003, grading=1),
)


def objective(E: torch.Tensor) -> torch.Tensor:
    """Return Psi(E) for E of shape (n, n), float64; see the head of this module."""
    A, _ = matrices(len(E))
    eigenvalues, V = torch.linalg.eig(torch.from_numpy(A) + E)
    sigma = torch.linalg.svdvals(V)
    excess = torch.relu(eigenvalues.real + (STABILITY_GAP - MAX_REAL))
    size = torch.linalg.matrix_norm(E) / float(np.linalg.norm(A, 2))
    return torch.log(sigma[0] / sigma[-1]) + GAMMA * size + excess.square().sum()


def optimize(n: int, *, seed: int = 0, restarts: int = 8, steps: int = 3000) -> Diagonalization:
    """Return the stable restart with the least sup error for e_0, within the limits if any is.

    E holds float32 values. Where no restart meets MAX_KAPPA and MAX_RELATIVE_NORM, the one that
    violates them least is returned. For even n a spectrum of pairs without real eigenvalues is
    preferred. Raises UsageError for n < 2, bad settings, or when no restart ends stable.
    """
    check_order(n, minimum=2)
    require(restarts >= 1, "ptd: restarts", restarts, "at least 1")
    require(steps >= 1, "ptd: steps", steps, "at least 1")
    ends = [restart(n, index, seed, steps) for index in range(restarts)]
    stable = [end for end in ends if end is not None and end.max_real <= MAX_REAL]
    if not stable:
        raise UsageError(
            f"ptd: none of {restarts} restarts for n = {n} ended with Re lambda <= {MAX_REAL}, "
            "expected at least one; raise steps or restarts"
        )

    def rank(end: Diagonalization) -> tuple[float, bool, float]:
        excess = max(end.kappa / MAX_KAPPA, end.relative_norm / MAX_RELATIVE_NORM, 1.0)
        unpaired = n % 2 == 0 and bool((end.eigenvalues.imag == 0.0).any())
        return excess, unpaired, float(str(end.settings["sup_error"]))

    best = min(stable, key=rank)
    return replace(best, settings={**best.settings, "restarts": restarts})


def restart(n: int, index: int, seed: int, steps: int) -> Diagonalization | None:
    """Return the end of the restart number `index`, or None if Adam met equal eigenvalues."""
    start = STARTS[index % len(STARTS)]
    rng = np.random.default_rng(np.random.SeedSequence([seed, n, index]))
    try:
        with one_thread():
            E = adam(initial(n, start, rng), steps, start.rate)
    except RuntimeError:
        # torch says so of two equal eigenvalues, and of a gradient that was not finite.
        return None
    if not np.isfinite(E).all():
        return None
    E = E.astype(np.float32).astype(np.float64)
    settings = {"start": start.name, "seed": seed, "steps": steps, "gamma": GAMMA}
    return perturb(E, "optimized", settings | {"sup_error": sup_error(n, E)}, stable=False)


def initial(n: int, start: Start, rng: np.random.Generator) -> FloatArray:
    """Return the first E of a restart, shape (n, n)."""
    A, P = matrices(n)[0], low_rank(n)
    rank_one = np.outer(P, P)
    E = 2.0 * start.tau / (1.0 + start.tau) * rank_one
    if start.noise:
        noise = rng.standard_normal(A.shape) * rank_one**start.grading
        E = E + noise * (start.noise * np.linalg.norm(A, 2) / np.linalg.norm(noise, 2))
    return E


def adam(E: FloatArray, steps: int, rate: float) -> FloatArray:
    """Return E after `steps` of Adam on X = E / (SCALE P P^T), the rate falling as a cosine."""
    P = low_rank(len(E))
    scale = torch.from_numpy(SCALE * np.outer(P, P))
    X = (torch.from_numpy(E) / scale).requires_grad_()
    optimizer = torch.optim.Adam([X], lr=rate, eps=ADAM_EPS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(X * scale).backward()
        optimizer.step()
        schedule.step()
    return (X * scale).detach().numpy()


def sup_error(n: int, E: FloatArray) -> float:
    """Return the largest |G_E - G| found for the readout e_0.

    The grid has |Im lambda_k| and offsets of multiples of |Re lambda_k|, a log grid and zero; the
    neighbourhoods of its four largest values are then refined four times.
    """
    A, B = matrices(n)
    eigenvalues, V = np.linalg.eig(A + E)
    residues = np.linalg.solve(V, B.astype(np.complex128))
    weights = V[0] * residues

    def error(omega: FloatArray) -> FloatArray:
        s: ComplexArray = np.asarray(1j * omega, dtype=np.complex128)
        perturbed: ComplexArray = np.sum(weights / (s[:, None] - eigenvalues), axis=1)
        return np.abs(perturbed - 1.0 / (s + 1.0))

    height, width = np.abs(eigenvalues.imag), np.abs(eigenvalues.real)
    peaks = [np.abs(height + sign * c * width) for c in OFFSETS for sign in (-1.0, 1.0)]
    omega = np.unique(np.concatenate([*peaks, [0.0], np.geomspace(1e-2, 20.0 * n * n, 1500)]))
    for _ in range(4):
        best = np.argsort(error(omega))[-4:]
        lower, upper = np.maximum(best - 1, 0), np.minimum(best + 1, len(omega) - 1)
        finer = np.linspace(omega[lower], omega[upper], 33).ravel()
        omega = np.unique(np.concatenate([omega, finer]))
    return float(error(omega).max())
