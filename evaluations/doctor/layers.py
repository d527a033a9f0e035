"""Checks of SSM layers: convolution against recurrence, finite kernels, stable poles."""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robustssm.checkpoints import load_checkpoint
from robustssm.checkpoints.bundled import BUNDLED, zoo_path
from robustssm.evaluations.doctor.base import NOT_AVAILABLE, Finding, Setting, Subject, judge
from robustssm.evaluations.trained_layers.reading import layer_system
from robustssm.layers import SSMLayer
from robustssm.networks.classifier import BlockClassifier
from robustssm.philox import normal_tensor

# Steps of the inputs; samples of them.
_LENGTH = 256
_SAMPLES = 2
_WHY = "no layer has a state_space() that returns (A, B, C, D, dt)"
_UNREAD = Finding("what is known of the layers' systems", "", None, None, _WHY, NOT_AVAILABLE)


def _layers(setting: Setting) -> dict[str, Sequence[SSMLayer]]:
    layers: dict[str, Sequence[SSMLayer]] = {
        name: load_checkpoint(zoo_path(name, 0)).network.ssm_layers() for name in BUNDLED
    }
    # What somebody else's layer makes of its input may be more than a system: see `contract`.
    subjects = (one for one in setting.subjects if isinstance(one.network, BlockClassifier))
    read = {str(s.ref): [one for one in s.network.ssm_layers() if one.readable] for s in subjects}
    return layers | {name: found for name, found in read.items() if found}


def noise(*shape: int) -> Tensor:
    """Return standard normal numbers of a shape, float64, the same in every self-test."""
    return normal_tensor("doctor", np.arange(shape[0]), math.prod(shape[1:])).reshape(shape)


@torch.no_grad()
def convolution(setting: Setting, dtype: torch.dtype) -> Finding:
    """Compare the convolution of every bundled layer kind in `dtype` with the recurrence.

    The recurrence is in float64, the reference; sweeps use the convolution in float32.
    """
    stages = math.log2(2 * _LENGTH)
    tolerance, reason = {
        torch.float64: (
            1e-11,
            f"rounding 2e-16 over {_LENGTH} steps, in state bases of condition up to 1e2",
        ),
        torch.float32: (
            8.0 * torch.finfo(torch.float32).eps * stages,
            f"8 roundings of 1.2e-7 in each of the {stages:.0f} stages of an FFT of {2 * _LENGTH}",
        ),
    }[dtype]
    # NaN, which numpy hands on, is the largest error.
    errors = {
        name: float(np.max([_error(layer, dtype) for layer in layers]))
        for name, layers in _layers(setting).items()
    }
    return judge(
        f"FFT convolution in {str(dtype).removeprefix('torch.')} with recurrence in float64",
        "largest error, relative to the largest output",
        float(np.max([*errors.values()])),
        reason,
        {"networks": len(errors), "worst": max(errors, key=errors.__getitem__)},
        tolerance=tolerance,
    )


def _error(layer: SSMLayer, dtype: torch.dtype) -> float:
    """Return the largest error of the convolution, relative to the output's maximum."""
    u = noise(_SAMPLES, _LENGTH, layer.d).to(dtype)
    # Copies, so that kernels are built anew and none is left behind.
    reference = copy.deepcopy(layer).double()
    stepwise = reference.recurrence(u.double())
    convolved = copy.deepcopy(reference if dtype == torch.float64 else layer)(u).double()
    scale = max(float(stepwise.abs().max()), torch.finfo(dtype).tiny)
    return float((convolved - stepwise).abs().max()) / scale


@torch.no_grad()
def kernels(setting: Setting, subject: Subject) -> Finding:
    """Count what is not finite in the kernels and outputs of a model's layers."""
    L, broken = subject.task.length, 0
    layers = [layer for layer in subject.copy().ssm_layers() if layer.readable]
    if not layers:
        return _UNREAD
    for one in (way for layer in layers for way in layer.one_way()):
        for values in (one.impulse(L), one(noise(1, L, one.d).float())):
            broken += int((~torch.isfinite(values)).sum())
    return judge(
        f"kernels and outputs of every layer over {L} steps with finite numbers",
        "values that are not finite",
        broken,
        "a stable system has a finite response to a finite input",
        {"layers": len(layers)},
    )


def poles(setting: Setting, subject: Subject) -> Finding:
    """Look for poles on the right, and say what share of them is aliased."""
    layers = [layer for layer in subject.network.ssm_layers() if layer.readable]
    if not layers:
        return _UNREAD
    systems = [layer_system(layer, subject.task.length) for layer in layers]
    largest = max(float(system.poles.real.max()) for system in systems)
    aliased = ", ".join(f"{system.aliased.mean():.2%}" for system in systems)
    return judge(
        "continuous poles of every layer with the left half plane and its edge",
        "largest Re lambda, per unit time",
        largest,
        "below 0: a pole above grows; at 0, which layers allow oscillators alone, it never forgets",
        {
            "largest discrete pole": f"{max(np.abs(s.discrete).max() for s in systems):.6f}",
            "|Im| dt > pi by layer": aliased,
        },
        holds=largest <= 0.0,
    )
