"""A client's checks before it masks, signs and gives shares: a quorum must have seen the same set of clients.

See Bonawitz et al. 2017, section 6.2: without these checks, a server that tells two halves of the clients
different sets of survivors gets both secrets of a client, and so its input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.errors import Aborted, AbortReason, RemoteProtocolError
from secagg.session.state import CLIENT_AWAITS
from secagg.wire.codec import read_header
from secagg.wire.messages import MaskedInput

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from secagg.crypto.keys import Directory
    from secagg.session.roster import Roster
    from secagg.session.state import Phase
    from secagg.wire.codec import Kind
    from secagg.wire.messages import AdvertiseKeys, Partners, Signatures, Survivors

__all__ = [
    "check_inputs",
    "check_kind",
    "check_partners",
    "check_quorum",
    "check_survivors",
    "own_position",
    "partners_of",
]


def check_kind(data: bytes, session: bytes, phase: Phase) -> Kind:
    """The kind of a server's message; raise RemoteProtocolError unless this session's phase awaits it."""
    kind, named = read_header(data)
    if named != session:
        raise RemoteProtocolError("sent a message of another session", "server")
    if kind is not CLIENT_AWAITS[phase]:
        raise RemoteProtocolError(f"sent {kind.name} in phase {phase.name}", "server")
    return kind


def own_position(roster: Roster, client_id: int, own: AdvertiseKeys | None) -> int:
    """A client's position; raise RemoteProtocolError unless the roster holds its keys as it sent them."""
    position = roster.positions.get(client_id)
    # With another key in its place, neighbours would deal to, and mask with, keys that are not this client's.
    if position is None or roster.entries[position] != own:
        raise RemoteProtocolError("left out or altered this client's own keys", "server")
    return position


def partners_of(partners: Partners, roster: Roster, position: int) -> tuple[int, ...]:
    """The neighbours with which a partner masks, ascending."""
    members = partners.members
    return tuple(place for place in roster.neighbours(position) if members[place])


def check_partners(
    partners: Partners, roster: Roster, position: int, opened: AbstractSet[int]
) -> None:
    """Raise unless a client at `position` may mask with its neighbours among these partners.

    Raises:
        RemoteProtocolError: an honest server could not announce this set.
        Aborted: too few neighbours remain to hold this client's secrets.
    """
    _check_members(partners.members, roster, position, "give an input")
    around = partners_of(partners, roster, position)
    for place in around:
        # Otherwise the server could remove masks edge by edge, and so split the sum.
        if place not in opened:
            other = roster.client_id(place)
            raise RemoteProtocolError(
                f"counts client {other} in, whose shares never reached this client", "server"
            )
    if len(around) + 1 < roster.params.threshold:
        raise Aborted(
            AbortReason.TOO_FEW_SHARES,
            f"{len(around)} neighbours are partners, {roster.params.threshold - 1} needed",
        )


def check_survivors(
    survivors: Survivors, partners: Partners, roster: Roster, position: int
) -> None:
    """Raise RemoteProtocolError unless a client at `position` may sign this set."""
    members = survivors.members
    _check_members(members, roster, position, "unmask a sum of")
    # Otherwise made-up members, who gave no input, could fill the smallest sum that clients accept.
    if int.from_bytes(members) & ~int.from_bytes(partners.members):
        raise RemoteProtocolError("counts a client in that was no partner", "server")
    if survivors.signatures and not roster.params.local:
        raise RemoteProtocolError("shows signatures of inputs where none is signed", "server")


def check_inputs(
    survivors: Survivors,
    partners: Partners,
    roster: Roster,
    position: int,
    directory: Directory,
) -> None:
    """Raise unless every neighbour in the sum masked with these partners.

    This is for quorums of neighbours. Every share of a client's self-mask then comes from a client that
    masked with it, so both are in one sum.

    Raises:
        RemoteProtocolError: the input of a neighbour is not shown.
        Aborted: too few neighbours are in the sum.
    """
    alive = [place for place in partners_of(partners, roster, position) if survivors.members[place]]
    if len(survivors.signatures) != len(alive):
        raise RemoteProtocolError("shows other inputs than those of the neighbours", "server")
    if len(alive) + 1 < roster.params.threshold:
        raise Aborted(
            AbortReason.TOO_FEW_SURVIVORS,
            f"{len(alive)} neighbours are in the sum, {roster.params.threshold - 1} needed",
        )
    root = partners.root(roster.session, roster.root)
    for place, signature in zip(alive, survivors.signatures, strict=True):
        entry = roster.entries[place]
        signed = MaskedInput.partners_signed(roster.session, root, entry.client_id)
        if not directory.verify(entry.identity, signature, signed):
            raise RemoteProtocolError(
                f"shows no input of client {entry.client_id} with these partners", "server"
            )


def check_quorum(
    request: Signatures,
    survivors: Survivors,
    partner_root: bytes,
    roster: Roster,
    directory: Directory,
    own: tuple[int, bytes],
) -> None:
    """Raise RemoteProtocolError unless a quorum of survivors signed exactly this set.

    Args:
        request: positions, strictly ascending, with signatures.
        survivors: the survivors that this client was told.
        partner_root: hash of roster and partners.
        roster: the roster.
        directory: cache of parsed keys.
        own: this client's position and signature, which it need not verify.
    """
    shown, quorum = len(request.signatures), roster.params.quorum
    if shown < quorum:
        raise RemoteProtocolError(
            f"shows {shown} signatures on the survivors; {quorum} are needed", "server"
        )
    signed = survivors.signed(roster.session, partner_root)
    # In "malicious-local", the quorum follows from a bound on colluders among neighbours.
    counting = frozenset(roster.neighbours(own[0])) if roster.params.local else None
    for position, signature in request.signatures:
        if position >= len(roster.entries) or not survivors.members[position]:
            raise RemoteProtocolError("shows a signature of somebody who is no survivor", "server")
        if counting is not None and position not in counting:
            raise RemoteProtocolError("shows a signature of somebody who is no neighbour", "server")
        if (position, signature) == own:
            continue
        entry = roster.entries[position]
        if not directory.verify(entry.identity, signature, signed):
            raise RemoteProtocolError(
                f"shows a signature of client {entry.client_id} that does not hold for these survivors",
                "server",
            )


def _check_members(members: bytes, roster: Roster, position: int, purpose: str) -> None:
    if len(members) != len(roster.entries):
        raise RemoteProtocolError("named clients of another roster", "server")
    count, least = members.count(1), roster.params.min_survivors
    if count < least:
        raise RemoteProtocolError(
            f"asks {count} clients to {purpose}; {least} are the least", "server"
        )
    if not members[position]:
        raise RemoteProtocolError(f"asks to {purpose} without this client", "server")
