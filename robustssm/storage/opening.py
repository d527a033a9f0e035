"""The one door to files that are read: regular files only, so that no reader waits for ever."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

# Largest text that is read at once: configurations, manifests, baselines, logs.
LARGEST_TEXT = 256 << 20
_KINDS = {stat.S_IFIFO: "is a pipe", stat.S_IFCHR: "is a device", stat.S_IFBLK: "is a device"}
# Opening a pipe or a line does not wait for its other end. Windows has none of these.
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


def opened(path: str | os.PathLike[str]) -> BufferedReader:
    """Return a regular file, open for reading.

    Raises OSError, whose strerror says what is wrong, for everything else: pipes, devices, sockets
    and folders, and a file that cannot be opened. What was opened is looked at, not the name, so
    that nobody can put another thing there in between.
    """
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "its name has a NUL character", str(path))
    descriptor = os.open(path, _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "is no file")
            raise OSError(errno.EINVAL, f"{kind}, expected a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def size_of(file: BufferedReader) -> int:
    """Return the bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def read_bytes(path: str | os.PathLike[str], largest: int) -> bytes:
    """Return the bytes of a regular file; OSError if it is none, or larger than `largest`."""
    with opened(path) as file:
        size = size_of(file)
        if size > largest:
            raise OSError(errno.EFBIG, f"has {size} bytes, expected at most {largest}", str(path))
        return file.read(size)  # a larger number would take that much memory first


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Return the text of a UTF-8 file without its byte order mark, if it has one.

    Raises OSError as `read_bytes`, UnicodeDecodeError if it is no text.
    """
    return read_bytes(path, largest).decode("utf-8-sig")
