"""Where results come from: one CPU thread, so that core counts change no byte; versions."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from robustssm.errors import UsageError


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


def print_to_stderr() -> None:
    """Send all that this process prints to stderr, as a worker must: stdout is for results."""
    with suppress(OSError):  # closed by the shell
        os.dup2(2, 1)


@contextmanager
def sealed() -> Iterator[None]:
    """Start the processes of the body without the current directory on their path.

    `python -c` and `python -m`, by which worker processes begin, have it first: a file `joblib.py`
    that lies there would be run by each of them, though nobody named it.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH")
        os.environ |= {} if before is None else {"PYTHONSAFEPATH": before}


@contextmanager
def handling(handler: Any, *numbers: int) -> Iterator[None]:
    """Let a function, or SIG_IGN, handle signals in the body; only the main thread can."""
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers if here}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


# Set where a signal asked for the end: an exception raised in a destructor or a weak reference's
# callback goes nowhere, so `stop_if_asked` has to look.
_asked = threading.Event()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, as job schedulers send it, end the body with KeyboardInterrupt."""

    def stop(number: int, frame: object) -> None:
        _asked.set()
        raise KeyboardInterrupt

    ends = (signal.SIGINT, signal.SIGTERM)
    heard = [one for one in ends if signal.getsignal(one) != signal.SIG_IGN]  # as under nohup
    _asked.clear()
    try:
        with handling(stop, *heard):
            yield
    finally:
        _asked.clear()


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt where a signal asked for the end and was not heard."""
    if _asked.is_set():
        raise KeyboardInterrupt


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the torch device; `auto`: cuda if there is one, else cpu. UsageError if unusable."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, dtype=torch.float64, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"device: {device} cannot be used, expected auto, cpu or a GPU with float64 ({reason})"
        ) from error
    return found


def repeatable(device: torch.device) -> None:
    """Switch off what lets a GPU give other bits from run to run, and TF32, for this process."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True)


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    import platform

    import numpy
    import scipy

    from robustssm._version import __version__

    return {
        "robustssm": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    }
