"""Bytes that processes of one machine share in files without names; pipes carry their positions.

A pipe copies a model in pieces of some ten kilobytes, with a change of process for each, and again for every
client.  A file without a name needs no cleaning up: the system deletes it when the last process that holds it
ends, even after a crash.  (A named segment outlives a killed process, and /dev/shm is small in containers.)
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from multiprocessing import reduction
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection, PipeConnection
    from typing import TypeAlias

    from numpy.typing import NDArray

    Pipe: TypeAlias = Connection | PipeConnection

_Scalar = TypeVar("_Scalar", bound=np.generic)

__all__ = ["Board", "Boards", "Place", "receive_boards", "send_boards"]

_INLINE = 4096  # bytes; shorter messages are sent through the pipe itself
_ALIGNED = 64


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Position of some bytes: number of the board, offset, and length."""

    board: int
    offset: int
    length: int


class Board:
    """One file without a name, written by one process and read by others.

    Args:
        handle: an open file descriptor, which this object owns from now on.

    Example:
        >>> board = Board.create()
        >>> place = board.put(b"model", 0)
        >>> board.get(place)
        b'model'
        >>> board.close()
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.end = 0

    @classmethod
    def create(cls) -> Board:
        """Create an empty board."""
        if sys.platform == "linux":
            return cls(os.memfd_create("fedavg", os.MFD_CLOEXEC))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def put(self, data: bytes | memoryview, number: int) -> Place:
        """Append bytes.

        Args:
            data: contiguous bytes.
            number: number of this board, for its readers.
        """
        start = -(-self.end // _ALIGNED) * _ALIGNED
        rest, at = memoryview(data).cast("B"), start
        while rest:
            written = os.pwrite(self.handle, rest, at)
            rest, at = rest[written:], at + written
        self.end = at
        return Place(number, start, at - start)

    def get(self, place: Place) -> bytes:
        """Read a copy."""
        data = os.pread(self.handle, place.length, place.offset)
        while len(data) < place.length:  # one call of the system reads at most two gigabytes
            more = os.pread(self.handle, place.length - len(data), place.offset + len(data))
            if not more:
                raise EOFError("a board is shorter than its place says")
            data += more
        return data

    def view(self) -> mmap.mmap:
        """Map the file; writes through the mapping stay private to this process."""
        return mmap.mmap(self.handle, 0, access=mmap.ACCESS_COPY)

    def close(self) -> None:
        """Close the file."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class Boards:
    """All boards of a pool, by number; one of them is this process's own to write to.

    Args:
        boards: the same boards in every process, in one order; empty if files cannot be passed on.
        own: number of the board that this process writes.
    """

    def __init__(self, boards: Sequence[Board], own: int) -> None:
        self._boards = tuple(boards)
        self._own = own
        self._view: mmap.mmap | None = None

    def post(self, message: bytes) -> bytes | Place:
        """Put a long message on this process's own board; return a short message unchanged."""
        if not self._boards or len(message) < _INLINE:
            return message
        return self._boards[self._own].put(message, self._own)

    def read(self, message: bytes | Place) -> bytes:
        """Read a message from its board, or return it if it was sent directly."""
        return self._boards[message.board].get(message) if isinstance(message, Place) else message

    def deposit(self, array: NDArray[np.generic], board: int) -> bytes | Place:
        """Put an array on a board permanently; without boards, return its bytes."""
        data = np.ascontiguousarray(array)
        return self._boards[board].put(data.data, board) if self._boards else data.tobytes()

    def array(
        self, place: bytes | Place, dtype: type[_Scalar], shape: Sequence[int]
    ) -> NDArray[_Scalar]:
        """An array on a board, as a view that is mapped once; writes to it stay private."""
        if isinstance(place, bytes):
            return np.frombuffer(bytearray(place), dtype).reshape(shape)
        if self._view is None:
            self._view = self._boards[place.board].view()
        count = place.length // np.dtype(dtype).itemsize
        return np.frombuffer(self._view, dtype, count, place.offset).reshape(shape)

    @property
    def written(self) -> int:
        """Number of bytes on this process's own board."""
        return self._boards[self._own].end if self._boards else 0

    def wipe(self) -> None:
        """Empty this process's own board; all readers must be done with it."""
        if self._boards:
            self._boards[self._own].end = 0

    def close(self) -> None:
        """Close all boards."""
        for board in self._boards:
            board.close()


def send_boards(pipe: Pipe, pid: int, boards: Sequence[Board]) -> None:
    """Pass open files to another process."""
    for board in boards:
        reduction.send_handle(pipe, board.handle, pid)


def receive_boards(pipe: Pipe, count: int) -> list[Board]:
    """Receive the files that `send_boards` passes."""
    return [Board(reduction.recv_handle(pipe)) for _ in range(count)]
