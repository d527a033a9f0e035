"""Systems with full state matrices, by zero-order hold, whatever their eigenvectors are.

    x_t = Abar x_{t-1} + Bbar u_t,   y_t = C x_t + D u_t,

one of all channels, or one per channel; real, and of A' = [[Re A, -Im A], [Im A, Re A]] where A is
complex, since y is the real part.
"""

import numpy as np
import torch
from torch import Tensor

from robustssm.errors import UsageError
from robustssm.layers.base import SSMLayer
from robustssm.layers.systems import LinearSystem, Spectrum
from robustssm.typing import Array, FloatArray


class FullMatrix(SSMLayer):
    """One system of d channels, or d systems of one.

    Parameters
    ----------
    A : ndarray, shape (c, n, n)
        State matrices, real or complex.
    B : ndarray, shape (c, n, q)
        Input matrices.
    C : ndarray, shape (c, q, n)
        Readouts, of which the real part is the output.
    D : ndarray, shape (c, q, q)
        Feedthroughs.
    dt : ndarray, shape (c,), optional
        Step sizes; None if A and B are those of the discrete system.
    """

    discretization = "zoh"

    def __init__(
        self,
        A: Array,
        B: Array,
        C: Array,
        D: FloatArray,
        dt: FloatArray | None,
    ) -> None:
        c, n, q = B.shape
        super().__init__(c * q)
        poles = np.linalg.eigvals(A).astype(np.complex128)
        if dt is None:
            with np.errstate(divide="ignore"):
                poles, dt = np.log(poles), np.ones(c)
        else:
            zeros = np.zeros((c, q, n + q))
            whole = np.concatenate([np.concatenate([A, B], 2), zeros], 1) * dt[:, None, None]
            whole = torch.linalg.matrix_exp(torch.from_numpy(whole)).numpy()
            A, B = whole[:, :n, :n], whole[:, :n, n:]
        if np.iscomplexobj(A) or np.iscomplexobj(B):
            A = np.block([[A.real, -A.imag], [A.imag, A.real]])
            B, C = np.concatenate([B.real, B.imag], 1), np.concatenate([C.real, -C.imag], 2)
            poles = np.concatenate([poles, poles.conj()], axis=1)
        self._poles, self._shared = poles, q > 1
        self._step, self._matrices = dt, (A, B, C.real, D)

    @property
    def order(self) -> int:
        """Order of each real system."""
        return int(self._poles.shape[1])

    def step_size(self) -> Tensor:
        """Return dt per channel, (d,), float64."""
        return torch.from_numpy(self._step).expand(self.d)

    def impulse(self, L: int) -> Tensor:
        """Return the kernels C Abar^l Bbar, (d, L), or (d, d, L) from each input to each output."""
        A, x, C, _ = self._matrices
        out = np.empty((L, len(C), C.shape[1], x.shape[2]))
        for step in range(L):
            out[step], x = C @ x, A @ x
        k = torch.from_numpy(out).movedim(0, -1)
        return k[0] if self._shared else k[:, 0, 0]

    def recurrence(self, u: Tensor) -> Tensor:
        """Return the output for u (batch, length, d), step by step."""
        A, B, C, D = self._matrices
        inputs = u.double().numpy().reshape(*u.shape[:2], len(A), -1, 1)
        x, outputs = np.zeros((len(u), *B.shape[:2], 1)), np.empty(inputs.shape)
        for step in range(u.shape[1]):
            x = A @ x + B @ inputs[:, step]
            outputs[:, step] = C @ x + D @ inputs[:, step]
        return torch.from_numpy(outputs.reshape(u.shape)).to(u.dtype)

    def spectrum(self) -> Spectrum:
        """Return the eigenvalues, as float64 finds them."""
        step = np.broadcast_to(self._step[:, None], self._poles.shape)
        return Spectrum(diagonal=self._poles, step=step, discretization="zoh")

    def system(self, L: int) -> LinearSystem:
        """Return the systems; UsageError if one is not stable."""
        if not bool((self._poles.real < 0.0).all()):
            raise UsageError("full matrix: has poles with Re >= 0, expected a stable system")
        A, B, C, D = self._matrices
        return LinearSystem(**vars(self.spectrum()), dt=self._step, B=B, C=C, D=D, Abar=A)
