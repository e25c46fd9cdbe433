"""A client's input under its masks: its own mask, and one for each pair that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.crypto import ring
from secagg.crypto.masks import add_masks
from secagg.errors import RemoteProtocolError
from secagg.roster import pair_seed, self_seed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from secagg.crypto.keys import AgreementKey
    from secagg.crypto.ring import RingArray
    from secagg.roster import Roster

__all__ = ["mask_input"]


def mask_input(
    vector: NDArray[np.int64],
    roster: Roster,
    partner_root: bytes,
    position: int,
    around: Iterable[int],
    *,
    seed: bytes,
    key: AgreementKey,
    executor: Executor | None = None,
) -> RingArray:
    """The input plus all its masks, modulo 2^b.

    Args:
        vector: int64[d].
        roster: the roster.
        partner_root: hash of roster and partners.
        position: position of the client.
        around: positions of its neighbours among the partners.
        seed: secret of the self-mask.
        key: the mask key, from which each pair's mask is derived.
        executor: executor of threads, to use several cores.

    Returns:
        Words of the ring, [d].

    Raises:
        RemoteProtocolError: a neighbour's mask key is of low order.
    """
    masked = ring.to_ring(vector, roster.params.ring_bits)
    # The self-mask hides an input that arrives late, when the server may have opened its pairwise masks.
    plus, minus = [self_seed(roster, partner_root, seed, position)], list[bytes]()
    for place in around:
        try:
            pair = pair_seed(roster, partner_root, key, position, place)
        except ValueError as error:
            culprit = roster.client_id(place)
            raise RemoteProtocolError("advertised a mask key of low order", culprit) from error
        (plus if position < place else minus).append(pair)
    add_masks(masked, plus, minus, executor=executor)
    return masked
