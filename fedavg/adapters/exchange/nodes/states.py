"""Where a node's client of a masked sum lies between two messages: one state, in one file of its folder."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fedavg.adapters.exchange.keys.private import read_private, wait_for_lock
from fedavg.errors import ConfigError
from fedavg.files import remove_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["LOCK_FILE", "STATE_FILE", "Shelf", "StateFile"]

STATE_FILE, LOCK_FILE = "secagg.state", "secagg.lock"


class Shelf(Protocol):
    """A place for one state, which outlives a process; `StateFile` is one.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shelf: Shelf = StateFile(Path(folder))
        ...     with shelf.locked():
        ...         shelf.put(b"sealed")
        ...     with shelf.locked():
        ...         shelf.take_in(), shelf.clear(), shelf.take_in()
        (b'sealed', None, None)
    """

    def locked(self) -> AbstractContextManager[None]:
        """Keep other threads and processes out, and wait for those that are in."""
        ...

    def take_in(self) -> bytes | None:
        """The state, which stays; None if there is none."""
        ...

    def put(self, state: bytes) -> None:
        """Replace the state; it is durable when this returns."""
        ...

    def clear(self) -> None:
        """Remove the state, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class StateFile:
    """The one state of a node, in a file that only its owner can read (POSIX only).

    A new state replaces the file as a whole. A file that was removed may stay on the disk until its place is
    written again; what it holds is sealed under the node's identity.

    Args:
        folder: the node's folder.
    """

    folder: Path

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the lock, a file of its own; it ends with the process.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            handle = wait_for_lock(self.folder / LOCK_FILE)
        except OSError as error:
            raise _unusable(self.folder / LOCK_FILE, error) from None
        try:
            yield
        finally:
            os.close(handle)

    def take_in(self) -> bytes | None:
        """See `Shelf.take_in`.

        Raises:
            ConfigError: others can read the file, it has another name, or it cannot be read.
        """
        path = self.folder / STATE_FILE
        try:
            return read_private(
                path,
                ", which this node writes for itself alone: find out who changed it, and remove it; the "
                "node is then out of this round, and of no other",
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, error) from None

    def put(self, state: bytes) -> None:
        """See `Shelf.put`.

        Raises:
            ConfigError: the file cannot be written, or has another name.
        """
        path = self.folder / STATE_FILE
        try:
            replace_file(path, state, mode=0o600, sole=True)
        except OSError as error:
            # On a full disk the part of a state would stay, and take up the rest of the space.
            with suppress(OSError):
                _part_of(path).unlink(missing_ok=True)
            raise _unusable(path, error) from None

    def clear(self) -> None:
        """See `Shelf.clear`.

        Raises:
            ConfigError: the file cannot be removed.
        """
        path = self.folder / STATE_FILE
        try:
            # A process that was killed while it wrote leaves a part under the temporary name.
            for there in filter(os.path.lexists, (_part_of(path), path)):
                remove_file(there)
        except OSError as error:
            raise _unusable(path, error) from None


def _part_of(path: Path) -> Path:
    """The temporary name under which a file is written before it is replaced."""
    return path.with_name(f"{path.name}.part")


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the state of a masked sum cannot be kept in {path}: {error.strerror}; make the node's folder one "
        "that the node can write"
    )
