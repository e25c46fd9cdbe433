"""Files: replaced whole or not at all, and a directory held by one process at a time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["held", "replace_file"]


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


def replace_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole or not at all; it is on the disk when this returns.

    Args:
        path: the file, replaced when it exists.
        data: all of it.
        mode: permissions, less the umask.
    """
    temporary = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
