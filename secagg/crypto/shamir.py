"""Threshold sharing of 32-byte secrets over F_65537, sixteen limbs at once (Shamir 1979).

Residues are at most 2^16, so float64 holds sums of 2^21 products exactly, and sharing and reconstruction are
matrix products.  A residue takes 17 bits: a share is sixteen little-endian 16-bit words and one word of
flags, bit i of which says that limb i is 65,536 (its word is then 0).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from secagg.crypto.keys import entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MODULUS", "SECRET_SIZE", "SHARE_SIZE", "canonical", "deal", "rebuild"]

MODULUS = 65_537
SECRET_SIZE = 32
SHARE_SIZE = 34
_LIMBS = SECRET_SIZE // 2
_NO_FLAGS = bytes(2)
_ACCEPTED = 2**32 // MODULUS * MODULUS
_STEP = 64  # coefficients in a matrix product, so that rows of powers stay short for every degree
_GENERATOR = 3  # of the multiplicative group: 65,537 is a Fermat prime
_PAIRS = 1 << 18  # differences of points computed at a time


def deal(secrets: Sequence[bytes], points: Sequence[int], threshold: int) -> NDArray[np.uint8]:
    """Share several secrets among the same holders.

    Args:
        secrets: r secrets of 32 bytes.
        points: distinct points of the holders, 1 … 65,536.
        threshold: number of shares that reconstruct a secret; fewer reveal nothing about it.

    Returns:
        uint8[holders, r, 34].

    Raises:
        ValueError: points repeat modulo 65,537 or are 0, or are too few for the threshold.

    Example:
        >>> shares = deal([bytes(range(32))], [1, 2, 3], threshold=2)
        >>> rebuild([3, 1], [shares[2, 0].tobytes(), shares[0, 0].tobytes()]) == bytes(range(32))
        True
    """
    _check_points(points)
    if not 1 <= threshold <= len(points):
        raise ValueError(f"a threshold of {threshold} needs as many holders, not {len(points)}")
    width = len(secrets) * _LIMBS
    coefficients = np.empty((threshold, width), dtype=np.float64)
    coefficients[0] = np.frombuffer(b"".join(secrets), dtype="<u2")
    # The leading coefficient may be zero: if it could not, t − 1 shares would exclude a value of the secret.
    coefficients[1:] = _uniform((threshold - 1) * width).reshape(threshold - 1, width)
    values = _evaluate(coefficients, points).astype(np.uint32) % MODULUS
    return _encode(values.reshape(len(points), len(secrets), _LIMBS))


def rebuild(points: Sequence[int], shares: Sequence[bytes]) -> bytes | None:
    """The secret at the threshold's number of points; None if the shares do not encode 32 bytes.

    The caller must check the result against a commitment: wrong shares give a wrong secret.

    Raises:
        ValueError: points repeat modulo 65,537 or are 0, or shares have another size.
    """
    weights = _weights_at_zero(tuple(points))
    if len(points) != len(shares) or set(map(len, shares)) != {SHARE_SIZE}:
        raise ValueError(f"each point needs one share of {SHARE_SIZE} bytes")
    # All sums stay below 2^53, so float64 is exact in any order of the additions.
    limbs = np.fmod(weights @ _decode(b"".join(shares)), MODULUS).astype(np.uint32)
    if limbs.max() >= 1 << 16:  # no limb of 16 bits: the shares are wrong
        return None
    return limbs.astype("<u2").tobytes()


def canonical(share: bytes) -> bool:
    """Whether 34 bytes encode sixteen residues: a flagged limb's word must be 0."""
    if share.endswith(_NO_FLAGS):  # the usual case, all but one in four thousand
        return True
    flags = int.from_bytes(share[SECRET_SIZE:], "little")
    return all(
        share[2 * limb : 2 * limb + 2] == b"\0\0" for limb in range(_LIMBS) if flags >> limb & 1
    )


def _encode(values: NDArray[np.uint32]) -> NDArray[np.uint8]:
    words = np.empty((*values.shape[:-1], _LIMBS + 1), dtype="<u2")
    words[..., :_LIMBS] = values & 0xFFFF
    words[..., _LIMBS] = ((values >> 16) << np.arange(_LIMBS, dtype=np.uint32)).sum(axis=-1)
    return words.view(np.uint8)


def _decode(data: bytes) -> NDArray[np.float64]:
    words = np.frombuffer(data, dtype="<u2").reshape(-1, _LIMBS + 1)
    limbs = words[:, :_LIMBS].astype(np.float64)
    flags = words[:, _LIMBS:]
    if flags.any():
        limbs += ((flags >> np.arange(_LIMBS, dtype=np.uint16)) & 1) * float(1 << 16)
    return limbs


def _check_points(points: Sequence[int]) -> None:
    if not all(1 <= point < MODULUS for point in points) or len(set(points)) != len(points):
        raise ValueError("points must be distinct and lie in 1…65536")


def _uniform(count: int) -> NDArray[np.float64]:
    """Uniform residues by rejection; a draw is rejected with probability 2^−32."""
    drawn = np.frombuffer(entropy(4 * count), dtype="<u4")
    drawn = drawn[drawn < _ACCEPTED]
    while drawn.size < count:
        more = np.frombuffer(entropy(4 * (count - drawn.size)), dtype="<u4")
        drawn = np.concatenate([drawn, more[more < _ACCEPTED]])
    return (drawn % MODULUS).astype(np.float64)


def _evaluate(coefficients: NDArray[np.float64], points: Sequence[int]) -> NDArray[np.float64]:
    """Columns of coefficients as polynomials, evaluated at the points: Horner's rule in steps of 64."""
    powers = _powers(max(points))[np.asarray(points) - 1]
    low, giant = powers[:, :_STEP], powers[:, _STEP:]
    values = np.zeros((len(points), coefficients.shape[1]))
    for start in reversed(range(0, len(coefficients), _STEP)):
        block = coefficients[start : start + _STEP]
        values *= giant
        values += low[:, : len(block)] @ block
        _reduce(values)  # they were below 2^33 + 2^38
    return values


def _reduce(values: NDArray[np.float64]) -> None:
    """Reduce whole numbers in 0 … 2^48 to 0 … 65,537, in place; multiples of the modulus may stay at it.

    A quotient's rounding error is below 2^−19, and its distance to the next integer is at least 2^−17.
    """
    quotients = values * (1 / MODULUS)
    np.floor(quotients, out=quotients)
    quotients *= MODULUS
    values -= quotients


@functools.lru_cache(maxsize=4)
def _powers(size: int) -> NDArray[np.float64]:
    """Powers 0 … 64 of the points 1 … size; they are public, and so may be cached."""
    points = np.arange(1, size + 1, dtype=np.float64)
    table = np.ones((size, _STEP + 1))
    for exponent in range(1, _STEP + 1):
        table[:, exponent] = np.fmod(table[:, exponent - 1] * points, MODULUS)
    return table


@functools.lru_cache(maxsize=4096)
def _weights_at_zero(points: tuple[int, ...]) -> NDArray[np.float64]:
    """Lagrange weights at 0, Π_{i≠j} x_i ÷ (x_i − x_j), as sums of logarithms.

    Raises:
        ValueError: points repeat modulo 65,537 or are 0.
    """
    _check_points(points)
    logs, powers = _logarithms()
    x = np.array(points, dtype=np.int32)
    exponents = logs[x].sum() - logs[x]
    rows = max(1, _PAIRS // x.size)
    for start in range(0, x.size, rows):
        part = slice(start, start + rows)
        # A negative difference indexes from the end of the table, which has an entry for each residue.
        exponents[part] -= logs[x - x[part, None]].sum(axis=1)
    return powers[exponents % (MODULUS - 1)]  # exponents count modulo p − 1 (Fermat)


@functools.cache
def _logarithms() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Discrete logarithms of the residues (0 for the residue 0), and the powers that invert them."""
    powers = np.ones(MODULUS - 1, dtype=np.int64)
    known = 1
    while known < powers.size:
        powers[known : 2 * known] = powers[:known] * pow(_GENERATOR, known, MODULUS) % MODULUS
        known *= 2
    logs = np.zeros(MODULUS, dtype=np.int64)
    logs[powers] = np.arange(powers.size)
    return logs, powers.astype(np.float64)
