"""Masks: the keystream of AES-128-CTR to the bit, and on several cores the same sum."""

from __future__ import annotations

import pickle
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secagg.crypto import masks
from secagg.crypto.masks import add_masks
from secagg.errors import LocalProtocolError
from tests.hostile.mutants import without

PLUS, MINUS = [b"a" * 16, b"b" * 16], [b"c" * 16]
DTYPES = [np.uint16, np.uint32, np.uint64]
SHORTEST = [masks._SHORT // width + more for width in (2, 4, 8) for more in (0, 1)]
_REAL = masks._Streams


def masked(size, dtype, **options):
    vector = np.arange(size).astype(dtype)
    add_masks(vector, PLUS, MINUS, **options)
    return vector


def in_counter_mode(seed, size, dtype):
    width = np.dtype(dtype).itemsize
    cipher = Cipher(algorithms.AES128(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(cipher.update(bytes(size * width)), np.dtype(dtype).newbyteorder("<"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [*range(1, 20), *SHORTEST, 32_784, 65_552, 300_001])
def test_a_mask_is_counter_mode_from_zero(size, dtype):
    """Also at the ends of the head that is made apart, of chunks, and of what one stream masks whole."""
    expected = np.arange(size).astype(dtype)
    for seed in PLUS:
        expected += in_counter_mode(seed, size, dtype)
    for seed in MINUS:
        expected -= in_counter_mode(seed, size, dtype)
    assert np.array_equal(masked(size, dtype), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 7, 65_536, 300_001])
@pytest.mark.parametrize("cores", [1, 2, 5, None])
def test_cores_do_not_change_a_mask(dtype, size, cores, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr(masks, "_WINDOW", 2 * masks._CHUNK)  # several in the longer vectors
    with ThreadPoolExecutor(2) as executor:
        assert np.array_equal(masked(size, dtype, executor=executor), masked(size, dtype))


def test_a_part_of_a_vector_is_masked():
    """A view with others' words around it, which stay."""
    vector = np.zeros(50, dtype=np.uint32)
    add_masks(vector[10:40], PLUS)
    assert not vector[:10].any()
    assert not vector[40:].any()
    expected = sum(in_counter_mode(seed, 30, np.uint32) for seed in PLUS)
    assert np.array_equal(vector[10:40], expected)


@pytest.mark.parametrize("size", [5, 9, SHORTEST[2], SHORTEST[3]])
@pytest.mark.parametrize("shape", ["strided", "reversed"])
def test_the_layout_in_memory_changes_no_mask(size, shape):
    """Also across the length up to which one stream masks a vector whole."""
    plain = np.arange(size).astype(np.uint32)
    vector = {
        "strided": np.repeat(plain, 2)[::2],
        "reversed": plain[::-1].copy()[::-1],
    }[shape]
    add_masks(vector, PLUS, MINUS)
    assert np.array_equal(vector, masked(size, np.uint32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_masks_cancel_between_one_core_and_several(dtype, more):
    """One end of a pair masks with an executor, the other one without."""
    size = masks._SHORT // np.dtype(dtype).itemsize + more
    vector = np.arange(size).astype(dtype)
    with ThreadPoolExecutor(2) as executor:
        add_masks(vector, PLUS, MINUS, executor=executor)
        add_masks(vector, MINUS, PLUS)
        assert np.array_equal(vector, np.arange(size).astype(dtype))
        add_masks(vector, PLUS, MINUS)
        add_masks(vector, MINUS, PLUS, executor=executor)
    assert np.array_equal(vector, np.arange(size).astype(dtype))


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("_Streams(plus, minus, from_counter)", "_Streams(plus, minus)"),
        ("_Streams(plus, minus, from_counter)", "_Streams(plus, plus, from_counter)"),
        ("accumulator.nbytes <= _SHORT", "accumulator.nbytes <= HEAD"),
    ],
    ids=["without the head", "with another sign", "only shorter than the head"],
)
def test_mutants_of_short_vectors(text, instead, monkeypatch):
    """The last one is right, only slower: it shows that both ways give the same bytes."""
    mutant = without(monkeypatch, masks, "add_masks", text, instead)
    monkeypatch.setitem(globals(), "add_masks", mutant)
    if "HEAD" in instead:
        test_masks_cancel_between_one_core_and_several(np.uint16, 0)
        test_a_mask_is_counter_mode_from_zero(40, np.uint16)
    else:
        with pytest.raises(AssertionError):
            test_masks_cancel_between_one_core_and_several(np.uint16, 0)
        with pytest.raises(AssertionError):
            test_a_mask_is_counter_mode_from_zero(40, np.uint16)


def test_the_mutant_that_starts_every_window_anew(monkeypatch):
    """It would mask two windows with one stream, so that their difference is bare."""

    class Anew(_REAL):
        __slots__ = ("seeds",)

        def __init__(self, plus, minus):
            super().__init__(plus, minus)
            self.seeds = plus, minus

        def add_to(self, part):
            made, words = self._made, self._words
            _REAL.__init__(self, *self.seeds)
            self._made, self._words = made, words
            super().add_to(part)

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(masks, "_WINDOW", masks._CHUNK)
    whole = masked(300_001, np.uint32)
    monkeypatch.setattr(masks, "_Streams", Anew)
    with ThreadPoolExecutor(2) as executor:
        assert not np.array_equal(masked(300_001, np.uint32, executor=executor), whole)


class OtherProcess:
    """An executor whose tasks work on copies, as another process would."""

    def submit(self, task, *arguments):
        future = Future()
        future.set_result(pickle.loads(pickle.dumps(task))(*arguments))  # noqa: S301 - our own bytes
        return future


@pytest.mark.parametrize("size", [3, 9])
def test_an_executor_of_processes_is_refused(size):
    vector = np.arange(size, dtype=np.uint32)
    with pytest.raises(LocalProtocolError, match="threads"):
        add_masks(vector, PLUS, MINUS, executor=OtherProcess())
    assert vector.tolist() == list(range(size))


class Portable:
    """The mutant: a part that can be copied to another process, seeds and all."""

    def __init__(self, plus, minus):
        self.seeds = plus, minus

    def __call__(self, size, dtype):
        streams = _REAL(*self.seeds)
        streams(size, dtype)
        return streams.taken(size)


def test_the_mutant_masks_windows_alike(monkeypatch):
    """No part there knows where its streams had got to: each window is masked from the start.

    It also has to take what the executor calls a result, for nothing is made in this process.
    """
    taken = "part.taken(start + window.size)"
    add_masks = without(monkeypatch, masks, "add_masks", taken, "task.result()")
    monkeypatch.setattr(masks, "_Streams", Portable)
    monkeypatch.setattr(masks, "_WINDOW", 64)
    vector = np.zeros(8 + 32, dtype=np.uint32)
    add_masks(vector, PLUS, MINUS, executor=OtherProcess())  # without an error
    assert np.array_equal(vector[8:24], vector[24:])


def test_streams_print_no_seed():
    streams = masks._Streams(PLUS, MINUS)
    assert "redacted" in repr(streams)
    assert PLUS[0].hex() not in repr(streams)
