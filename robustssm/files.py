"""Files that are whole or not there."""

import errno
import os
from contextlib import suppress
from pathlib import Path


def prepare(path: Path) -> None:
    """Make the folder of `path`; OSError, which names it, where no file can be written there."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def special(path: Path) -> bool:
    """Return whether `path` is a device or a pipe, which is written to and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the final name, then move there: a reader never sees half a file.

    OSError names the final path.
    """
    if special(path):
        path.write_bytes(data)
        return
    prepare(path)
    path = path.resolve()
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
