"""Run directories with one file spoilt, and what the commands that read them say.

    python -m tests.evaluations.fuzzed_runs --seed 1 --count 10000

ends with the inputs that ended in anything but an answer or one line: none is expected.
"""

import argparse
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

from robustssm.cli import Commands
from robustssm.commands.baseline import baseline
from robustssm.commands.compare import compare
from robustssm.commands.export import export
from robustssm.commands.ls import ls
from robustssm.commands.show import report, show
from robustssm.errors import RobustssmError
from robustssm.evaluations.baselines.files import read_baseline
from robustssm.evaluations.results.inspection import inspect
from robustssm.evaluations.results.tables import finish
from robustssm.evaluations.sweep.cell_files import cell_bytes
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.table_files import parquet_bytes, write_parquet
from robustssm.targets import CLASSES
from tests.evaluations.written_runs import share, write_run

# Exit codes of an answer, of usage, of rejected input; 1 is for a disk or memory that is full.
EXPECTED = {0, 2, 4}
SECONDS = 10
ODD: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 1e308, 1e-320, float("nan"),
    float("inf"), "", " ", "x" * 5000, "\x00", "\x1b[2J", "\ud800", "../../etc/passwd", "/dev/zero",
    [], [[]], {}, {"a": {}}, [None], "[/red]", "NaN", "1e999", "__import__('os')", [1, "a", None],
]  # fmt: skip
COMMANDS = [
    ["show", "RUN"], ["show", "RUN"], ["show", "RUN", "--format", "json", "--verify"],
    ["show", "RUN", "--format", "md", "--errors"], ["report", "RUN", "-o", "OUT.md"],
    ["compare", "RUN"], ["ls", "runs", "RUN"], ["export", "RUN", "--to", "csv", "-o", "OUT.csv"],
    ["export", "RUN", "--to", "parquet", "-o", "OUT.parquet"],
    ["baseline", "RUN", "-o", "OUT.json"],
]  # fmt: skip


def make_run(path: Path) -> Path:
    """Write a run of two models as a sweep leaves it, a failed cell and a baseline included."""
    curves = {(name, 0): {(mode, eps): share(right, 8) for mode in (1.0, 2.0)
                          for eps, right in ((0.1, 0.9), (1.0, 0.4))} for name in "ab"}  # fmt: skip
    run = write_run(path, curves)
    plan = run.plan()
    noisy = plan["noise"] != "clean"
    plan.loc[noisy, "perturbation"] = [f"Fourier(mode={mode:g})" for mode in plan["mode"][noisy]]
    write_parquet(path / "plan.parquet", plan)
    rng = np.random.default_rng(0)
    for cell in run.plan()["cell"]:
        rows = run.rows(cell)
        columns: dict[str, Any] = {name: rng.standard_normal(len(rows)) for name in CLASSES.columns}
        columns |= {name: rows[name].to_numpy() for name in rows}
        columns["label"] = columns["prediction"] = np.zeros(len(rows), np.int64)
        columns["margin"] = np.where(columns["correct"], 1.0, -1.0)
        run.cell_path(cell).write_bytes(cell_bytes(cell, columns))
    content = json.loads((path / "manifest.json").read_text())
    content |= {"noise": ["fourier"], "models": [{"name": "a/0", "content_hash": "a0"}],
                "limit": None, "length": 64, "seed": 0, "argv": ["sweep", "--model", "a"],
                "versions": {"torch": "2"}, "partial": False, "plan": "p"}  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(content))
    assert invoke(["baseline", str(path), "-o", str(path / "kept.json")]) == 0
    last = run.plan()["cell"].iloc[-1]
    run.cell_path(last).unlink()
    run.error_path(last).parent.mkdir()
    record = {"error": "ValueError('x')", "traceback": "Traceback\n"}
    run.error_path(last).write_text(json.dumps(record))
    finish(RunDirectory(path))
    return path


def invoke(words: list[str]) -> int:
    """Run a command in this process; return its exit code, raise what it did not foresee."""
    group = Commands("robustssm")
    for command in (baseline, compare, export, ls, report, show):
        group.add_command(command)
    result = CliRunner().invoke(group, words)
    if result.exit_code not in EXPECTED:
        raise AssertionError(f"{words}: exit {result.exit_code}: {result.stderr[-500:]}") from (
            result.exception and result.exception.__cause__
        )
    return result.exit_code


def spoilt_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with bits flipped, cut, repeated, overwritten, or moved."""
    rotten = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
        at = rng.randrange(len(rotten) + 1)
        kind = rng.randrange(6)
        if kind <= 1 and at < len(rotten):
            rotten[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del rotten[at : at + rng.choice((1, 2, 16, 1000))]
        elif kind == 3:
            rotten[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif kind == 4:
            other = rng.randrange(len(rotten) + 1)
            rotten[at:at] = rotten[other : other + rng.choice((1, 8, 200))]
        else:
            rotten[at : at + 8] = rng.choice(
                (b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7, b"9" * 8)
            )
    return bytes(rotten)


def spoilt_json(data: bytes, rng: random.Random) -> bytes:
    """Return JSON with one value replaced, one key gone or new, or brackets without end."""
    if rng.random() < 0.05:
        return b"[" * 100_000 + data
    content = json.loads(data)
    node: Any = content
    while isinstance(node, dict | list) and node and rng.random() < 0.8:
        key: Any = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.7:
            node = node[key]
            continue
        if rng.random() < 0.15:
            del node[key]
        else:
            node[key] = rng.choice(ODD)
        break
    return json.dumps(content).encode()


def spoilt_table(data: bytes, rng: random.Random) -> bytes:
    """Return a Parquet file whole in itself, with a column or rows changed."""
    frame = pd.read_parquet(io.BytesIO(data))
    name = rng.choice(list(frame))
    kind = rng.randrange(7)
    if kind == 0:
        frame = frame.drop(columns=name)
    elif kind == 1:
        frame = frame.rename(columns={name: rng.choice(("x", "", "cell", "a.b"))})
    elif kind == 2:
        frame[name] = [rng.choice(ODD[5:15])] * len(frame)
    elif kind == 3:
        frame[name] = [rng.choice([text for text in ODD if isinstance(text, str)][:4])] * len(frame)
    elif kind == 4:
        frame = frame.iloc[rng.sample(range(len(frame)), rng.randrange(len(frame)))]
    elif kind == 5:
        frame = pd.concat([frame] * rng.choice((2, 50)), ignore_index=True)
    else:
        values = frame[name].tolist()
        values[rng.randrange(len(values))] = rng.choice(values)
        frame[name] = values
    try:
        if rng.random() < 0.5:
            return parquet_bytes(frame)
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer)
        return buffer.getvalue()
    except (pa.ArrowException, ValueError, OverflowError, TypeError):
        return spoilt_bytes(data, rng)


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the body after so many seconds."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def one_input(whole: Path, folder: Path, seed: int) -> str:
    """Spoil a file of a copy of the run, and read it; raise AssertionError for what was wrong."""
    rng = random.Random(seed)
    run = folder / "run"
    shutil.copytree(whole, run)
    paths = sorted(path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    names = sorted({path.relative_to(run).parts[0] for path in paths})
    name = rng.choice(names)
    path = rng.choice([path for path in paths if path.relative_to(run).parts[0] == name])
    ways: list[Callable[[bytes, random.Random], bytes]] = [spoilt_bytes]
    if path.suffix == ".json":
        ways.append(spoilt_json)
    if path.suffix == ".parquet":
        ways.append(spoilt_table)
    way = rng.choice(ways)
    path.write_bytes(way(path.read_bytes(), rng))
    words = [str(run) if w == "RUN" else w.replace("OUT", str(folder / "out"))
             for w in rng.choice(COMMANDS)]  # fmt: skip
    what = f"{path.relative_to(run)} by {way.__name__}, {' '.join(words[:1])}"
    try:
        with at_most(SECONDS):
            if path.name == "kept.json":
                with_no_traceback = RobustssmError
                try:
                    read_baseline(path)
                except with_no_traceback as error:
                    assert "\n" not in str(error), str(error)
            else:
                invoke(words)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {what}: {error!r}") from error
    return f"{name} {way.__name__}"


def watch_for_execution() -> list[str]:
    """Return a list that grows by every process that is started and every pickle that is read."""
    seen: list[str] = []
    watched = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class"}
    sys.addaudithook(lambda event, args: seen.append(event) if event in watched else None)
    return seen


def main() -> None:
    """Read spoilt runs, and print what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="memory beyond the start")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = make_run(Path(folder) / "whole")
        for words in COMMANDS:  # everything is imported, and what that starts is no execution
            one = [str(whole) if w == "RUN" else w.replace("OUT", f"{folder}/out") for w in words]
            invoke(one)
        inspect(whole, verify=True)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + int(asked.gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        executed, wrong, done = watch_for_execution(), 0, Counter[str]()
        start = time.monotonic()
        for number in range(asked.count):
            with tempfile.TemporaryDirectory() as place:
                try:
                    done[one_input(whole, Path(place), asked.seed * 1_000_003 + number)] += 1
                except AssertionError as error:
                    wrong += 1
                    print(error, flush=True)
    print(f"{asked.count} inputs, {wrong} wrong, {len(executed)} executions {executed[:3]}, "
          f"{time.monotonic() - start:.0f} s: {dict(done)}")  # fmt: skip
    sys.exit(bool(wrong or executed))


if __name__ == "__main__":
    main()
