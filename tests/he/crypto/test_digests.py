"""The digest of long messages is BLAKE3 of the parts, joined."""

from __future__ import annotations

import pytest

from he.crypto.digests import long_digest

# BLAKE3 team, test_vectors/test_vectors.json (CC0 1.0): input byte i is i modulo 251
KNOWN = [
    (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
    (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
    (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
    (102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
]


@pytest.mark.parametrize(("length", "digest"), KNOWN)
@pytest.mark.parametrize("cut", [0, 1, 700])
def test_known_answers_in_one_part_or_two(length, digest, cut):
    data = bytes(i % 251 for i in range(length))
    assert long_digest(data[:cut], memoryview(data)[cut:]).hex() == digest
