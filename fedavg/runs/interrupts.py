"""Delays Ctrl-C until related files are written together."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

__all__ = ["postponed_interrupts"]


@contextmanager
def postponed_interrupts() -> Generator[None]:
    """Hold an interrupt (SIGINT) back until the block has ended, then handle it as usual.

    Python lets only the main thread receive signals; in other threads the block simply runs.

    Raises:
        KeyboardInterrupt: after the block, if an interrupt arrived within it and is handled by default.

    Example:
        >>> written = []
        >>> try:
        ...     with postponed_interrupts():
        ...         signal.raise_signal(signal.SIGINT)
        ...         written.append("both files")
        ... except KeyboardInterrupt:
        ...     print(written)
        ['both files']
    """
    before = signal.getsignal(signal.SIGINT)
    # Only the main thread gets signals, and only a handler in Python can be called later.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    arrived: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: arrived.append(frame))
    try:
        yield
    finally:
        # The former handler is back before the interrupt is handled, so that a second one is not lost.
        signal.signal(signal.SIGINT, before)
    if arrived:
        before(signal.SIGINT, arrived[-1])
