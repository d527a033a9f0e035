"""Mutated cards, arrays, expressions, configurations, baselines: refused in one line, or read.

Each input is a function of its number. ROBUSTSSM_FUZZ: how many of each kind (default 300);
ROBUSTSSM_FUZZ_FIRST: the first number, to look at one again. Under 2 GiB of address space above
what the process has; an input that takes SECONDS ends the process with a trace.

    ROBUSTSSM_FUZZ=10000 python -m pytest -s tests/robustssm/test_fuzz_inputs.py
"""

import copy
import faulthandler
import io
import json
import os
import random
import resource
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from robustssm.attacks.expressions import _TABLE, make_budget, parse_expression, words_in
from robustssm.checkpoints import load_checkpoint
from robustssm.cli import main
from robustssm.commands.config import read_configuration
from robustssm.commands.sweep import sweep
from robustssm.errors import RejectedInputError, RobustssmError, UsageError
from robustssm.evaluations.baselines.files import read_baseline, to_text
from robustssm.tasks import load_task
from robustssm.tasks.arrays import read_arrays
from robustssm.tasks.reading import Source
from tests.robustssm.checkpoints.test_hostile_cards import forge, whole

COUNT = int(os.environ.get("ROBUSTSSM_FUZZ", "300"))
FIRST = int(os.environ.get("ROBUSTSSM_FUZZ_FIRST", "0"))
SECONDS, GROWTH = 10, 2 << 30
Draw = random.Random

# What a value of JSON may turn into; the texts are put in as they are.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 64, 10**6, 10**9, 2**31, 2**62, 2**63, 10**30, 10**400),
    *(0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), "", "s4", "layer", "8", "\x00", "\n"),
    *("x" * 5000, "\u202e", "\ud800", [], [1, 2], [[]], {}, {"a": {}}, [None] * 50, "../../x", "~"),
)
# Events of Python that no input may cause.
FORBIDDEN = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "pickle.find_class",
             "socket.connect", "socket.getaddrinfo", "os.remove", "shutil.rmtree"}  # fmt: skip
_watching, _events = False, list[str]()


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in FORBIDDEN:
        _events.append(event)


sys.addaudithook(_hook)


@pytest.fixture
def bounded() -> Iterator[None]:
    kept = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + GROWTH, kept[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, kept)


def fuzz(make: Callable[[Draw], Any], read: Callable[[Any], object]) -> None:
    """Read COUNT inputs: each is refused in one line, or read."""
    global _watching
    outcomes: Counter[str] = Counter()
    for number in range(FIRST, FIRST + COUNT):
        made = make(random.Random(number))
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        _events.clear()
        _watching = True
        try:
            read(made)
        except RobustssmError as error:
            said = str(error)
            assert "\n" not in said and "\x00" not in said, (number, said)
            assert len(said) < 20_000, number
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"input {number}: {error!r:.2000}") from error
        else:
            outcomes["read"] += 1
        finally:
            _watching = False
            faulthandler.cancel_dump_traceback_later()
        assert not _events, (number, _events)
    assert outcomes["refused"] > 0
    print(dict(outcomes))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the values of a tree are."""
    if path:
        yield path
    inside = dict(enumerate(value)) if isinstance(value, list) else value
    for key, inner in inside.items() if isinstance(inside, dict) else ():
        yield from places(inner, (*path, key))


def changed(tree: Any, draw: Draw) -> Any:
    """Return a tree of JSON with one to three values changed, removed, moved or buried."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 2, 3))):
        *path, key = draw.choice(list(places(tree)))
        holder = tree
        for part in path:
            holder = holder[part]
        match draw.randrange(6):
            case 0:
                del holder[key]
            case 1:
                many = 1000 if not isinstance(holder[key], dict | list) else 5
                holder[key] = [holder[key]] * draw.choice((1, 2, many))
            case 2 if isinstance(holder, dict):
                holder[draw.choice(("x", "n", "init", "kind", "eps", "", "\x00"))] = draw.choice(
                    ODD
                )
            case 3 if type(holder[key]) in (int, float):
                holder[key] *= draw.choice((-1, 2, 10, 1000))
            case _:
                holder[key] = copy.deepcopy(draw.choice(ODD))
        if not isinstance(tree, dict) or not tree:
            break
    return tree


def text_of(tree: Any, draw: Draw) -> str:
    """Return JSON, sometimes with digits, brackets or characters that do not belong there."""
    text = json.dumps(tree)
    if draw.random() < 0.3:
        text = mutated(text, draw)
    if draw.random() < 0.05:
        at = draw.randrange(len(text))
        text = text[:at] + draw.choice(("[" * 200_000, "9" * 5000, '{"a":' * 50_000)) + text[at:]
    return text


SIGNS = "()[]{}=,.:-+*'\"\\ \n\t0123456789eExXjl_#abmodepsFourier\x00\u0663\u202e\xe9"


def mutated(text: str, draw: Draw) -> str:
    signs = list(text)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at = draw.randrange(len(signs) + 1)
        match draw.randrange(4):
            case 0:
                del signs[at : at + draw.choice((1, 1, 3, 20))]
            case 1:
                signs[at:at] = draw.choices(SIGNS, k=draw.choice((1, 2, 5)))
            case 2:
                part = signs[at : at + draw.choice((2, 10, 40))]
                signs[at:at] = part * draw.choice((1, 3, 30))
            case _:
                signs[at : at + 1] = draw.choices(SIGNS)
    return "".join(signs)


def test_cards(tmp_path: Path, bounded: None) -> None:
    samples = [whole(), whole("s4"), whole("s5", bidirectional=True), whole("s4ptd-rank1"),
               whole("dss", tokens=5, d_input=6)]  # fmt: skip
    path = tmp_path / "m.safetensors"

    def make(draw: Draw) -> Path:
        card, tensors = draw.choice(samples)
        part = {**card, "architecture": changed(card["architecture"], draw)}
        tree = part if draw.random() < 0.6 else changed(card, draw)
        if draw.random() < 0.2:
            tensors = dict(tensors)
            name = draw.choice(list(tensors))
            shape = draw.choice(((1,), (0,), (2, 3), (6, 4, 2), (1 << 16,)))
            tensors[name] = tensors[name].new_zeros(shape)
        plain = draw.random() < 0.7
        forge(path, tree if plain else text_of(tree, draw), tensors, honest_hash=plain)
        if draw.random() < 0.1:
            data = bytearray(path.read_bytes())
            for _ in range(3):
                data[min(draw.randrange(4000), len(data) - 1)] ^= 1 << draw.randrange(8)
            path.write_bytes(bytes(data))
        return path

    def read(path: Path) -> object:
        return load_checkpoint(path).network.state_dict()

    fuzz(make, read)


DTYPES = ("f4", "f8", "f2", ">f4", "i8", "i4", "u1", "u8", "?", "c8", "S3", "U2", "M8[s]", "g", "O")


def header_of(shape: object, dtype: object, fortran: object = False) -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_arrays(tmp_path: Path, bounded: None) -> None:
    path = tmp_path / "x.npz"

    def array(draw: Draw) -> bytes:
        shape = draw.choice(((3, 4, 1), (3, 4), (3,), (), (0, 4), (3, 4, 1, 1), (1, 1), (2, 3)))
        stream, dtype = io.BytesIO(), draw.choice(DTYPES[:4] if draw.random() < 0.5 else DTYPES)
        value = np.zeros(shape, "f8") + draw.choice((0.0, 1.0, 2.0, -1.0, 1e30, np.inf, np.nan))
        with np.errstate(all="ignore"):
            np.save(stream, value.astype(dtype), allow_pickle=True)
        return stream.getvalue()

    def lying(draw: Draw) -> bytes:
        shape = draw.choice(
            (
                "(3, 4, 1)",
                "(10**9, 4)",
                "(9999999999, 4)",
                "(-1, 4)",
                "(3.5,)",
                "3",
                "(" * 90 + ")" * 90,
                "(" + "9" * 4000 + ",)",
                "(1 << 31,)",
                "()",
            )
        )
        dtype = draw.choice((*DTYPES, "V10", ["f4"], [("a", "f4")], "<f4, <f4", "x", ""))
        return header_of(shape, dtype, draw.choice((False, True, 3))) + b"\0" * draw.choice((0, 48))

    def make(draw: Draw) -> Path:
        names = ["inputs", "labels", "input"]
        names += draw.sample(["lengths", "sample_id", "train_inputs", "rate", "x"], 2)
        packed = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(path, "w", packed) as archive:
            for name in names[draw.choice((0, 0, 0, 1)) :]:
                kind = draw.random()
                if kind < 0.1:  # 64 MiB of zeros in 64 kB, held as eight times that
                    head = header_of(f"({1 << 16}, {1 << 10})", "|u1")
                    data = head + (b"\0" * (1 << 26) if draw.random() < 0.1 else b"")
                else:
                    data = lying(draw) if kind < 0.3 else array(draw)
                if name == "labels" and draw.random() < 0.7:
                    stream = io.BytesIO()
                    np.save(stream, np.array(draw.choice(([0, 1, 2], [0, 1, 2**62], [-1, 0, 1]))))
                    data = stream.getvalue()
                archive.writestr(f"{name}.npy", data)
        if draw.random() < 0.3:
            found = bytearray(path.read_bytes())
            for _ in range(draw.choice((1, 4))):
                near = draw.randrange(len(found) if draw.random() < 0.5 else min(400, len(found)))
                found[len(found) - 1 - near] ^= 1 << draw.randrange(8)
            path.write_bytes(bytes(found))
        return path

    def read(path: Path) -> object:
        try:
            return load_task(f"file:{path}").content_hash
        except RejectedInputError:
            return read_arrays(Source("input", path), ("inputs",), ("lengths",), strict=False)

    fuzz(make, read)


EXAMPLES = (
    "Fourier(3, phase='cosine', eps=0.3, unit='rms')",
    "BandNoise(1, 16, eps=9, unit='snr-db')",
    "Fourier(mode, phase='worst:4', eps=0.1, clip='hard', low=-1, high=1.5e0)",
    "MultiTone([mode, 5, 7], eps=1)",
    "Gabor(mode, 0.5, 0.1, eps=2)",
    "Filter(low=1, high=20, eps=0.5)",
    "BandPGD(1, 128, steps=5)",
    "Resonance(325.4, eps=1)",
    "Impulses(3, eps=inf, unit='snr-db')",
)


def test_expressions(bounded: None) -> None:
    names = list(_TABLE)
    numbers = (
        "3",
        "-1",
        "0",
        "1e400",
        "0x" + "f" * 2000,
        "9" * 5000,
        "1_0",
        "1j",
        "nan",
        "-inf",
        "mode",
        "(" * 300 + ")" * 300,
        "-" * 3000 + "1",
        "[1] * 9",
        "'a'",
        "None",
        "True",
        "lambda: 0",
        "__import__('os').system('true')",
        "(x for x in y)",
        "f'{open}'",
    )

    def make(draw: Draw) -> str:
        if draw.random() < 0.5:
            return mutated(draw.choice(EXAMPLES), draw)
        keys = ("", "", "eps=", "unit=", "low=", "high=", "clip=", "mode=", "phase=", "**", "*")
        parts = [draw.choice(keys) + draw.choice(numbers) for _ in range(draw.randrange(5))]
        return f"{draw.choice(names)}({', '.join(parts)})"

    def read(text: str) -> object:
        words_in(text)
        attack, settings = parse_expression(text, {"mode": 3.0, "omega": 2.0})
        return make_budget(text, settings, attack), repr(attack)

    fuzz(make, read)


CONFIGURATION = """
model = ["s4d", "s4ptd/*", "own=net.safetensors"]
noise = ["fourier", "Gabor(mode, 0.5, 0.1)"]
modes = "1-64"
eps = [0.1, 0.3]
seed = 3
limit = 20
batch-size = 16
data = "digits:side=8"
fail-fast = true
clip = "hard"
range = "0,1"

[checkpoints]
mine = "trained/mine.safetensors"
code = "net.py:make"
"""


def test_configurations(tmp_path: Path, bounded: None) -> None:
    path = tmp_path / "c.toml"
    values = (
        "0x" + "f" * 2000,
        "9" * 5000,
        "9" * 30,
        "1_0",
        "nan",
        "-inf",
        "true",
        '"a\\u0000b"',
        "[" * 2000,
        "[[1], [2]]",
        "{a = 1}",
        "1979-05-27",
        "'''x'''",
        '"' + "y" * 9000 + '"',
    )

    def make(draw: Draw) -> Path:
        text = mutated(CONFIGURATION, draw)
        if draw.random() < 0.5:
            lines = text.split("\n")
            at = draw.randrange(len(lines))
            key = lines[at].partition("=")[0] or "seed"
            lines[at] = f"{key}= {draw.choice(values)}"
            text = "\n".join(lines)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path

    def read(path: Path) -> object:
        values, problems = read_configuration(path, sweep)
        if problems:
            raise UsageError(" ".join(problems))
        return values

    fuzz(make, read)


@pytest.fixture(scope="module")
def baseline(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A baseline of one model as a table."""
    folder = tmp_path_factory.mktemp("baseline")
    run, path = folder / "run", folder / "b.json"
    arguments = ["sweep", "-m", f"a={checkpoints['s4d']}", "--noise", "fourier", "--modes", "1"]
    more = ["--eps", "0.1,0.3", "--limit", "9", "--no-figures", "-j", "1", "-o", str(run)]
    assert CliRunner().invoke(main, [*arguments, *more]).exit_code == 0
    assert CliRunner().invoke(main, ["baseline", str(run), "-o", str(path)]).exit_code == 0
    return json.loads(path.read_text())


def test_baselines(baseline: Any, tmp_path: Path, bounded: None) -> None:
    path = tmp_path / "b.json"

    def make(draw: Draw) -> Path:
        text = text_of(changed(baseline, draw), draw)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path

    fuzz(make, lambda path: to_text(read_baseline(path)))
