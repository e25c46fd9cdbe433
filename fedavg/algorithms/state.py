"""What a client keeps for itself from one round to the next: never sent, never seen by the server.

A state is committed under the number of the sum in which its update left (`Plan.sequence`), and a round reads
the newest one of an earlier round: a round that is run again finds what it found the first time.  What was
committed under a sum that came to nothing is forgotten, and so is what a run that broke off had committed
beyond its last checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fedavg.errors import CheckpointError
from fedavg.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ClientState", "ClientStore", "FolderStore", "MemoryStore"]

ClientState: TypeAlias = "Mapping[str, NDArray[np.float32] | NDArray[np.float64]]"

_KEPT = 2  # a sum may come to nothing, or be run again, and then the state before it counts


class ClientStore(Protocol):
    """Where the clients of one process keep their states."""

    def load(self, client_id: int, before: int, voided: Container[int] = ()) -> ClientState:
        """The state that a client committed last under a lower number; {} at first.

        States under voided numbers are deleted.
        """
        ...

    def save(self, client_id: int, number: int, state: ClientState) -> None:
        """Commit a state under the number of its sum."""
        ...


class MemoryStore:
    """States in this process: they end with it.

    Example:
        >>> store = MemoryStore()
        >>> store.save(7, 2, {"control": np.ones(1)})
        >>> store.load(7, 3), store.load(7, 2)
        ({'control': array([1.])}, {})
    """

    def __init__(self) -> None:
        self._states: dict[int, dict[int, ClientState]] = {}

    def load(self, client_id: int, before: int, voided: Container[int] = ()) -> ClientState:
        """See `ClientStore.load`."""
        kept = self._states.get(client_id, {})
        for number in [number for number in kept if number in voided]:
            del kept[number]
        earlier = [number for number in kept if number < before]
        return dict(kept[max(earlier)]) if earlier else {}

    def save(self, client_id: int, number: int, state: ClientState) -> None:
        """See `ClientStore.save`."""
        kept = self._states.setdefault(client_id, {})
        kept[number] = {name: array.copy() for name, array in state.items()}
        for old in sorted(kept)[:-_KEPT]:
            del kept[old]


class FolderStore:
    """States as safetensors files, so that an interrupted run goes on with them.

    Args:
        folder: made when the first state is saved; private to the clients, as their data is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, client_id: int, before: int, voided: Container[int] = ()) -> ClientState:
        """See `ClientStore.load`.

        Raises:
            CheckpointError: a damaged file.
        """
        path: Path | None = None
        for number in self._numbers(client_id):
            if number in voided:
                self._path(client_id, number).unlink(missing_ok=True)
            elif number < before:
                path = self._path(client_id, number)
        if path is None:
            return {}
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error

    def save(self, client_id: int, number: int, state: ClientState) -> None:
        """See `ClientStore.save`.

        Raises:
            CheckpointError: the file cannot be written.
        """
        arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
        path = self._path(client_id, number)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, save(arrays), mode=0o600, sole=True)
            for old in self._numbers(client_id)[:-_KEPT]:
                self._path(client_id, old).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error}") from error

    def rewind(self, number: int) -> None:
        """Forget what all clients committed from this number on: a run that broke off goes on before it.

        Its round may be run again with others, and then nobody adds what those of the first time kept.

        Raises:
            CheckpointError: a file cannot be deleted.
        """
        try:
            for path in self._folder.glob("*/*.safetensors"):
                if int(path.stem) >= number:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot clear {self._folder}: {error}") from error

    def _path(self, client_id: int, number: int) -> Path:
        return self._folder / str(client_id) / f"{number}.safetensors"

    def _numbers(self, client_id: int) -> list[int]:
        folder = self._folder / str(client_id)
        if not folder.is_dir():
            return []
        return sorted(int(path.stem) for path in folder.glob("*.safetensors"))
