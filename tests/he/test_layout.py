import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he import UnsafeParametersError, WireFormatError
from he.layout import (
    FULL_BYTES,
    SEEDED_BYTES,
    SealFiles,
    pack_coefficients,
    read_body,
    stored_content,
    unpack_coefficients,
)
from he.params import MODULUS

coefficient = st.integers(0, MODULUS - 1) | st.sampled_from([0, 1, MODULUS - 1])


@given(st.lists(st.tuples(coefficient, coefficient), min_size=1, max_size=20))
def test_packing_is_the_little_endian_number_of_each_pair(pairs):
    data = pack_coefficients(np.array(pairs, np.uint64).reshape(-1))
    expected = b"".join((low + (high << 60)).to_bytes(15, "little") for low, high in pairs)
    assert data == expected
    assert unpack_coefficients(data).reshape(-1, 2).tolist() == [list(pair) for pair in pairs]


@pytest.mark.parametrize("value", [MODULUS, 2**60 - 1])
@pytest.mark.parametrize("place", [0, 1])
def test_a_coefficient_of_q_or_more_is_refused(value, place):
    pair = [0, 0]
    pair[place] = value
    with pytest.raises(WireFormatError, match="below q"):
        unpack_coefficients(pack_coefficients(np.array(pair, np.uint64)))


@settings(max_examples=30)
@given(st.integers(0, FULL_BYTES + 10))
def test_bodies_have_two_lengths(size):
    if size in (SEEDED_BYTES, FULL_BYTES):
        assert read_body(bytes(size))[0].size
    else:
        with pytest.raises(WireFormatError, match="two lengths"):
            read_body(bytes(size))


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
        stored_content(SealFiles(b"\x04\x01").file(b"abc") + b"d")
    assert stored_content(SealFiles(b"\x04\x01").file(b"abc")) == b"abc"


def test_only_seal_4_is_known():
    with pytest.raises(UnsafeParametersError, match="SEAL 4"):
        SealFiles(b"\x03\x07")
