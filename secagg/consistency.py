"""The consistency round, as a client checks it: one survivor set, shown to a quorum.

Bonawitz et al. 2017, section 6.2: without it a server that tells each half of the clients another set
of survivors gets both secrets of a client, and its input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from secagg.cohort import Cohort
    from secagg.keys import Directory
    from secagg.messages import Signatures, Survivors

__all__ = ["check_quorum", "check_survivors"]


def check_survivors(
    survivors: Survivors, cohort: Cohort, position: int, masked_with: AbstractSet[int]
) -> None:
    """Raise RemoteProtocolError unless a client at `position` may sign this set."""
    if len(survivors.members) != len(cohort.entries):
        raise RemoteProtocolError("named survivors of another roster", "server")
    count, least = sum(survivors.members), cohort.params.min_survivors
    if count < least:
        raise RemoteProtocolError(
            f"asks for a sum of {count} inputs; {least} are the least", "server"
        )
    if not survivors.members[position]:
        raise RemoteProtocolError("asks this client to unmask a sum without its input", "server")
    for place in cohort.neighbours(position):
        # otherwise the server could cut the graph of masks edge by edge, and the sum with it
        if survivors.members[place] and place not in masked_with:
            other = cohort.client_id(place)
            raise RemoteProtocolError(
                f"counts client {other} in, whose shares never reached this client", "server"
            )


def check_quorum(
    request: Signatures,
    survivors: Survivors,
    cohort: Cohort,
    directory: Directory,
    own: tuple[int, bytes],
) -> None:
    """Raise RemoteProtocolError unless a quorum of survivors signed this very set.

    Args:
        request: positions, strictly ascending, with signatures.
        survivors: what this client was told.
        cohort: the roster.
        directory: keeps parsed keys.
        own: this client's position and signature, which it need not verify.
    """
    shown, quorum = len(request.signatures), cohort.params.quorum
    if shown < quorum:
        raise RemoteProtocolError(
            f"shows {shown} signatures on the survivors; {quorum} are needed", "server"
        )
    signed = survivors.signed(cohort.session, cohort.root)
    for position, signature in request.signatures:
        if position >= len(cohort.entries) or not survivors.members[position]:
            raise RemoteProtocolError("shows a signature of somebody who is no survivor", "server")
        if (position, signature) == own:
            continue
        entry = cohort.entries[position]
        if not directory.verify(entry.identity, signature, signed):
            raise RemoteProtocolError(
                f"shows a signature of client {entry.client_id} that does not hold for these survivors",
                "server",
            )
