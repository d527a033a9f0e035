"""Kernels of state-spaces v4 with random weights, and their samples one after the other."""

import numpy as np
import torch
from torch import Tensor

from robustssm.typing import FloatArray
from tests.robustssm.checkpoints.foreign import (
    D,
    Draw,
    L,
    N,
    bilinear,
    c128,
    dense_dplr,
    dense_kernel,
    f64,
    full,
    output,
    rows,
    stack,
    zoh,
)


def v4_dplr(systems: int, rank: int, channels: int, both: bool) -> dict[str, Tensor]:
    draw = Draw(systems + 10 * rank)
    directions = 2 if both else 1
    return {
        "layer.D": draw(channels, D),
        "layer.kernel.inv_dt": draw(D, 1) * 0.5 - 2,
        "layer.kernel.C": draw(directions * channels, D, N, 2),
        "layer.kernel.B": draw(1, systems, N, 2),
        "layer.kernel.A_real": draw(systems, N) * 0.3,
        "layer.kernel.A_imag": draw(systems, N) * 3,
        "layer.kernel.P": draw(rank, systems, N, 2),
        "layer.kernel.l_kernel": torch.tensor(0),
        **output(draw, channels),
    }


def v4_dplr_kernel(t: dict[str, Tensor], dt: FloatArray, length: int) -> FloatArray:
    p = "layer.kernel."
    Lambda = rows(-np.exp(f64(t[f"{p}A_real"])) - 1j * f64(t[f"{p}A_imag"]))
    B = rows(c128(t[f"{p}B"])[0])
    P = np.stack([rows(one) for one in c128(t[f"{p}P"])])
    systems = [
        bilinear(dense_dplr(Lambda[h], P[:, h], P[:, h].conj()), full(B[h]), dt[h])
        for h in range(D)
    ]
    return dense_kernel(*stack(systems), full(c128(t[f"{p}C"])), length)


def v4_diagonal(
    systems: int, channels: int, both: bool, per_state: bool = False
) -> dict[str, Tensor]:
    draw = Draw(systems)
    t = v4_dplr(systems, 1, channels, both)
    for name in ("P", "l_kernel"):
        del t[f"layer.kernel.{name}"]
    if per_state:
        t["layer.kernel.inv_dt"] = draw(D, N) * 0.5 - 2
    return t


def diagonal_kernel(
    A: np.ndarray, B: np.ndarray, C: np.ndarray, dt: FloatArray, disc: str
) -> FloatArray:
    """A, B (D, N), C (c, D, N), dt (D, 1 or N); the DSS kernel by its plain sums."""
    if disc == "zoh":
        return dense_kernel(*stack([zoh(A[h], B[h], dt[h]) for h in range(D)]), 2 * C, L)
    if disc == "bilinear":
        steps = dt * np.ones((1, N))
        parts = [
            (np.diag((1 + s * a / 2) / (1 - s * a / 2)), b * s / (1 - s * a / 2))
            for a, b, s in zip(A, B, steps, strict=True)
        ]
        return dense_kernel(*stack(parts), 2 * C, L)
    K = np.zeros((len(C), D, L))
    for h in range(D):
        for n in range(N):
            z = dt[h, n % dt.shape[1]] * A[h, n]
            grows = A[h, n].real > 0
            inward = -z if grows else z
            x = (np.exp(L * inward) - 1) * A[h, n]
            weight = B[h, n] * (np.exp(inward) - 1) * x.conj() / (abs(x) ** 2 + 1e-7)
            for step in range(L):
                power = np.exp((step - (L - 1)) * z) if grows else np.exp(step * z)
                K[:, h, step] += (C[:, h, n] * weight * power).real
    return K
