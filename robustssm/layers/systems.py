"""Layers as linear systems: what each layer answers about itself, in plain arrays."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robustssm.typing import ComplexArray, FloatArray


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """The poles of the c systems of a layer, whether the layer is causal and stable or not.

    diagonal (c, m): of the continuous state matrix A, 1 / time, every conjugate written out;
    step (c, m): of each pole; discretization: ``zoh``, ``bilinear``, ``impulse`` or ``dss``;
    P, Q (rank, c, m): A = diag(diagonal) - sum_r P_r Q_r^T, None if A is diagonal.
    """

    diagonal: ComplexArray
    step: FloatArray
    discretization: str
    P: ComplexArray | None = None
    Q: ComplexArray | None = None

    @property
    def low_rank(self) -> bool:
        """Whether A has a low-rank term beside its diagonal."""
        return self.P is not None

    @cached_property
    def A(self) -> ComplexArray:
        """The state matrices, (c, m, m)."""
        A: ComplexArray = self.diagonal[:, None] * np.eye(self.diagonal.shape[1])
        if self.P is not None and self.Q is not None:
            for P, Q in zip(self.P, self.Q, strict=True):
                A = A - P[:, :, None] * Q[:, None]
        return A

    @cached_property
    def poles(self) -> ComplexArray:
        """The eigenvalues of A, (c, m)."""
        return np.linalg.eigvals(self.A) if self.low_rank else self.diagonal

    @property
    def aliased(self) -> np.ndarray:
        """Whether |Im lambda| dt > pi, (c, m); never for bilinear, which folds nothing."""
        if self.discretization == "bilinear":
            return np.zeros(self.poles.shape, dtype=bool)
        return np.abs(self.poles.imag) * self.step > np.pi


@dataclass(frozen=True, kw_only=True)
class LinearSystem(Spectrum):
    """The c causal, stable systems of a layer, with q inputs and p outputs each.

    Without a low-rank term a system is C diag(1 / (1 - a / z)) B + D, a the discrete poles and z
    on the unit circle; with it x' = A x + B u, y = C x + D u before the bilinear rule.
    `discretization` is ``zoh`` or ``bilinear``.

    dt (c,): the geometric mean if the states of a system have steps of their own; B (c, m, q):
    discrete without, continuous with a low-rank term; C (c, p, m); D (c, p, q); by_length: C
    belongs to kernels of one length only (a DSS kernel normalised over its length). Abar (c, m, m):
    of a full system C (I - Abar / z)^-1 B + D, all real; None for the others.
    """

    dt: FloatArray
    B: ComplexArray
    C: ComplexArray
    D: FloatArray
    by_length: bool = False
    Abar: FloatArray | None = None
