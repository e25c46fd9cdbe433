"""Packed Shamir sharing of vectors, the check values of shares, and the way back from sums of shares.

A share has, for each prime, one residue for each block of the vector and one for each check row (rows of
random secrets).  Arrays of shares are int64[…, primes, blocks + checks].
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from secagg.committee.arithmetic.field import centred, lagrange, multiply, uniform
from secagg.crypto.ring import check_packed, pack, unpack
from secagg.errors import WireFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from secagg.committee.params.params import CommitteeParams

__all__ = [
    "check_values",
    "deal",
    "pack_residues",
    "pack_shares",
    "rebuild",
    "unpack_residues",
    "unpack_shares",
]

_CHALLENGE = b"secagg v2 committee challenge\0"


def secret_points(params: CommitteeParams, modulus: int) -> tuple[int, ...]:
    """−1 … −k: the points at which a block's polynomial has the block's coordinates."""
    return tuple(modulus - 1 - index for index in range(params.packing))


def deal(params: CommitteeParams, vector: NDArray[np.int64]) -> NDArray[np.int64]:
    """Share a vector among all members.

    The polynomial of a block is the one with the block's coordinates at −1 … −k and uniform values at the
    points of the first t members.

    Args:
        params: parameters of the session.
        vector: int64[vector_length], within ±max_abs.

    Returns:
        int64[members, primes, blocks + checks].
    """
    m, k, t = params.n_members, params.packing, params.threshold
    padded = np.zeros(params.blocks * k, dtype=np.int64)
    padded[: vector.size] = vector
    dealt = np.empty((m, len(params.moduli), params.blocks + params.checks), dtype=np.int64)
    for index, modulus in enumerate(params.moduli):
        masks = uniform(modulus, params.checks * k).reshape(-1, k)
        secrets = np.concatenate([padded.reshape(-1, k) % modulus, masks])
        free = uniform(modulus, len(secrets) * t).reshape(-1, t)
        known = secret_points(params, modulus) + tuple(range(1, t + 1))
        others = lagrange(known, tuple(range(t + 1, m + 1)), modulus)
        dealt[:t, index] = free.T
        dealt[t:, index] = multiply(others, np.concatenate([secrets, free], axis=1).T, modulus)
    return dealt


def check_values(
    params: CommitteeParams, name: bytes, share: NDArray[np.int64]
) -> NDArray[np.int64]:
    """A share's check values: random combinations of its blocks, each masked by a check row.

    The weights are a hash of the contribution's name, so a dealer fixes all shares before it knows them, and
    every member uses the same ones.

    Args:
        params: parameters of the session.
        name: 32 bytes, the digest that the contribution's signature covers.
        share: int64[primes, blocks + checks].

    Returns:
        int64[primes, checks].
    """
    shape = (len(params.moduli), params.checks, params.blocks)
    stream = hashlib.shake_128(_CHALLENGE + name).digest(4 * int(np.prod(shape)))
    weights = np.frombuffer(stream, dtype="<u4").astype(np.int64).reshape(shape)
    values = np.empty(shape[:2], dtype=np.int64)
    for index, modulus in enumerate(params.moduli):
        blocks, masks = np.split(share[index], [params.blocks])
        combined = multiply(weights[index] % modulus, blocks[:, None], modulus)[:, 0]
        values[index] = (combined + masks) % modulus
    return values


def rebuild(
    params: CommitteeParams, places: Sequence[int], sums: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The sum of vectors from sums of shares.

    Args:
        params: parameters of the session.
        places: R places of members.
        sums: int64[R, primes, blocks], their sums.

    Returns:
        int64[vector_length]; exact if no more than `max_clients` inputs within ±`max_abs` were added.
    """
    points = tuple(place + 1 for place in places)
    total, scale, span = np.zeros(params.vector_length, dtype=np.int64), 1, list[int]()
    for index, modulus in enumerate(params.moduli):
        weights = lagrange(points, secret_points(params, modulus), modulus)
        blocks = multiply(weights, sums[:, index], modulus).T.reshape(-1)[: params.vector_length]
        # Garner's mixed digits, each centred: of odd primes these are the number closest to zero.
        digit = (blocks - total % modulus) * pow(scale, -1, modulus) % modulus if span else blocks
        total += centred(digit, modulus) * scale
        span.append(modulus)
        scale *= modulus
    return total


def pack_residues(params: CommitteeParams, values: NDArray[np.int64]) -> bytes:
    """Residues, one after the other, as one bit string."""
    return pack(values.reshape(-1).astype(np.uint32), params.bits) if values.size else b""


def unpack_residues(
    params: CommitteeParams, data: bytes, count: int, width: int
) -> NDArray[np.int64]:
    """int64[count, primes, width].

    Raises:
        WireFormatError: the size is wrong, padding is not zero, or a number is no residue of its prime.
    """
    shape = (count, len(params.moduli), width)
    if not count:  # of a member for which nothing opened
        check_packed(data, 0, params.bits)
        return np.empty(shape, dtype=np.int64)
    flat = unpack(data, int(np.prod(shape)), params.bits)
    values = flat.astype(np.int64).reshape(shape)
    if (values >= np.array(params.moduli)[:, None]).any():
        raise WireFormatError("a number is no residue of its prime")
    return values


def pack_shares(params: CommitteeParams, dealt: NDArray[np.int64]) -> list[bytes]:
    """The bytes of each member's share."""
    flat = dealt.reshape(len(dealt), -1)
    rows = np.zeros((len(dealt), params.residues), dtype=np.int64)
    rows[:, : flat.shape[1]] = flat
    data, size = pack_residues(params, rows), params.share_size
    return [data[start : start + size] for start in range(0, len(data), size)]


def unpack_shares(
    params: CommitteeParams, shares: Sequence[bytes]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Many shares at once, each of `params.share_size` bytes.

    Returns:
        int64[shares, primes, blocks + checks], and for each share whether it is canonical.
    """
    primes, width = len(params.moduli), params.blocks + params.checks
    flat = unpack(b"".join(shares), len(shares) * params.residues, params.bits)
    rows = flat.astype(np.int64).reshape(len(shares), params.residues)
    values = rows[:, : primes * width].reshape(len(shares), primes, width)
    large = (values >= np.array(params.moduli)[:, None]).any(axis=(1, 2))
    return values, np.logical_not(large | rows[:, primes * width :].any(axis=1))
