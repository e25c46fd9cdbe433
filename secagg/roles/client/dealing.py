"""Shares of a client's secrets, each sealed to the neighbour that keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.crypto.ephemeral import present
from secagg.crypto.shamir import deal
from secagg.wire.envelopes import routes, seal_envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secagg.crypto.ephemeral import Ephemeral
    from secagg.session.roster import Roster

__all__ = ["deal_to_neighbours"]


def deal_to_neighbours(
    roster: Roster, client_id: int, neighbours: Sequence[int], secrets: Ephemeral
) -> list[bytes]:
    """An envelope for each neighbour, with its shares of the self-mask's seed and of the mask key.

    The client's own share of the seed stays in `secrets`, with the keys for answers; the channel key is
    dropped.

    Args:
        roster: the roster.
        client_id: id of the dealer.
        neighbours: positions of its neighbours, ascending.
        secrets: secrets of the dealer.
    """
    channel, position = present(secrets.channel), roster.positions[client_id]
    # The own share comes first. The point of a position is position + 1, the same for every dealer.
    points = [place + 1 for place in (position, *neighbours)]
    dealt = present(secrets.seed), present(secrets.mask).private_bytes()
    table = deal(dealt, points, roster.params.threshold)
    # Of the seed only: a client that gives shares survived, and its mask key is not asked for.
    secrets.own_share = table[0, 0].tobytes()
    envelopes: list[bytes] = []
    for place, shares in zip(neighbours, table[1:], strict=True):
        sending, secrets.routes[place] = routes(roster, channel, client_id, place)
        holder = roster.client_id(place)
        envelopes.append(seal_envelope(roster, sending, shares.tobytes(), client_id, holder))
    secrets.channel = None  # all keys of envelopes are derived
    return envelopes
