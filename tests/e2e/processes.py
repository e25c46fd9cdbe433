"""Commands as processes of their own: waited for, interrupted, killed."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

from fedavg.cli import main
from fedavg.simulation.fork_server import FORKS, start_early

PATIENCE = 600.0
"""Seconds after which a process counts as hung: no test is about time, and a busy machine is slow."""


def command(*arguments):
    """Arguments of `python -m fedavg.cli`."""
    return [sys.executable, "-m", "fedavg.cli", *map(str, arguments)]


class Forked:
    """A process that is forked from the fork server: it has loaded torch, and nothing of this process.

    A new interpreter would load torch first, which takes longer than what most tests ask of it.

    Args:
        work: what it does; a function of a module.
        arguments: arguments of `work`.
        output: file for all that it prints.
    """

    def __init__(self, work, arguments, output=os.devnull):
        start_early()
        context = multiprocessing.get_context("forkserver" if FORKS else "spawn")
        self._process = context.Process(
            target=_printing_to, args=(str(output), work, arguments), daemon=True
        )
        self._process.start()

    def poll(self):
        """The exit code, below 0 for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self):
        """The exit code, at the end; an assertion when the process hangs."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, "the process does not end"
        return self._process.exitcode

    def kill(self):
        self._process.kill()


def _printing_to(output, work, arguments):
    with Path(output).open("wb", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    work(*arguments)


def _command(*arguments):
    sys.argv = ["fedavg", *arguments]
    main()


def forked_command(*arguments):
    """`fedavg` with these arguments in a process of its own."""
    return Forked(_command, [str(argument) for argument in arguments])


def _script(path):
    sys.path.insert(0, str(Path(path).parent))
    runpy.run_path(path, run_name="__main__")


def said_by(work, *arguments, output):
    """The exit code of a function in a process of its own, and all that it printed, kept in a file."""
    code = Forked(work, arguments, output).wait()
    return code, Path(output).read_text()


def said_by_script(path):
    """The same of a file that is run as the main program."""
    return said_by(_script, str(path), output=path.with_suffix(".txt"))


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
