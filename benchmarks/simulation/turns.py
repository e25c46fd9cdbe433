"""A contestant's side of taking turns: after so many rounds it waits until it is told to go on."""

from __future__ import annotations

import json
import sys
import time

__all__ = ["MARK", "Turns"]

MARK = "@turn "
"""Begins every line that is for the contest; peers print much else."""


class Turns:
    """Call `tick` once when the first round may begin, and after each round.

    Args:
        waits: whether to wait for turns; otherwise only the time of each round is told.
    """

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits
        self._left = 0
        self._since = time.perf_counter()

    def tick(self) -> None:
        """Tell that a turn is over and wait for the next, or go on within a turn."""
        self._left -= 1
        if self._left > 0:
            return
        told = {"wall": time.perf_counter() - self._since}
        print(MARK + json.dumps(told), flush=True)
        self._left = 1
        if self._waits:
            self._left = int(sys.stdin.readline() or 1)
        self._since = time.perf_counter()

    @staticmethod
    def end(accuracy: float | None) -> None:
        """Tell how well the last model does; the last line that counts."""
        print(MARK + json.dumps({"accuracy": accuracy}), flush=True)
