import struct

import pytest

from he import UnsafeParametersError, WireFormatError
from he.coding.seal_files import SealFiles, stored_content
from he.scheme import the_ring


def zstd_file(frame):
    return struct.pack("<HB2sBHQ", 0xA15E, 16, b"\x04\x03", 2, 0, 16 + len(frame)) + frame


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
        stored_content(b"".join(SealFiles(b"\x04\x03").file(b"abc")) + b"d")
    assert stored_content(b"".join(SealFiles(b"\x04\x03").file(b"abc"))) == b"abc"


@pytest.mark.parametrize(
    "version", [b"\x03\x07", b"\x04\x01", b"\x04\x02", b"\x05\x03", b"", b"\x04"]
)
def test_an_older_or_a_later_seal_is_refused_with_the_release_to_install(version):
    with pytest.raises(UnsafeParametersError, match=r"SEAL 4\.3 .* tenseal 0\.3\.17"):
        SealFiles(version)


def test_the_installed_seal_is_known():
    assert SealFiles(the_ring()._files.version).version[0] == 4
