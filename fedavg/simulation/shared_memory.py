"""Bytes that processes of one machine share in files without names, beside the pipes that tell them apart.

A pipe copies a model in pieces of some ten kilobytes, with a change of process for each, and again for every
client.  A file without a name needs no cleaning up: the system drops it with the last process that holds it,
however that one ends.  (A named segment outlives a killed process, and /dev/shm is small in containers.)
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

_INLINE = 4096  # bytes; shorter messages travel in the pipe itself
_ALIGNED = 64


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where something lies: which board, at which byte, how many bytes."""

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
        """Make an empty one."""
        if sys.platform == "linux":
            return cls(os.memfd_create("fedavg", os.MFD_CLOEXEC))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def put(self, data: bytes | memoryview, number: int) -> Place:
        """Append.

        Args:
            data: contiguous bytes.
            number: which board this is to its readers.
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
        while len(data) < place.length:  # the system reads two gigabytes at most at a time
            more = os.pread(self.handle, place.length - len(data), place.offset + len(data))
            if not more:
                raise EOFError("a board is shorter than its place says")
            data += more
        return data

    def view(self) -> mmap.mmap:
        """Map it; what is written through the mapping stays private to this process."""
        return mmap.mmap(self.handle, 0, access=mmap.ACCESS_COPY)

    def close(self) -> None:
        """Let go of it."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class Boards:
    """All boards of a pool, by number; one of them is this process's own to write to.

    Args:
        boards: the same in every process, in one order; empty where files cannot be passed on.
        own: number of the one that this process writes.
    """

    def __init__(self, boards: Sequence[Board], own: int) -> None:
        self._boards = tuple(boards)
        self._own = own
        self._view: mmap.mmap | None = None

    def post(self, message: bytes) -> bytes | Place:
        """Put a long message on the own board; a short one stays as it is."""
        if not self._boards or len(message) < _INLINE:
            return message
        return self._boards[self._own].put(message, self._own)

    def read(self, message: bytes | Place) -> bytes:
        """A message, wherever it is."""
        return self._boards[message.board].get(message) if isinstance(message, Place) else message

    def deposit(self, array: NDArray[np.generic], board: int) -> bytes | Place:
        """Put an array on a board for good; without boards, its bytes."""
        data = np.ascontiguousarray(array)
        return self._boards[board].put(data.data, board) if self._boards else data.tobytes()

    def array(
        self, place: bytes | Place, dtype: type[_Scalar], shape: Sequence[int]
    ) -> NDArray[_Scalar]:
        """An array that was deposited: a view of the board, mapped once; writes to it stay private."""
        if isinstance(place, bytes):
            return np.frombuffer(bytearray(place), dtype).reshape(shape)
        if self._view is None:
            self._view = self._boards[place.board].view()
        count = place.length // np.dtype(dtype).itemsize
        return np.frombuffer(self._view, dtype, count, place.offset).reshape(shape)

    @property
    def written(self) -> int:
        """Bytes on the own board."""
        return self._boards[self._own].end if self._boards else 0

    def wipe(self) -> None:
        """Start the own board anew; every reader must be done with it."""
        if self._boards:
            self._boards[self._own].end = 0

    def close(self) -> None:
        """Let go of all."""
        for board in self._boards:
            board.close()


def send_boards(pipe: Pipe, pid: int, boards: Sequence[Board]) -> None:
    """Hand open files to another process."""
    for board in boards:
        reduction.send_handle(pipe, board.handle, pid)


def receive_boards(pipe: Pipe, count: int) -> list[Board]:
    """The far end of `send_boards`."""
    return [Board(reduction.recv_handle(pipe)) for _ in range(count)]
