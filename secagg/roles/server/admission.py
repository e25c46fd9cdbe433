"""The server's checks of a client's messages, kind by kind; each failed check names the sender."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

from secagg.crypto import ring
from secagg.crypto.keys import acceptable_agreement_key, check_client_id
from secagg.crypto.shamir import canonical
from secagg.errors import LocalProtocolError, RemoteProtocolError
from secagg.guards.checks import mapping, octets, plain_vector
from secagg.session.state import Phase
from secagg.wire.envelopes import MASK_KEY, SELF_MASK, share_commitments
from secagg.wire.messages import COMMITMENT_SIZE, MaskedInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import numpy as np
    from numpy.typing import NDArray

    from secagg.crypto.keys import Directory
    from secagg.crypto.ring import RingArray
    from secagg.params.params import Params
    from secagg.session.roster import Roster
    from secagg.wire.messages import (
        AdvertiseKeys,
        ConsistencySignature,
        ShareKeys,
        SharesOpened,
        UnmaskShares,
    )

__all__ = [
    "check_dealt",
    "check_due",
    "check_input",
    "check_input_apart",
    "check_keys",
    "check_opened",
    "check_shares",
    "check_signature",
    "check_sum",
    "somebody",
]


def check_keys(
    message: AdvertiseKeys, taken: AbstractSet[bytes], directory: Directory, session: bytes
) -> None:
    """Raise RemoteProtocolError unless an advertisement can stand on the roster beside taken keys."""
    client_id = message.client_id
    try:
        directory.check(client_id, message.identity)
    except RemoteProtocolError as error:
        # The directory's error blames the server, as at a client; here the sender is to blame.
        raise RemoteProtocolError("advertised under an identity not its own", client_id) from error
    # The signature comes before all that the message says: only then are its keys known to be the sender's.
    if not directory.verify(message.identity, message.signature, message.signed(session)):
        raise RemoteProtocolError("advertised keys with a signature that does not hold", client_id)
    keys = (message.channel_key, message.mask_key)
    # Agreement with a key of low order gives zero, which everybody knows. Clients end the session over such a
    # key, so it must not get onto the roster.
    if not all(map(acceptable_agreement_key, keys)):
        raise RemoteProtocolError(
            "advertised an X25519 key of low order or not canonical", client_id
        )
    # Clients refuse a roster with one key twice, so a copied key would end the session for everybody.
    if keys[0] == keys[1] or not taken.isdisjoint(keys):
        raise RemoteProtocolError(
            "advertised a key that is taken already: it is a copy, or the client that came first sent one",
            client_id,
        )


def check_dealt(message: ShareKeys, roster: Roster, directory: Directory) -> None:
    """Raise RemoteProtocolError unless there is an envelope for each neighbour, signed for."""
    signed = message.signed(roster.session, roster.root)
    _check_signature(message, roster, directory, signed)
    _check_count(message.client_id, roster, len(message.envelopes))


def check_opened(
    message: SharesOpened, roster: Roster, dealers: AbstractSet[int], directory: Directory
) -> frozenset[int]:
    """The neighbours whose shares a client reports as not opened.

    Raises:
        RemoteProtocolError: the report is not signed, names a client that dealt no shares, or leaves too few.
    """
    client_id = message.client_id
    signed = message.signed(roster.session, roster.root)
    _check_signature(message, roster, directory, signed)
    _check_count(client_id, roster, len(message.opened))
    around = roster.neighbours(roster.positions[client_id])
    opened = frozenset(compress(around, message.opened))
    # An honest client that opened too few ends the session by itself, so such a report is a lie.
    if not opened <= dealers or len(opened) + 1 < roster.params.threshold:
        raise RemoteProtocolError("opened shares of clients that dealt none, or too few", client_id)
    return frozenset(around) & dealers - opened


def check_input(
    message: MaskedInput, roster: Roster, bits: int, partner_root: bytes, directory: Directory
) -> None:
    """Raise RemoteProtocolError unless an input has the session's shape and its signatures."""
    _check_signature(message, roster, directory, message.signed(roster.session, partner_root))
    check_input_apart(message, roster, bits, partner_root, directory)


def check_input_apart(
    message: MaskedInput, roster: Roster, bits: int, partner_root: bytes, directory: Directory
) -> None:
    """Check an input like `check_input`, except for the signature on the vector, which is elsewhere."""
    client_id, params = message.client_id, roster.params
    if (message.length, message.bits) != (params.vector_length, bits):
        raise RemoteProtocolError("sent an input of another length or ring", client_id)
    if not params.local:
        if message.partner_signature:
            raise RemoteProtocolError("signed its partners where nobody is shown that", client_id)
        return
    identity = roster.entries[roster.positions[client_id]].identity
    signed = MaskedInput.partners_signed(roster.session, partner_root, client_id)
    if not directory.verify(identity, message.partner_signature, signed):
        raise RemoteProtocolError("masked with other partners than it was told", client_id)


def somebody(signatures: Mapping[int, bytes]) -> dict[int, bytes]:
    """The signatures of the clients whose masked inputs a sum holds.

    Raises:
        LocalProtocolError: there is none; such a sum would alter the total unnoticed.
    """
    of = mapping("signatures", signatures)
    found = {check_client_id(client): octets("a signature", signed) for client, signed in of}
    if not found:
        raise LocalProtocolError("a sum is of at least one client's masked input")
    return found


def check_due(phase: Phase) -> None:
    """Raise LocalProtocolError unless masked inputs are awaited."""
    if phase is not Phase.MASKED_INPUT:
        raise LocalProtocolError(f"masked inputs are not due in phase {phase.name}")


def check_sum(total: NDArray[np.int64], params: Params) -> RingArray:
    """The words of a sum of masked inputs that was added elsewhere.

    Raises:
        LocalProtocolError: the array has another shape or type.
    """
    words = plain_vector("a sum of masked inputs", total, params.vector_length)
    return ring.to_ring(words, params.ring_bits)


def check_signature(
    message: ConsistencySignature, roster: Roster, told: bytes, directory: Directory
) -> None:
    """Raise RemoteProtocolError unless a client signed the survivors that it was told."""
    _check_signature(message, roster, directory, told)


def check_shares(
    message: UnmaskShares,
    roster: Roster,
    told: bytes,
    directory: Directory,
    around: Sequence[int],
    promised: bytes,
    survivors: AbstractSet[int],
) -> None:
    """Raise RemoteProtocolError unless each share is the one that its dealer committed to.

    A client's share of its own secret has no commitment; it is used only if no other share is left.

    Args:
        message: the sender's share of its own secret, then one of each partner around it.
        roster: the roster.
        told: the content that the consistency signatures cover.
        directory: cache of parsed keys.
        around: positions of the sender's neighbours among the partners, ascending.
        promised: these partners' commitments to the shares that they dealt to the sender, joined: to a share
            of the self-mask for each survivor, and of the mask key for the others.
        survivors: positions in the sum.
    """
    holder = message.client_id
    _check_signature(message, roster, directory, message.signed(roster.session, told))
    if len(message.shares) != len(around) + 1:
        raise RemoteProtocolError(
            f"gave {len(message.shares)} shares, {len(around) + 1} are due", holder
        )
    own, *others = message.shares
    if not canonical(own) or not all(map(canonical, others)):
        raise RemoteProtocolError("gave a share that is no share", holder)
    dealers = [roster.ids[place] for place in around]
    # One secret of each partner, never both: b of a survivor, s of a client that dropped out.
    kinds = [SELF_MASK if place in survivors else MASK_KEY for place in around]
    given = share_commitments(roster, dealers, holder, kinds, others)
    if given != promised:
        differs = next(at for at, (a, b) in enumerate(zip(given, promised, strict=True)) if a != b)
        dealer = dealers[differs // COMMITMENT_SIZE]
        raise RemoteProtocolError(f"gave another share than client {dealer} dealt it", holder)


def _check_signature(
    message: ShareKeys | SharesOpened | MaskedInput | ConsistencySignature | UnmaskShares,
    roster: Roster,
    directory: Directory,
    signed: bytes,
) -> None:
    """Raise RemoteProtocolError unless a message is what its sender signed.

    This check precedes all others: a message that fails another check is then known to be the client's own,
    and not that of an attacker who writes in its name.
    """
    identity = roster.entries[roster.positions[message.client_id]].identity
    if not directory.verify(identity, message.signature, signed):
        raise RemoteProtocolError(
            "sent a message whose signature does not hold: it was altered on its way, or somebody else "
            "wrote it, or the client was told something else",
            message.client_id,
        )


def _check_count(client_id: int, roster: Roster, count: int) -> None:
    expected = len(roster.neighbours(roster.positions[client_id]))
    if count != expected:
        raise RemoteProtocolError(f"sent {count} places for {expected} neighbours", client_id)
