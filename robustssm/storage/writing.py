"""Files, whole or not there, that replace nothing somebody else made; locks; TOML files."""

import errno
import math
import os
import secrets
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robustssm.errors import StorageError, UsageError
from robustssm.storage.opening import read_text

# A new file of ours: never one that is there, never through a link.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_LOCK = os.O_RDWR | os.O_CREAT
for _name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
    _NEW |= getattr(os, _name, 0)
    _LOCK |= getattr(os, _name, 0)
# Bytes of a final name in a temporary one, which has about 25 more; file systems take 255.
_KEPT = 200
# Bytes of a TOML file, and whole numbers in it.
_LARGEST_TOML = 16 << 20
_BOUND = 1 << 63
_BELOW = "expected whole numbers below 2^63 in size"


def prepare(path: Path) -> None:
    """Make the folder of `path`; OSError, which names it, where no file can be written there."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.is_symlink() and not path.exists():
        problem = f"is a link to {path.readlink()}, which does not exist"
        raise OSError(errno.ENOENT, problem, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def special(path: Path) -> bool:
    """Return whether `path` is a device or a pipe, which is written to and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the final name, then move: no reader sees half a file; OSError names `path`.

    The bytes and the new name are on the disk when it returns.
    """
    if special(path):
        path.write_bytes(data)
        return
    with _beside(path) as (path, partial):
        with partial.open("wb") as file:
            file.write(data)
        _moved(partial, path)


def _moved(partial: Path, path: Path) -> None:
    """Give a whole file its final name, once it is on the disk, and its entry with it."""
    _sync(partial)
    partial.replace(path)
    with suppress(OSError):  # some systems do not open folders
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finite(value: Any) -> Any:
    """Return `value` with every float that JSON cannot hold replaced by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it is moved to `path` at the end, or removed.

    Raises StorageError if nothing can be written there, UsageError if `path` is a folder.
    """
    if path.is_dir():
        raise UsageError(f"output {path}: is a folder, expected the name of a file")
    if special(path):
        with TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            path.write_bytes((Path(folder) / path.name).read_bytes())
        return
    try:
        with _beside(path) as (whole, partial):
            yield partial
            _moved(partial, whole)
    except OSError as error:
        raise StorageError(
            f"output {path}: cannot be written ({error.strerror or error}); make room or choose "
            "another place"
        ) from None


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the final path, links followed, and a new file of ours beside it.

    Nobody can foresee its name, and nothing that has it, be it a link, is opened or removed.
    OSError names `path`.
    """
    try:
        whole = path.resolve()
        prepare(path)
        kept = os.fsdecode(os.fsencode(whole.name)[:_KEPT])
        partial = whole.with_name(f".{kept}.{secrets.token_hex(8)}.part")
        os.close(os.open(partial, _NEW, 0o666))
        try:
            yield whole, partial
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def locked(path: Path, busy: str, passing: bool = False) -> Iterator[None]:
    """Keep other processes that lock the same file out meanwhile; it is made if it is not there.

    passing: remove the file at the end. The lock ends with the process, however that ends. A file
    system or an operating system without such locks gives none. Raises UsageError, which says
    `busy`, if another process has it; OSError if the file cannot be made, or is a link.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    while True:
        with os.fdopen(os.open(path, _LOCK, 0o666), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(busy) from None
            except OSError:
                pass
            # Whoever had it may have removed it since it was opened: another file is locked then.
            if not _named(path, file.fileno()):
                continue
            try:
                yield
            finally:
                if passing:
                    path.unlink(missing_ok=True)
            return


def _named(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _check_numbers(value: Any, who: str) -> None:
    """Raise UsageError if a value of TOML is or holds a whole number that is no 64-bit one."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_numbers(item, f"{who}: {key}" if isinstance(value, dict) else who)
    elif isinstance(value, int) and not -_BOUND < value < _BOUND:
        raise UsageError(f"{who} is a number of {value.bit_length()} bits, {_BELOW}")


def read_toml(path: Path, who: str) -> dict[str, Any]:
    """Return the table of a TOML file; raises UsageError, one line that `who` starts."""
    try:
        # Editors of Windows put a byte order mark before the text.
        content = tomllib.loads(read_text(path, largest=_LARGEST_TOML))
        _check_numbers(content, who)
        return content
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{who}: is no TOML: {error}") from None
    except RecursionError:
        raise UsageError(
            f"{who}: its brackets are nested too deeply, expected values and flat lists"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{who}: is no UTF-8 text; expected a TOML file") from None
    except UsageError:
        raise
    except ValueError:  # of the int that tomllib makes of thousands of digits
        raise UsageError(f"{who}: a number has too many digits, {_BELOW}") from None
    except OSError as error:
        raise UsageError(f"{who}: cannot be read ({error.strerror})") from None
