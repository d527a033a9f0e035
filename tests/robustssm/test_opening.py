"""What is read is a regular file: nothing waits at a pipe, and nobody swaps it in between."""

import os
import socket
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from robustssm.checkpoints import load_checkpoint, read_card
from robustssm.checkpoints.model_names import resolve
from robustssm.checkpoints.native import is_native
from robustssm.errors import RejectedInputError, RobustssmError
from robustssm.evaluations.baselines.files import read_baseline
from robustssm.evaluations.initializations.readouts import read_readout
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.file_formats import read_contents
from robustssm.hippo.matrix_files import load_initialization
from robustssm.storage.opening import opened, read_bytes
from robustssm.storage.writing import read_toml
from robustssm.tasks import load_task
from robustssm.training.logs import EpochLog

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")

# Name of the file in a folder, and what reads it.
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "checkpoint": ("m.pt", lambda path: resolve(f"mine={path}")[0].load()),
    "native checkpoint": ("m.safetensors", load_checkpoint),
    "card": ("m.safetensors", read_card),
    "contents": ("m.bin", read_contents),
    "config.json": ("config.json", lambda path: read_contents(path.parent)),
    "distributed": (".metadata", lambda path: read_contents(path.parent)),
    "orbax": ("_METADATA", lambda path: read_contents(path.parent)),
    "data": ("x.npz", lambda path: load_task(f"file:{path}")),
    "parquet data": ("x.parquet", lambda path: load_task(f"hub:path={path}:inputs=x")),
    "time series": ("x_TRAIN.ts", lambda path: load_task(f"ucr:path={path}")),
    "baseline": ("b.json", read_baseline),
    "config": ("c.toml", lambda path: read_toml(path, "config")),
    "initialisation": ("e.npz", load_initialization),
    "readout": ("c.npy", lambda path: read_readout(str(path), 4)),
    "manifest": ("manifest.json", lambda path: RunDirectory(path.parent).manifest()),
    "plan": ("plan.parquet", lambda path: RunDirectory(path.parent).plan()),
    "log": ("l.csv", lambda path: EpochLog(path)._read()),
}


@pytest.mark.parametrize("what", READERS)
def test_a_pipe_is_refused_at_once(what: str, tmp_path: Path) -> None:
    name, read = READERS[what]
    os.mkfifo(tmp_path / name)
    try:
        read(tmp_path / name)
    except RobustssmError as error:
        assert "\n" not in str(error)
    else:
        assert what == "log"  # a pipe as a log is written to, and holds no earlier lines


@pytest.mark.parametrize("what", READERS)
def test_an_endless_device_is_refused_at_once(what: str, tmp_path: Path) -> None:
    name, read = READERS[what]
    (tmp_path / name).symlink_to("/dev/zero")
    try:
        read(tmp_path / name)
    except RobustssmError as error:
        assert "\n" not in str(error)
    else:
        assert what == "log"


def test_a_damaged_cell_may_be_a_pipe(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for folder in ("cells", "errors"):
        (tmp_path / folder).mkdir()
    os.mkfifo(run.cell_path("0" * 16))
    os.mkfifo(run.error_path("1" * 16))
    state = run.state(["0" * 16, "1" * 16])
    assert len(state.damaged) == 2 and not state.done


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(tmp_path / "socket"))
        for name in ("pipe", "device"):
            with pytest.raises(OSError, match=f"is a {name}, expected a regular file"):
                opened(tmp_path / name)
        with pytest.raises(OSError):
            opened(tmp_path / "socket")
    with pytest.raises(IsADirectoryError):
        opened(tmp_path)
    with pytest.raises(OSError, match="NUL"):
        opened("a\0b")
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, expected at most 4"):
        read_bytes(tmp_path / "file", 4)


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    """Whatever may be read of it: a buffer of the largest size would be taken first."""
    (tmp_path / "small").write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "small", 1 << 40) == b"12345"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_what_is_opened_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is a file when it is looked at, and a pipe when it is opened."""
    path = tmp_path / "swapped"
    os.mkfifo(path)
    lie = os.stat_result((stat.S_IFREG | 0o644, *Path(__file__).stat()[1:]))
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "stat", lambda self, **options: lie)
    with pytest.raises(RejectedInputError, match="is a pipe"):
        read_card(path)
    assert not is_native(path)
