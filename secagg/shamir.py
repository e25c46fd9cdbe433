"""Threshold sharing of 32-byte secrets over F_65537, sixteen limbs at once (Shamir 1979).

Products of residues stay below 2^34 and sums of fewer than 2^19 of them below 2^53, so float64 matrix
products are exact.  A residue takes 17 bits: a share is sixteen little-endian 16-bit words and one
word of flags, bit i of which says that limb i is 65,536 (its word is then 0).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from secagg.keys import entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MODULUS", "SECRET_SIZE", "SHARE_SIZE", "canonical", "deal", "rebuild"]

MODULUS = 65_537
SECRET_SIZE = 32
SHARE_SIZE = 34
_LIMBS = SECRET_SIZE // 2
_ACCEPTED = 2**32 // MODULUS * MODULUS


def deal(secrets: Sequence[bytes], points: Sequence[int], threshold: int) -> NDArray[np.uint8]:
    """Share several secrets among the same holders.

    Args:
        secrets: r secrets of 32 bytes.
        points: distinct holders' points, 1 … 65,536.
        threshold: shares that rebuild a secret; fewer say nothing about it.

    Returns:
        uint8[holders, r, 34].

    Raises:
        ValueError: points that repeat modulo 65,537 or are 0, or too few for the threshold.

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
    coefficients[1:] = _uniform((threshold - 1) * width).reshape(threshold - 1, width)
    powers = _powers(max(points), threshold)[np.asarray(points) - 1]
    values = np.fmod(powers @ coefficients, MODULUS).astype(np.uint32)
    return _encode(values.reshape(len(points), len(secrets), _LIMBS))


def rebuild(points: Sequence[int], shares: Sequence[bytes]) -> bytes | None:
    """The secret at the threshold's number of points, or None when the shares hold no 32 bytes.

    The caller must check the result against a commitment: wrong shares rebuild a wrong secret.

    Raises:
        ValueError: points that repeat modulo 65,537 or are 0, or shares of another size.
    """
    _check_points(points)
    if len(points) != len(shares) or any(len(share) != SHARE_SIZE for share in shares):
        raise ValueError(f"each point needs one share of {SHARE_SIZE} bytes")
    weights = _weights_at_zero(tuple(points))
    limbs = np.fmod(weights @ _decode(b"".join(shares)), MODULUS).astype(np.uint32)
    if limbs.max() >= 1 << 16:
        return None
    return limbs.astype("<u2").tobytes()


def canonical(share: bytes) -> bool:
    """Whether 34 bytes encode sixteen residues: a flagged limb's word must be 0."""
    flags = int.from_bytes(share[SECRET_SIZE:], "little")
    if not flags:  # all but one in four thousand
        return True
    return all(
        share[2 * limb : 2 * limb + 2] == b"\0\0" for limb in range(_LIMBS) if flags >> limb & 1
    )


def _encode(values: NDArray[np.uint32]) -> NDArray[np.uint8]:
    words = np.empty((*values.shape[:-1], _LIMBS + 1), dtype="<u2")
    words[..., :_LIMBS] = values & 0xFFFF
    words[..., _LIMBS] = ((values >> 16) << np.arange(_LIMBS, dtype=np.uint32)).sum(axis=-1)
    return words.view(np.uint8)


def _decode(data: bytes) -> NDArray[np.float64]:
    words = np.frombuffer(data, dtype="<u2").reshape(-1, _LIMBS + 1).astype(np.uint32)
    flags = (words[:, _LIMBS:] >> np.arange(_LIMBS, dtype=np.uint32)) & 1
    return (words[:, :_LIMBS] + (flags << 16)).astype(np.float64)


def _check_points(points: Sequence[int]) -> None:
    if not all(1 <= point < MODULUS for point in points) or len(set(points)) != len(points):
        raise ValueError("points must be distinct and lie in 1…65536")


def _uniform(count: int) -> NDArray[np.float64]:
    """Uniform residues by rejection: a draw fails with probability 2^−32."""
    drawn = np.frombuffer(entropy(4 * count), dtype="<u4")
    drawn = drawn[drawn < _ACCEPTED]
    while drawn.size < count:
        more = np.frombuffer(entropy(4 * (count - drawn.size)), dtype="<u4")
        drawn = np.concatenate([drawn, more[more < _ACCEPTED]])
    return (drawn % MODULUS).astype(np.float64)


@functools.lru_cache(maxsize=16)
def _powers(size: int, threshold: int) -> NDArray[np.float64]:
    """Powers 0 … threshold−1 of the points 1 … size; public, hence kept."""
    points = np.arange(1, size + 1, dtype=np.float64)
    table = np.ones((size, threshold))
    for exponent in range(1, threshold):
        table[:, exponent] = np.fmod(table[:, exponent - 1] * points, MODULUS)
    return table


@functools.lru_cache(maxsize=4096)
def _weights_at_zero(points: tuple[int, ...]) -> NDArray[np.float64]:
    """Lagrange weights at 0: Π_{i≠j} x_i ÷ (x_i − x_j)."""
    x = np.array(points, dtype=np.int64)
    away = (x[None, :] - x[:, None]) % MODULUS  # row j: x_i − x_j
    np.fill_diagonal(away, 1)
    numerators = np.broadcast_to(x, away.shape).copy()
    np.fill_diagonal(numerators, 1)
    inverses = np.array([pow(int(value), -1, MODULUS) for value in _products(away)])
    return (_products(numerators) * inverses % MODULUS).astype(np.float64)


def _products(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Product of each row modulo 65,537, by halving."""
    while rows.shape[1] > 1:
        half = rows.shape[1] // 2
        pairs = rows[:, :half] * rows[:, half : 2 * half] % MODULUS
        rows = np.concatenate([pairs, rows[:, 2 * half :]], axis=1)
    return rows[:, 0]
