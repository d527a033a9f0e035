"""Files that are whole or not there."""

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the final name, then move there: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
