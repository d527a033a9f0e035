"""What kind of checkpoint a path is, by its first bytes or by what a folder holds."""

import struct
from pathlib import Path

from robustssm.errors import RejectedInputError
from robustssm.file_formats.contents import Contents, ContentsError, Limits, require
from robustssm.file_formats.distributed import METADATA
from robustssm.file_formats.flax_msgpack import read_msgpack
from robustssm.file_formats.folders import INDEX, read_folder, read_index
from robustssm.file_formats.numpy_zip import is_npz, read_npz
from robustssm.file_formats.safetensors_file import read_safetensors
from robustssm.file_formats.torch_legacy import START, read_legacy
from robustssm.file_formats.torch_zip import read_zip
from robustssm.storage.opening import opened, size_of

_HEAD = 1024


def read_contents(path: Path, limits: Limits = Limits()) -> Contents:  # noqa: B008
    """Return what a checkpoint holds, as plain data; nothing in it is executed.

    Reads torch files (zip and older), Lightning's among them; safetensors; .npz; flax checkpoints
    of msgpack; folders of orbax, of Hugging Face and accelerate, of torch.distributed.checkpoint,
    and with one flax checkpoint. Tensors are in memory, contiguous, of the file's dtypes. Raises
    RejectedInputError if the path cannot be read, is damaged, larger than the limits, or would run
    code; UsageError if a package that the format needs is not installed.

    Parameters
    ----------
    path : Path
        A file or folder.
    limits : Limits
        How much is read.
    """
    try:
        if path.suffix == ".distcp" or path.name == METADATA:
            path = path.parent
        if path.is_dir():
            return read_folder(path, limits, read_file)
        if path.name.endswith(INDEX):
            return read_index(path, limits, read_file)
        return read_file(path, limits)
    except ContentsError as error:
        problem = " ".join(str(error).split())
        raise RejectedInputError(f"checkpoint {path}: {problem}") from error
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise RejectedInputError(
            f"checkpoint {path}: cannot be read ({problem}); give the path of a file that you may "
            "read"
        ) from error
    except MemoryError as error:
        raise RejectedInputError(
            f"checkpoint {path}: takes more memory than there is; read it on a larger machine"
        ) from error


def read_file(path: Path, limits: Limits) -> Contents:
    """Return what one file holds; raises ContentsError, or OSError, if it cannot be read."""
    require(path.exists(), "no such file; check the path")
    with opened(path) as file:
        size = size_of(file)
        require(size <= limits.file_bytes, f"has {size} bytes, allowed are {limits.file_bytes}")
        head = file.read(_HEAD)
        file.seek(0)
        kind = _kind(head, limits)
        if kind == "zip":
            return read_zip(path, file, size, limits)
        if kind == "npz":
            return read_npz(path, file, size, limits)
        if kind == "legacy":
            return read_legacy(path, file, size, limits)
        if kind == "msgpack":
            return read_msgpack(path, file.read(size), limits)
        return read_safetensors(path, file, size, limits)


def _kind(head: bytes, limits: Limits) -> str:
    """Return zip, npz, legacy, safetensors or msgpack; ContentsError if it is none of them."""
    require(bool(head), "is empty; fetch or save it again")
    if head.startswith(b"PK"):
        return "npz" if is_npz(head) else "zip"
    if head[:1] == b"\x80" and START in head:
        return "legacy"
    header = struct.unpack("<Q", head[:8])[0] if len(head) > 8 else 0
    table = head[8:9] == b"{"
    if table and header <= limits.header_bytes:
        return "safetensors"
    if 0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF):
        return "msgpack"
    if table:
        return "safetensors"
    problem = "a pickle that torch.save did not write; save the state_dict by torch.save"
    require(head[0] != 0x80, problem)
    raise ContentsError(
        "of no known format (torch, safetensors, npz, flax msgpack; folders of orbax or Hugging "
        "Face); save model.state_dict() by torch.save"
    )
