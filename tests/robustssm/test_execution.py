"""Signals: none is lost, and the handlers of others come back."""

import os
import signal

import pytest

from robustssm.execution import stop_if_asked, stopped_by_signals

pytestmark = pytest.mark.usefixtures("interruptible")
SIGNALS = [signal.SIGINT, signal.SIGTERM]


class _Interrupted:
    """Is sent a signal while it is destroyed, where Python drops every exception."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        sum(range(1000))  # the handler runs between two instructions


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_a_destructor_swallows_is_heard_later(number: signal.Signals) -> None:
    with stopped_by_signals():
        _Interrupted(number)
        with pytest.raises(KeyboardInterrupt):
            stop_if_asked()


@pytest.mark.parametrize("number", SIGNALS)
def test_handlers_come_back_and_what_was_asked_is_forgotten(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stopped_by_signals():
        os.kill(os.getpid(), number)
        sum(range(1000))
    assert signal.getsignal(number) == before
    stop_if_asked()


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            os.kill(os.getpid(), signal.SIGINT)
            stop_if_asked()
    finally:
        signal.signal(signal.SIGINT, before)
