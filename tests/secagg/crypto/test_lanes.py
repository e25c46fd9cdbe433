"""Lanes: every width and block size against Python's own integers, in buffers that hold older values."""

from __future__ import annotations

import numpy as np
import pytest

from secagg.crypto.lanes import Lanes, ring_dtype


def packed_by_python(values, bits):
    """The values as one integer, the first at its low end."""
    whole = sum(int(value) << (bits * place) for place, value in enumerate(values))
    return whole.to_bytes((len(values) * bits + 7) // 8, "little")


@pytest.mark.parametrize("values", [1, 40])
@pytest.mark.parametrize("bits", range(2, 63))
def test_both_ways_are_those_of_one_long_integer(bits, values):
    lanes, rng = Lanes(values, bits), np.random.default_rng(bits)
    dtype = ring_dtype(bits)
    assert lanes.words.dtype == dtype
    assert lanes.words.size >= values
    assert 8 * lanes.octets.size == lanes.words.size * bits
    for _ in range(2):  # the second time, the buffers hold other values
        wide = rng.integers(0, np.iinfo(dtype).max, lanes.words.size, dtype=dtype, endpoint=True)
        kept = wide & dtype((1 << bits) - 1)
        expected = packed_by_python(kept, bits)
        lanes.words[:] = wide
        lanes.weave()
        assert lanes.octets.tobytes() == expected
        lanes.words[:] = rng.integers(0, 99, lanes.words.size)
        lanes.octets[:] = np.frombuffer(expected, np.uint8)
        lanes.unweave()
        assert np.array_equal(lanes.words, kept)
        lanes.octets[:] = rng.integers(0, 256, lanes.octets.size)
