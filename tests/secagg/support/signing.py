"""A client's message again, with the signature that its sender would have given it."""

from __future__ import annotations

from dataclasses import replace

from secagg.wire.messages import (
    AdvertiseKeys,
    ConsistencySignature,
    MaskedInput,
    ShareKeys,
    SharesOpened,
    UnmaskShares,
)


def signed(message, identity, server):
    """A message of a client to a server, signed by an identity.

    Args:
        message: decoded; its signature may be anything.
        identity: whose signature it gets.
        server: knows what the session has come to.
    """
    roster = server._tally.roster and server._tally.roster.root
    told = {
        AdvertiseKeys: (server._session,),
        ShareKeys: (server._session, roster),
        SharesOpened: (server._session, roster),
        MaskedInput: (server._session, server._tally.partner_root),
        UnmaskShares: (server._session, server._tally.told),
    }
    if isinstance(message, ConsistencySignature):
        return replace(message, signature=identity.sign(server._tally.told))
    return replace(message, signature=identity.sign(message.signed(*told[type(message)])))
