"""What the members' reports say about each contribution: opened by whom, consistent with whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secagg.committee.arithmetic.decoding import consistent, locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from secagg.committee.params.params import CommitteeParams

__all__ = ["Findings", "false_places", "judge"]

_AT_ONCE = 1 << 20
"""Check values that are compared at once, in about 50 MB."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings about all contributions, by their index in the delivery.

    Args:
        disputes: contribution → places of the members with which it is in dispute, where there are any.
        guilty: contributions with more than c members against them: at least one of these is honest.
        unclear: contributions whose check values lie on no polynomial, where fewer than c + 1 false ones
            could be the cause.
    """

    disputes: Mapping[int, frozenset[int]]
    guilty: frozenset[int]
    unclear: frozenset[int]


def judge(
    params: CommitteeParams,
    opened: Mapping[int, Sequence[int]],
    values: Mapping[int, NDArray[np.int64] | NDArray[np.int32]],
) -> Findings:
    """Read the reports of at least R + c members.

    Args:
        params: parameters of the session.
        opened: place of a member → 0 or 1 for each contribution.
        values: place of a member → int64 or int32[opened, primes, checks].
    """
    places = sorted(opened)
    flags = np.array([list(opened[place]) for place in places], dtype=np.bool_)
    # Member (row) and contribution → index in the member's list, where it opened.
    listed = np.cumsum(flags, axis=1) - 1
    unsound = np.logical_not(flags.all(axis=0))
    step = max(1, _AT_ONCE // (len(places) * len(params.moduli) * params.checks))
    for start in range(0, flags.shape[1], step):
        part = np.arange(start, min(start + step, flags.shape[1]))[~unsound[start : start + step]]
        if not part.size:
            continue
        table = np.array(
            [values[place][listed[row, part]] for row, place in enumerate(places)], dtype=np.int64
        )
        unsound[part] = np.logical_not(_sound(params, places, table))
    suspects = np.flatnonzero(unsound).tolist()
    disputes: dict[int, frozenset[int]] = {}
    guilty, unclear = set[int](), set[int]()
    for index in suspects:
        rows = np.flatnonzero(flags[:, index]).tolist()
        against = frozenset(places) - {places[row] for row in rows}
        # Of the c corrupt members, as many may already have said that the share did not open.
        rest = params.corrupt - len(against)
        if rest < 0:
            guilty.add(index)
            continue
        radius = min(rest, len(rows) - params.rebuild - rest)
        said = np.array([values[places[row]][listed[row, index]] for row in rows], dtype=np.int64)
        odd = false_places(params, [places[row] for row in rows], said, radius)
        if odd is not None:
            disputes[index] = against | odd
        else:
            (guilty if radius == rest else unclear).add(index)
    return Findings(disputes, frozenset(guilty), frozenset(unclear))


def _sound(
    params: CommitteeParams, places: Sequence[int], table: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """For each contribution, whether all its check values lie on polynomials; bool[contributions]."""
    points = [place + 1 for place in places]
    sound = np.ones(table.shape[1], dtype=np.bool_)
    for prime, modulus in enumerate(params.moduli):
        words = table[:, :, prime].reshape(len(places), -1).T
        good = consistent(words, points, params.rebuild, modulus)
        sound &= good.reshape(table.shape[1], -1).all(axis=1)
    return sound


def false_places(
    params: CommitteeParams, places: Sequence[int], table: NDArray[np.int64], radius: int
) -> frozenset[int] | None:
    """Places of the members with a value beside the others' polynomials.

    Args:
        params: parameters of the session.
        places: places of y members.
        table: int64[y, primes, words].
        radius: largest number of such members.

    Returns:
        The places; None if there are more than `radius`.
    """
    points, false = [place + 1 for place in places], set[int]()
    for prime, modulus in enumerate(params.moduli):
        found = locate(table[:, prime].T, points, params.rebuild, modulus, radius)
        if found is None:
            return None
        false |= {places[index] for index in found}
    return frozenset(false) if len(false) <= radius else None
