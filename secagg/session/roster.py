"""A roster with its order, neighbourhoods and root, which both roles derive from message 2."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from secagg.crypto.keys import derive, digest
from secagg.errors import RemoteProtocolError, WireFormatError
from secagg.session.graph import Graph
from secagg.wire.bodies import ids_and_keys
from secagg.wire.codec import decode
from secagg.wire.messages import AdvertiseKeys, Advertisements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from secagg.crypto.keys import AgreementKey, Directory
    from secagg.params.params import Params

__all__ = ["Roster", "check_roster", "pair_seed", "self_seed"]

_KNOWN, _SIGNED = b"identities known", b"keys signed"


@dataclass(frozen=True, slots=True)
class Roster:
    """The clients of one session in ascending order of id; create it with `of`.

    Decoding, hashing and ordering a roster takes time in proportion to its length, so clients of one
    process that receive the same bytes share the result.

    Args:
        params: parameters of the session.
        session: name of the session.
        root: hash of the whole roster, bound into every key derived from here on.
        entries: the advertisements; a client's *position* is its index here.
        ids: ids of the clients, by position.
        positions: client id to position.
        graph: graph of neighbours.
    """

    params: Params
    session: bytes
    root: bytes
    entries: Sequence[AdvertiseKeys]
    ids: tuple[int, ...]
    positions: dict[int, int]
    graph: Graph

    @classmethod
    def of(cls, message: bytes, params: Params, session: bytes) -> Roster:
        """Decode message 2, and derive order and neighbourhoods from it.

        Raises:
            RemoteProtocolError: there are too few or too many clients, or an X25519 key occurs twice.
            WireFormatError: the bytes are no roster.
        """
        return _roster(message, params, session)

    def neighbours(self, position: int) -> tuple[int, ...]:
        """Positions of a client's neighbours, ascending."""
        return self.graph.neighbours(position)

    def client_id(self, position: int) -> int:
        """The id at a position."""
        return self.ids[position]


@functools.lru_cache(maxsize=4)
def _roster(message: bytes, params: Params, session: bytes) -> Roster:
    _, advertised = decode(message)
    if not isinstance(advertised, Advertisements):
        raise WireFormatError("expected a roster")
    size = len(advertised.entries)
    # Checked before any share is dealt: with fewer clients no sum of min_survivors could come about.
    if not params.min_roster <= size <= params.n_clients:
        raise RemoteProtocolError(
            f"sent a roster of {size}; {params.min_roster}…{params.n_clients} may take part",
            "server",
        )
    ids, keys = ids_and_keys(advertised.entries)
    if len(set(keys)) != 2 * size:
        raise RemoteProtocolError("sent a roster in which one key stands twice", "server")
    root = digest(b"roster", message)
    # All entries are read several times, except where only those of neighbours are read at all.
    entries = advertised.entries if params.local else tuple(advertised.entries)
    return Roster(
        params=params,
        session=session,
        root=root,
        entries=entries,
        ids=tuple(ids),
        positions={client_id: position for position, client_id in enumerate(ids)},
        graph=Graph.of_roster(ids, session, root, params.degree),
    )


def check_roster(roster: Roster, neighbours: Sequence[int], directory: Directory) -> None:
    """Raise RemoteProtocolError unless a client with these neighbours may deal them shares.

    The directory must know all identities. Where quorums consist of neighbours, it must know only theirs:
    other clients on the roster neither hold this client's shares nor share its masks.
    """
    # The root is the hash of all entries, so that with the session and a place it names one entry.
    name = roster.session + roster.root
    if roster.params.local:
        _check_identities(roster, neighbours, directory)
    else:
        everyone = range(len(roster.entries))
        known = partial(_check_identities, roster, everyone, directory)
        directory.once(_KNOWN + name, known)
    # Shares and masks go to neighbours only, so only their keys need a valid signature: k checks, not n.
    for place in neighbours:
        keys = partial(_check_keys, roster, place, directory)
        directory.once(_SIGNED + name + place.to_bytes(4, "little"), keys)


def _check_identities(roster: Roster, places: Iterable[int], directory: Directory) -> None:
    for place in places:
        entry = roster.entries[place]
        directory.check(entry.client_id, entry.identity)


def _check_keys(roster: Roster, place: int, directory: Directory) -> None:
    entry = roster.entries[place]
    if not directory.verify(entry.identity, entry.signature, entry.signed(roster.session)):
        raise RemoteProtocolError(f"forged the keys of client {entry.client_id}", "server")


def pair_seed(
    roster: Roster, partner_root: bytes, key: AgreementKey, own: int, other: int
) -> bytes:
    """Seed of the mask of two positions; the lower position adds the mask, the higher subtracts it.

    The seed is bound to the partners: masks of clients that were told different partners do not cancel.

    Raises:
        ValueError: the other client's mask key is of low order.
    """
    low, high = sorted((own, other))  # both ends derive one seed
    pair = roster.client_id(low).to_bytes(4, "little") + roster.client_id(high).to_bytes(
        4, "little"
    )
    agreed = key.agree(roster.entries[other].mask_key)
    return derive(agreed, b"pairwise mask", session=roster.session, info=partner_root + pair)


def self_seed(roster: Roster, partner_root: bytes, secret: bytes, position: int) -> bytes:
    """Seed of a client's own mask."""
    client = roster.client_id(position).to_bytes(4, "little")
    return derive(secret, b"self mask", session=roster.session, info=partner_root + client)
