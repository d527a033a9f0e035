"""Checkpoint files of every format, written by the tests; their names are those of real ones."""

import io
import json
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robustssm.errors import RejectedInputError
from robustssm.file_formats import Limits, read_contents

GOLDEN = Path(__file__).resolve().parents[3].parent / "shared" / "golden"
PREFIX = "model.layers.0.layer.layer.kernel."


def state(seed: int = 0) -> dict[str, Tensor]:
    """A small state_dict with the key names of a Lightning checkpoint of S4."""
    draw = torch.Generator().manual_seed(seed)
    return OrderedDict(
        [
            (f"{PREFIX}C", torch.randn(1, 4, 3, 2, generator=draw)),
            (f"{PREFIX}inv_dt", torch.randn(4, 1, generator=draw, dtype=torch.float64)),
            (f"{PREFIX}l_kernel", torch.tensor(64)),
            ("encoder.0.weight", torch.randn(4, 2, generator=draw)),
            ("decoder.0.output_transform.bias", torch.zeros(0)),
        ]
    )


OPTIONS: dict[str, object] = {
    "model": {"layer": {"_name_": "s4", "d_state": 6, "dt_transform": "softplus", "lr": None}},
    "dataset": {"_name_": "mnist", "permute": False},
    "encoder": ["linear", {"_name_": "id", "scale": 0.5}],
}

_OMEGACONF = {
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": ("AnyNode",),
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
}


@contextmanager
def omegaconf_names() -> Iterator[dict[str, type]]:
    """Classes that pickle under omegaconf's names, whether it is installed or not."""
    kept = {name: sys.modules.get(name) for name in ("omegaconf", *_OMEGACONF)}
    classes: dict[str, type] = {}
    sys.modules["omegaconf"] = ModuleType("omegaconf")
    for module, names in _OMEGACONF.items():
        fake = ModuleType(module)
        for name in names:
            classes[name] = type(name, (), {"__module__": module})
            setattr(fake, name, classes[name])
        sys.modules[module] = fake
    try:
        yield classes
    finally:
        for name, module_before in kept.items():
            if module_before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module_before


def configured(value: object, classes: dict[str, type], parent: object = None) -> object:
    """A value as omegaconf keeps it: contents in nodes, each of which knows its parent."""
    made: Any
    if isinstance(value, dict | list):
        made = classes["DictConfig" if isinstance(value, dict) else "ListConfig"]()
        metadata: Any = classes["ContainerMetadata"]()
        metadata.__dict__.update(ref_type=Any, object_type=dict, key_type=Any, flags={})
        metadata.resolver_cache = defaultdict(dict)
        content: object
        if isinstance(value, dict):
            content = {key: configured(one, classes, made) for key, one in value.items()}
        else:
            content = [configured(one, classes, made) for one in value]
        made.__dict__.update(_metadata=metadata, _content=content)
    else:
        made = classes["AnyNode"]()
        metadata = classes["Metadata"]()
        metadata.__dict__.update(ref_type=Any, object_type=None, optional=True, flags={})
        made.__dict__.update(_metadata=metadata, _val=value)
    made.__dict__["_parent"] = parent
    return made


def lightning(
    path: Path, new_format: bool = True, protocol: int = 2, **more: object
) -> dict[str, Tensor]:
    """Write a Lightning checkpoint: hyper-parameters of omegaconf, an optimizer, callbacks."""
    tensors = state()
    with omegaconf_names() as classes:
        content = {
            "epoch": 3,
            "global_step": 12,
            "pytorch-lightning_version": "2.6.6",
            "state_dict": tensors,
            "loops": {"fit_loop": {"state_dict": {}, "done": {1: True}}},
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.ones(())}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}],
            "lr_schedulers": [],
            "hparams_name": "config",
            "hyper_parameters": configured(OPTIONS, classes),
            "hparams_type": classes["DictConfig"],
            **more,
        }
        torch.save(
            content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new_format
        )
    return tensors


def with_pickle(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """Write a torch zip file with this pickle and these storages; checksums are right."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return path


def inner_pickle(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """The pickle and the storages of a torch zip file."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = archive.read(next(name for name in names if name.endswith("/data.pkl")))
        data = {n.split("/data/")[1]: archive.read(n) for n in names if "/data/" in n}
    return pickled, data


def safetensors_bytes(header: object, data: bytes, length: int | None = None) -> bytes:
    """A safetensors file with this header, and this claim of the header's length."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def variables() -> dict[str, dict[str, Any]]:
    """Flax variables of a small S5 layer."""
    draw = np.random.default_rng(0)
    seq = {
        "Lambda_re": -np.ones(3, np.float32),
        "B": draw.normal(size=(3, 4, 2)).astype(np.float32),
        "log_step": draw.normal(size=(3, 1)),
        "empty": np.zeros((0, 2), np.float32),
    }
    norm = {"mean": np.arange(4, dtype=np.int64), "var": np.array([True, False])}
    return {
        "params": {"encoder": {"layers_0": {"seq": seq}}},
        "batch_stats": {"encoder": {"layers_0": {"norm": norm}}},
    }


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a tree by their paths."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = value
    return found


def flax_bytes(tree: object) -> bytes:
    """A tree as flax.serialization packs it: msgpack with its three extensions."""
    import msgpack

    def packed(array: Any) -> bytes:
        row = (array.shape, array.dtype.name, array.tobytes("C"))
        return bytes(msgpack.packb(row, use_bin_type=True))

    def extension(value: object) -> object:
        if isinstance(value, np.ndarray):
            return msgpack.ExtType(1, packed(value))
        if isinstance(value, np.generic):
            return msgpack.ExtType(3, packed(np.asarray(value)))
        if isinstance(value, complex):
            return msgpack.ExtType(2, msgpack.packb((value.real, value.imag)))
        raise TypeError(type(value).__name__)

    return bytes(msgpack.packb(tree, default=extension, strict_types=True))


def orbax(folder: Path, tree: dict[str, Any], ocdbt: bool = True) -> Path:
    """Write a tree as orbax does: zarr arrays, in one ocdbt store or in a folder each."""
    import tensorstore

    folder.mkdir()
    base = {"driver": "file", "path": f"{folder}/"}
    metadata = {}
    for path, array in flat(tree).items():
        names = path.split("/")
        name = ".".join(names)
        kvstore = {"driver": "file", "path": f"{folder}/{name}/"}
        if ocdbt:
            kvstore = {"driver": "ocdbt", "base": base, "path": f"{name}/"}  # type: ignore[dict-item]
        spec = {"driver": "zarr", "kvstore": kvstore, "store_data_equal_to_fill_value": True}
        array = np.asarray(array)
        tensorstore.open(
            spec, create=True, open=True, dtype=array.dtype.name, shape=array.shape
        ).result().write(array).result()
        metadata[str(tuple(names))] = {
            "key_metadata": [{"key": one, "key_type": 2} for one in names],
            "value_metadata": {"value_type": "jax.Array", "skip_deserialize": False},
        }
    text = {
        "tree_metadata": metadata,
        "use_ocdbt": ocdbt,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
    }
    (folder / "_METADATA").write_text(json.dumps(text))
    return folder


def hugging_face(folder: Path) -> dict[str, Tensor]:
    """Write a folder with config.json and model.safetensors."""
    folder.mkdir()
    tensors = {name: value.contiguous() for name, value in state().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"hidden_size": 4, "use_bias": False}))
    return tensors


def refused(path: Path, limits: Limits | None = None) -> str:
    """The one line with which a file is refused; it names the file."""
    with pytest.raises(RejectedInputError) as caught:
        read_contents(path, limits or Limits())
    said = str(caught.value)
    assert said.startswith(f"checkpoint {path}: ")
    assert "\n" not in said
    assert len(said) < 500 + len(str(path))
    return said


def saved(path: Path, value: object, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def tensor_pickle(offset: int, size: tuple[int, ...], stride: tuple[int, ...], numel: int) -> bytes:
    """A pickle of one tensor under the name w, of a storage of `numel` float32."""

    class Storage:
        pass

    class Rebuilt:
        def __reduce__(self) -> tuple[object, ...]:
            given: tuple[object, ...] = (Storage(), offset, size, stride, False, {})
            return torch._utils._rebuild_tensor_v2, given

    class Writer(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            kind = torch.FloatStorage
            return ("storage", kind, "0", "cpu", numel) if isinstance(value, Storage) else None

    stream = io.BytesIO()
    Writer(stream, 2).dump({"w": Rebuilt()})
    return stream.getvalue()


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same names in the same order; the same dtypes, shapes and bits."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert found[name].is_contiguous()
        bits = (one.resolve_conj().resolve_neg().contiguous() for one in (found[name], value))
        mine, theirs = (one.reshape(-1).view(torch.uint8) for one in bits)
        assert torch.equal(mine, theirs)
