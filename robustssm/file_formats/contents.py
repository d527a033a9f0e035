"""What a checkpoint file holds, how much of it is read, and the fault that a reader finds."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

# Characters of a foreign name that a message shows.
_SHOWN = 80


class ContentsError(Exception):
    """What is wrong with a file, without its path; `read_contents` makes it the user's error."""


@dataclass(frozen=True)
class Limits:
    """How much a reader takes from a file that nobody has vouched for.

    Larger files are refused before memory is taken for them. Counts are of one file.

    file_bytes: the file, or all files of a folder; header_bytes: the header of a safetensors file;
    directory_bytes: the directory of a zip file; pickle_bytes: the pickle in a torch file;
    json_bytes: a JSON file; operations: opcodes of a pickle; values: plain values kept;
    tensors: tensors kept; elements: entries of one tensor; nesting: depth of tables in tables;
    expansion: bytes of all tensors as a multiple of the file's bytes, beyond 1 MiB: above 1 only
    where tensors are views of the same numbers, or are compressed.
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

    container: torch, safetensors, flax-msgpack, orbax, or huggingface (a folder with config.json);
    tensors: by name, as stored: joined by "." as in a flat state dict, flax trees by "/";
    options: hyper-parameters in the file, of plain dict, list, str, int, float, bool and None;
    extra: other plain values at the top level, such as epoch, acc, step.
    Entries of tensors may be NaN or infinite: importers judge that.
    """

    container: str
    tensors: dict[str, Tensor]
    options: dict[str, object] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)
    path: Path = field(default_factory=Path)


def shown(name: object) -> str:
    """Return a foreign name as one short printable word for a message."""
    text = name[: _SHOWN + 1] if isinstance(name, str) else f"a {type(name).__name__}"
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
