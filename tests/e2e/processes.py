"""Commands as processes of their own: waited for, interrupted, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

PATIENCE = 600.0
"""Seconds after which a process counts as hung: no test is about time, and a busy machine is slow."""


def command(*arguments):
    """Arguments of `python -m fedavg.cli`."""
    return [sys.executable, "-m", "fedavg.cli", *map(str, arguments)]


def wait_until(condition, process=None):
    """Until `condition()` is true; an assertion when the process ends before, or hangs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process is not None and process.poll() is not None:
            said = process.stdout.read().decode() if process.stdout else ""
            raise AssertionError(f"the process ended before, with {process.returncode}: {said}")
        assert time.monotonic() < deadline, "the process does not get on"
        time.sleep(0.01)


def interrupted(arguments, ready):
    """What a command says that gets Ctrl-C (SIGINT to its process group) once `ready()` is true."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # a shell's background jobs, and so their children, ignore SIGINT unless told otherwise
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    try:
        wait_until(ready, process)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=PATIENCE)[0].decode()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    return output
