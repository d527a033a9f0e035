"""Logs of a training: one line per epoch, as CSV or JSON lines, and TensorBoard's files."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from robustssm.errors import RejectedInputError, UsageError
from robustssm.storage.opening import read_text
from robustssm.storage.writing import finite, prepare, special, write_atomically
from robustssm.training.loop import EpochRecord

COLUMNS = tuple(field.name for field in fields(EpochRecord))
SUFFIXES = (".csv", ".jsonl")


class EpochLog:
    """A file with one line per epoch; columns are the fields of EpochRecord, NaN is left out.

    The file is replaced as a whole after every epoch, so that it never ends within a line; a pipe
    is written to line by line.
    """

    def __init__(self, path: Path) -> None:
        """Raise UsageError for a suffix that is no format; OSError if nothing can be written."""
        if path.suffix not in SUFFIXES:
            raise UsageError(
                f"log {path}: ends in {path.suffix or 'no suffix'!r}, expected "
                f"{' or '.join(SUFFIXES)}"
            )
        prepare(path)
        self.path = path
        self._lines: list[str] = []

    def open(self, done: int) -> Callable[[EpochRecord], None]:
        """Go on after `done` epochs; return what takes every epoch's record.

        Lines of epochs that will be done again are dropped. Raises UsageError if the file holds
        another run, RejectedInputError if it is no such log.
        """
        rows, self._lines = self._read(), []
        epochs = [epoch for epoch, _ in rows]
        # A run that was stopped between its log and its state does one epoch again.
        if epochs and (
            epochs != list(range(epochs[0], epochs[-1] + 1)) or epochs[-1] not in (done, done + 1)
        ):
            raise UsageError(
                f"log {self.path}: holds epochs {epochs[0]} to {epochs[-1]}, this run goes on "
                f"after epoch {done}; name another file, or delete it"
            )
        head = [",".join(COLUMNS) + "\n"] if self.path.suffix == ".csv" else []
        self._add(head + [line for epoch, line in rows if epoch <= done])
        return lambda record: self._add([_line(record, self.path.suffix)])

    def _add(self, lines: list[str]) -> None:
        self._lines += lines
        if special(self.path):
            with self.path.open("a", encoding="utf-8") as pipe:
                pipe.write("".join(lines))
        else:
            write_atomically(self.path, "".join(self._lines).encode())

    def _read(self) -> list[tuple[int, str]]:
        if not self.path.is_file():
            return []
        try:
            lines = read_text(self.path).splitlines()
            if self.path.suffix == ".jsonl":
                return [(_epoch(json.loads(line)), line + "\n") for line in lines]
            if lines and lines[0] != ",".join(COLUMNS):
                raise ValueError("its first line names other columns")
            rows = zip(csv.DictReader(lines), lines[1:], strict=True)
            return [(_epoch(row), line + "\n") for row, line in rows]
        except (ValueError, TypeError, KeyError) as error:
            raise RejectedInputError(
                f"log {self.path}: is no log of robustssm train ({error}); name another file"
            ) from None


def _epoch(row: dict[str, object]) -> int:
    """Return the number of a line's epoch; ValueError if its columns are others."""
    if set(row) != set(COLUMNS) or row["seconds"] is None:
        raise ValueError(f"a line without {', '.join(COLUMNS)}")
    return int(str(row["epoch"]))


def _line(record: EpochRecord, suffix: str) -> str:
    values = finite(asdict(record))
    if suffix == ".jsonl":
        return json.dumps(values, allow_nan=False) + "\n"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values.values())
    return text.getvalue()


class TensorBoardLog:
    """Loss, validation accuracy, rates and seconds of every epoch, as TensorBoard's event files."""

    def __init__(self, folder: Path) -> None:
        """Raise UsageError if TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError(
                "tensorboard: is not installed; pip install 'robustssm[tensorboard]', or take --log"
            ) from None
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"tensorboard {folder}: is a file, expected a folder")
        self._make = SummaryWriter
        self._folder = folder

    def open(self, done: int) -> Callable[[EpochRecord], None]:
        """Go on after `done` epochs: TensorBoard does not show what was logged of later ones."""
        writer = self._make(str(self._folder), purge_step=done + 1)

        def take(record: EpochRecord) -> None:
            for key, value in asdict(record).items():
                if key != "epoch" and math.isfinite(value):
                    writer.add_scalar(f"train/{key}", value, record.epoch)
            writer.flush()

        return take
