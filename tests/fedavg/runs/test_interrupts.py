"""Interrupts wait for the end of a block, and are then handled as they would have been."""

from __future__ import annotations

import signal
import threading

import pytest

from fedavg.runs.interrupts import postponed_interrupts


def _interrupted(done, times=1, error=None):
    with postponed_interrupts():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        done.append(1)
        if error is not None:
            raise error


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_comes_after_the_block(times):
    done = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted(done, times)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_goes_first():
    with pytest.raises(ValueError, match="own"):
        _interrupted([], error=ValueError("own"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_own_handler_is_called_and_one_that_ignores_is_kept():
    called = []
    before = signal.signal(signal.SIGINT, lambda number, _: called.append(number))
    try:
        with postponed_interrupts():
            signal.raise_signal(signal.SIGINT)
            assert called == []
        assert called == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with postponed_interrupts():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_other_threads_the_block_simply_runs():
    done = []

    def run():
        with postponed_interrupts():
            done.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [1]
