"""One process at a time in a directory; the lock falls with the process, however it ends."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["held"]


@contextmanager
def held(path: Path, busy: str) -> Generator[None]:
    """Keep other processes out (POSIX only).

    Args:
        path: the lock's file, made when it is not there.
        busy: what to say when another process holds it.

    Raises:
        ConfigError: another process holds it.
    """
    import fcntl  # noqa: PLC0415 - not on every platform

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(busy) from error
        yield
    finally:
        os.close(handle)
