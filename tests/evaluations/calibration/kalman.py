"""The best predictor of an AR(2) process, and its error under noise, in closed form."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import linalg
from torch import Tensor, nn

from robustssm.typing import FloatArray


class Process(NamedTuple):
    """z[t] = a1 z[t-1] + a2 z[t-2] + w[t], seen with noise of this standard deviation."""

    a1: float = 1.2
    a2: float = -0.8
    noise: float = 0.5

    def matrices(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """A and the covariance P of the error of predicted states (2, 2), and C (1, 2)."""
        A = np.array([[self.a1, self.a2], [1.0, 0.0]])
        C, Q = np.array([[1.0, 0.0]]), np.diag([1.0, 0.0])
        P: FloatArray = linalg.solve_discrete_are(A.T, C.T, Q, np.array([[self.noise**2]]))
        return A, P, C

    def weights(self, length: int) -> FloatArray:
        """Return g (length,): the prediction of z[L] is sum_t g[t] x[t]."""
        A, P, C = self.matrices()
        K = A @ P @ C.T / (C @ P @ C.T + self.noise**2)
        g, column = np.empty(length), K
        for t in reversed(range(length)):
            g[t], column = column[0, 0], (A - K @ C) @ column
        return g

    def error(self) -> float:
        """Return the mean squared error of the prediction, clean."""
        return float(self.matrices()[1][0, 0])

    def added(self, low: int, high: int, length: int) -> float:
        """Return what noise of unit power in the DFT bins low..high adds to that error.

        Of any noise whose covariance is a multiple of the projection on these bins, as that of
        white and band noise and of a sinusoid of random phase: length |P g|^2 / dimension.
        """
        bins = np.arange(low, high + 1)
        ends = np.where(2 * bins % length == 0, 1.0, 2.0)
        power = np.abs(np.fft.rfft(self.weights(length))[bins]) ** 2
        return float((ends * power).sum() / ends.sum())


class Predictor(nn.Module):
    """sum_t g[t] x[t] of x (batch, length, 1), as a network of one output."""

    g: Tensor

    def __init__(self, g: FloatArray) -> None:
        super().__init__()
        self.register_buffer("g", torch.from_numpy(g))

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions (batch, 1)."""
        return (x[:, :, 0].double() * self.g).sum(1, keepdim=True)
