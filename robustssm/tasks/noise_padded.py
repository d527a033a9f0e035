"""Noise-padded sequences: the steps of another task, followed by noise.

The samples of a task of values, `task`, standardised per channel by the mean and standard
deviation of its training inputs, are followed by `pad` steps of independent noise, uniform in
[0, 1), in every channel. The noise is a function of (seed, channel, step, sample number). Labels,
splits and sample numbers are those of the task.

`task` is a name as everywhere, with + where it has a colon: `noise-padded:task=digits+side=8`.

The task stores sequences; what a model pools over is the model's affair. In the experiment of the
source it is the mean over the steps of noise alone, so that what is known of the data has to
survive in the state.

Source: Yu, Lyu, Lim, Mahoney and Erichson, There is HOPE to Avoid HiPPOs for Long-memory State
Space Models (arXiv 2405.13975), section 5, noise-padded sequential CIFAR-10: 1024 steps of data,
1024 of noise, drawn after standardisation.
"""

import numpy as np
import numpy.typing as npt

from robustssm.errors import UsageError, require
from robustssm.philox import uniform
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check, check_sizes
from robustssm.typing import FloatArray

# Mean and standard deviation are rounded to multiples of this: sums of floats differ between
# machines in their last bits.
_ROUND = 2.0**-20
_WHO = "noise-padded"


def noise_padded(task: str = "digits", pad: int = 256, seed: int = 0) -> Task:
    """Return the task; inputs (N, length of `task` + pad, channels), not an image any more.

    Raises UsageError for a task of tokens or of samples of different lengths, and for what
    `task` itself does not allow.
    """
    from robustssm.tasks.registry import load_task

    check_sizes(_WHO, seed)
    check(_WHO, "pad", pad, 1, 1 << 20)
    require(not task.startswith(_WHO), f"{_WHO}: task", task, "one that is not padded itself")
    inner = load_task(task.replace("+", ":"))
    inner.values(_WHO)
    mean, std = (np.rint(v / _ROUND) * _ROUND for v in (inner.mean, inner.std))
    if bool((std == 0.0).any()):
        raise UsageError(f"{_WHO}: a channel of {task} is constant, which has no standard form")
    splits = {name: _padded(split, mean, std, pad, seed) for name, split in inner.splits.items()}
    given = {"task": task, "pad": pad, "seed": seed}
    return Task(spec_of(_WHO, given, noise_padded), inner.classes, splits, rate=inner.rate)


def _padded(split: Split, mean: FloatArray, std: FloatArray, pad: int, seed: int) -> Split:
    count, length, channels = split.inputs.shape
    inputs: npt.NDArray[np.float32] = np.empty((count, length + pad, channels), dtype=np.float32)
    # In float64 by parts: data that are float32 and noise of 53 bits are rounded once.
    size = max(1, (1 << 20) // max(1, (length + pad) * channels))
    for start in range(0, count, size):
        part = slice(start, start + size)
        inputs[part, :length] = (split.inputs[part].astype(np.float64) - mean) / std
        noise = uniform(f"{_WHO}|{seed}|{channels}", split.sample_id[part], pad * channels)
        # float32 would round draws above 1 - 2^-25 up to 1: cut to 24 bits instead.
        inputs[part, length:] = np.floor(noise * 2.0**24).reshape(-1, pad, channels) * 2.0**-24
    return Split(inputs, split.labels, split.sample_id)
