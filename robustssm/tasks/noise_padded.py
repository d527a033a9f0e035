"""Noise-padded sequences: the steps of another task, followed by noise.

The samples of a task of values, `task`, standardised per channel by the mean and standard
deviation of its training inputs, are followed by `pad` steps of independent noise, uniform in
[0, 1), in every channel. The noise is a function of (seed, channel, step, sample number). Labels,
splits and sample numbers are those of the task.

`task` is a name as everywhere, with + where it has a colon: `noise-padded:task=digits+side=8`.

`published=1` makes the data of the source's released script: CIFAR-10 in colour, whose channels are
standardised by the constants of that script (its deviations are not those of the pixels, which
leaves the data with a deviation of about 1.2), then 1024 steps of noise. The rest of the experiment
is not the task's: there the network has dt = 0.1 in every channel, which is not trained, and
classifies the mean over the steps of noise alone, so that what is known of the data has to survive
in the state; and noise is drawn anew whenever a sample is read, here a sample has one noise.

Source: Yu, Mahoney and Erichson, HOPE for a Robust Parameterization of Long-memory State Space
Models (arXiv 2405.13975), noise-padded sequential CIFAR-10; its released script is
github.com/AnnanYu/HOPE-SSM, noisycifar_S4D.py.
"""

import inspect

import numpy as np

from robustssm.errors import UsageError, require
from robustssm.philox import uniform
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check, check_memory, check_sizes
from robustssm.tasks.reading import check_flag
from robustssm.typing import FloatArray

# Mean and standard deviation are rounded to multiples of this: sums of floats differ between
# machines in their last bits.
_ROUND = 2.0**-20
_WHO = "noise-padded"
# What `published=1` stands for: steps of data and of noise, and the script's constants of the
# channels, red to blue, in units of [0, 1].
PUBLISHED_STEPS = 1024
PUBLISHED_MEAN, PUBLISHED_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def noise_padded(task: str = "digits", pad: int = 256, seed: int = 0, published: int = 0) -> Task:
    """Return the task; inputs (N, length of `task` + pad, channels), not an image any more.

    published: 1 for the data of the source's script, of which `pad` is a part. Raises UsageError
    for a task of tokens or of samples of different lengths, for other data than that script's if
    `published`, and for what `task` itself does not allow.
    """
    from robustssm.tasks.registry import load_task

    check_sizes(_WHO, seed)
    check(_WHO, "pad", pad, 1, 1 << 20)
    require(not task.startswith(_WHO), f"{_WHO}: task", task, "one that is not padded itself")
    inner = load_task(task.replace("+", ":"))
    inner.values(_WHO)
    inner.one_length(_WHO)
    given = {"task": task, "pad": pad, "seed": seed, "published": published}
    if check_flag(_WHO, "published", published):
        pad = _published_pad(inner, pad)
        mean, std = np.array(PUBLISHED_MEAN), np.array(PUBLISHED_STD)
    else:
        mean, std = (np.rint(v / _ROUND) * _ROUND for v in (inner.mean, inner.std))
    sizes = [len(split) for split in inner.splits.values()]
    check_memory(_WHO, 4 * (inner.length + pad) * inner.channels, *sizes)
    if bool((std == 0.0).any()):
        raise UsageError(f"{_WHO}: a channel of {task} is constant, which has no standard form")
    splits = {name: _padded(split, mean, std, pad, seed) for name, split in inner.splits.items()}
    return Task(spec_of(_WHO, given, noise_padded), inner.classes, splits, rate=inner.rate)


def _published_pad(inner: Task, pad: int) -> int:
    """Return the steps of noise of the source; UsageError if data or `pad` are not the source's."""
    shape = (inner.length, inner.channels)
    low, high = (f(inner.splits["test"].inputs) for f in (np.min, np.max))
    if shape != (PUBLISHED_STEPS, len(PUBLISHED_MEAN)) or low < 0.0 or high > 1.0:
        raise UsageError(
            f"{_WHO}: published=1 with {inner.spec}, {shape[0]} steps of {shape[1]} channels from "
            f"{low:g} to {high:g}, expected CIFAR-10 in colour: {PUBLISHED_STEPS} steps of "
            f"{len(PUBLISHED_MEAN)} from 0 to 1"
        )
    default = inspect.signature(noise_padded).parameters["pad"].default
    require(
        pad in (default, PUBLISHED_STEPS), f"{_WHO}: pad", pad, f"{PUBLISHED_STEPS} if published=1"
    )
    return PUBLISHED_STEPS


def _padded(split: Split, mean: FloatArray, std: FloatArray, pad: int, seed: int) -> Split:
    count, length, channels = split.inputs.shape
    inputs = np.empty((count, length + pad, channels), dtype=np.float32)
    # In float64 by parts: data that are float32 and noise of 53 bits are rounded once.
    size = max(1, (1 << 20) // max(1, (length + pad) * channels))
    for start in range(0, count, size):
        part = slice(start, start + size)
        inputs[part, :length] = (split.inputs[part].astype(np.float64) - mean) / std
        noise = uniform(f"{_WHO}|{seed}|{channels}", split.sample_id[part], pad * channels)
        # float32 would round draws above 1 - 2^-25 up to 1: cut to 24 bits instead.
        inputs[part, length:] = np.floor(noise * 2.0**24).reshape(-1, pad, channels) * 2.0**-24
    return Split(inputs, split.labels, split.sample_id)
