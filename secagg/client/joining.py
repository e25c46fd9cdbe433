"""A client's door: what an offer must be before this client makes a single key for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secagg._checks import instance, octets
from secagg.client.policy import Policy
from secagg.crypto.keys import Directory, Identity, check_client_id
from secagg.errors import LocalProtocolError, RemoteProtocolError, WireFormatError
from secagg.wire.codec import decode
from secagg.wire.messages import Offer

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["accept_offer"]


def accept_offer(
    offer: bytes,
    client_id: int,
    identity: Identity,
    directory: Directory,
    context: bytes,
    policy: Policy,
) -> tuple[Params, bytes, int]:
    """Parameters, the session's name and the id, all checked; the identity remembers that it has joined.

    Raises:
        UnsafeParametersError, CapacityError: the offer is unsafe.
        RemoteProtocolError: no offer, another context, or a session joined before.
        LocalProtocolError: the directory does not hold this identity under this id, or an argument is of
            another type.
    """
    client_id, context = check_client_id(client_id), octets("context", context)
    identity = instance("identity", identity, Identity)
    directory = instance("directory", directory, Directory)
    policy = instance("policy", policy, Policy)
    try:
        session, message = decode(octets("offer", offer))
    except WireFormatError as error:
        raise RemoteProtocolError(f"sent a malformed offer: {error}", "server") from error
    if not isinstance(message, Offer):
        raise RemoteProtocolError("sent another message than an offer", "server")
    policy.check(message.params, directory)
    if session != message.session(context):
        raise RemoteProtocolError(
            "offers a session for another context than this client's", "server"
        )
    try:
        directory.check(client_id, identity.public)
    except RemoteProtocolError as error:
        raise LocalProtocolError(
            f"the directory does not hold this identity for client {client_id}"
        ) from error
    identity.join(session, client_id)
    return message.params, session, client_id
