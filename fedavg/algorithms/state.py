"""The state that a client keeps from one round to the next; it is never sent to the server.

A state is committed under the number of the sum for which its update was sent (`Plan.sequence`).  A round
reads the newest state of an earlier round, so that a repeated round finds the same state as the first time.
States of failed sums are discarded, and so are states that an interrupted run committed after its last
checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from fedavg.errors import CheckpointError
from fedavg.files import replace_file
from fedavg.models.arrays import arrays_bytes, read_arrays

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ClientState", "ClientStore", "FolderStore", "MemoryStore"]

ClientState: TypeAlias = "Mapping[str, NDArray[np.float32] | NDArray[np.float64]]"

_KEPT = 2  # a sum may fail or be repeated, and then the state before it is needed


class ClientStore(Protocol):
    """A place where the clients of one process keep their states."""

    def load(self, client_id: int, before: int, voided: Container[int] = ()) -> ClientState:
        """The last state that a client committed under a number below `before`; {} if there is none.

        States under voided numbers are deleted.
        """
        ...

    def save(self, client_id: int, number: int, state: ClientState) -> None:
        """Commit a state under the number of its sum."""
        ...


class MemoryStore:
    """States in the memory of this process, which are lost when it ends.

    Example:
        >>> import numpy as np
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
        # A failed sum is not in the server's state, so the client's must not contain it either.
        for number in [number for number in kept if number in voided]:
            del kept[number]
        earlier = [number for number in kept if number < before]
        return dict(kept[max(earlier)]) if earlier else {}

    def save(self, client_id: int, number: int, state: ClientState) -> None:
        """See `ClientStore.save`."""
        kept = self._states.setdefault(client_id, {})
        # A copy is kept, because the caller may go on to change its arrays.
        kept[number] = {name: array.copy() for name, array in state.items()}
        for old in sorted(kept)[:-_KEPT]:
            del kept[old]


class FolderStore:
    """States as safetensors files, with which an interrupted run can be resumed.

    Args:
        folder: directory, created when the first state is saved. It is private to the clients, like their
            data.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, client_id: int, before: int, voided: Container[int] = ()) -> ClientState:
        """See `ClientStore.load`.

        Raises:
            CheckpointError: a file is damaged.
        """
        # The numbers ascend, so the last one below `before` is the newest.
        path: Path | None = None
        for number in self._numbers(client_id):
            if number in voided:
                self._path(client_id, number).unlink(missing_ok=True)
            elif number < before:
                path = self._path(client_id, number)
        if path is None:
            return {}
        try:
            return read_arrays(path, older=())[0]
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error

    def save(self, client_id: int, number: int, state: ClientState) -> None:
        """See `ClientStore.save`.

        Raises:
            CheckpointError: the file cannot be written.
        """
        path = self._path(client_id, number)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A state is as private as the data that it was computed from, so only its owner may read it.
            replace_file(path, arrays_bytes(state, {}), mode=0o600, sole=True)
            for old in self._numbers(client_id)[:-_KEPT]:
                self._path(client_id, old).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error}") from error

    def rewind(self, number: int) -> None:
        """Delete the states that all clients committed from this number on, to resume a run before it.

        The resumed round may have other clients, and then no state of the first attempt may enter it.

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
