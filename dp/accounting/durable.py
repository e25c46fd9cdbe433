"""JSON files that are written whole or not at all, and a lock between processes."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dp.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["exclusive", "read_json", "write_json"]


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Replace the file: a temporary one beside it is flushed to the disk, then takes its name."""
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(value, stream, allow_nan=False, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401 - the caller checks the shape
    """Read a file of JSON.

    Raises:
        InvalidParameterError: it is not JSON.
        FileNotFoundError: it does not exist.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as cause:
        raise InvalidParameterError(f"{path} is not JSON: {cause}") from cause


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Generator[None]:
    """Hold the lock of this path against all other threads and processes (flock, so POSIX only).

    The lock is on a file beside it that is never replaced, and falls with the process that holds it.
    """
    import fcntl  # noqa: PLC0415 - not on every platform

    target = Path(path)
    handle = os.open(target.with_name(target.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
