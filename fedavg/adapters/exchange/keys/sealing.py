"""Where the private sealing keys of a member lie: files of its folder, one for each epoch, or memory."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, NoReturn, Protocol

from fedavg.adapters.exchange.keys.private import read_private, wait_for_lock
from fedavg.errors import ConfigError
from fedavg.files import remove_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["HeldKeys", "KeyPlace", "SealingFolder"]

_PREFIX, _LOCK_FILE = "sealing-", "sealing.lock"


class KeyPlace(Protocol):
    """A place for sealing keys by epoch: `SealingFolder` outlives a process, `HeldKeys` does not.

    Example:
        >>> place: KeyPlace = HeldKeys()
        >>> with place.locked():
        ...     place.put(3, bytes(32))
        ...     place.put(7, bytes(32))
        ...     place.keep_only(7)
        ...     place.epochs()
        (7,)
    """

    def locked(self) -> AbstractContextManager[object]:
        """Keep other threads and processes out, and wait for those that are in."""
        ...

    def epochs(self) -> tuple[int, ...]:
        """The epochs of which there is a key, ascending."""
        ...

    def secret(self, epoch: int) -> bytes:
        """The private key of an epoch."""
        ...

    def put(self, epoch: int, secret: bytes) -> None:
        """Keep a key; it is durable when this returns."""
        ...

    def keep_only(self, epoch: int) -> None:
        """Erase the keys of all other epochs."""
        ...


@dataclass(slots=True, repr=False)
class HeldKeys:
    """Keys that live as long as the process."""

    _secrets: dict[int, bytes] = field(default_factory=dict[int, bytes])
    _lock: Lock = field(default_factory=Lock)

    def __repr__(self) -> str:
        return "HeldKeys(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("HeldKeys holds secret keys and cannot be pickled or copied")

    def locked(self) -> AbstractContextManager[object]:
        """See `KeyPlace.locked`."""
        return self._lock

    def epochs(self) -> tuple[int, ...]:
        """See `KeyPlace.epochs`."""
        return tuple(sorted(self._secrets))

    def secret(self, epoch: int) -> bytes:
        """See `KeyPlace.secret`."""
        return self._secrets[epoch]

    def put(self, epoch: int, secret: bytes) -> None:
        """See `KeyPlace.put`."""
        self._secrets[epoch] = secret

    def keep_only(self, epoch: int) -> None:
        """See `KeyPlace.keep_only`."""
        for other in set(self._secrets) - {epoch}:
            del self._secrets[other]


@dataclass(frozen=True, slots=True)
class SealingFolder:
    """The files `sealing-<epoch>` of a node's folder, which only its owner can read (POSIX only).

    An erased file is gone from the folder on the disk; what a file system or a disk keeps of it is beyond
    this, and so are copies in backups.

    Args:
        folder: the node's folder.
    """

    folder: Path

    @contextmanager
    def locked(self) -> Generator[None]:
        """See `KeyPlace.locked`; the lock is a file of its own, and ends with the process.

        Raises:
            ConfigError: the folder cannot be written.
        """
        path = self.folder / _LOCK_FILE
        try:
            handle = wait_for_lock(path)
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            yield
        finally:
            os.close(handle)

    def epochs(self) -> tuple[int, ...]:
        """See `KeyPlace.epochs`."""
        named = (path.name.removeprefix(_PREFIX) for path in self._files())
        return tuple(sorted(int(name) for name in named if name.isdecimal()))

    def secret(self, epoch: int) -> bytes:
        """See `KeyPlace.secret`.

        Raises:
            ConfigError: others can read the file, it has another name, or it cannot be read.
        """
        path = self._path(epoch)
        try:
            return read_private(path, ": remove it; the node makes a new key with its next answer")
        except OSError as error:
            raise _unusable(path, error) from None

    def put(self, epoch: int, secret: bytes) -> None:
        """See `KeyPlace.put`.

        Raises:
            ConfigError: the file cannot be written, or has another name.
        """
        path = self._path(epoch)
        try:
            replace_file(path, secret, mode=0o600, sole=True)
        except OSError as error:
            raise _unusable(path, error) from None

    def keep_only(self, epoch: int) -> None:
        """See `KeyPlace.keep_only`.

        Raises:
            ConfigError: a file cannot be removed.
        """
        kept = self._path(epoch)
        for path in self._files():
            # Also what a process left that was killed while it wrote a key.
            if path != kept:
                try:
                    remove_file(path)
                except OSError as error:
                    raise _unusable(path, error) from None

    def _path(self, epoch: int) -> Path:
        return self.folder / f"{_PREFIX}{epoch}"

    def _files(self) -> list[Path]:
        return list(self.folder.glob(f"{_PREFIX}*"))


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"the sealing key {path} cannot be kept: {error.strerror}")
