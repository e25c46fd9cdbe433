"""A committee that is drawn from a directory by a value that nobody could choose."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from secagg.crypto.keys import check_client_id, digest
from secagg.errors import LocalProtocolError, UnsafeParametersError
from secagg.guards.checks import mapping, octets, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["drawn_members"]

_SHORTEST = 16  # bytes of a value that nobody guesses before it is known


def drawn_members(candidates: Mapping[int, bytes], n_members: int, value: bytes) -> tuple[int, ...]:
    """Draw the members of a committee; every party computes the same ones.

    Candidates are ranked by a hash of the value and of their id and identity, and the first ones are drawn:
    a uniform choice without repetition, if the hash is a random oracle. The value must become known only
    after the candidates are fixed, and no party may choose it or try several: a public beacon of a round that
    was named before, for example. Otherwise count the tries in `drawn_corrupt(grinding_bits=…)`, which tells
    how many corrupt members to allow for.

    Args:
        candidates: id to public identity of everybody who may be drawn; the same for all parties.
        n_members: number of members, 1 … the number of candidates.
        value: 16 bytes or more.

    Returns:
        The members' ids, ascending.

    Raises:
        UnsafeParametersError: more are to be drawn than there are, or none.
        LocalProtocolError: an argument has another type, or the value is too short.

    Example:
        >>> from secagg import Identity
        >>> known = {i: Identity.generate().public for i in range(200)}
        >>> members = drawn_members(known, 20, b"a beacon's value of 12:00")
        >>> len(set(members)), members == tuple(sorted(members))
        (20, True)
    """
    given = octets("value", value)
    if len(given) < _SHORTEST:
        raise LocalProtocolError(
            f"value takes {_SHORTEST} bytes or more, not {len(given)}: a shorter one can be guessed early"
        )
    ranked: list[tuple[bytes, int]] = []
    for candidate, public in mapping("candidates", candidates):
        place = check_client_id(candidate)
        known = octets("an identity", public)
        ranked.append((digest(b"committee draw", given, struct.pack("<I", place), known), place))
    members = whole("n_members", n_members)
    if not 1 <= members <= len(ranked):
        raise UnsafeParametersError(
            f"n_members must lie in 1…{len(ranked)}, the number of candidates, not {members}"
        )
    return tuple(sorted(place for _, place in sorted(ranked)[:members]))
