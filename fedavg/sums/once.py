"""One secure sum with all roles in one process, for vectors that are summed once, outside of any round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import PlanError
from fedavg.sums.interface import SumSpec
from fedavg.sums.sides.others import other_parties
from secagg import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import ClientSession, SecureSum, SumResult

__all__ = ["sum_once"]


def sum_once(
    secure_sum: SecureSum,
    vectors: Mapping[int, NDArray[np.int64]],
    *,
    max_abs: int,
    context: bytes,
    received: list[tuple[int, bytes]] | None = None,
) -> SumResult:
    """Sum vectors under a secure sum; server, clients and key holder exchange bytes only.

    Args:
        secure_sum: any secure sum.
        vectors: client id to int64[d], with coordinates within ±max_abs.
        max_abs: bound on the magnitude of every coordinate.
        context: a name for the sum; use each name once.
        received: when given, it is extended by (sender, message) for every message to the server.

    Raises:
        PlanError: there are no vectors, or they have different lengths.
        CapacityError, RoundAbortedError, secagg.SecAggError, he.HeError: the secure sum refuses.

    Example:
        >>> import numpy as np
        >>> from fedavg.sums.masked import SecAgg
        >>> vectors = {i: np.array([i, 10 * i]) for i in range(1, 6)}
        >>> sum_once(SecAgg(), vectors, max_abs=99, context=b"an example").total
        array([ 15, 150])
    """
    if not vectors:
        raise PlanError("a sum needs at least one vector")
    length = _common_length(vectors)
    spec = SumSpec(length, max_abs, None, len(vectors), context)
    # Parameters that do not exist are refused before keys are made.
    secure_sum.check(spec)
    identities = {client: Identity.generate() for client in vectors}
    known = {client: identity.public for client, identity in identities.items()}
    provision = secure_sum.provision(spec, known)
    side = secure_sum.client_side(provision.clients)
    server = secure_sum.server_side(provision.server).session(spec, sorted(vectors))
    others = other_parties(secure_sum, provision, spec)
    sessions: dict[int, ClientSession] = {}
    outgoing: Mapping[int, Sequence[bytes]] = server.open()
    while outgoing:
        for party, messages in outgoing.items():
            if party in others:
                replies = others[party].receive(messages)
            elif party in sessions:
                replies = [r for message in messages for r in sessions[party].receive(message)]
            else:
                # A party's first message is the opening, from which its session begins.
                sessions[party] = side.session(spec, party, identities[party], messages[0])
                sessions[party].set_input(vectors[party])
                replies = sessions[party].start()
            for reply in replies:
                if received is not None:
                    received.append((party, reply))
                server.receive(party, reply)
        outgoing = server.advance()
    return server.result()


def _common_length(vectors: Mapping[int, NDArray[np.int64]]) -> int:
    """Return the length of all vectors; refuse vectors of different lengths."""
    lengths: dict[int, list[int]] = {}
    for client, vector in vectors.items():
        lengths.setdefault(len(vector), []).append(client)
    if len(lengths) > 1:
        found = "; ".join(
            f"{length} of {'client' if len(who) == 1 else 'clients'} {', '.join(map(str, who[:3]))}"
            + (f" and {len(who) - 3} more" if len(who) > 3 else "")
            for length, who in sorted(lengths.items())
        )
        raise PlanError(f"all vectors of a sum must have one length, but there are {found}")
    return next(iter(lengths))
