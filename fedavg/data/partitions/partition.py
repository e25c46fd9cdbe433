"""Partitions of a task's examples over clients: even, skewed by label or by size, or by their owners.

Every function returns one int64 vector of indices for each client.  The vectors are disjoint and not empty,
cover all examples, and depend only on the labels or owners and the public seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedavg import checks
from fedavg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["dirichlet", "iid", "natural", "noisy_sort", "quantity", "shards"]


def _check(labels: NDArray[np.int64], clients: int, *, pieces: int = 1) -> None:
    if labels.ndim != 1:
        raise DataError(f"labels must be a vector, not an array of shape {labels.shape}")
    checks.data.whole("clients", clients)
    checks.data.whole("pieces", pieces)
    if clients * pieces > len(labels):
        raise DataError(
            f"{len(labels)} examples do not fill {clients} clients with {pieces} or more each; "
            f"at most {len(labels) // pieces} clients are possible"
        )


def _pieces(order: NDArray[np.int64], clients: int) -> list[NDArray[np.int64]]:
    return [piece.astype(np.int64) for piece in np.array_split(order, clients)]


def iid(labels: NDArray[np.int64], clients: int, *, seed: int) -> list[NDArray[np.int64]]:
    """Shuffle the examples, then cut them into equal pieces.

    Args:
        labels: int64[n].
        clients: number of clients, at most n.
        seed: public seed.

    Raises:
        DataError: there are more clients than examples.

    Example:
        >>> [len(piece) for piece in iid(np.arange(7), 3, seed=0)]
        [3, 2, 2]
    """
    _check(labels, clients)
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    return _pieces(rng.permutation(len(labels)), clients)


def shards(
    labels: NDArray[np.int64], clients: int, *, shards_per_client: int = 2, seed: int
) -> list[NDArray[np.int64]]:
    """Sort the examples by label, cut them into equal shards, and deal these out (McMahan et al. 2017, §3).

    Args:
        labels: int64[n].
        clients: number of clients.
        shards_per_client: number of shards for each client; few shards give a client few classes.
        seed: public seed.

    Raises:
        DataError: there are more shards than examples.
    """
    _check(labels, clients, pieces=shards_per_client)
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    total = clients * shards_per_client
    # A stable sort keeps the order of equal labels, so the cut is the same everywhere.
    cut = _pieces(np.argsort(labels, kind="stable"), total)
    dealt = rng.permutation(total).reshape(clients, shards_per_client)
    return [np.concatenate([cut[shard] for shard in hand]) for hand in dealt]


def dirichlet(
    labels: NDArray[np.int64], clients: int, *, alpha: float, seed: int
) -> list[NDArray[np.int64]]:
    """Spread each class over the clients in Dirichlet(α) proportions (Hsu et al. 2019, §3.1).

    A small α gives each class to few clients.  A client without examples takes one from the client that has
    most, so that every client takes part.

    Args:
        labels: int64[n].
        clients: number of clients, at most n.
        alpha: concentration, positive.
        seed: public seed.

    Raises:
        DataError: there are more clients than examples, or α is not positive.
    """
    _check(labels, clients)
    _check_concentration(alpha)
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    owner = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(clients, alpha))
        ends = np.rint(np.cumsum(shares) * len(members)).astype(np.int64)
        # The shares sum to 1 up to rounding, and the last class member must have an owner too.
        ends[-1] = len(members)
        owner[members] = np.searchsorted(ends, np.arange(len(members)), side="right")
    _fill_empty(owner, clients)
    by_owner = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=clients)
    return [piece.astype(np.int64) for piece in np.split(by_owner, np.cumsum(counts)[:-1])]


def _fill_empty(owner: NDArray[np.int64], clients: int) -> None:
    counts = np.bincount(owner, minlength=clients)
    # A small alpha gives some clients nothing, and an empty client cannot train.
    empty: Sequence[int] = np.flatnonzero(counts == 0).tolist()
    for client in empty:
        richest = int(counts.argmax())
        owner[np.flatnonzero(owner == richest)[-1]] = client
        counts[richest] -= 1
        counts[client] = 1


def noisy_sort(
    labels: NDArray[np.int64], clients: int, *, spread: float = 2.0, seed: int
) -> list[NDArray[np.int64]]:
    """Sort the examples by label plus N(0, spread²), then cut them into equal pieces.

    With spread 0 a client holds one or two classes; a larger spread makes the partition more even.

    Args:
        labels: int64[n].
        clients: number of clients, at most n.
        spread: standard deviation, in labels.
        seed: public seed.

    Raises:
        DataError: there are more clients than examples, or the spread is negative.
    """
    _check(labels, clients)
    spread = checks.data.at_least("spread", spread, 0)
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    return _pieces(
        np.argsort(labels + rng.normal(0.0, spread, len(labels)), kind="stable"), clients
    )


def quantity(
    labels: NDArray[np.int64], clients: int, *, alpha: float, seed: int
) -> list[NDArray[np.int64]]:
    """Shuffle the examples, then cut them into pieces of Dirichlet(α) sizes (Li et al. 2022, §4.3).

    Every client holds one example and its share of all others; a small α gives most examples to few clients.

    Args:
        labels: int64[n].
        clients: number of clients, at most n.
        alpha: concentration, positive.
        seed: public seed.

    Raises:
        DataError: there are more clients than examples, or α is not positive.
    """
    _check(labels, clients)
    _check_concentration(alpha)
    rng = np.random.default_rng(seed)  # noqa: TID251 - public seed
    shares = np.cumsum(rng.dirichlet(np.full(clients, alpha)))[:-1]
    # Each client gets one example first, so that none is empty.
    ends = np.rint(shares * (len(labels) - clients)).astype(np.int64) + np.arange(1, clients)
    return [piece.astype(np.int64) for piece in np.split(rng.permutation(len(labels)), ends)]


def natural(owners: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Give every example to the client that it came from.

    Args:
        owners: int64[n], the owner of each example, counted from 0; every client owns at least one.

    Raises:
        DataError: `owners` is no vector, or a client owns no example.

    Example:
        >>> [piece.tolist() for piece in natural(np.array([1, 0, 1]))]
        [[1], [0, 2]]
    """
    if owners.ndim != 1 or not owners.size or int(owners.min()) < 0:
        raise DataError("owners must be a vector of clients, counted from 0")
    counts = np.bincount(owners)
    # An owner without examples would be a client that cannot train.
    if not bool(counts.all()):
        raise DataError(
            f"client {int(np.argmin(counts))} owns no example: number the owners from 0 without gaps, so "
            "that each of them has one or more"
        )
    order = np.argsort(owners, kind="stable")
    return [piece.astype(np.int64) for piece in np.split(order, np.cumsum(counts)[:-1])]


def _check_concentration(alpha: float) -> None:
    checks.data.positive("the Dirichlet concentration alpha", alpha)
