"""Key streams: both ways give counter mode to the bit, and the faster one is taken."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto import masks, streams
from secagg.crypto.masks import add_masks

WAYS = streams.streams_after_head()


@pytest.fixture
def measure_again():
    streams._fastest.cache_clear()
    yield
    streams._fastest.cache_clear()


@pytest.mark.parametrize("way", WAYS)
@given(key=st.binary(min_size=16, max_size=16), sizes=st.lists(st.integers(0, 300), max_size=6))
def test_each_way_is_counter_mode_without_two_blocks(way, key, sizes):
    whole = Cipher(algorithms.AES128(key), modes.CTR(bytes(16))).encryptor()
    whole.update(bytes(streams.HEAD))
    stream = way(key)
    for size in sizes:
        assert stream.update(bytes(size)) == whole.update(bytes(size))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_masks_do_not_depend_on_the_way(way, dtype, monkeypatch):
    monkeypatch.setattr(masks, "stream_after_head", way)
    vector = np.zeros(200_003, dtype)
    add_masks(vector, [b"a" * 16], [b"b" * 16])
    for seed, sign in ((b"a" * 16, 1), (b"b" * 16, -1)):
        cipher = Cipher(algorithms.AES128(seed), modes.CTR(bytes(16))).encryptor()
        words = np.frombuffer(
            cipher.update(bytes(vector.nbytes)), np.dtype(dtype).newbyteorder("<")
        )
        vector = vector - words if sign > 0 else vector + words
    assert not vector.any()


@pytest.mark.usefixtures("measure_again")
@pytest.mark.parametrize("slow", range(2))
def test_the_faster_way_is_taken(slow, monkeypatch):
    """The clock runs on only while the slow way works."""
    now = 0

    class Slow:
        def update_into(self, zeros, room):
            nonlocal now
            now += 1000

    class Quick(Slow):
        def update_into(self, zeros, room):
            nonlocal now
            now += 10

    ways = [lambda key: Quick(), lambda key: Quick()]
    ways[slow] = lambda key: Slow()
    monkeypatch.setattr(streams, "streams_after_head", lambda: tuple(ways))
    monkeypatch.setattr(streams.time, "perf_counter_ns", lambda: now)
    assert streams._fastest() is ways[1 - slow]


@pytest.mark.usefixtures("measure_again")
def test_a_way_that_was_interrupted_once_is_not_given_up(monkeypatch):
    """The shortest time counts: the first run of the fast way is the longest of all here."""
    times = iter([10**6, 500, *[10, 500] * 4])
    now = 0

    class Stream:
        def update_into(self, zeros, room):
            nonlocal now
            now += next(times)

    ways = (lambda key: Stream(), lambda key: Stream())
    monkeypatch.setattr(streams, "streams_after_head", lambda: ways)
    monkeypatch.setattr(streams.time, "perf_counter_ns", lambda: now)
    assert streams._fastest() is ways[0]


@pytest.mark.usefixtures("measure_again")
def test_it_is_measured_once(monkeypatch):
    taken = streams._fastest()
    monkeypatch.setattr(streams, "streams_after_head", lambda: pytest.fail("measured again"))
    assert streams._fastest() is taken
    assert taken in WAYS
