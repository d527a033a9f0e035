"""Files whose tensors and options say something else end in one clear line, or in a network.

ROBUSTSSM_FUZZ sets the number of mutated files (default 400); each is a function of its number.
"""

import copy
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from robustssm.checkpoints.importers import importer_of, known
from robustssm.errors import RobustssmError
from robustssm.file_formats import Contents, read_contents
from robustssm.file_formats.wrappers import one_network
from robustssm.networks.foreign import SequenceModel
from tests.robustssm.checkpoints import selective
from tests.robustssm.checkpoints import test_linoss as linoss
from tests.robustssm.checkpoints.test_families import FAMILIES, LOOKING_AHEAD
from tests.robustssm.checkpoints.test_golden_files import FOUND, settings_of

FILES = int(os.environ.get("ROBUSTSSM_FUZZ", "400"))
Sample = tuple[Contents, dict[str, str]]

# What a value of an option may turn into.
ODD: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 2, 10**12, 0.5, -0.0, 1e300, float("nan"), float("inf")),
    *("", "layer", "none", "zoh", "s4", "linear", "\x00", "x" * 300, [], [1, 2], {}, {"a": {}}),
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Checkpoints of every family, and the reference files where they are."""
    mambas = (selective.Net(falcon=1e-6), selective.Net(two=True, groups=2, limit=(0.0, 0.5)))
    found: list[Sample] = []
    for net in mambas:
        held, config = selective.tensors(net), selective.transformers_config(net)
        found.append((Contents("huggingface", held, config), {}))
        named = selective.original_names(held)
        found.append((Contents("huggingface", named, selective.original_config(net)), {}))
    for name, make in (FAMILIES | LOOKING_AHEAD).items():
        path, settings = make(tmp_path_factory.mktemp(name))
        found.append((read_contents(path), settings))
    for settings in linoss.SETTINGS:
        found.append((Contents("npz", linoss.layer(settings)), dict(settings)))
    plain = (path for path in FOUND if path.parent.name != "prefixes")  # taken off before
    return [*found, *((read_contents(path), dict(settings_of(path))) for path in plain)]


def _changed_tensor(tensors: dict[str, Tensor], draw: random.Random) -> None:
    name = draw.choice(list(tensors))
    value = tensors[name]
    match draw.randrange(11):
        case 0:
            del tensors[name]
        case 1:
            tensors[draw.choice((name + "x", name.rpartition(".")[0], name.upper()))] = value
        case 2:
            tensors[name] = value.reshape(-1)
        case 3:
            tensors[name] = value[None]
        case 4:
            tensors[name] = value.repeat(2, *[1] * (value.ndim - 1)) if value.ndim else value[None]
        case 5:
            tensors[name] = value[:0] if value.ndim else value
        case 6:
            real = value.real if value.is_complex() else value
            tensors[name] = real.to(draw.choice((torch.int64, torch.float16, torch.bool)))
        case 7:
            tensors[name] = value.to(torch.complex64)
        case 8:
            odd = draw.choice((float("nan"), float("inf"), 6e4, -6e4, 0.0))
            tensors[name] = torch.full_like(value, odd) if value.is_floating_point() else value
        case 9:
            tensors[name] = value.transpose(0, -1) if value.ndim > 1 else value
        case 10:
            tensors[draw.choice(list(tensors))] = value


def _changed_option(node: Any, draw: random.Random) -> None:
    """Change one value somewhere in nested options."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and draw.random() < 0.8:
            node = node[key]
            continue
        if isinstance(node, dict) and draw.random() < 0.2:
            del node[key]
        else:
            node[key] = copy.deepcopy(draw.choice(ODD))
        return


def _mutated(sample: Sample, draw: random.Random) -> Sample:
    contents, settings = sample
    tensors, options = dict(contents.tensors), copy.deepcopy(contents.options)
    given = dict(settings)
    for _ in range(draw.choice((1, 1, 2, 3))):
        kind = draw.randrange(10)
        if kind < 5 or (kind < 8 and not options):
            if tensors:
                _changed_tensor(tensors, draw)
        elif kind < 8:
            _changed_option(options, draw)
        elif given and draw.random() < 0.7:
            key = draw.choice(list(given))
            given[key] = draw.choice(("true", "false", "none", "", "1", "nan", "pool", "zoh"))
        else:
            given[draw.choice(("prenorm", "mode", "disc", "rate", "allow_unstable", "x"))] = "1"
        if draw.random() < 0.1:
            given[draw.choice(("prefix", "weights"))] = draw.choice(("", "net.", "ema", "model"))
    for _ in range(draw.choice((0, 0, 1, 2))):
        tensors = _wrapped(tensors, draw)
    return Contents(contents.container, tensors, options, path=Path("file")), given


def _wrapped(tensors: dict[str, Tensor], draw: random.Random) -> dict[str, Tensor]:
    """Return tensors under a prefix, all or some of them, or twice."""
    prefix = draw.choice(("module.", "net.", "ema.", "_orig_mod.", "a" * 40 + ".", ".", "params/"))
    under = {f"{prefix}{name}": value for name, value in tensors.items()}
    match draw.randrange(4):
        case 0:
            return {**tensors, **under}
        case 1:
            some = draw.choice(list(under) or [""])
            return {name: value for name, value in under.items() if name != some}
        case 2:
            return {"n_averaged": torch.tensor(2), **under}
    return under


def test_the_samples_are_networks(samples: list[Sample]) -> None:
    for contents, settings in samples:
        importer_of(contents).build(contents, settings)


def test_mutated_files(samples: list[Sample]) -> None:
    outcomes = {"network": 0, "refused": 0}
    for number in range(FILES):
        draw = random.Random(number)
        contents, settings = _mutated(samples[number % len(samples)], draw)
        try:
            contents, settings = one_network(contents, settings, known)
            network = importer_of(contents).build(contents, settings).network
        except RobustssmError as error:
            outcomes["refused"] += 1
            assert "\n" not in str(error), (number, str(error))
            continue
        except Exception as error:
            raise AssertionError(f"file {number}: {error!r}") from error
        outcomes["network"] += 1
        assert isinstance(network, SequenceModel)
        if network.tokens is None:
            with torch.no_grad():
                network(torch.zeros(2, 8 + network.blueprint.pool_from, network.d_input))
    assert all(outcomes.values())
    print(outcomes)
