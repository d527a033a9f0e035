"""A watcher of sweeps that keeps what it is told."""

from robustssm.evaluations.sweep.run import Watcher


class Listener(Watcher):
    """Keeps the cells that ended, in order, and the notes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.notes: list[str] = []

    def finished(self, cell: str, error: str) -> None:
        self.seen.append(cell)

    def note(self, message: str) -> None:
        self.notes.append(message)
