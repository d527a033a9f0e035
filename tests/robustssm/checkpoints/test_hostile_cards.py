"""A card is somebody's word: forged ones are refused in one line, before memory is taken for them.

Each case runs under a limit of 3 GiB of address space above what this process has; the fuzzer of
cards is benchmarks/fuzz.py.
"""

import json
import math
import resource
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from robustssm.checkpoints import load_checkpoint, read_card, save_checkpoint
from robustssm.checkpoints.cards import FORMAT
from robustssm.checkpoints.native import unknown_checkpoint, weights_hash
from robustssm.errors import RejectedInputError
from robustssm.hippo.initializations import EVERY
from robustssm.networks.foreign import Blueprint, SequenceModel
from robustssm.networks.network import Architecture, build_network

Card = dict[str, Any]
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Let a case take 3 GiB of address space more than there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + (3 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def whole(init: str = "s4d", **fields: Any) -> tuple[Card, Tensors]:
    """Return the card of a small network as a table, and its tensors."""
    network = build_network(Architecture(init, n=8, d_model=6, layers=2, d_output=3, **fields))
    made = unknown_checkpoint(network, {}, ())
    card = json.loads(made.card.to_json())
    return card, {k: v.clone().contiguous() for k, v in network.state_dict().items()}


def forge(path: Path, card: object, tensors: Tensors, honest_hash: bool = True) -> Path:
    if honest_hash and isinstance(card, dict):
        card = {**card, "weights_sha256": weights_hash(tensors)}
    text = card if isinstance(card, str) else json.dumps(card)
    path.write_bytes(save(tensors, metadata={"card": text}))
    return path


def set_in(*keys: Any, value: Any) -> Callable[[Card], Any]:
    def change(card: Card) -> Any:
        inner = card
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        return card

    return change


SIZES = ("n", "d_model", "layers", "d_input", "d_output", "tokens")
OTHERS = ("dropout", "dt_min", "dt_max", "norm", "pooling", "init", "prenorm", "kind")
# Values that some fields take and others do not.
NUMBERS: list[object] = [20_000, 10**7, 10**9, 2**62, -1, 1.5, "8", None, [8], {}, True, math.nan]
ODD: list[object] = [math.nan, math.inf, -1, [1], {"a": 1}, None, "nothing", 10**30]
FIELDS: list[object] = [-1, [1], {"a": [1]}, 10**30, "a\nb", math.nan]
KEYS: dict[tuple[str, ...], list[object]] = {
    **{("architecture", key): NUMBERS for key in SIZES},
    **{("architecture", key): ODD for key in OTHERS},
    **{(key,): FIELDS for key in ("task", "train_seed", "n_test", "clean_accuracy", "versions")},
}
FORGED: dict[str, Callable[[Card], Any]] = {
    f"{keys[-1]} {str(value)[:20]}": set_in(*keys, value=value)
    for keys, values in KEYS.items()
    for value in values
}
FORGED |= {
    "nested": lambda card: json.dumps({**card, "training": 0})[:-1] + ', "x": ' + "[" * 200_000,
    "nested whole": lambda card: json.dumps(card).replace(
        '"training": {}', '"training": {"x": ' + "[" * 1000 + "]" * 1000 + "}"
    ),
    "digits": lambda card: json.dumps(card).replace('"n": 8', '"n": ' + "9" * 5000),
    "digits of 1000": lambda card: json.dumps(card).replace('"n": 8', '"n": ' + "9" * 1000),
    "no architecture": lambda card: {k: v for k, v in card.items() if k != "architecture"},
    "no init": lambda card: {**card, "architecture": {"n": 8}},
    "another field": set_in("x", value=1),
    "another setting": set_in("architecture", "x", value=1),
    "a list": lambda card: [card],
    "a text": lambda card: '"card"',
    "nothing": lambda card: "",
    "no poles": set_in("architecture", "init", value="s4ptd-random:size=stable:seed=" + "9" * 5000),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_cards_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    card, tensors = whole()
    path = forge(tmp_path / "m.safetensors", FORGED[case](card), tensors)
    try:
        loaded = load_checkpoint(path)
    except RejectedInputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        assert str(path) in str(error)
    else:  # a number that is in the range of its field, or the empty text
        assert loaded.card.to_json() == read_card(path).to_json()
        assert case.startswith("versions {") or case.startswith("dt_max 10")


@pytest.mark.parametrize("init", EVERY)
@pytest.mark.parametrize(
    "fields", [{}, {"bidirectional": True}, {"tokens": 7, "d_input": 6}, {"prenorm": True}]
)
def test_honest_cards_are_read(init: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """What the checks hold against each other fits for every kind of network of this project."""
    for n in (8, 16):
        architecture = Architecture(init, n=n, d_model=6, layers=2, d_output=3, **fields)
        network = build_network(architecture)
        card = unknown_checkpoint(network, {}, ()).card
        save_checkpoint(tmp_path / "m.safetensors", network, card)
        read = load_checkpoint(tmp_path / "m.safetensors").network
        for name, value in network.state_dict().items():
            assert torch.equal(read.state_dict()[name], value)


BLUEPRINT = {
    "source": "x",
    "d_input": 1,
    "d_model": 4,
    "d_output": 2,
    "mixers": [],
    "norm": "layer",
}


@pytest.mark.parametrize("key", ["d_model", "d_input", "d_output", "feed_forward", "tokens"])
@pytest.mark.parametrize("value", [10**9, 2**62, -5, 1.5, "4", None])
def test_forged_blueprints(key: str, value: object, tmp_path: Path) -> None:
    mixer = {"kind": "diagonal", "n": 3}
    network = SequenceModel(Blueprint.from_dict({**BLUEPRINT, "mixers": [mixer]}))
    card = json.loads(unknown_checkpoint(network, {}, ()).card.to_json())
    tensors = {k: v.clone() for k, v in network.state_dict().items()}
    path = forge(tmp_path / "m.safetensors", card, tensors)
    assert load_checkpoint(path).network.to_dict() == network.to_dict()
    card["architecture"][key] = value
    if key == "feed_forward" and value == -5:
        card["architecture"]["mixers"][0]["n"] = 10**9
    with pytest.raises(RejectedInputError) as caught:
        load_checkpoint(forge(path, card, tensors))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [0, 10**6])
def test_forged_numbers_of_blocks(count: int, tmp_path: Path) -> None:
    mixer = {"kind": "diagonal", "n": 3}
    network = SequenceModel(Blueprint.from_dict({**BLUEPRINT, "mixers": [mixer]}))
    card = json.loads(unknown_checkpoint(network, {}, ()).card.to_json())
    tensors = {k: v.clone() for k, v in network.state_dict().items()}
    card["architecture"]["mixers"] = [mixer] * min(count, 5000)
    with pytest.raises(RejectedInputError, match="layers, its tensors are of 1"):
        load_checkpoint(forge(tmp_path / "m.safetensors", card, tensors))


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 200_000,
        b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [99999999999], "data_offsets": [0, 4]}}',
        b'{"a": 1}',
        b"[]",
        b'{"__metadata__": {"card": 1}}',
        b"\xff\xfe",
    ],
    ids=["nested", "digits", "negative", "large", "number", "list", "metadata", "bytes"],
)
def test_odd_headers(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    mark = f'"format\\": \\"{FORMAT}'.encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + mark + b"\0" * 8)
    for read in (load_checkpoint, read_card):
        with pytest.raises(RejectedInputError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
