"""Checkpoints at a path: one file, or a folder of Hugging Face, accelerate, torch, orbax, flax."""

import re
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from robustssm.errors import RejectedInputError
from robustssm.file_formats.contents import Contents, ContentsError, Limits, require, shown
from robustssm.file_formats.distributed import METADATA as DISTRIBUTED
from robustssm.file_formats.distributed import read_distributed
from robustssm.file_formats.orbax import METADATA, read_orbax
from robustssm.file_formats.plain_values import read_json
from robustssm.file_formats.recognise import read_file

CONFIG = "config.json"
INDEX = ".index.json"
# Weights of a Hugging Face model, in the order in which its own loader takes them; of accelerate.
_HUB = ("model.safetensors", "pytorch_model.bin")
_WEIGHTS = (*_HUB, "pytorch_model_fsdp.bin", "pytorch_model_fsdp_0")
# Weights of a second model in a folder of accelerate.
_SECOND = re.compile(r"(pytorch_)?model_\d+\.(safetensors|bin)|pytorch_model_fsdp_[1-9]\d*(\.bin)?")
_STEP = re.compile(r"checkpoint_\d+")
_FILES = 100_000


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
        if path.suffix == ".distcp" or path.name == DISTRIBUTED:
            path = path.parent
        return _read(path, limits)
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


def _read(path: Path, limits: Limits, inner: bool = False) -> Contents:
    """Return what a path holds; inner: it lies in a folder that is read."""
    if path.is_dir():
        return _read_folder(path, limits, inner)
    return (_read_index if path.name.endswith(INDEX) else read_file)(path, limits)


def _read_folder(folder: Path, limits: Limits, inner: bool) -> Contents:
    """Return what a folder holds; raises ContentsError if it is unknown or ambiguous."""
    if (folder / METADATA).is_file():
        return read_orbax(folder, _size(folder, limits), limits)
    if (folder / DISTRIBUTED).is_file():
        return read_distributed(folder, _size(folder, limits), limits)
    names = sorted(one.name for one in folder.iterdir())
    places = [name for one in _WEIGHTS for name in (one, f"{one}{INDEX}") if name in names]
    if places or CONFIG in names:
        return _read_model(folder, places, limits)
    steps = [name for name in names if _STEP.fullmatch(name)]
    if len(steps) == 1 and not inner:
        return _read(folder / steps[0], limits, inner=True)
    problem = f"holds {shown(', '.join(steps))}, expected one; give the path of the one"
    require(not steps, problem)
    parts = [name for name in names if (folder / name / METADATA).is_file()]
    problem = f"holds orbax checkpoints in {shown(', '.join(parts))}; give the path of one"
    require(not parts, problem)
    raise ContentsError(
        f"a folder without {CONFIG}, {_HUB[0]}, {METADATA} or checkpoint_STEP (it holds "
        f"{shown(', '.join(names)) or 'nothing'}); give the path of the checkpoint in it"
    )


def _read_model(folder: Path, places: list[str], limits: Limits) -> Contents:
    """Return a model's tensors, from the first of the places; options are its config.json."""
    problem = f"a folder with {CONFIG}, but no {' or '.join(_HUB)}; fetch the weights too"
    require(bool(places), problem)
    several = sorted(one.name for one in folder.iterdir() if _SECOND.fullmatch(one.name))
    problem = f"holds models in {places[0]}, {shown(', '.join(several))}; give the path of one"
    require(not several, problem)
    model = _read(folder / places[0], limits, inner=True)
    notes = [f"read from {places[0]}; {one} beside it is not read" for one in places[1:]]
    model = replace(model, path=folder, notes=(*model.notes, *notes))
    if not (folder / CONFIG).is_file():
        return model
    return replace(model, container="huggingface", options=read_json(folder / CONFIG, limits))


def _read_index(index: Path, limits: Limits) -> Contents:
    """Return the tensors of all shards, each in the shard that the index says."""
    places = read_json(index, limits).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ContentsError(f"{index.name} has no weight_map; fetch the folder again")
    problem = f"{index.name} names {len(places)} tensors, allowed are {limits.tensors}"
    require(len(places) <= limits.tensors, problem)
    tensors: dict[str, Tensor] = {}
    files = list(dict.fromkeys(places.values()))
    for file in files:
        inside = isinstance(file, str) and Path(file).name == file and file.isprintable()
        problem = f"{index.name} names the file {shown(file)}, expected one of the folder"
        require(inside, problem)
    paths = [index.parent / str(file) for file in files]
    missing = [path.name for path in paths if not path.is_file()]
    problem = f"{shown(', '.join(missing))} of {index.name} are missing; fetch them too"
    require(not missing, problem)
    total = sum(path.stat().st_size for path in paths)
    problem = f"its weights have {total} bytes, allowed are {limits.file_bytes}"
    require(total <= limits.file_bytes, problem)
    for path in paths:
        shard = read_file(path, limits).tensors
        named = {name for name, place in places.items() if place == path.name}
        odd = sorted(set(shard) ^ named)
        require(
            not odd,
            f"{shown(path.name)} and {index.name} differ in {len(odd)} tensors "
            f"({shown(''.join(odd[:1]))}, ...); fetch the folder again",
        )
        tensors |= shard
    return Contents("shards", tensors, path=index)


def _size(folder: Path, limits: Limits) -> int:
    """Return the bytes of all files in a folder, within the limits."""
    total = 0
    for count, path in enumerate(folder.rglob("*")):
        total += path.lstat().st_size
        fits = count <= _FILES and total <= limits.file_bytes
        require(fits, f"a folder of more than {_FILES} files or {limits.file_bytes} bytes")
    return total
