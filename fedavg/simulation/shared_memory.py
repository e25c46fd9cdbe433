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

__all__ = ["BufferRef", "SharedBuffer", "SharedBuffers", "receive_buffers", "send_buffers"]

_INLINE = 4096  # bytes; shorter messages are sent through the pipe itself
_ALIGNED = 64


class BufferRef(msgspec.Struct, frozen=True, array_like=True):
    """Position of some bytes: number of the board, offset, and length."""

    board: int
    offset: int
    length: int


class SharedBuffer:
    """One file without a name, written by one process and read by others.

    Args:
        handle: an open file descriptor, which this object owns from now on.

    Example:
        >>> board = SharedBuffer.create()
        >>> place = board.put(b"model", 0)
        >>> board.get(place)
        b'model'
        >>> board.close()
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.end = 0

    @classmethod
    def create(cls) -> SharedBuffer:
        """Create an empty board."""
        if sys.platform == "linux":
            return cls(os.memfd_create("fedavg", os.MFD_CLOEXEC))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def put(self, data: bytes | memoryview, number: int) -> BufferRef:
        """Append bytes.

        Args:
            data: contiguous bytes.
            number: number of this board, for its readers.
        """
        # Arrays begin at multiples of 64 bytes, where products round alike in every process.
        start = -(-self.end // _ALIGNED) * _ALIGNED
        rest, at = memoryview(data).cast("B"), start
        while rest:
            written = os.pwrite(self.handle, rest, at)
            rest, at = rest[written:], at + written
        self.end = at
        return BufferRef(number, start, at - start)

    def get(self, place: BufferRef) -> bytes:
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
        # Workers share the pages of a private mapping, and none can change what the others read.
        return mmap.mmap(self.handle, 0, access=mmap.ACCESS_COPY)

    def close(self) -> None:
        """Close the file."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class SharedBuffers:
    """All buffers of a pool, by number; one of them is this process's own to write to.

    Args:
        buffers: the same buffers in every process, in one order; empty if files cannot be passed on.
        own: number of the board that this process writes.
    """

    def __init__(self, buffers: Sequence[SharedBuffer], own: int) -> None:
        self._buffers = tuple(buffers)
        self._own = own
        self._view: mmap.mmap | None = None

    def put(self, message: bytes) -> bytes | BufferRef:
        """Put a long message on this process's own board; return a short message unchanged."""
        # A short message costs less in the pipe than a read of the board.
        if not self._buffers or len(message) < _INLINE:
            return message
        return self._buffers[self._own].put(message, self._own)

    def read(self, message: bytes | BufferRef) -> bytes:
        """Read a message from its board, or return it if it was sent directly."""
        return (
            self._buffers[message.board].get(message) if isinstance(message, BufferRef) else message
        )

    def put_array(self, array: NDArray[np.generic], board: int) -> bytes | BufferRef:
        """Put an array on a board permanently; without buffers, return its bytes."""
        data = np.ascontiguousarray(array)
        return self._buffers[board].put(data.data, board) if self._buffers else data.tobytes()

    def array(
        self, place: bytes | BufferRef, dtype: type[_Scalar], shape: Sequence[int]
    ) -> NDArray[_Scalar]:
        """An array on a board, as a view that is mapped once; writes to it stay private."""
        if isinstance(place, bytes):
            # Bytes cannot be written to, and torch expects memory that can.
            return np.frombuffer(bytearray(place), dtype).reshape(shape)
        if self._view is None:
            self._view = self._buffers[place.board].view()
        count = place.length // np.dtype(dtype).itemsize
        return np.frombuffer(self._view, dtype, count, place.offset).reshape(shape)

    @property
    def written(self) -> int:
        """Number of bytes on this process's own board."""
        return self._buffers[self._own].end if self._buffers else 0

    def reset(self) -> None:
        """Empty this process's own board; all readers must be done with it."""
        if self._buffers:
            self._buffers[self._own].end = 0

    def close(self) -> None:
        """Close all buffers."""
        for board in self._buffers:
            board.close()


def send_buffers(pipe: Pipe, pid: int, buffers: Sequence[SharedBuffer]) -> None:
    """Pass open files to another process."""
    for board in buffers:
        reduction.send_handle(pipe, board.handle, pid)


def receive_buffers(pipe: Pipe, count: int) -> list[SharedBuffer]:
    """Receive the files that `send_buffers` passes."""
    return [SharedBuffer(reduction.recv_handle(pipe)) for _ in range(count)]
