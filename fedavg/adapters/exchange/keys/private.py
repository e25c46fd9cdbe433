"""Files that a node writes for itself alone: their locks, and how they are read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fedavg.errors import ConfigError
from fedavg.files import refuse_other_names

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_private", "wait_for_lock"]


def wait_for_lock(path: Path) -> int:
    """Hold a lock until the handle is closed, or the process ends (POSIX only).

    Args:
        path: the lock's file, which is created if it does not exist.

    Returns:
        The handle, for `os.close`.

    Raises:
        OSError: the file cannot be made or opened, or is a symbolic link.
    """
    import fcntl  # noqa: PLC0415 - not on every platform

    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_private(path: Path, remedy: str) -> bytes:
    """The content of a file that only this node reads and writes.

    Args:
        path: the file.
        remedy: what to do if others can read it, for people.

    Raises:
        OSError: there is no such file, it cannot be read, or it has another name.
        ConfigError: it is no regular file, or others can read it.
    """
    refuse_other_names(path)
    # A pipe under this name would hold the lock for as long as nobody writes into it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path} is no regular file: remove it")
        if mode & 0o077:
            raise ConfigError(f"others can read {path}{remedy}")
        return file.read()
