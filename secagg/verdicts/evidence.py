"""Evidence against a client: signed messages as bytes, and a check that anybody can perform.

The evidence of a bad dealer is the dealer's own: its advertisement, the commitments that it signed, and
enough matching shares to reconstruct a secret. Nobody else can create it. The evidence of disputes is what
the clients in dispute signed. It shows which client accused which, but not whether the server forwarded what
it was sent. It is therefore convincing for a reader who trusts the server in this respect.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from secagg.crypto.keys import SIGNATURE_SIZE, AgreementKey, Directory, check_client_id
from secagg.crypto.shamir import SHARE_SIZE, canonical, rebuild
from secagg.errors import RemoteProtocolError, SecAggError, WireFormatError
from secagg.errors.conviction import Conviction, Offence
from secagg.guards.checks import context_of, instance, octets
from secagg.session.roster import Roster
from secagg.verdicts.disputes import graph_of, proven
from secagg.wire.codec import decode
from secagg.wire.envelopes import MASK_KEY, SELF_MASK, share_commitments
from secagg.wire.messages import (
    COMMITMENT_SIZE,
    Offer,
    ShareKeys,
    SharesOpened,
    UnmaskShares,
    seed_commitment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Dealing", "OwnShare", "check_conviction", "of_dealing", "of_disputes"]

_HASH_SIZE = 32
_LENGTH = struct.Struct("<I")
_DEALT = struct.Struct(f"<I{_HASH_SIZE}s{SIGNATURE_SIZE}sB{_HASH_SIZE}s")
_OWN = struct.Struct(f"<{_HASH_SIZE}s{_HASH_SIZE}s{SIGNATURE_SIZE}s")
_SHARE = struct.Struct(f"<I{SHARE_SIZE}s")


@dataclass(frozen=True, slots=True)
class Dealing:
    """A dealer's signed statement about one of its secrets.

    Args:
        client_id: id of the dealer.
        seed_commitment: commitment to its self-mask seed.
        signature: signature on this commitment, on the column, and on the other column.
        kind: kind of the secret, `SELF_MASK` or `MASK_KEY`.
        other: SHA-256 of the other secret's column.
        column: the commitments to the secret's shares, in the order of the dealer's neighbours, joined.
    """

    client_id: int
    seed_commitment: bytes
    signature: bytes
    kind: int
    other: bytes
    column: bytes

    def signed(self, roster: Roster) -> bytes:
        """The content that the signature covers."""
        hashes = [hashlib.sha256(self.column).digest(), self.other]
        if self.kind == MASK_KEY:
            hashes.reverse()  # the statement names the seed's column first
        about = (self.client_id, self.seed_commitment)
        return ShareKeys.statement(roster.session, roster.root, *about, hashes)

    def is_of(self, secret: bytes | None, roster: Roster) -> bool:
        """Whether a secret is the one that the dealer announced."""
        if secret is None:
            return False
        if self.kind == SELF_MASK:
            made = seed_commitment(roster.session, self.client_id, secret)
            return made == self.seed_commitment
        announced = roster.entries[roster.positions[self.client_id]].mask_key
        # The advertised public key serves as the commitment to this secret.
        return AgreementKey.from_private_bytes(secret).public == announced


@dataclass(frozen=True, slots=True)
class OwnShare:
    """A dealer's signature on its own share of its seed, to which no commitment exists.

    Args:
        survivors: the content that the consistency signatures cover.
        others: SHA-256 of the shares that it gave with it.
        signature: signature on these and the share.
    """

    survivors: bytes
    others: bytes
    signature: bytes


def of_disputes(offer: bytes, roster: bytes, receipts: Sequence[bytes]) -> bytes:
    """Evidence of disputes.

    Args:
        offer: the session's offer, as it was sent.
        roster: the session's roster, as it was sent.
        receipts: the messages of kind 5 of all clients in dispute.
    """
    return _joined([offer, roster, *receipts])


def of_dealing(
    offer: bytes, roster: bytes, dealing: Dealing, shares: Mapping[int, bytes], own: OwnShare | None
) -> bytes:
    """Evidence that shares reconstruct another secret than their dealer announced.

    Args:
        offer: the session's offer, as it was sent.
        roster: the session's roster, as it was sent.
        dealing: the dealer's signed statement.
        shares: holder's position → share, as many as reconstruct a secret.
        own: the dealer's signature, if its own share is among them.
    """
    about = (dealing.client_id, dealing.seed_commitment, dealing.signature)
    head = _DEALT.pack(*about, dealing.kind, dealing.other)
    signed = b"" if own is None else _OWN.pack(own.survivors, own.others, own.signature)
    given = b"".join(_SHARE.pack(*pair) for pair in sorted(shares.items()))
    return _joined([offer, roster, head + dealing.column, signed, given])


def check_conviction(conviction: Conviction, *, context: bytes, directory: Directory) -> None:
    """Raise unless the evidence proves the offence of which a client is convicted.

    Args:
        conviction: the conviction, as a server states it.
        context: context of the session, as the clients know it.
        directory: identities that are known beforehand.

    Raises:
        RemoteProtocolError: the evidence does not prove it; the culprit is the server.
        WireFormatError: the bytes are no evidence.
        LocalProtocolError: an argument has another type.

    Example:
        >>> from secagg import Conviction, Directory, Offence
        >>> rumour = Conviction(7, Offence.BAD_DEALER, b"the server says so")
        >>> check_conviction(rumour, context=b"round 1", directory=Directory({}))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        secagg.errors.WireFormatError: ...
    """
    conviction = instance("conviction", conviction, Conviction)
    offence = instance("offence", conviction.offence, Offence)
    client_id, show = check_client_id(conviction.client_id), _SHOWN.get(offence)
    if show is None:
        raise RemoteProtocolError(
            "shows no evidence of this protocol: secagg.committee.check_rejection checks this offence",
            "server",
        )
    directory, context = instance("directory", directory, Directory), context_of(context)
    offer, message, *parts = _parted(octets("evidence", conviction.evidence))
    try:
        roster = _roster_of(offer, message, context)
        _require(client_id in roster.positions, "a roster with this client")
        show(parts, roster, client_id, directory)
    except WireFormatError:
        raise
    except SecAggError as error:
        raise RemoteProtocolError(
            f"shows no evidence that {conviction}: {error.args[0]}", "server"
        ) from error


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise RemoteProtocolError(f"it lacks {what}", "server")


def _roster_of(offer: bytes, message: bytes, context: bytes) -> Roster:
    named, content = decode(offer)
    _require(isinstance(content, Offer), "an offer")
    params = cast("Offer", content).params
    _require(cast("Offer", content).session(context) == named, "an offer of this context")
    _require(decode(message)[0] == named, "a roster of the session")
    return Roster.of(message, params, named)


def _signer(roster: Roster, client_id: int, directory: Directory) -> Callable[[bytes, bytes], None]:
    """Return a check of signatures by one client, with the directory's key."""
    entry = roster.entries[roster.positions[client_id]]
    directory.check(client_id, entry.identity)

    def signed(signature: bytes, statement: bytes) -> None:
        _require(
            directory.verify(entry.identity, signature, statement), f"a signature of {client_id}"
        )

    return signed


def _show_disputes(
    parts: Sequence[bytes], roster: Roster, client_id: int, directory: Directory
) -> None:
    accusations: dict[int, set[int]] = {}
    for part in parts:
        session, receipt = decode(part)
        if not isinstance(receipt, SharesOpened):
            raise WireFormatError("evidence of disputes is made of receipts")
        place = roster.positions.get(receipt.client_id)
        _require(session == roster.session and place is not None, "receipts of the session")
        _require(place not in accusations, "one receipt a client")
        around = roster.neighbours(cast("int", place))
        _require(len(receipt.opened) == len(around), "receipts of whole neighbourhoods")
        statement = receipt.signed(roster.session, roster.root)
        _signer(roster, receipt.client_id, directory)(receipt.signature, statement)
        opened = zip(around, receipt.opened, strict=True)
        accusations[cast("int", place)] = {other for other, flag in opened if not flag}
    # The verdict is computed again from the signed receipts; that of the server is not believed.
    convicted = proven(graph_of(accusations), roster.params)
    _require(roster.positions[client_id] in convicted, "enough disputes")


def _show_dealing(
    parts: Sequence[bytes], roster: Roster, client_id: int, directory: Directory
) -> None:
    dealing, own, shares = _read_dealing(parts)
    position = roster.positions[client_id]
    entry, around = roster.entries[position], roster.neighbours(position)
    _require(dealing.client_id == client_id, "commitments of this client")
    _require(dealing.kind in (SELF_MASK, MASK_KEY), "a secret that is dealt")
    _require(len(dealing.column) == len(around) * COMMITMENT_SIZE, "commitments for all neighbours")
    _require(len(shares) == roster.params.threshold, "as many shares as the threshold")
    _require(all(map(canonical, shares.values())), "shares that are any")
    signed = _signer(roster, client_id, directory)
    signed(entry.signature, entry.signed(roster.session))
    signed(dealing.signature, dealing.signed(roster))
    for holder, share in shares.items():
        if holder != position:
            _require(holder in around, "holders that are neighbours")
            committed = _commitment(roster, dealing, holder, share)
            start = around.index(holder) * COMMITMENT_SIZE
            shown = dealing.column[start : start + COMMITMENT_SIZE]
            _require(committed == shown, "shares that were committed to")
            continue
        # A client gives a share of its own seed, but nobody ever asks it for one of its own mask key.
        if own is None or dealing.kind != SELF_MASK:
            raise RemoteProtocolError("it lacks a signature on the dealer's own share", "server")
        about = (roster.session, own.survivors, client_id, share, own.others)
        signed(own.signature, UnmaskShares.statement(*about))
    rebuilt = rebuild([holder + 1 for holder in shares], list(shares.values()))
    _require(not dealing.is_of(rebuilt, roster), "a wrong secret: the announced one was rebuilt")


def _commitment(roster: Roster, dealing: Dealing, holder: int, share: bytes) -> bytes:
    route = ((dealing.client_id,), roster.client_id(holder), (dealing.kind,), (share,))
    return share_commitments(roster, *route)


def _read_dealing(parts: Sequence[bytes]) -> tuple[Dealing, OwnShare | None, dict[int, bytes]]:
    if len(parts) != 3 or len(parts[0]) < _DEALT.size:
        raise WireFormatError("evidence of a dealer has three parts after the roster")
    head, signed, given = parts
    if len(signed) not in (0, _OWN.size) or len(given) % _SHARE.size:
        raise WireFormatError("evidence of a dealer with parts of odd sizes")
    client_id, commitment, signature, kind, other = _DEALT.unpack_from(head)
    own = OwnShare(*_OWN.unpack(signed)) if signed else None
    shares = dict(_SHARE.iter_unpack(given))
    # A dict keeps one share for each holder, so a smaller size shows that a holder stood twice.
    if len(shares) * _SHARE.size != len(given):
        raise WireFormatError("evidence of a dealer with one holder twice")
    column = head[_DEALT.size :]
    return Dealing(client_id, commitment, signature, kind, other, column), own, shares


_SHOWN = {Offence.BAD_DEALER: _show_dealing, Offence.DISPUTES: _show_disputes}


def _joined(parts: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _parted(data: bytes) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data):
            raise WireFormatError("evidence ends within a length")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise WireFormatError("evidence ends within a part")
        parts.append(data[start:at])
    if len(parts) < 2:
        raise WireFormatError("evidence starts with an offer and a roster")
    return parts
