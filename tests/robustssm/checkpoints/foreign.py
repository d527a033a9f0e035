"""Checkpoints in the key layouts of state-spaces/s4 and DSS, and their naive evaluation.

Weights are random; the evaluation is dense, in numpy, step by step through time, and shares no
code with the project.
"""

import math
from pathlib import Path

import numpy as np
import torch
from scipy.special import erf
from torch import Tensor

from robustssm.file_formats import Contents
from robustssm.typing import ComplexArray, FloatArray

D, N, L = 6, 4, 24


def held(
    tensors: dict[str, Tensor],
    options: dict[str, object] | None = None,
    path: Path = Path("file.pt"),
) -> Contents:
    """Return what an importer is given of a file of weights, with hyper-parameters or without."""
    return Contents("torch", tensors, options or {}, path=path)


class Draw:
    """Random tensors of one seed."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)


def c128(pair: Tensor) -> ComplexArray:
    value: ComplexArray = pair.double().numpy()[..., 0] + 1j * pair.double().numpy()[..., 1]
    return value


def f64(tensor: Tensor) -> FloatArray:
    return tensor.double().numpy()


def rows(x: np.ndarray, d: int = D) -> np.ndarray:
    """Row h mod S of S rows, for every feature h."""
    return np.stack([x[h % len(x)] for h in range(d)])


def full(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, x.conj()], axis=-1)


def dense_kernel(A: np.ndarray, Bbar: np.ndarray, C: np.ndarray, length: int) -> FloatArray:
    """K[c, h, l] = Re C[c, h] Abar[h]^l Bbar[h], the state multiplied out step by step."""
    K = np.zeros((len(C), len(A), length))
    for h in range(len(A)):
        x = Bbar[h]
        for step in range(length):
            K[:, h, step] = (C[:, h] @ x).real
            x = A[h] @ x
    return K


def bilinear(A: np.ndarray, B: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    identity = np.eye(len(A))
    left = np.linalg.inv(identity - dt / 2 * A)
    return left @ (identity + dt / 2 * A), left @ B * dt


def zoh(A: np.ndarray, B: np.ndarray, dt: float | FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """Of a diagonal A (n,)."""
    return np.diag(np.exp(dt * A)), (np.exp(dt * A) - 1) / A * B


def convolved(u: FloatArray, K: FloatArray, feed: FloatArray, both: bool) -> FloatArray:
    """y (batch, length, channels d) by sums over time; K as the reference's layers have it."""
    batch, length, d = u.shape
    channels = len(feed)
    y = np.zeros((batch, length, channels, d))
    for t in range(length):
        for j in range(K.shape[2]):
            if t - j >= 0:
                y[:, t] += K[:channels, :, j] * u[:, t - j, None]
            if both and t + 1 + j < length:
                y[:, t] += K[channels:, :, j] * u[:, t + 1 + j, None]
        y[:, t] += feed * u[:, t, None]
    return y.reshape(batch, length, channels * d)


def gelu(x: FloatArray) -> FloatArray:
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def sigmoid(x: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-x))


def glu(x: FloatArray, weight: Tensor, bias: Tensor) -> FloatArray:
    y = x @ f64(weight).reshape(weight.shape[:2]).T + f64(bias).reshape(-1)
    a, b = np.split(y, 2, axis=-1)
    return a * sigmoid(b)


def stack(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])


def minimal_layer(draw: Draw, prefix: str = "") -> dict[str, Tensor]:
    return {
        f"{prefix}D": draw(D),
        f"{prefix}kernel.C": draw(D, N, 2),
        f"{prefix}kernel.log_dt": draw(D) * 0.5 - 2,
        f"{prefix}kernel.log_A_real": draw(D, N) * 0.3,
        f"{prefix}kernel.A_imag": draw(D, N) * 3,
        f"{prefix}output_linear.0.weight": draw(2 * D, D, 1) * 0.4,
        f"{prefix}output_linear.0.bias": draw(2 * D) * 0.1,
    }


def minimal_output(t: dict[str, Tensor], u: FloatArray, prefix: str = "") -> FloatArray:
    """A minimal S4D layer: Im A as it stands, B = 1, zero-order hold, 2 Re."""
    A = -np.exp(f64(t[f"{prefix}kernel.log_A_real"])) + 1j * f64(t[f"{prefix}kernel.A_imag"])
    dt = np.exp(f64(t[f"{prefix}kernel.log_dt"]))
    Abar, Bbar = stack([zoh(A[h], np.ones(N), dt[h]) for h in range(len(dt))])
    K = dense_kernel(Abar, Bbar, 2 * c128(t[f"{prefix}kernel.C"])[None], u.shape[1])
    y = gelu(convolved(u, K, f64(t[f"{prefix}D"])[None], False))
    return glu(y, t[f"{prefix}output_linear.0.weight"], t[f"{prefix}output_linear.0.bias"])


def output(draw: Draw, channels: int, prefix: str = "") -> dict[str, Tensor]:
    return {
        f"{prefix}output_linear.0.weight": draw(2 * D, D * channels) * 0.4,
        f"{prefix}output_linear.0.bias": draw(2 * D) * 0.1,
    }


def dense_dplr(Lambda: np.ndarray, P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return diag(Lambda) - sum_r P_r Q_r^T of one feature, with all conjugates."""
    A = np.diag(full(Lambda)).astype(complex)
    for p, q in zip(P, Q, strict=True):
        A = A - np.outer(full(p), full(q))
    return A
