"""Where results come from: one CPU thread, so that core counts change no byte; versions."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the body with one torch and one BLAS thread, then restore both."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    import platform

    import numpy
    import scipy

    from robustssm import __version__

    return {
        "robustssm": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    }
