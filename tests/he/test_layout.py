import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he import UnsafeParametersError, WireFormatError
from he.layout import (
    SealFiles,
    body_bytes,
    drop_low_bits,
    pack_words,
    restore_low_bits,
    stored_content,
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


def zstd_file(frame):
    return struct.pack("<HB2sBHQ", 0xA15E, 16, b"\x04\x01", 2, 0, 16 + len(frame)) + frame


def test_zstd_frames_with_stored_blocks_are_read():
    """RFC 8878, section 3.1.1: single segment, 2-byte size; then with a window and no size."""
    blocks = (5 << 3).to_bytes(3, "little") + b"hello" + (2 << 3 | 1).to_bytes(3, "little") + b"!?"
    for descriptor in (b"\x60\x00\x00", b"\x00\x40", b"\x20\x07", b"\xa0\x07\x00\x00\x00"):
        frame = struct.pack("<I", 0xFD2FB528) + descriptor + blocks
        assert stored_content(zstd_file(frame)) == b"hello!?"


def test_squeezed_or_foreign_frames_are_left_to_seal():
    squeezed = (
        struct.pack("<I", 0xFD2FB528) + b"\x20\x07" + (2 << 3 | 2 << 1 | 1).to_bytes(3, "little")
    )
    assert stored_content(zstd_file(squeezed + b"??")) is None
    overrun = struct.pack("<I", 0xFD2FB528) + b"\x20\x07" + (9 << 3 | 1).to_bytes(3, "little")
    assert stored_content(zstd_file(overrun + b"??")) is None
    assert stored_content(zstd_file(b"not zstd at all")) is None


def test_files_with_another_size_than_they_say_are_refused():
    with pytest.raises(WireFormatError):
        stored_content(b"".join(SealFiles(b"\x04\x01").file(b"abc")) + b"d")
    assert stored_content(b"".join(SealFiles(b"\x04\x01").file(b"abc"))) == b"abc"


def test_only_seal_4_is_known():
    with pytest.raises(UnsafeParametersError, match="SEAL 4"):
        SealFiles(b"\x03\x07")
