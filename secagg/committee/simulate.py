"""The whole sum by a committee in one process; read this page first."""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, cast

from secagg.committee.collector.collector import Collector
from secagg.committee.collector.phases import CommitteePhase
from secagg.committee.contributor import Contributor
from secagg.committee.member import Member
from secagg.committee.params.params import CommitteeParams
from secagg.committee.params.policy import CommitteePolicy
from secagg.committee.sealing import Committee, SealingKey
from secagg.crypto.keys import Directory, Identity, check_client_id
from secagg.errors import LocalProtocolError
from secagg.guards.calls import leaving_nothing
from secagg.guards.checks import instance, mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from secagg.committee.collector.collector import CommitteeResult

__all__ = ["simulate_committee"]


class _Memory:
    """A journal that lasts as long as the process."""

    def __init__(self) -> None:
        self._facts: set[bytes] = set()

    def add(self, fact: bytes, /) -> bool:
        new = fact not in self._facts
        self._facts.add(fact)
        return new


@leaving_nothing
def simulate_committee(
    inputs: Mapping[int, NDArray[np.int64]],
    params: CommitteeParams,
    *,
    drop_clients: AbstractSet[int] = frozenset(),
    drop_members: Mapping[CommitteePhase, AbstractSet[int]] | None = None,
    transcript: list[tuple[str, int, bytes]] | None = None,
) -> CommitteeResult:
    """Sum the inputs; server, clients and members 0 … m − 1 exchange bytes only.

    The parties accept the parameters without a floor of their own, because one caller plays them all.

    Args:
        inputs: client id to int64[vector_length].
        params: parameters of the session.
        drop_clients: clients that send nothing.
        drop_members: phase to the members that send nothing from that phase on.
        transcript: filled with (phase, id of the sender, bytes) for every message to the server.

    Returns:
        The sum over the clients that sent something.

    Raises:
        Aborted: too few clients or members remained.
        CapacityError: an input has another shape or type, or a coordinate is out of range.
        LocalProtocolError: an argument has another type, or a drop-out is unknown.

    Example:
        >>> import numpy as np
        >>> from secagg.committee import CommitteeParams, CommitteePhase, simulate_committee
        >>> params = CommitteeParams.for_committee(
        ...     7, corrupt=1, absent=1, vector_length=3, max_clients=5, max_abs=10, min_clients=3
        ... )
        >>> inputs = {i: np.array([i, -i, 7]) for i in range(5)}
        >>> simulate_committee(inputs, params, drop_members={CommitteePhase.ANSWER: {6}}).total.tolist()
        [10, -10, 35]
    """
    vectors, params, silent = _checked(inputs, params, drop_members)
    quiet = _ids("drop_clients", drop_clients)
    if unknown := quiet - vectors.keys():
        raise LocalProtocolError(f"client {min(unknown)} is to drop out, and has no input")
    if transcript is not None:
        instance("transcript", transcript, list)
    context = b"secagg.simulate_committee"
    accepted = CommitteePolicy(min_corrupt_share=0, min_threshold_share=0, corrupt_clients=0)

    # Beforehand: identities that all know, and for each member a sealing key of this epoch.
    identities = {member: Identity.generate() for member in range(params.n_members)}
    keys = {member: SealingKey.generate(it, member, epoch=1) for member, it in identities.items()}
    known = Directory({member: it.public for member, it in identities.items()})
    committee = Committee(known, [key.card for key in keys.values()], epoch=1)
    people = {client: Identity.generate() for client in vectors}
    clients = Directory({client: it.public for client, it in people.items()})

    # Each client speaks once.
    server = Collector(params, committee, clients, context=context)
    for client, vector in vectors.items():
        if client not in quiet:
            contributor = Contributor(
                params, client, people[client], committee, context=context, policy=accepted
            )
            # The digest of the message that the vector belongs to; here there is none.
            sent = contributor.contribute(vector, message_digest=hashlib.sha256().digest())
            if transcript is not None:
                transcript.append((server.phase.value, client, sent))
            server.receive(client, sent)

    # Each member answers three times: which shares opened, its signature on one set, its sum over the set.
    members = {
        member: Member(
            params,
            member,
            identity,
            keys[member],
            committee,
            clients,
            context=context,
            journal=_Memory(),
            policy=accepted,
        )
        for member, identity in identities.items()
    }
    gone: set[int] = set()
    pending = server.advance()
    while server.phase is not CommitteePhase.DONE:
        gone |= silent.get(server.phase, set())
        for member, message in pending.items():
            if member not in gone:
                reply = members[member].receive(message)
                if transcript is not None:
                    transcript.append((server.phase.value, member, reply))
                server.receive_member(member, reply)
        pending = server.advance()
    return server.result()


def _checked(
    inputs: object, params: object, drop_members: object
) -> tuple[dict[int, NDArray[np.int64]], CommitteeParams, dict[CommitteePhase, set[int]]]:
    """Check the arguments' types; a drop-out that nobody is would have no effect, and is refused."""
    items = mapping("inputs", inputs)
    vectors = {check_client_id(client): cast("NDArray[np.int64]", x) for client, x in items}
    numbers = instance("params", params, CommitteeParams)
    silent: dict[CommitteePhase, set[int]] = {}
    for phase, given in mapping("drop_members", {} if drop_members is None else drop_members):
        silent[instance("drop_members", phase, CommitteePhase)] = _ids("drop_members", given)
    if unknown := set().union(*silent.values()) - set(range(numbers.n_members)):
        raise LocalProtocolError(f"member {min(unknown)} is to drop out, and is no member")
    return vectors, numbers, silent


def _ids(name: str, given: object) -> set[int]:
    return {
        check_client_id(one)
        for one in cast("AbstractSet[object]", instance(name, given, AbstractSet))
    }
