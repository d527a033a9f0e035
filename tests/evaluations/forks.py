"""Commands in forks of one process that has imported everything, killed at a step of their own.

Run as a program it reads one order per line, [arguments, folder, step], and prints the number of
the process and, at its end, its exit code, or minus the number of the signal that ended it. The
first command is not forked: what it imports and loads, the forks have. A step is what changes a
folder's files: a file opened for writing, a name moved or removed, a folder made.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = {"open", "os.rename", "os.remove", "os.mkdir"}


class Forks:
    """The process that forks; one command at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def start(self, arguments: Sequence[str], folder: Path = Path(), step: int = 0) -> int:
        """Start a command of robustssm, to be killed before a step in `folder`; 0: never.

        Return the number of its process.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([arguments, str(folder), step]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> int:
        """Wait for the end of the command; return its exit code, or minus a signal's number."""
        return self._answer()

    def command(self, arguments: Sequence[str], folder: Path = Path(), step: int = 0) -> int:
        """Start a command and wait for its end."""
        self.start(arguments, folder, step)
        return self.end()

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextmanager
def forks() -> Iterator[Forks]:
    """Yield a process to fork, with one thread."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, __file__], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield Forks(process)


def kill_at(folder: str, step: int) -> None:
    """Kill this process before a step; a file that was about to be made is left half written."""
    steps = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        if event not in STEPS or not str(arguments[0]).startswith(folder):
            return
        there, flags = Path(str(arguments[0])).exists(), arguments[2:3]
        reads = event == "open" and not any(
            isinstance(flag, int) and flag & (os.O_WRONLY | os.O_RDWR) for flag in flags
        )
        if reads or (event == "os.remove" and not there) or (event == "os.mkdir" and there):
            return
        steps += 1
        if steps == step:
            if event == "open" and int(str(flags[0])) & (os.O_TRUNC | os.O_EXCL):
                Path(str(arguments[0])).write_bytes(b"half of")
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main() -> None:
    from robustssm.cli import main as command

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    for number, line in enumerate(sys.stdin):
        arguments, folder, step = json.loads(line)
        if not number:
            command(arguments, standalone_mode=False)
            print(f"{os.getpid()}\n0", file=answers)
            continue
        child = os.fork()
        if not child:
            if step:
                kill_at(folder, step)
            try:
                command(arguments)
            except SystemExit as end:
                # Taking down what a fork has imported would take most of a second.
                os._exit(int(end.code or 0))
        print(child, file=answers)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers)


if __name__ == "__main__":
    main()
