"""A roster with its places, neighbourhoods and root: what both roles derive alike from message 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.errors import RemoteProtocolError
from secagg.graph import Graph
from secagg.keys import derive, digest
from secagg.wire import encode

if TYPE_CHECKING:
    from secagg.keys import AgreementKey
    from secagg.messages import AdvertiseKeys, Roster
    from secagg.params import Params

__all__ = ["Cohort", "pair_seed", "self_seed"]


@dataclass(frozen=True, slots=True)
class Cohort:
    """The clients of one session in ascending order of id; use `of`.

    Args:
        params: of the session.
        session: its name.
        root: hash of the whole roster, bound into every key derived from here on.
        entries: the advertisements; a client's *position* is its index here.
        positions: client id to position.
        graph: who is whose neighbour.
    """

    params: Params
    session: bytes
    root: bytes
    entries: tuple[AdvertiseKeys, ...]
    positions: dict[int, int]
    graph: Graph

    @classmethod
    def of(cls, roster: Roster, params: Params, session: bytes) -> Cohort:
        """Derive order and neighbourhoods.

        Raises:
            RemoteProtocolError: too few or too many clients, or one X25519 key twice.
        """
        size = len(roster.entries)
        if not params.min_survivors <= size <= params.n_clients:
            raise RemoteProtocolError(
                f"sent a roster of {size}; {params.min_survivors}…{params.n_clients} may take part",
                "server",
            )
        keys = {key for entry in roster.entries for key in (entry.channel_key, entry.mask_key)}
        if len(keys) != 2 * size:
            raise RemoteProtocolError("sent a roster in which one key stands twice", "server")
        root = digest(b"roster", encode(roster, session))
        ids = [entry.client_id for entry in roster.entries]
        return cls(
            params=params,
            session=session,
            root=root,
            entries=roster.entries,
            positions={client_id: position for position, client_id in enumerate(ids)},
            graph=Graph.of_roster(ids, session, root, params.degree),
        )

    def neighbours(self, position: int) -> tuple[int, ...]:
        """Positions of a client's neighbours, ascending."""
        return self.graph.neighbours(position)

    def client_id(self, position: int) -> int:
        """The id at a position."""
        return self.entries[position].client_id


def pair_seed(cohort: Cohort, key: AgreementKey, own: int, other: int) -> bytes:
    """Seed of the mask of two positions; the lower position adds it, the higher subtracts it.

    Raises:
        ValueError: the other's mask key is of low order.
    """
    low, high = sorted((own, other))
    pair = cohort.client_id(low).to_bytes(4, "little") + cohort.client_id(high).to_bytes(
        4, "little"
    )
    agreed = key.agree(cohort.entries[other].mask_key)
    return derive(agreed, b"pairwise mask", session=cohort.session, info=cohort.root + pair)


def self_seed(cohort: Cohort, secret: bytes, position: int) -> bytes:
    """Seed of a client's own mask."""
    client = cohort.client_id(position).to_bytes(4, "little")
    return derive(secret, b"self mask", session=cohort.session, info=cohort.root + client)
