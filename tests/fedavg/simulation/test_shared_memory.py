"""Boards: what processes share beside their pipes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fedavg.simulation import shared_memory as shared
from fedavg.simulation.shared_memory import Board, Boards, Place, receive_boards, send_boards

posix = pytest.mark.skipif(os.name != "posix", reason="open files cannot be handed on here")


@posix
def test_long_messages_lie_on_the_board_and_short_ones_do_not() -> None:
    boards = Boards([Board.create(), Board.create()], 1)
    long, short = os.urandom(10_000), b"ready"
    place = boards.post(long)
    assert isinstance(place, Place)
    assert place.board == 1
    assert boards.post(short) == short
    assert boards.read(place) == long
    assert boards.read(short) == short
    second = boards.post(long[::-1])
    assert boards.read(second) == long[::-1]
    assert boards.read(place) == long
    assert boards.written >= 20_000
    boards.wipe()
    assert boards.written == 0
    assert boards.post(long) == place
    boards.close()


@posix
def test_a_place_beyond_the_board_is_an_error() -> None:
    board = Board.create()
    board.put(b"abc", 0)
    with pytest.raises(EOFError):
        board.get(Place(0, 0, 4))
    board.close()


@posix
def test_arrays_are_views_whose_changes_stay_private() -> None:
    boards = Boards([Board.create()], 0)
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    first = boards.deposit(features, 0)
    second = boards.deposit(np.arange(3), 0)
    view = boards.array(first, np.float32, [3, 4])
    assert (view == features).all()
    assert boards.array(second, np.int64, [3]).tolist() == [0, 1, 2]
    view[0, 0] = 99
    assert boards.read(first) == features.tobytes()
    boards.close()


def test_without_boards_everything_travels_in_the_pipe() -> None:
    boards = Boards([], 1)
    assert boards.post(b"x" * 10_000) == b"x" * 10_000
    held = boards.deposit(np.arange(3), 0)
    array = boards.array(held, np.int64, [3])
    assert array.tolist() == [0, 1, 2]
    array[0] = 7  # torch shares writeable memory only
    boards.wipe()
    assert boards.written == 0
    boards.close()


@posix
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_boards_are_handed_on_and_have_no_name(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import multiprocessing

    monkeypatch.setattr(shared.sys, "platform", platform)
    near, far = multiprocessing.Pipe()
    board = Board.create()
    send_boards(near, os.getpid(), [board])
    (again,) = receive_boards(far, 1)
    assert again.handle != board.handle
    assert again.get(board.put(b"model", 0)) == b"model"
    assert os.fstat(again.handle).st_nlink == 0
    board.close()
    board.close()
    again.close()
