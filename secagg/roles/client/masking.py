"""A client's input under its masks: its own mask, and one for each pair that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secagg.crypto import ring
from secagg.crypto.masks import add_masks
from secagg.errors import CapacityError, RemoteProtocolError
from secagg.guards.checks import plain_array
from secagg.session.roster import pair_seed, self_seed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from secagg.crypto.keys import AgreementKey
    from secagg.crypto.ring import RingArray
    from secagg.params.params import Params
    from secagg.session.roster import Roster

__all__ = ["admit_input", "mask_input"]

# Coordinates: a band is checked and narrowed while the second-level cache holds it.
_BAND = 1 << 15


def admit_input(vector: object, params: Params) -> RingArray:
    """Copy an input into the narrowest words that hold the ring, and check it on the way.

    Pages that are written for the first time cost more than the arithmetic. The words are a half or a quarter
    of the input, and the masks are added in their place.

    Args:
        vector: int64[vector_length].
        params: of the session.

    Returns:
        Words of the ring, [d].

    Raises:
        CapacityError: the vector has another shape or type, or a coordinate is out of range.
    """
    given = plain_array("the input", vector, params.vector_length, CapacityError)
    words = np.empty(given.size, ring.ring_dtype(params.ring_bits))
    room, bound = np.empty(min(_BAND, given.size), np.int64), params.max_abs
    for start in range(0, given.size, _BAND):
        part = words[start : start + _BAND]
        # The caller may change its array meanwhile, so what is checked is what is admitted: a copy.
        band = room[: part.size]
        np.copyto(band, given[start : start + _BAND])
        # Two comparisons, since abs(−2^63) overflows to a negative number.
        if bound is not None and (int(band.max()) > bound or int(band.min()) < -bound):
            raise CapacityError(f"a coordinate lies beyond max_abs={bound}")
        ring.reduce_into(part, band, params.ring_bits)
    return words


def mask_input(
    words: RingArray,
    roster: Roster,
    partner_root: bytes,
    position: int,
    around: Iterable[int],
    *,
    seed: bytes,
    key: AgreementKey,
    executor: Executor | None = None,
) -> None:
    """Add all masks of an input, in place, modulo the word size.

    Args:
        words: the input as `admit_input` returns it; afterwards the masked input.
        roster: the roster.
        partner_root: hash of roster and partners.
        position: position of the client.
        around: positions of its neighbours among the partners.
        seed: secret of the self-mask.
        key: the mask key, from which each pair's mask is derived.
        executor: executor of threads, to use several cores.

    Raises:
        RemoteProtocolError: a neighbour's mask key is of low order.
    """
    # The self-mask hides an input that arrives late, when the server may have opened its pairwise masks.
    plus, minus = [self_seed(roster, partner_root, seed, position)], list[bytes]()
    for place in around:
        try:
            pair = pair_seed(roster, partner_root, key, position, place)
        except ValueError as error:
            culprit = roster.client_id(place)
            raise RemoteProtocolError("advertised a mask key of low order", culprit) from error
        (plus if position < place else minus).append(pair)
    add_masks(words, plus, minus, executor=executor)
