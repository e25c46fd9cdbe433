"""Contestants in turns, each a process tree of its own that stands still while the others run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from benchmarks.kit.timing import Timing
from benchmarks.simulation.processes import cpu_seconds, descendants, peak_resident, proportional
from benchmarks.simulation.turns import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.simulation.task import Task

__all__ = ["Contestant", "Result", "cold_start", "compete"]


@dataclass(slots=True)
class Result:
    """What one contestant did.

    Args:
        wall, cpu: seconds a round, one sample a turn; CPU of the whole process tree.
        proportional_mib: most that was seen, pages that several processes share counted once.
        resident_mib: sum of the peaks of all its processes.
        accuracy: of its last model, on the test images.
    """

    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    proportional_mib: float = 0.0
    resident_mib: float = 0.0
    accuracy: float = 0.0

    @property
    def wall_timing(self) -> Timing:
        """Seconds of a round on the wall."""
        return Timing.of(self.wall)

    @property
    def cpu_timing(self) -> Timing:
        """Seconds of a round on all cores."""
        return Timing.of(self.cpu)


class Contestant:
    """One process tree.

    Args:
        name: module of this package that plays.
        task: what it plays.
        free: without turns.
    """

    def __init__(self, name: str, task: Task, *, free: bool = False) -> None:
        self.name = name
        self.result = Result()
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by `close`
        command = [sys.executable, "-m", "benchmarks.simulation.child", name, task.to_json()]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command + (["free"] if free else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End everything that it started."""
        for pid in descendants(self._process.pid):
            _end(pid)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._log.close()

    def hear(self) -> dict[str, Any]:
        """Its next message.

        Raises:
            RuntimeError: it ended instead; with the end of what it printed.
        """
        stream, tail = self._process.stdout, ""
        while stream is not None and (line := stream.readline()):
            if line.startswith(MARK):
                return json.loads(line[len(MARK) :])
            tail = (tail + line)[-2000:]
        self._log.seek(0)
        raise RuntimeError(f"{self.name} ended before its time: {tail}{self._log.read()[-2000:]}")

    def turn(self, rounds: int, *, counts: bool = True) -> None:
        """Let it play some rounds while all others wait."""
        before = cpu_seconds(self._process.pid)
        self._go(rounds)
        told = self.hear()
        if counts:
            self.result.wall.append(told["wall"] / rounds)
            self.result.cpu.append((cpu_seconds(self._process.pid) - before) / rounds)

    def finish(self) -> None:
        """Let it go beyond its last round, and hear how well its model does."""
        self._go(1)
        self.result.accuracy = self.hear()["accuracy"]

    def _go(self, rounds: int) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(f"{rounds}\n")
            self._process.stdin.flush()

    def weigh(self) -> None:
        """Look at its memory; takes a while, so never within a turn that counts."""
        pid, result = self._process.pid, self.result
        result.proportional_mib = max(result.proportional_mib, proportional(pid))
        result.resident_mib = max(result.resident_mib, peak_resident(pid))


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def compete(
    tasks: Mapping[str, tuple[str, Task]],
    *,
    turns: int,
    rounds: Mapping[str, int],
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Result]:
    """Let contestants play in turns (A B A B …).

    Args:
        tasks: title to who plays and what; a task's rounds are set here.
        turns: that count, after one or two that do not.
        rounds: of a turn, for each title; more for those whose rounds are short.
        tick: called after each turn.

    Raises:
        RuntimeError: a contestant that ends before its time.
    """
    contestants: dict[str, Contestant] = {}
    try:
        for title, (name, task) in tasks.items():
            total = 2 + (turns + 1) * rounds[title]
            contestants[title] = Contestant(name, replace(task, rounds=total))
            contestants[title].hear()  # loaded
            _warm_up(contestants[title], rounds[title])
        for _ in range(turns):
            for title, contestant in contestants.items():
                contestant.turn(rounds[title])
                contestant.weigh()
                tick()
        for contestant in contestants.values():
            contestant.finish()
    finally:
        for contestant in contestants.values():
            contestant.__exit__()
    return {title: contestant.result for title, contestant in contestants.items()}


def _warm_up(contestant: Contestant, rounds: int) -> None:
    """The first rounds, uncounted; meanwhile its memory is looked at all the time."""
    contestant.turn(2, counts=False)
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            contestant.weigh()
            done.wait(0.05)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        contestant.turn(rounds, counts=False)
    finally:
        done.set()
        looking.join()


def cold_start(name: str, task: Task) -> float:
    """Seconds on the wall from the start of the process to the end of the last round."""
    begun = time.perf_counter()
    with Contestant(name, task, free=True) as contestant:
        for _ in range(task.rounds + 1):
            contestant.hear()
        return time.perf_counter() - begun
