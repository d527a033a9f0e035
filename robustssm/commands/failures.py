"""How a command ends that failed: one line and an exit code, the traceback where it is wanted."""

import os
import platform
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from robustssm._version import __version__
from robustssm.errors import (
    RejectedInputError,
    RobustssmError,
    UsageError,
    out_of_memory,
)
from robustssm.plain_text import visible

# Exit code of an error that nobody foresaw: EX_SOFTWARE of sysexits.h.
UNEXPECTED = 70
# Libraries whose versions a report of an error names.
_LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "click")
# Bytes of address space that the libraries take, torch and those that draw among them.
_LEAST = 1200 << 20
# Characters of the message of an error that nobody foresaw.
_SHOWN = 200


@contextmanager
def room_for_libraries() -> Iterator[None]:
    """Run the body, a command, unless a limit leaves no memory for what it imports.

    Libraries that find no room while they are imported may wait for ever, or end the process.
    """
    try:
        import resource
    except ImportError:  # Windows
        yield
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if 0 <= limit < _LEAST:  # -1: none
        raise RobustssmError(
            f"memory: this process may have {limit >> 20} MiB (ulimit -v), expected "
            f"{_LEAST >> 20}, which its libraries alone take; raise the limit"
        )
    yield


def ending(error: Exception, debug: bool) -> tuple[str, int]:
    """Return the line that says what went wrong, and the exit code.

    debug: the traceback is shown, so that no report of an error that nobody foresaw is saved.
    """
    if isinstance(error, RobustssmError):
        rejected = isinstance(error, RejectedInputError)
        return str(error), 2 if isinstance(error, UsageError) else 4 if rejected else 1
    if out_of_memory(error):
        return (
            "memory ran out; take fewer samples at a time (--batch-size), fewer processes (--jobs) "
            "or fewer samples (--limit)",
            1,
        )
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"file{where}: {error.strerror or error}; choose another", 1
    said = " ".join(visible(f"{type(error).__name__}: {error}", keep="\n").split())
    said = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
    return f"unexpected error, not one of yours: {said}; {_kept(error, debug)}", UNEXPECTED


def _kept(error: Exception, debug: bool) -> str:
    """Save the report of an error; return where it is, and what to do with it."""
    if debug:
        return "please report it with the traceback above and the files that it needs"
    try:
        handle, name = tempfile.mkstemp(prefix="robustssm-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(report(error))
    except OSError as full:
        return f"its report cannot be saved ({full.strerror}); --debug shows the traceback"
    return (
        f"please report it with {Path(name)} and the files that the command read; --debug shows "
        "the traceback"
    )


def report(error: Exception) -> str:
    """Return what a report of an error says: the command, versions, the traceback."""
    lines = [
        f"command: {shlex.join(['robustssm', *sys.argv[1:]])}",
        f"folder: {Path.cwd()}",
        *versions(),
        ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES),
        "",
    ]
    return "\n".join(lines) + "\n" + "".join(traceback.format_exception(error))


def versions() -> list[str]:
    """Return lines on robustssm and where it is, Python, torch and its CUDA; imports no torch."""
    found = find_spec("torch")
    cuda = ""
    if found is not None and found.origin:
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
        cuda = "".join(re.findall(r"^cuda\b.*= '([\d.]+)'", text, re.MULTILINE))
    return [
        f"robustssm {__version__} ({Path(__file__).parents[2]})",
        f"Python {platform.python_version()}, {platform.platform()}",
        f"torch {_version('torch')}, {f'CUDA {cuda}' if cuda else 'without CUDA'}",
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
