"""What a terminal shows while a sweep is computed; imported when a command sweeps."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from robustssm.commands import terminal
from robustssm.commands.progress import progress
from robustssm.evaluations.results.paired_tests import pairs
from robustssm.evaluations.statistics.power import smallest_difference
from robustssm.evaluations.sweep.plan import Plan
from robustssm.evaluations.sweep.run import Execution, Watcher
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.run_state import RunState
from robustssm.execution import stopped_by_signals


class TerminalWatcher(Watcher):
    """Shows progress and notes on stderr; state is what the directory held, None before that.

    name: what is computed, before the bar; progress: as of `progress`; stack: ends the
    bar; chatty: whether to say what is computed where, and which differences it can find.
    """

    def __init__(self, name: str, progress: str, stack: ExitStack, chatty: bool) -> None:
        self._name, self._progress, self._stack, self._chatty = name, progress, stack, chatty
        self.state: RunState | None = None

    def begins(self, plan: Plan, run: RunDirectory, state: RunState, execution: Execution) -> None:
        """Say how many cells are computed, and start the bar."""
        self.state = state
        todo = len(state.to_compute(execution.retry_failed))
        if todo and self._chatty:
            jobs = f"{execution.jobs} at a time"
            where = f"on {execution.cluster}" if execution.cluster else jobs
            failed = 0 if execution.retry_failed else len(state.failed)
            trouble = f", {failed} failed before (--retry-failed)" if failed else ""
            planned = len(state.planned)
            self.note(f"{run.path}: {todo} of {planned} cells to compute, {where}{trouble}")
            note_detectable(plan)
        bar = progress(todo, self._name, self._progress)
        self._advance = self._stack.enter_context(bar)

    def finished(self, cell: str, error: str) -> None:
        """Move the bar."""
        self._advance(failed=bool(error))

    def note(self, message: str) -> None:
        """Print a line on stderr."""
        terminal.note(message)


@contextmanager
def watched(name: str, progress: str, chatty: bool = True) -> Iterator[TerminalWatcher]:
    """Yield a watcher for a sweep that Ctrl-C and SIGTERM end with KeyboardInterrupt."""
    with stopped_by_signals():
        try:
            with ExitStack() as stack:
                yield TerminalWatcher(name, progress, stack, chatty)
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):  # Nobody is helped by a second one now.
                signal.signal(number, signal.SIG_IGN)
            raise


def note_detectable(plan: Plan) -> None:
    """Say how large a difference of two models has to be to be found in this sweep."""
    compared = pairs([(model.ref.label, model.train_seed) for model in plan.models])
    if not compared:
        return
    conditions = len(plan.cells) // len(plan.models) - 1
    tests = max(1, len(compared) * conditions)
    one, all_of_them = (smallest_difference(plan.samples, k) for k in (1, tests))
    corrected = f" ({all_of_them:.2g} after correcting for {tests} tests)" if tests > 1 else ""
    terminal.note(
        f"with {plan.samples} samples, differences below about {one:.2g}{corrected} will probably "
        "be missed"
    )
