"""What a checkpoint file holds, how much of it is read, and what may be wrong with it."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

# Characters of a foreign name that a message shows.
_SHOWN = 80


class ContentsError(Exception):
    """What is wrong with a file, without its path; `read_contents` makes it the user's error."""


def require(holds: bool, problem: str) -> None:
    """Raise ContentsError, which says `problem`, unless a condition holds."""
    if not holds:
        raise ContentsError(problem)


@dataclass(frozen=True)
class Limits:
    """How much a reader takes from a file that nobody has vouched for.

    Larger files are refused before memory is taken for them. Counts are per file.

    Parameters
    ----------
    file_bytes : int
        Bytes of the file, or of all files of a folder.
    header_bytes, directory_bytes, pickle_bytes, json_bytes : int
        Bytes of a safetensors header, a zip directory, the pickle in a torch file, a JSON file.
    operations : int
        Opcodes of a pickle, and entries that its calls copy.
    values, tensors : int
        Plain values and tensors that are kept.
    elements : int
        Entries of one tensor.
    nesting : int
        Depth of tables in tables.
    expansion : int
        Bytes of all tensors as a multiple of the file's bytes, beyond 1 MiB; a whole file needs
        more than 1 only if tensors are views of the same numbers, or are compressed.
    """

    file_bytes: int = 16 << 30
    header_bytes: int = 100 << 20
    directory_bytes: int = 16 << 20
    pickle_bytes: int = 64 << 20
    json_bytes: int = 16 << 20
    operations: int = 4_000_000
    values: int = 1_000_000
    tensors: int = 100_000
    elements: int = 1 << 33
    nesting: int = 100
    expansion: int = 8

    def tensor_bytes(self, file_bytes: int) -> int:
        """Return the bytes that all tensors of a file of `file_bytes` bytes may take."""
        return min(self.file_bytes, self.expansion * file_bytes + (1 << 20))


@dataclass(frozen=True)
class Contents:
    """What a checkpoint file holds, as plain data.

    Parameters
    ----------
    container : str
        torch, safetensors, npz, flax-msgpack, orbax, or huggingface (a folder with config.json).
    tensors : dict of str to Tensor
        By name, nested tables joined by "." (flax: "/"). Entries may be NaN or infinite.
    options : dict
        Hyper-parameters in the file: plain dict, list, str, int, float, bool and None.
    extra : dict
        Other plain values at the top level, such as epoch, acc, step.
    path : Path
        The file or folder.
    notes : tuple of str
        Sentences on what was left out.
    """

    container: str
    tensors: dict[str, Tensor]
    options: dict[str, object] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)
    path: Path = field(default_factory=Path)
    notes: tuple[str, ...] = ()


def shown(name: object) -> str:
    """Return a foreign name as one short printable word for a message."""
    text = name[: _SHOWN + 1] if isinstance(name, str) else f"a {type(name).__name__}"
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
