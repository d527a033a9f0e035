"""The two operators of a layer in time: causal Toeplitz on L samples, and Hankel.

The Toeplitz operator T maps inputs of L samples to the first L outputs, state zero at the start.
Its norm grows with L to the H-infinity norm and never exceeds it. Lanczos on T^T T with full
reorthogonalisation, all channels at once, products by FFT: each Ritz value is a Rayleigh
quotient, so a lower bound.

The Hankel operator maps past inputs to future outputs without new input; its singular values say
how many states matter. They are those of the system in s = i tan(theta / 2), by the square-root
method on the Gramians.

References: Golub and Van Loan, Matrix Computations, 4th ed. (2013), chapter 10; Boettcher and
Grudsky, Spectral Properties of Banded Toeplitz Matrices (2005), for the limit; Antoulas,
Approximation of Large-Scale Dynamical Systems (2005), section 7.3, for the square-root method.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

from robustssm.errors import require
from robustssm.evaluations.suprema.certified import StateSpaces
from robustssm.evaluations.trained_layers.linear_systems import LayerSystem, Mimo
from robustssm.evaluations.trained_layers.two_sided import TwoSided
from robustssm.typing import ComplexArray, FloatArray

# Lanczos steps at most: the sigmas of a flat response crowd like 1 / L^2 below the peak.
STEPS = 400
# Floats of the Krylov basis of one block of channels: 256 MiB.
BASIS = 1 << 25
# Share of noise in the starting vector, so that no singular vector is orthogonal to it.
NOISE = 0.1

Operator = Callable[[FloatArray], FloatArray]


def toeplitz(system: LayerSystem, L: int) -> tuple[tuple[int, ...], Operator, Operator]:
    """Return the shape of inputs, (c, L) or of S5 (1, L, d), their causal map and its adjoint."""
    if isinstance(system, TwoSided):
        return _both_ways(system, L)
    if isinstance(system, Mimo):
        return _through_states(system, L)
    kernel = system.kernel(L)
    spectrum = np.fft.rfft(kernel, n=2 * L)
    if kernel.ndim == 3:

        def mixed(u: FloatArray, H: ComplexArray) -> FloatArray:
            product = np.einsum("pqf,bfq->bfp", H, np.fft.rfft(u, n=2 * L, axis=1))
            return np.fft.irfft(product, n=2 * L, axis=1)[:, :L]

        turned = spectrum.swapaxes(0, 1)
        shape = (1, L, len(kernel))
        return shape, lambda u: mixed(u, spectrum), lambda y: mixed(y[:, ::-1], turned)[:, ::-1]

    def apply(u: FloatArray) -> FloatArray:
        return np.fft.irfft(np.fft.rfft(u, n=2 * L) * spectrum, n=2 * L)[..., :L]

    return kernel.shape, apply, lambda y: apply(y[..., ::-1])[..., ::-1]


def _both_ways(system: TwoSided, L: int) -> tuple[tuple[int, ...], Operator, Operator]:
    """Return the map T u + S R T' R u, R the reversal of time and S the shift by the lag."""
    shape, apply, adjoint = toeplitz(system.ahead, L)
    _, behind, turned = toeplitz(system.behind, L)
    # Steps of outputs, and of inputs of the other direction: u_t does not enter through it.
    early, late = slice(0, L - system.lag), slice(system.lag, L)

    def forward(u: FloatArray) -> FloatArray:
        y = apply(u)
        y[:, early] += behind(u[:, ::-1])[:, ::-1][:, late]
        return y

    def back(y: FloatArray) -> FloatArray:
        moved = np.zeros_like(y)
        moved[:, late] = y[:, early]
        return adjoint(y) + turned(moved[:, ::-1])[:, ::-1]

    return shape, forward, back


def _through_states(system: Mimo, L: int) -> tuple[tuple[int, ...], Operator, Operator]:
    """Return the map 2 Re C (powers of a * B u) + D u over the stored states, by FFT."""
    m = system.poles.shape[1] // 2
    powers = system.discrete[0, :m] ** np.arange(L)[:, None]
    spectrum = np.fft.fft(powers, n=2 * L, axis=0)

    def through(left: ComplexArray, right: ComplexArray, D: FloatArray) -> Operator:
        def apply(u: FloatArray) -> FloatArray:
            states = np.fft.ifft(np.fft.fft(u @ right.T, n=2 * L, axis=1) * spectrum, axis=1)
            return 2.0 * (states[:, :L] @ left.T).real + u @ D.T

        return apply

    left, right, D = system.C[0, :, :m], system.B[0, :m], system.D[0]
    apply = through(left, right, D)
    transposed = through(right.T, left.T, D.T)
    return (1, L, len(D)), apply, lambda y: transposed(y[:, ::-1])[:, ::-1]


def finite_gain(system: LayerSystem, L: int, theta: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Return sigma_max of the causal L-sample operator, (c,), and whether it converged to 1e-6.

    theta (c,): frequencies to start from, rad per sample (the peak's). Where it did not converge
    the value is a lower bound like any other Rayleigh quotient.
    """
    require(L >= 1, "finite gain: length", L, "at least 1")
    shape, apply, adjoint = toeplitz(system, L)
    t = np.arange(L)
    wave = np.sin(np.pi * (t + 0.5) / L) * np.cos(np.asarray(theta)[:, None] * t)
    rng = np.random.default_rng(0)
    noise = NOISE * rng.standard_normal(shape)
    if len(shape) == 3:
        wave = wave[..., None] * rng.standard_normal(shape[2])
    start = (wave + noise).reshape(shape[0], -1)

    def gram(v: FloatArray) -> FloatArray:
        return adjoint(apply(v.reshape(shape))).reshape(v.shape)

    square, converged = largest_eigenvalue(gram, start, 1e-6)
    return np.sqrt(np.maximum(square, 0.0)), converged


def largest_eigenvalue(
    product: Operator, start: FloatArray, rtol: float
) -> tuple[FloatArray, np.ndarray]:
    """Return the largest eigenvalues (c,) of c symmetric positive operators, and convergence.

    product maps (c, N) to (c, N); start (c, N). Converged means a residual below rtol times the
    value, which the error of the Ritz value does not exceed. Steps are limited by memory, too.
    """
    c, N = start.shape
    steps = max(2, min(N, STEPS, BASIS // (c * N)))
    basis = np.zeros((steps, c, N))
    diagonal, off = np.zeros((c, steps)), np.zeros((c, steps))
    v = start / np.linalg.norm(start, axis=1, keepdims=True)
    value, converged = np.zeros(c), np.zeros(c, dtype=bool)
    check = 8
    for k in range(steps):
        basis[k] = v
        w = product(v)
        diagonal[:, k] = np.einsum("cn,cn->c", v, w)
        # Twice is enough (Kahan and Parlett).
        for _ in range(2):
            w = w - np.einsum(
                "kc,kcn->cn", np.einsum("kcn,cn->kc", basis[: k + 1], w), basis[: k + 1]
            )
        off[:, k] = np.linalg.norm(w, axis=1)
        scale = np.abs(diagonal[:, : k + 1]).max(axis=1)
        # An invariant subspace ends a channel: its next vectors are zero and change nothing.
        ended = off[:, k] <= 1e-14 * scale
        off[ended, k] = 0.0
        v = np.where(ended[:, None], 0.0, w / np.where(ended, 1.0, off[:, k])[:, None])
        if k + 1 in (check, steps) or ended.all():
            check = k + 1 + max(8, (k + 1) // 4)
            T = diagonal[:, : k + 1, None] * np.eye(k + 1)
            inner = np.arange(k)
            T[:, inner, inner + 1] = T[:, inner + 1, inner] = off[:, :k]
            values, vectors = np.linalg.eigh(T)
            value = values[:, -1]
            converged = off[:, k] * np.abs(vectors[:, -1, -1]) <= rtol * value
            if converged.all():
                break
    return value, converged


def gramians(system: LayerSystem) -> tuple[ComplexArray, ComplexArray]:
    """Return the Gramians (P, Q) of controllability and observability, each (c, m, m).

    Of the system in s = i tan(theta / 2): Cauchy sums where A is diagonal, every mode scaled to
    equal input and output norms; Lyapunov's equation for S4. The same as those of the discrete
    system x_{t+1} = Abar x_t + Bbar u_t, y_t = C Abar x_t + (C Bbar + D) u_t up to a basis.
    """
    F = system.family()
    if isinstance(F, StateSpaces):
        reached = [solve_continuous_lyapunov(A, -b @ b.T) for A, b in zip(F.A, F.B, strict=True)]
        seen = [solve_continuous_lyapunov(A.T, -c.T @ c) for A, c in zip(F.A, F.C, strict=True)]
        return np.stack(reached), np.stack(seen)
    cauchy = -1.0 / (F.poles[:, :, None] + F.poles[:, None].conj())
    outputs, inputs = np.linalg.norm(F.left, axis=1), np.linalg.norm(F.right, axis=2)
    used = (outputs > 0.0) & (inputs > 0.0)
    scale = np.sqrt(np.where(used, outputs, 1.0) / np.where(used, inputs, 1.0))
    right, left = F.right * scale[..., None], F.left / scale[:, None]
    P, Q = right @ right.conj().swapaxes(1, 2), left.conj().swapaxes(1, 2) @ left
    return P * cauchy, Q * cauchy.conj()


def hankel_singular_values(system: LayerSystem) -> FloatArray:
    """Return the Hankel singular values, descending, (c, m); of both directions those of each.

    sigma = singular values of Q^1/2 P^1/2, roots by eigh with negative rounding set to zero:
    accurate to about 1e-8 of the largest, not to that of each.
    """
    if isinstance(system, TwoSided):
        both = np.hstack([hankel_singular_values(one) for one in (system.ahead, system.behind)])
        return -np.sort(-both, axis=1)
    roots = []
    for gramian in gramians(system):
        values, vectors = np.linalg.eigh(0.5 * (gramian + gramian.conj().swapaxes(1, 2)))
        roots.append(vectors * np.sqrt(np.maximum(values, 0.0))[:, None])
    return np.linalg.svd(roots[1].conj().swapaxes(1, 2) @ roots[0], compute_uv=False)
