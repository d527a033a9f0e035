"""Files, whole or not there, that replace nothing somebody else made; TOML files."""

import errno
import math
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robustssm.errors import StorageError, UsageError

# Kept in every folder that is written here: the files of the export, one a line. Such a folder may
# be replaced by another export as long as nobody added to it.
MARK = ".robustssm-export"


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
    """Write beside the final name, then move: no reader sees half a file; OSError names `path`."""
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
    path = path.resolve()
    with _beside(path) as partial:
        yield partial
        partial.replace(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it is moved to `path` at the end, or removed.

    An empty folder and an earlier export are replaced. Raises UsageError if a file of anybody
    else lies there, StorageError if nothing can be written.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"output {path}: is a file, expected a folder")
    path = path.resolve()
    foreign = _foreign(path)
    if foreign:
        raise UsageError(
            f"output {path}: holds {foreign}, which is of no earlier export; name a new folder, "
            "nothing was written"
        )
    with _beside(path) as partial:
        partial.mkdir()
        yield partial
        (partial / MARK).write_text("".join(f"{name}\n" for name in _files(partial)))
        if path.is_dir():
            old = partial.with_suffix(".old")
            path.replace(old)
            partial.replace(path)
            shutil.rmtree(old)
        else:
            partial.replace(path)


def _files(folder: Path) -> list[str]:
    """Return the files below a folder, relative to it, sorted."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _foreign(folder: Path) -> str:
    """Return a file in a folder that no earlier export wrote; empty if there is none."""
    mark = folder / MARK
    known = {MARK, *(mark.read_text().splitlines() if mark.is_file() else ())}
    return next((name for name in _files(folder) if name not in known), "")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        prepare(partial)
        yield partial
    except OSError as error:
        raise StorageError(
            f"output {path}: cannot be written ({error.strerror or error}); make room or choose "
            "another place"
        ) from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def read_toml(path: Path, who: str) -> dict[str, Any]:
    """Return the table of a TOML file; raises UsageError, one line that `who` starts."""
    try:
        # Editors of Windows put a byte order mark before the text.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{who}: is no TOML: {error}") from None
    except RecursionError:
        raise UsageError(
            f"{who}: its brackets are nested too deeply, expected values and flat lists"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{who}: is no UTF-8 text; expected a TOML file") from None
    except OSError as error:
        raise UsageError(f"{who}: cannot be read ({error.strerror})") from None
