"""Masks on several cores: the same stream, whichever part of it a core makes."""

from __future__ import annotations

import pickle
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from secagg import masks
from secagg.masks import add_masks

PLUS, MINUS = [b"a" * 16, b"b" * 16], [b"c" * 16]
DTYPES = [np.uint16, np.uint32, np.uint64]


def masked(size, dtype, **options):
    vector = np.arange(size).astype(dtype)
    add_masks(vector, PLUS, MINUS, **options)
    return vector


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 7, 65_536, 300_001])
@pytest.mark.parametrize("cores", [1, 2, 5, None])
def test_cores_do_not_change_a_mask(dtype, size, cores, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    with ThreadPoolExecutor(2) as executor:
        assert np.array_equal(masked(size, dtype, executor=executor), masked(size, dtype))


def test_the_mutant_that_starts_every_part_at_block_zero(monkeypatch):
    """It would mask two parts with one stream, so that their difference is bare."""
    whole = masks._Span

    def from_zero(part, plus, minus, block=0):
        return whole(part, plus, minus)

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(masks, "_Span", from_zero)
    with ThreadPoolExecutor(2) as executor:
        got = masked(300_001, np.uint32, executor=executor)
    monkeypatch.undo()
    assert not np.array_equal(got, masked(300_001, np.uint32))


class OtherProcess:
    """An executor whose tasks work on copies, as another process would."""

    def submit(self, task):
        future = Future()
        future.set_result(pickle.loads(pickle.dumps(task))())  # noqa: S301 - our own bytes
        return future


def test_an_executor_of_processes_is_refused():
    vector = np.arange(9, dtype=np.uint32)
    with pytest.raises(TypeError, match="pickled"):
        add_masks(vector, PLUS, MINUS, executor=OtherProcess())
    assert vector.tolist() == list(range(9))


_REAL_SPAN = masks._Span


class Portable:
    """The mutant: a part that can be copied to another process."""

    def __init__(self, part, plus, minus, block=0):
        self.all = part, plus, minus, block

    def __call__(self):
        _REAL_SPAN(*self.all)()


def test_the_mutant_leaves_the_input_in_clear(monkeypatch):
    vector = np.arange(9, dtype=np.uint32)
    monkeypatch.setattr(masks, "_Span", Portable)
    add_masks(vector, PLUS, MINUS, executor=OtherProcess())  # without an error
    assert vector.tolist() == list(range(9))


def test_parts_print_no_seed():
    span = masks._Span(np.zeros(2, dtype=np.uint32), PLUS, MINUS)
    assert "redacted" in repr(span)
    assert PLUS[0].hex() not in repr(span)
