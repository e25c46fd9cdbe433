"""The choice of the examples to score on, by a keyed hash of each row alone, or of its client or group.

The choice for a row depends on the public seed, on the row's owner and on the row's content, and on no other
row.  So a client that joins or leaves changes no other client's training set, and neither does a row that is
added, removed or moved in its file.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SplitName", "held_out", "mixed", "rows_hash", "stratified", "words_hash"]

SplitName = Literal["row", "client", "group"]

_PERSON = b"fedavg split"


def held_out(
    contents: NDArray[np.uint64] | None,
    owners: tuple[NDArray[np.int64], Sequence[str]],
    *,
    fraction: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Choose the rows to score on.

    Args:
        contents: uint64[n], a hash of each row's content, to hold out single rows; None holds out all rows
            of an owner or none of them.
        owners: int64[n], the owner of each row, and the owners' names; all 0 and one name without owners.
        fraction: expected share of rows, or of owners, to hold out.
        seed: public seed.

    Returns:
        bool[n], True for a row that is held out.

    Raises:
        DataError: no row is left to train on or to score on.

    Example:
        >>> whose, names = np.array([0, 0, 1, 1]), ["ward A", "ward B"]
        >>> held_out(None, (whose, names), fraction=0.5, seed=1).tolist()
        [True, True, False, False]
    """
    codes, names = owners
    keys = np.array([_key(name, seed) for name in names], np.uint64)[codes]
    drawn = keys if contents is None else _of_rows(contents, keys)
    # Each hash is uniform on 64 bits, so that about this share falls below the threshold.
    chosen = drawn < np.uint64(min(round(fraction * 2.0**64), 2**64 - 1))
    # With few rows, chance may hold out all of them or none.
    if bool(chosen.all()) or not bool(chosen.any()):
        single = contents is not None
        what = f"{len(codes):,} rows" if single else f"{len(names):,} clients or groups"
        raise DataError(
            f"holding out {fraction:.0%} of {what} leaves nothing to "
            f"{'train' if chosen.all() else 'score'} on: choose another data.test_fraction or "
            f"data.split_seed{'' if single else ', or hold out rows: data.split = row'}"
        )
    return chosen


def stratified(
    labels: NDArray[np.int64], *, fraction: float, seed: int, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide a set that is public as a whole, such as a built-in one, with the same share of every class.

    Every row influences the division, so this is not for sets to which clients add rows.

    Args:
        labels: int64[n], classes.
        fraction: share of the examples to score on.
        seed: public seed.
        name: name of the set in messages.

    Returns:
        Indices to train on and indices to score on, in an order that depends on the seed.

    Raises:
        DataError: no example is left to train on or to score on.
    """
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    held = np.rint(fraction * counts).astype(np.int64)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_test = rank < np.repeat(held, counts)
    if bool(is_test.all()) or not bool(is_test.any()):
        raise DataError(
            f"{name}: test_fraction={fraction} of {len(labels)} examples leaves nothing to "
            f"{'train' if is_test.all() else 'score'} on"
        )
    chosen = np.zeros(len(labels), bool)
    chosen[by_class[is_test]] = True
    return order[~chosen[order]], order[chosen[order]]


def _of_rows(contents: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash each row with its owner's key; a counter distinguishes equal rows of one owner."""
    keyed = mixed(contents ^ keys)
    order = np.argsort(keyed, kind="stable")
    # Equal rows of one owner would all fall on one side, so each gets a number of its own.
    same = np.concatenate([[False], keyed[order][1:] == keyed[order][:-1]])
    place = np.arange(len(keyed))
    copy = np.empty(len(keyed), np.uint64)
    copy[order] = place - np.maximum.accumulate(np.where(same, 0, place))
    return mixed(keyed + mixed(copy))


def _key(name: str, seed: int) -> int:
    key = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=key, person=_PERSON).digest()
    return int.from_bytes(digest, "big")


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al. 2014, fig. 19): each output bit depends on every bit."""
    # Arithmetic modulo 2^64 is meant, so its overflow is no error.
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def words_hash(words: Sequence[str]) -> NDArray[np.uint64]:
    """uint64[w]: a hash of each text."""
    digests = b"".join(
        hashlib.blake2b(word.encode(), digest_size=8, person=_PERSON).digest() for word in words
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def rows_hash(*arrays: NDArray[np.generic]) -> NDArray[np.uint64]:
    """uint64[n]: a hash of the i-th rows of all arrays together, for each i.

    Args:
        arrays: arrays [n, ...] of equal length.
    """
    views = [np.ascontiguousarray(array).reshape(len(array), -1) for array in arrays]
    digests = [
        hashlib.blake2b(
            b"".join(view[row].tobytes() for view in views), digest_size=8, person=_PERSON
        ).digest()
        for row in range(len(views[0]))
    ]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
