"""The process that workers are forked from: a new interpreter that loads torch and nothing else.

This module is quick to import, so that a program can start the process before it loads torch itself.
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

__all__ = ["FORKS", "ignoring_sigint", "start_early"]

FORKS = sys.platform == "linux"
"""Whether workers are forked; on other systems, libraries do not survive a fork, and workers are spawned."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start_early() -> None:
    """Start to load what workers need, in another process, while this one continues.

    Call it first in a program that will construct a pool; otherwise the pool calls it.  The other process
    inherits only the environment and the import path of the caller.
    """
    if FORKS:
        # The server imports torch once, and every worker that is forked from it has it at once.
        forkserver.set_forkserver_preload(["fedavg.simulation.worker"])
        with ignoring_sigint(), _one_thread_each():
            forkserver.ensure_running()


@contextlib.contextmanager
def _one_thread_each() -> Generator[None]:
    """Make a child's numerical libraries, which read this setting once, use one thread each."""
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
def ignoring_sigint() -> Generator[None]:
    """Let a child inherit an ignored SIGINT, because the main process decides when to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it gets the signal
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
