"""A client's checks of an offer, before it creates a single key for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg.crypto.keys import Directory, Identity, check_client_id
from secagg.errors import LocalProtocolError, RemoteProtocolError, StateError, WireFormatError
from secagg.guards.checks import boolean, context_of, instance, journal_of, octets
from secagg.roles.client.policy import Policy
from secagg.session.state import CLIENT_AWAITS
from secagg.wire.codec import decode
from secagg.wire.messages import Offer

if TYPE_CHECKING:
    from secagg.guards.journal import Journal
    from secagg.session.state import Phase

__all__ = ["accept_offer", "allow_answers", "check_known", "claim_answer"]

_Who = tuple[Identity, int, bytes]


def accept_offer(
    offer: bytes,
    client_id: int,
    identity: Identity,
    directory: Directory,
    context: bytes,
    policy: Policy,
    journal: Journal | None,
) -> tuple[Offer, bytes, int]:
    """Check an offer, record the session as joined, and return it, its name and the id.

    Raises:
        UnsafeParametersError, CapacityError: the offer is unsafe.
        RemoteProtocolError: the message is no offer, or has another context, or the session was joined
            before.
        LocalProtocolError: the directory does not hold this identity under this id, an argument has another
            type, or the journal failed.
    """
    client_id, context = check_client_id(client_id), context_of(context)
    identity = instance("identity", identity, Identity)
    directory = instance("directory", directory, Directory)
    policy, journal = instance("policy", policy, Policy), journal_of(journal)
    try:
        session, message = decode(octets("offer", offer))
    except WireFormatError as error:
        raise RemoteProtocolError(f"sent a malformed offer: {error}", "server") from error
    if not isinstance(message, Offer):
        raise RemoteProtocolError("sent another message than an offer", "server")
    policy.check(message.params, directory)  # first: a refused offer leaves no fact in the journal
    if session != message.session(context):
        raise RemoteProtocolError(
            "offers a session for another context than this client's", "server"
        )
    check_known(directory, client_id, identity)
    # The fact is recorded before a key exists: a client that stops in between counts as having joined.
    if journal is not None:
        _record(journal, _fact(b"secagg joined", (identity, client_id, session)))
    identity.join(session, client_id)
    return message, session, client_id


def _record(journal: Journal, fact: bytes) -> None:
    """Record that this client joins; it joins nothing unless the record is durable and new."""
    try:
        new = journal.add(fact)
    except Exception as error:
        raise LocalProtocolError(
            f"the journal failed, and no session is joined: {error}"
        ) from error
    if not boolean("what journal.add returns", new):
        raise RemoteProtocolError(
            "announced a session that this client has joined before, or may have: its journal says so",
            "server",
        )


def check_known(directory: Directory, client_id: int, identity: Identity) -> None:
    """Raise LocalProtocolError unless the directory holds an identity under an id.

    All other clients would refuse a roster with another identity: the mistake is the caller's.
    """
    try:
        directory.check(client_id, identity.public)
    except RemoteProtocolError as error:
        raise LocalProtocolError(
            f"the directory does not hold this identity for client {client_id}"
        ) from error


def allow_answers(journal: Journal, who: _Who) -> None:
    """Record that a client is about to be suspended: without this, a journal lets no state answer.

    There is one fact for each phase, because a question to a journal is a record in it: a journal that does
    not know a client is asked about each phase for the first time, whichever it was asked about before.

    Raises:
        LocalProtocolError: the journal failed.
    """
    for phase in CLIENT_AWAITS:
        _added(journal, _of_phase(b"secagg suspended", who, phase), "nothing is suspended")


def claim_answer(journal: Journal, who: _Who, phase: Phase) -> None:
    """Record that a resumed client answers a phase, before it makes the answer.

    Args:
        journal: the client's journal.
        who: identity and id of the client, and name of the session.
        phase: the phase.

    Raises:
        StateError: the phase was answered before, or the journal does not know that the client was suspended.
        LocalProtocolError: the journal failed; whether the fact was recorded is not known.
    """
    what = "nothing is answered"
    if not _added(journal, _of_phase(b"secagg answers", who, phase), what):
        raise StateError(
            f"this client has answered phase {phase.name} before, or may have: its journal says so. The "
            "state is an old copy, or a second process has it; the client is out of this session"
        )
    if _added(journal, _of_phase(b"secagg suspended", who, phase), what):
        raise StateError(
            "the journal does not know that this client was suspended: it is another one, or lost facts"
        )


def _added(journal: Journal, fact: bytes, otherwise: str) -> bool:
    try:
        return boolean("what journal.add returns", journal.add(fact))
    except Exception as error:
        raise LocalProtocolError(f"the journal failed, and {otherwise}: {error}") from error


def _of_phase(what: bytes, who: _Who, phase: Phase) -> bytes:
    return _fact(what, who) + CLIENT_AWAITS[phase].to_bytes(1, "little")


def _fact(what: bytes, who: _Who) -> bytes:
    identity, client_id, session = who
    return what + identity.public + client_id.to_bytes(4, "little") + session
