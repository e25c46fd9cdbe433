"""SharedBuffers: what processes share beside their pipes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fedavg.simulation import shared_memory as shared
from fedavg.simulation.shared_memory import (
    BufferRef,
    SharedBuffer,
    SharedBuffers,
    receive_buffers,
    send_buffers,
)

posix = pytest.mark.skipif(os.name != "posix", reason="open files cannot be handed on here")


@posix
def test_long_messages_lie_on_the_board_and_short_ones_do_not() -> None:
    buffers = SharedBuffers([SharedBuffer.create(), SharedBuffer.create()], 1)
    long, short = os.urandom(10_000), b"ready"
    place = buffers.put(long)
    assert isinstance(place, BufferRef)
    assert place.board == 1
    assert buffers.put(short) == short
    assert buffers.read(place) == long
    assert buffers.read(short) == short
    second = buffers.put(long[::-1])
    assert buffers.read(second) == long[::-1]
    assert buffers.read(place) == long
    assert buffers.written >= 20_000
    buffers.reset()
    assert buffers.written == 0
    assert buffers.put(long) == place
    buffers.close()


@posix
def test_a_place_beyond_the_board_is_an_error() -> None:
    board = SharedBuffer.create()
    board.put(b"abc", 0)
    with pytest.raises(EOFError):
        board.get(BufferRef(0, 0, 4))
    board.close()


@posix
def test_arrays_are_views_whose_changes_stay_private() -> None:
    buffers = SharedBuffers([SharedBuffer.create()], 0)
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    first = buffers.put_array(features, 0)
    second = buffers.put_array(np.arange(3), 0)
    view = buffers.array(first, np.float32, [3, 4])
    assert (view == features).all()
    assert buffers.array(second, np.int64, [3]).tolist() == [0, 1, 2]
    view[0, 0] = 99
    assert buffers.read(first) == features.tobytes()
    buffers.close()


def test_without_buffers_everything_travels_in_the_pipe() -> None:
    buffers = SharedBuffers([], 1)
    assert buffers.put(b"x" * 10_000) == b"x" * 10_000
    held = buffers.put_array(np.arange(3), 0)
    array = buffers.array(held, np.int64, [3])
    assert array.tolist() == [0, 1, 2]
    array[0] = 7  # torch shares writeable memory only
    buffers.reset()
    assert buffers.written == 0
    buffers.close()


@posix
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_buffers_are_handed_on_and_have_no_name(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import multiprocessing

    monkeypatch.setattr(shared.sys, "platform", platform)
    near, far = multiprocessing.Pipe()
    board = SharedBuffer.create()
    send_buffers(near, os.getpid(), [board])
    (again,) = receive_buffers(far, 1)
    assert again.handle != board.handle
    assert again.get(board.put(b"model", 0)) == b"model"
    assert os.fstat(again.handle).st_nlink == 0
    board.close()
    board.close()
    again.close()
