"""AES-128-CTR key streams, which two modes of OpenSSL compute; the faster one is found by measuring.

With a nonce of zeros, AES-128-GCM encrypts from counter block 2 on (NIST SP 800-38D, 7.1).  Its encryption
of zeros is therefore the stream of CTR from zero without the first two blocks.  Which of the two is faster
depends on the processor and on OpenSSL: with AVX-512, GCM is 1.7 times as fast, its unused tag included; on
an EPYC 7003, which has wide AES without AVX-512, CTR is about twice as fast.  The bytes are the same, so no
other party can tell which one made them.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import CipherContext

    Start = Callable[[bytes], CipherContext]

__all__ = ["BLOCK", "HEAD", "from_counter", "stream_after_head", "streams_after_head"]

BLOCK = 16
HEAD = 2 * BLOCK
"""Bytes of a stream that GCM uses itself: its hash key, and the mask of its tag."""

_AFTER_HEAD = (2).to_bytes(BLOCK, "big")
_TRIAL = 128 << 10  # bytes: about 20 µs, in which the start of a stream no longer counts
_TRIALS = 5


def from_counter(key: bytes, counter: bytes = bytes(BLOCK)) -> CipherContext:
    """Start CTR's stream of a 16-byte key at a 16-byte counter block."""
    return Cipher(algorithms.AES128(key), modes.CTR(counter)).encryptor()


def stream_after_head(key: bytes) -> CipherContext:
    """Start the stream of a 16-byte key after its first two blocks, in the faster way.

    Example:
        >>> whole = from_counter(bytes(16)).update(bytes(48))
        >>> stream_after_head(bytes(16)).update(bytes(16)) == whole[HEAD:]
        True
    """
    return _fastest()(key)


def streams_after_head() -> tuple[Start, ...]:
    """Both ways to start a stream after its first two blocks; all give the same bytes."""
    return (_by_ctr, _by_gcm)


def _by_ctr(key: bytes) -> CipherContext:
    return from_counter(key, _AFTER_HEAD)


def _by_gcm(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES128(key), modes.GCM(bytes(12))).encryptor()


@functools.cache
def _fastest() -> Start:
    """The faster way on this processor: the best of a few short runs, in turn, about 0.3 ms in all.

    The shortest time counts, since another process can only lengthen one.
    """
    zeros, room = bytes(_TRIAL), memoryview(bytearray(_TRIAL + BLOCK))
    best: dict[Start, int] = {}
    for _ in range(_TRIALS):
        for start in streams_after_head():
            stream = start(bytes(BLOCK))
            begun = time.perf_counter_ns()
            stream.update_into(zeros, room)
            taken = time.perf_counter_ns() - begun
            best[start] = min(taken, best.get(start, taken))
    return min(best, key=best.__getitem__)
