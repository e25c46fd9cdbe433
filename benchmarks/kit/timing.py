"""CPU time of contestants that take turns: medians and quartiles, warmed up, garbage collected between."""

from __future__ import annotations

import gc
import math
import resource
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Cost", "Stopwatch", "Timing", "contest"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one contestant, a call.

    Args:
        median: middle of the samples.
        low: lower quartile.
        high: upper quartile.
        samples: how many there were.
    """

    median: float
    low: float
    high: float
    samples: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Sum up samples.

        Raises:
            ValueError: no sample, or one that is not a finite number.

        Example:
            >>> Timing.of([3.0, 1.0, 2.0])
            Timing(median=2.0, low=1.5, high=2.5, samples=3)
        """
        if not seconds or not all(map(math.isfinite, seconds)):
            raise ValueError(f"a timing needs finite samples, not {list(seconds)}")
        if len(seconds) == 1:
            return cls(seconds[0], seconds[0], seconds[0], 1)
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a contestant returns that also prepares: only these seconds count, and not the whole call."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise ValueError(f"a cost is a number of seconds, not {self.seconds}")


class Stopwatch:
    """CPU seconds of this process, all its threads, over the blocks that it wraps.

    Args:
        children: count child processes that have ended, too.
        wall: take the time on the wall instead, to compare one core with several.

    Example:
        >>> watch = Stopwatch()
        >>> with watch:
        ...     _ = sum(range(1000))
        >>> watch.seconds > 0 and watch.cost == Cost(watch.seconds)
        True
    """

    __slots__ = ("_children", "_since", "_wall", "seconds")

    def __init__(self, *, children: bool = False, wall: bool = False) -> None:
        self._children = children
        self._wall = wall
        self._since = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._since = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self._since

    def _now(self) -> float:
        return time.perf_counter() if self._wall else _cpu(children=self._children)

    @property
    def cost(self) -> Cost:
        """What was measured, for a contestant to return."""
        return Cost(self.seconds)


def contest(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 5,
    warm_up: bool = True,
    min_seconds: float = 0.0,
    children: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Time contestants in turns (A B A B …), so that a change of the machine meets all of them.

    Args:
        contestants: name to a call; what returns a `Cost` has measured itself.
        rounds: samples of each.
        warm_up: call each once beforehand, uncounted.
        min_seconds: repeat a call within a sample until it takes about as long; for short calls.
        children: count child processes that have ended within the call, too.
        tick: called after each sample.

    Raises:
        ValueError: no round.

    Example:
        >>> times = contest({"list": lambda: list(range(999)), "own": lambda: Cost(2.0)}, rounds=3)
        >>> times["own"].median, times["list"].samples
        (2.0, 3)
    """
    if rounds < 1:
        raise ValueError(f"a contest takes at least one round, not {rounds}")
    calls = dict.fromkeys(contestants, 1)
    for name, call in contestants.items():
        if warm_up:
            _sample(call, 1, children=children)
        if min_seconds:
            calls[name] = _calls(call, min_seconds, children=children)
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            samples[name].append(_sample(call, calls[name], children=children))
            tick()
    return {name: Timing.of(seconds) for name, seconds in samples.items()}


def _cpu(*, children: bool) -> float:
    if not children:
        return time.process_time()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _sample(call: Callable[[], object], calls: int, *, children: bool) -> float:
    gc.collect()
    own = 0.0
    measured_itself = False
    start = _cpu(children=children)
    for _ in range(calls):
        result = call()
        if isinstance(result, Cost):
            own += result.seconds
            measured_itself = True
    taken = _cpu(children=children) - start
    return (own if measured_itself else taken) / calls


def _calls(call: Callable[[], object], least: float, *, children: bool) -> int:
    calls = 1
    while (taken := _sample(call, calls, children=children) * calls) < least:
        calls = max(2 * calls, math.ceil(calls * least / max(taken, least / 100)))
    return calls
