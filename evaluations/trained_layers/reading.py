"""SSM layers of any kind read as linear systems."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from robustssm.errors import RejectedInputError, UsageError
from robustssm.evaluations.trained_layers.linear_systems import (
    Dense,
    Diagonal,
    LayerSystem,
    Mimo,
    dense_matrix,
)
from robustssm.layers import S4, S4D, S5, SSMLayer
from robustssm.layers.bidirectional import Bidirectional
from robustssm.layers.diagonal import complex128, discrete_diagonal
from robustssm.layers.diagonal_general import GeneralDiagonal
from robustssm.layers.dplr_general import GeneralDPLR, state_matrix
from robustssm.layers.general import GeneralLayer
from robustssm.layers.mimo_general import GeneralMIMO
from robustssm.typing import ComplexArray, FloatArray


def _doubled(value: torch.Tensor) -> ComplexArray:
    """Return stored modes and their conjugates along the last axis, complex128."""
    half = value.cpu().numpy()
    return np.concatenate([half, half.conj()], axis=-1)


@torch.no_grad()
def layer_system(layer: SSMLayer, L: int) -> LayerSystem:
    """Return the layer as a linear system; L matters to the softmax kernel of DSS alone.

    The layer is read, not changed. Raises RejectedInputError where a parameter is not finite,
    UsageError for a layer of another kind or L < 1.
    """
    if L < 1:
        raise UsageError(f"layer: length is {L}, expected at least 1")
    for key, parameter in layer.named_parameters():
        if not parameter.isfinite().all():
            raise RejectedInputError(
                f"layer {type(layer).__name__}: {key} has NaN or infinite entries, expected "
                "finite numbers; take an intact checkpoint"
            )
    if isinstance(layer, Bidirectional):
        raise UsageError("layer Bidirectional: it looks ahead, expected a causal layer")
    D = _feedthrough(layer)

    def kernel(length: int) -> FloatArray:
        with torch.no_grad():
            result: FloatArray = layer.impulse(length).double().cpu().numpy().copy()
        result[:, 0] += D
        return result

    if isinstance(layer, GeneralLayer):
        return _general(layer, L, D, kernel)
    if isinstance(layer, S5):
        A = torch.complex(-torch.exp(layer.log_neg_real.double()), layer.imag.double())
        step = torch.exp(layer.log_dt.double())
        factor = discrete_diagonal(A, step, layer.discretization)[1]
        right = _doubled((complex128(layer.B) * factor[:, None]).T).T
        steps = np.tile(step.cpu().numpy(), 2)[None]
        mean, left = layer.step_size()[:1].cpu().numpy(), _doubled(complex128(layer.C))
        return Mimo(mean, _doubled(A)[None], steps, layer.discretization, left, right, np.diag(D))
    dt = layer.step_size().cpu().numpy()
    if isinstance(layer, S4):
        Lambda = torch.complex(-torch.exp(layer.log_neg_real.double()), layer.imag.double())
        full = _doubled(Lambda)
        P, B, C = (_doubled(complex128(a)) for a in (layer.P, layer.B, layer.C))
        poles = np.linalg.eigvals(dense_matrix(full, P))
        steps = np.broadcast_to(dt[:, None], poles.shape)
        return Dense(dt, poles, steps, "bilinear", full, P, B, C, D, kernel)
    if not isinstance(layer, S4D):
        raise UsageError(f"layer: {type(layer).__name__} is no layer whose parts are known here")
    A, steps = layer.eigenvalues(), dt[:, None]
    return _diagonal(dt, A, steps, layer.discretization, layer.modes(L)[1], D, kernel)


Kernel = Callable[[int], FloatArray]


def _diagonal(
    dt: FloatArray,
    A: torch.Tensor,
    steps: FloatArray,
    method: str,
    half: torch.Tensor,
    D: FloatArray,
    kernel: Kernel,
) -> Diagonal:
    """Return the systems 2 Re sum of `half`, (d, m), at stored poles A (d, m)."""
    poles, weight = _doubled(A), _doubled(half)
    steps = np.broadcast_to(steps, A.shape)
    if bool((A.imag == 0.0).all()):
        poles, weight = poles[:, : A.shape[1]], 2.0 * weight.real[:, : A.shape[1]] + 0j
    else:
        steps = np.concatenate([steps, steps], axis=1)
    return Diagonal(dt, poles, steps, method, weight, D, kernel)


def _feedthrough(layer: SSMLayer) -> FloatArray:
    """Return D per channel, (d,)."""
    if layer.D is None:
        return np.zeros(layer.d)
    D: FloatArray = layer.D.double().cpu().numpy().reshape(-1)[: layer.d]
    return D


def _general(layer: GeneralLayer, L: int, D: FloatArray, kernel: Kernel) -> LayerSystem:
    """Return a layer from elsewhere as a linear system; UsageError where it is none of ours."""
    name = f"layer {type(layer).__name__}"
    layer.causal(name)
    layer.uncut(name, L)
    if layer.channels != 1:
        raise UsageError(f"{name}: has {layer.channels} channels a feature, expected 1")
    dt = layer.step_size().cpu().numpy()
    if isinstance(layer, GeneralDiagonal):
        A = layer.eigenvalues()
        if bool((A.real >= 0.0).any()):
            raise UsageError(f"{name}: has poles with Re >= 0, expected a stable system")
        method = "bilinear" if layer.discretization == "bilinear" else "zoh"
        steps = layer.dt.double().cpu().numpy().reshape(layer.d, -1)
        return _diagonal(dt, A, steps, method, 0.5 * layer.modes(L)[1][0], D, kernel)
    if isinstance(layer, GeneralDPLR):
        P, Q = complex128(layer.P), complex128(layer.Q)
        if layer.rank != 1 or not torch.allclose(Q, P.conj(), rtol=1e-12, atol=0.0):
            raise UsageError(f"{name}: its low-rank term is not P P^* of rank 1")
        full = _doubled(complex128(layer.Lambda))
        P_, B, C = (_doubled(a) for a in (P[0], complex128(layer.B), complex128(layer.C)[0]))
        poles = np.linalg.eigvals(dense_matrix(full, P_))
        steps = np.broadcast_to(dt[:, None], poles.shape)
        return Dense(dt, poles, steps, "bilinear", full, P_, B, C, D, kernel)
    if isinstance(layer, GeneralMIMO):
        A, steps = layer.eigenvalues(), layer.dt.double().cpu().numpy()
        if bool((A.real >= 0.0).any()):
            raise UsageError(f"{name}: has poles with Re >= 0, expected a stable system")
        Bbar, half = layer.mixing()
        return Mimo(
            dt[:1],
            _doubled(A)[None],
            np.tile(steps, 2)[None],
            layer.discretization,
            _doubled(half),
            _doubled(Bbar.T).T,
            np.diag(D),
        )
    raise UsageError(f"{name}: is no layer whose parts are known here")


@dataclass(frozen=True)
class Spectrum:
    """The poles of a layer, whether it is causal or not.

    poles (c, m): continuous, every conjugate among them; step (c, m): the step size of each;
    dt (c,); diagonal (c, m): the poles, or the diagonal part beside a low-rank term (low_rank).
    """

    poles: ComplexArray
    step: FloatArray
    dt: FloatArray
    discretization: str
    diagonal: ComplexArray
    low_rank: bool

    @property
    def aliased(self) -> float:
        """Share of poles with |Im lambda| dt > pi; 0 for bilinear, which folds nothing."""
        if self.discretization == "bilinear":
            return 0.0
        return float((np.abs(self.poles.imag) * self.step > np.pi).mean())


@torch.no_grad()
def layer_spectrum(layer: SSMLayer) -> Spectrum:
    """Return a layer's poles; UsageError for a layer of another kind."""
    if not isinstance(layer, GeneralLayer):
        system = layer_system(layer, 1)
        low_rank = isinstance(system, Dense)
        diagonal = system.Lambda if isinstance(system, Dense) else system.poles
        step, method = np.broadcast_to(system.step, system.poles.shape), system.discretization
        return Spectrum(system.poles, step, system.dt, method, diagonal, low_rank)
    dt = layer.step_size().cpu().numpy()
    if isinstance(layer, GeneralDPLR):
        Lambda, P, Q = (complex128(a) for a in (layer.Lambda, layer.P, layer.Q))
        poles = np.linalg.eigvals(state_matrix(Lambda, P, Q).cpu().numpy())
        step = np.broadcast_to(dt[:, None], poles.shape)
        return Spectrum(poles, step, dt, "bilinear", _doubled(Lambda), True)
    if not isinstance(layer, GeneralDiagonal | GeneralMIMO):
        raise UsageError(f"layer {type(layer).__name__}: is no layer whose parts are known here")
    stored = layer.eigenvalues().cpu().numpy()
    poles = np.atleast_2d(stored)
    steps = layer.dt.double().cpu().numpy()
    step = steps[None] if stored.ndim == 1 else steps.reshape(len(poles), -1)
    step = np.broadcast_to(step, poles.shape)
    if layer.order == 2 * poles.shape[1]:
        poles = np.concatenate([poles, poles.conj()], axis=1)
        step = np.concatenate([step, step], axis=1)
    return Spectrum(poles, step, dt, layer.discretization, poles, False)
