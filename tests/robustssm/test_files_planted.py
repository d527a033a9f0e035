"""Nothing that somebody planted beside an output is written through or overwritten."""

import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from robustssm.checkpoints import read_card
from robustssm.errors import StorageError, UsageError
from robustssm.networks.network import Architecture
from robustssm.storage.writing import locked, new_file, write_atomically
from robustssm.tasks import load_task
from robustssm.training.config import TrainingConfig
from robustssm.training.loop import EpochRecord, train


def _write(path: Path) -> None:
    with new_file(path) as partial:
        partial.write_bytes(b"new")


WRITERS: dict[str, Callable[[Path], None]] = {
    "whole": lambda path: write_atomically(path, b"new"),
    "file": _write,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_names_cannot_be_foreseen(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    move = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append(self.name)
        return move(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    for name in ("out", "out2"):
        WRITERS[kind](tmp_path / name)
    random = {name.split(".")[2] for name in seen}
    assert len(random) == 2 and all(len(word) == 16 for word in random)
    assert not any(str(os.getpid()) == word for name in seen for word in name.split("."))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("plant", ["link", "dangling", "file", "folder"])
def test_a_name_that_was_foreseen_is_refused(
    kind: str, plant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda count: "0" * 2 * count)
    precious = tmp_path / "precious"
    precious.write_text("keep")
    planted = tmp_path / f".out.{'0' * 16}.part"
    if plant == "link":
        planted.symlink_to(precious)
    elif plant == "dangling":
        planted.symlink_to(tmp_path / "made")
    elif plant == "file":
        planted.write_text("keep")
    else:
        planted.mkdir()
    with pytest.raises((OSError, StorageError)) as caught:
        WRITERS[kind](tmp_path / "out")
    assert "out" in str(caught.value)
    assert os.path.lexists(planted) and precious.read_text() == "keep"
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["whole", "file"])
def test_a_dangling_link_says_what_it_is(kind: str, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    with pytest.raises((OSError, StorageError), match=r"is a link to .*gone, which does not exist"):
        WRITERS[kind](tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and not (tmp_path / "gone").exists()


@pytest.mark.parametrize("kind", WRITERS)
def test_long_names(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / ("é" * 127))
    assert [path.name for path in tmp_path.iterdir()] == ["é" * 127]


@pytest.mark.parametrize("kind", ["whole", "file"])
def test_file_and_folder_are_on_the_disk(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, move = os.fsync, Path.replace

    def watched(descriptor: int) -> None:
        order.append("folder" if Path(f"/dev/fd/{descriptor}").is_dir() else "file")
        sync(descriptor)

    def moved(self: Path, target: Path) -> Path:
        order.append("name")
        return move(self, target)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(Path, "replace", moved)
    WRITERS[kind](tmp_path / "out")
    assert order == ["file", "name", "folder"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        WRITERS["whole"](tmp_path / "whole")
        WRITERS["file"](tmp_path / "file")
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {oct(0o640)}


def test_a_lock_has_one_holder_and_follows_no_link(tmp_path: Path) -> None:
    def take(path: Path, passing: bool = False) -> None:
        with locked(path, "busy", passing):
            pass

    with (
        locked(tmp_path / "lock", "busy", passing=True),
        pytest.raises(UsageError, match="busy"),
    ):
        take(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
    take(tmp_path / "lock", passing=True)
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "planted").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        take(tmp_path / "planted")
    assert (tmp_path / "precious").read_text() == "keep"


def test_locks_that_are_removed_never_let_two_in(tmp_path: Path) -> None:
    inside, most, taken, ended = 0, 0, 0, 0
    guard = threading.Lock()

    def run() -> None:
        nonlocal inside, most, taken, ended
        for _ in range(300):
            try:
                with locked(tmp_path / "lock", "busy", passing=True):
                    with guard:
                        inside, taken = inside + 1, taken + 1
                        most = max(most, inside)
                    with guard:
                        inside -= 1
            except UsageError:
                continue
        ended += 1

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == len(threads) and most == 1 and taken
    assert not (tmp_path / "lock").exists()


def test_two_trainings_into_one_file(tmp_path: Path) -> None:
    """The second one is refused in one line, and leaves the first one alone."""
    output = tmp_path / "m.safetensors"
    task = "delayed-copy:train=8:validation=4:test=4:delay=8:length=16"
    config = TrainingConfig(epochs=1, batch_size=4)
    architecture = Architecture.for_task("s4d", load_task(task), n=4, d_model=4, layers=1)
    refused: list[str] = []

    def second(record: EpochRecord) -> None:
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(UsageError, match=r"another run is writing .*m\.safetensors") as caught:
            train(architecture, task, config, output, command="second")
        refused.append(str(caught.value))
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    card = train(architecture, task, config, output, command="first", logs=[lambda done: second])
    assert card is not None and len(refused) == 1 and "\n" not in refused[0]
    assert read_card(output).command == "first"
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
