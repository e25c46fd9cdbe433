"""The process that workers are forked from: a fresh interpreter that loads torch and nothing else.

Light to import, so that a program can start it before it loads torch itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from multiprocessing import forkserver
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["FORKS", "deaf_to_interrupts", "start_early"]

FORKS = sys.platform == "linux"
"""Whether workers are forked; elsewhere system libraries do not survive it, and they are spawned."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start_early() -> None:
    """Begin to load what workers need, in another process, while this one goes on.

    Call it first thing in a program that makes a pool later; a pool does it itself otherwise.  Nothing
    is inherited from the caller but its environment and import path.
    """
    if FORKS:
        forkserver.set_forkserver_preload(["fedavg.simulation.worker"])
        with deaf_to_interrupts(), _one_thread_each():
            forkserver.ensure_running()


@contextlib.contextmanager
def _one_thread_each() -> Generator[None]:
    """Let a child's numerical libraries, which read it once, use one thread: workers share the cores."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def deaf_to_interrupts() -> Generator[None]:
    """Let a child inherit an ignored SIGINT: the main process decides when to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it gets the signal
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
