"""Envelopes: all messages of clients, server and key holder, in one canonical form each.

An upload chunk is signed over all of its bytes, with the group's key or with its client's enrolled key, and
nothing of its body is parsed before the signature is verified. A sum chunk needs no signature: the linear
tag, which the server cannot create, authenticates it. Where clients are enrolled, the first chunk also
carries what they signed.
"""

from __future__ import annotations

from he.wire.headers import ChunkHeader, envelope_kind
from he.wire.sums import SumChunk, encode_sum, open_sum
from he.wire.uploads import (
    UploadChunk,
    check_proof,
    ciphertext_coefficients,
    encode_upload,
    open_upload,
    sign_as_client,
)

__all__ = [
    "ChunkHeader",
    "SumChunk",
    "UploadChunk",
    "check_proof",
    "ciphertext_coefficients",
    "encode_sum",
    "encode_upload",
    "envelope_kind",
    "open_sum",
    "open_upload",
    "sign_as_client",
]
