"""An AR(2) process under noise: predict its next value (`ar`), or clean every step (`denoise`).

z[t] = a1 z[t-1] + a2 z[t-2] + w[t], seen as x[t] = z[t] + noise v[t] at t = 0 to L - 1, with w and
v white Gaussian noise of variance 1, and z stationary. The target of `ar` is z[L], that of
`denoise` z[t] at every step t. The best predictor is Kalman's, which is linear in x, so that its
error is known in closed form, and so is that under noise that is added to x: the calibration of
values, as frequency discrimination is of classes (`tests/evaluations/calibration/`).

Source: Anderson and Moore, Optimal Filtering (1979), sections 4.2 (the filter) and 4.4 (its limit).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.signal import lfilter

from robustssm.errors import require
from robustssm.targets import STEPS, VALUES
from robustssm.tasks.base import Task, spec_of
from robustssm.tasks.generated import check, check_memory, check_sizes, normals, on_grid, splits_of
from robustssm.typing import Array, IntArray

# Steps before the first one that is seen, in units of the slowest decay.
_DECAYS = 40.0


def ar(
    length: int = 256,
    a1: float = 1.2,
    a2: float = -0.8,
    noise: float = 0.5,
    train: int = 2000,
    validation: int = 200,
    test: int = 1000,
    seed: int = 0,
) -> Task:
    """Return the prediction; a1, a2: of a stable process; noise: standard deviation of v's part.

    Raises UsageError.
    """
    return _task("ar", ar, dict(locals()))


def denoise(
    length: int = 256,
    a1: float = 1.2,
    a2: float = -0.8,
    noise: float = 1.0,
    train: int = 2000,
    validation: int = 200,
    test: int = 500,
    seed: int = 0,
) -> Task:
    """Return the same process with a target at every step; parameters as of `ar`."""
    return _task("denoise", denoise, dict(locals()))


def _task(who: str, maker: Callable[..., Task], given: dict[str, Any]) -> Task:
    length, a1, a2, noise, *sizes, seed = given.values()
    check_sizes(who, seed, **dict(zip(("train", "validation", "test"), sizes, strict=True)))
    check(who, "length", length, 8, 1 << 20)
    check_memory(who, 12 * length, *sizes)
    check(who, "noise", noise, 0.0, 1e3)
    radius = float(np.abs(np.roots([1.0, -a1, -a2])).max(initial=0.1))
    require(radius < 0.999, f"{who}: largest pole of a1, a2", radius, "a modulus below 0.999")
    before = int(np.ceil(_DECAYS / -np.log(radius)))
    # Of the process alone: samples of the same number have the same noise at every strength.
    stream, steps = f"ar|{length}|{seed}", before + length + 1

    def make(split: str, index: IntArray) -> tuple[Array, ...]:
        z = lfilter([1.0], [1.0, -a1, -a2], normals(f"{stream}|driven", split, index, steps))
        z = z[:, before:]
        seen = z[:, :-1] + noise * normals(f"{stream}|seen", split, index, length)
        return on_grid(seen)[..., None], z[:, :-1, None] if who == "denoise" else z[:, -1:]

    splits = splits_of(make, steps, *sizes)
    kind = STEPS if who == "denoise" else VALUES
    return Task(spec_of(who, given, maker), 1, splits, kind=kind)
