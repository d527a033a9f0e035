"""MNIST-1D: ten shapes of 12 points, padded, moved, scaled, noisy, sheared, at 40 steps.

The package `mnist1d` makes them by its own code; its default numbers are the published set. The
first four fifths are for training, a tenth of which is for validation, the others the test set.

Source: Greydanus and Kobak, Scaling Down Deep Learning with MNIST-1D (arXiv 2011.14439).
"""

import random

import numpy as np

from robustssm.errors import UsageError
from robustssm.tasks.base import Split, Task, spec_of
from robustssm.tasks.generated import check, on_grid
from robustssm.tasks.reading import published_splits

_WHO = "mnist1d"


def mnist1d(samples: int = 5000, seed: int = 42) -> Task:
    """Return the task; inputs (N, 40, 1), values rounded to 2^-16, so that machines agree.

    samples: of all splits, 100 to 100,000, as many of each digit. Raises UsageError if the package
    is not installed.
    """
    check(_WHO, "samples", samples, 100, 100_000)
    check(_WHO, "seed", seed, 0, 2**32 - 1)
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError:
        raise UsageError(
            f"{_WHO}: its package is not installed; pip install 'robustssm[mnist1d]'"
        ) from None
    settings = get_dataset_args()
    settings.num_samples, settings.seed = samples, seed
    # It seeds both global generators.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset(settings)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    inputs = on_grid(np.concatenate([made["x"], made["x_test"]]))[:, :, None]
    labels = np.concatenate([made["y"], made["y_test"]]).astype(np.int64)
    whole, count = Split(inputs, labels, np.arange(len(labels))), len(made["y"])
    places = published_splits(count, len(labels) - count, None)
    splits = {name: whole.rows(file * count + index) for name, file, index in places}
    return Task(spec_of(_WHO, {"samples": samples, "seed": seed}, mnist1d), 10, splits)
