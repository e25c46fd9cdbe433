import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he import WireFormatError
from he.coding.words import (
    body_bytes,
    drop_low_bits,
    pack_words,
    restore_low_bits,
    unpack_words,
)
from he.params import MODULUS

coefficient = st.integers(0, MODULUS - 1) | st.sampled_from([0, 1, MODULUS - 1])
width = st.sampled_from(range(32, 61, 4))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(coefficient, coefficient), min_size=1, max_size=20), width)
def test_words_travel_in_planes_of_32_16_8_and_4_bits(pairs, bits):
    words = [value >> (60 - bits) for pair in pairs for value in pair]
    data = pack_words(np.array(words, np.uint64), bits)
    assert len(data) == len(words) * bits // 8
    assert unpack_words(data, bits).tolist() == words
    start = 32
    expected = b"".join((word % 2**32).to_bytes(4, "little") for word in words)
    for plane in (16, 8, 4):
        if (bits - 32) & plane:
            digits = [word >> start & (2**plane - 1) for word in words]
            number = sum(digit << plane * place for place, digit in enumerate(digits))
            expected += number.to_bytes(len(words) * plane // 8, "little")
            start += plane
    assert data == expected


@pytest.mark.parametrize("value", [MODULUS, 2**60 - 1])
@pytest.mark.parametrize("place", [0, 1])
def test_a_coefficient_of_q_or_more_is_refused(value, place):
    pair = [0, 0]
    pair[place] = value
    with pytest.raises(WireFormatError, match="below q"):
        unpack_words(pack_words(np.array(pair, np.uint64), 60), 60)


@settings(max_examples=60, deadline=None)
@given(st.lists(coefficient, min_size=1, max_size=20), width)
def test_what_is_dropped_is_off_by_half_a_unit_at_most(values, bits):
    words = np.array(values, np.uint64)
    restored = restore_low_bits(drop_low_bits(words, bits), bits).tolist()
    assert max(restored) < MODULUS
    for value, again in zip(values, restored, strict=True):
        distance = (again - value) % MODULUS
        assert min(distance, MODULUS - distance) <= 2 ** (60 - bits) // 2


def test_bodies_have_the_length_of_their_words():
    assert body_bytes(3, parts=1, bits=52) == len(pack_words(np.zeros(3 * 4096, np.uint64), 52))
