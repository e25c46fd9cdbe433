"""Pseudo-random words from AES in counter mode: the public c1 of a ciphertext, and its secret errors.

c1 = a is expanded from the upload's nonce by AES-128-CTR, as FrodoKEM expands its public matrix; errors come
from AES-256-CTR under a key that the operating system draws anew for every call and nobody keeps.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES, AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

from he.coding.residues import bands, fold
from he.params.capacity import DEGREE, MODULUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "UniformSums",
    "sample_binomials",
    "sample_errors",
    "sum_uniform",
    "uniform",
    "uniform_limbs",
]

_SPARE = (
    8  # a 60-bit word is not below q with probability 2^-46, and nine words of a row with 2^-330
)
_ROW = DEGREE + _SPARE
_ROW_BLOCKS = _ROW * 8 // 16
_ZEROS = bytes(_ROW * 8)
_LOW_BITS = np.uint64((1 << 60) - 1)
_COINS = np.uint64((1 << 21) - 1)
_SIDE = np.uint64(21)
_Q = np.uint64(MODULUS)
_ABREAST = (
    12  # 60-bit words that add up below 2^64, with the sum of those before; 0.4 MB of key stream
)


def uniform(nonce: bytes, first: int, count: int) -> NDArray[np.uint64]:
    """The polynomials a, at the roots of x^N + 1, of `count` ciphertexts of an upload from `first` on.

    Args:
        nonce: the upload's 32 bytes.
        first: number of the first ciphertext in the upload.
        count: number of ciphertexts.

    Returns:
        uint64[count, N], each word uniform below q (by rejection).

    Example:
        >>> bool((uniform(bytes(32), 3, 2)[0] == uniform(bytes(32), 2, 2)[1]).all())
        True
    """
    stream = _uniform_stream(nonce, first)
    result = np.empty((count, DEGREE), np.uint64)
    for row in result:
        row[:] = stream.below_q()
    return result


def sum_uniform(nonces: list[bytes], first: int, count: int) -> NDArray[np.uint64]:
    """Σ of `uniform` over several uploads, modulo q."""
    return UniformSums(nonces, first).take(count)


def sample_errors(count: int) -> NDArray[np.int8]:
    """New errors, int8[count, N]: centred binomials of 21 + 21 coins, SEAL's distribution.

    Example:
        >>> errors = sample_errors(2)
        >>> errors.shape, int(abs(errors).max()) <= 21
        ((2, 4096), True)
    """
    stream = _Stream(_encryptor(AES(secrets.token_bytes(32)), 0))
    result = np.empty((count, DEGREE), np.int8)
    for row in result:
        words = stream.words()[:DEGREE]
        heads = np.bitwise_count(words & _COINS).view(np.int8)
        np.subtract(heads, np.bitwise_count((words >> _SIDE) & _COINS).view(np.int8), out=row)
    return result


def sample_binomials(size: int) -> NDArray[np.int8]:
    """New coefficients with the law of `sample_errors`, int8[size].

    Example:
        >>> sample_binomials(5000).shape
        (5000,)
    """
    return sample_errors(-(-size // DEGREE)).reshape(-1)[:size]


def uniform_limbs(seed: bytes, number: int, limbs: int, degree: int) -> NDArray[np.int16]:
    """A public polynomial modulo 2^(16·limbs), in limbs: coefficient j is Σ_l result[l, j]·2^(16·l).

    Each residue has one form as such a sum, so uniform limbs are uniform coefficients. Every number has its
    own part of the stream.

    Args:
        seed: 32 public bytes.
        number: number of the polynomial, 0 … 2^32 − 1.
        limbs: L, 1 … 13.
        degree: N, a multiple of 8.

    Returns:
        int16[L, N].

    Example:
        >>> uniform_limbs(bytes(32), 0, 2, 8).shape
        (2, 8)
    """
    size = 2 * limbs * degree
    key = AES128(hashlib.sha256(b"he one-time polynomials" + seed).digest()[:16])
    stream = _encryptor(key, number * (size // 16)).update(bytes(size))
    return np.frombuffer(stream, "<i2").astype(np.int16, copy=False).reshape(limbs, degree)


class _Stream:
    """A key stream, read row by row into one buffer that stays in the processor's cache."""

    def __init__(self, encryptor: CipherContext) -> None:
        self._encryptor = encryptor
        self._buffer = np.empty(_ROW * 8 + 15, np.uint8)  # the cipher needs room for one more block
        self._words = self._buffer[: _ROW * 8].view("<u8")

    def words(self) -> NDArray[np.uint64]:
        """The next N words and some spare ones; they are valid until the next call."""
        self._encryptor.update_into(_ZEROS, self._buffer.data)
        return self._words

    def below_q(self) -> NDArray[np.uint64]:
        """The next N words below q, by rejection."""
        words = self.words()
        words &= _LOW_BITS
        result = words[:DEGREE]
        return words[words < _Q][:DEGREE] if int(result.max()) >= MODULUS else result


class UniformSums:
    """Σ of `uniform` over several uploads, run by run.

    The key streams of several uploads advance side by side, a row each, which needs few calls over memory
    that stays in the cache.

    Args:
        nonces: nonces of the uploads, 32 bytes each.
        first: number of the first ciphertext.
    """

    def __init__(self, nonces: list[bytes], first: int) -> None:
        # Each ciphertext has its own part of the stream, so chunks can be created in any order.
        encryptors = [_encryptor(_uniform_key(nonce), first * _ROW_BLOCKS) for nonce in nonces]
        self._groups = [
            encryptors[start : start + _ABREAST] for start in range(0, len(nonces), _ABREAST)
        ]
        buffer = np.zeros((min(len(nonces), _ABREAST), _ROW * 8 + 16), np.uint8)
        self._rooms = [row[:-1].data for row in buffer]
        self._words = buffer.view("<u8")

    def take(self, count: int) -> NDArray[np.uint64]:
        """The next `count` polynomials, uint64[count, N] below q."""
        total = np.zeros((count, DEGREE), np.uint64)
        for encryptors in self._groups:
            for row in total:
                np.add(row, self._sum_below_q(encryptors), out=row)
            for band in bands(count):
                fold(total[band])
        return total

    def _sum_below_q(self, encryptors: list[CipherContext]) -> NDArray[np.uint64]:
        """The sum of the next rows, each of N words below q by rejection; the sum is not reduced."""
        for encryptor, room in zip(encryptors, self._rooms, strict=False):
            encryptor.update_into(_ZEROS, room)
        words = self._words[: len(encryptors)]
        words &= _LOW_BITS
        if int(words.max()) < MODULUS:  # nearly always: a word is rejected with probability 2^-46
            return np.add.reduce(words[:, :DEGREE], axis=0)
        rows = [row[row < _Q][:DEGREE] for row in words[:, :_ROW]]
        return np.add.reduce(rows, axis=0)


def _uniform_stream(nonce: bytes, first: int) -> _Stream:
    return _Stream(_encryptor(_uniform_key(nonce), first * _ROW_BLOCKS))


def _uniform_key(nonce: bytes) -> AES128:
    # The nonce is public, and so is the stream; the hash separates this use from other uses of the nonce.
    return AES128(hashlib.sha256(b"he uniform polynomials" + nonce).digest()[:16])


def _encryptor(cipher: AES | AES128, first_block: int) -> CipherContext:
    return Cipher(cipher, CTR(first_block.to_bytes(16, "big"))).encryptor()
