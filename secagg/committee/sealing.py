"""Who the members of a committee are: their identities, and a sealing key of each for one epoch.

Clients seal shares to a member's sealing key.  The member signs it with its identity, and deletes it when the
epoch is over: keys that are stolen later open nothing that was sealed before.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from secagg.committee.errors import MemberError
from secagg.crypto.keys import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    AgreementKey,
    Directory,
    Identity,
    Secret,
    acceptable_agreement_key,
    check_client_id,
    derive,
    digest,
)
from secagg.errors import LocalProtocolError, UnsafeParametersError
from secagg.guards.calls import leaving_nothing
from secagg.guards.checks import instance, octets, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secagg.committee.params.params import CommitteeParams

__all__ = [
    "Committee",
    "SealingKey",
    "associated",
    "card_epoch",
    "card_member",
    "pinned",
    "share_key",
]

_CARD = struct.Struct(f"<4sBBHII{KEY_SIZE}s{SIGNATURE_SIZE}s")
_HEAD = (b"SAGC", 1, 1, 0)
MAX_EPOCH = 2**32 - 1


class SealingKey(Secret):
    """A member's X25519 key for one epoch, with a card that its identity has signed.

    Args:
        key: the X25519 key; use `generate` or `from_private_bytes`.
        identity: the member's identity.
        member_id: the member's id, 0 … 2^32 − 1.
        epoch: number of the epoch, 0 … 2^32 − 1.

    Example:
        >>> from secagg import Identity
        >>> key = SealingKey.generate(Identity.generate(), 7, epoch=1)
        >>> key, len(key.card)
        (SealingKey(<redacted>), 112)
        >>> key.erase()
        >>> key.private_bytes()
        Traceback (most recent call last):
        secagg.errors.LocalProtocolError: the sealing key of this epoch was erased
    """

    __slots__ = ("_key", "card", "epoch", "member_id", "public")

    @leaving_nothing
    def __init__(
        self, key: AgreementKey, identity: Identity, member_id: int, *, epoch: int
    ) -> None:
        self._key: AgreementKey | None = instance("key", key, AgreementKey)
        identity = instance("identity", identity, Identity)
        self.member_id, self.epoch = check_client_id(member_id), check_epoch(epoch)
        self.public: bytes = key.public
        signature = identity.sign(_carded(self.member_id, self.epoch, self.public))
        self.card: bytes = _CARD.pack(*_HEAD, self.member_id, self.epoch, self.public, signature)

    @classmethod
    @leaving_nothing
    def generate(cls, identity: Identity, member_id: int, *, epoch: int) -> SealingKey:
        """A fresh key.

        Raises:
            LocalProtocolError: an argument has another type or range.
        """
        return cls(AgreementKey.generate(), identity, member_id, epoch=epoch)

    @classmethod
    @leaving_nothing
    def from_private_bytes(
        cls, data: bytes, identity: Identity, member_id: int, *, epoch: int
    ) -> SealingKey:
        """Restore a key from the 32 bytes of `private_bytes`.

        Raises:
            LocalProtocolError: there are not 32 bytes, or an argument has another type or range.
        """
        data = octets("a private sealing key", data)
        if len(data) != KEY_SIZE:
            raise LocalProtocolError(
                f"a private sealing key takes {KEY_SIZE} bytes, not {len(data)}"
            )
        return cls(AgreementKey.from_private_bytes(data), identity, member_id, epoch=epoch)

    def private_bytes(self) -> bytes:
        """The private key; a party that has it reads the member's shares of the epoch.

        Raises:
            LocalProtocolError: it was erased.
        """
        return self._present().private_bytes()

    def agree(self, public: bytes) -> bytes:
        """X25519 with a client's key.

        Raises:
            LocalProtocolError: this key was erased.
            ValueError: the client's key is of low order or not canonical.
        """
        return self._present().agree(public)

    @property
    def erased(self) -> bool:
        """Whether the key is gone; members that were made with it then sign and answer nothing."""
        return self._key is None

    def erase(self) -> None:
        """Drop the key at the end of its epoch.

        Delete copies in files, too, and `Member.close` the members that still hold shares in memory.
        """
        self._key = None

    def _present(self) -> AgreementKey:
        if self._key is None:
            raise LocalProtocolError("the sealing key of this epoch was erased")
        return self._key


class Committee:
    """The members of a committee in one epoch: pinned identities with signed sealing keys.

    All parties must hold the same committee. Its hash is part of the session's name, so a share that is
    sealed for another committee opens nowhere.

    With `epoch=None` each member is in an epoch of its own, and some may lack a card: they count as absent.
    What is sealed for such a member is sealed to a hash, whose private key nobody knows. A party that makes
    a committee so says itself which epochs are over: a card alone does not show it.

    Args:
        members: identities of exactly the members, known beforehand; a pinned `Directory`, in which ids are
            members' ids. If they are drawn from a larger group, the server must not be able to choose them.
        cards: `SealingKey.card` of each member, in any order; they may come from the server.
        epoch: number of the epoch; None for members that are each in an epoch of their own.
        absent: with `epoch=None`, the number of members that may lack a card.

    Raises:
        MemberError: a card is not signed by its member, is of another epoch, or has a key of low order.
        UnsafeParametersError: the directory is not pinned.
        LocalProtocolError: an argument has another type, a member has no card or two, or two have one key.

    Example:
        >>> from secagg import Directory, Identity
        >>> identities = {i: Identity.generate() for i in range(4)}
        >>> cards = [SealingKey.generate(who, i, epoch=1).card for i, who in identities.items()]
        >>> members = Directory({i: who.public for i, who in identities.items()})
        >>> Committee(members, cards, epoch=1).ids
        (0, 1, 2, 3)
        >>> newer = SealingKey.generate(identities[0], 0, epoch=7).card
        >>> Committee(members, [newer, *cards[1:3]], epoch=None, absent=1).epochs
        (7, 1, 1, None)
    """

    __slots__ = ("directory", "epoch", "epochs", "identities", "ids", "root", "sealing")

    def __init__(
        self, members: Directory, cards: Iterable[bytes], *, epoch: int | None, absent: int = 0
    ) -> None:
        self.directory = pinned("members", members)
        common = None if epoch is None else check_epoch(epoch)
        known: dict[int, tuple[int | None, bytes, bytes]] = {}
        for card in cards:
            member_id, of, identity, public = self._read(octets("a card", card))
            if common is not None and of != common:
                raise MemberError(f"has a card of epoch {of}, not of {common}", member_id)
            if member_id in known:
                raise LocalProtocolError(f"member {member_id} has two cards in one epoch")
            known[member_id] = of, identity, public
        self._check_number(len(known), 0 if common is not None else whole("absent", absent))
        newest = max((of for of, _, _ in known.values() if of is not None), default=0)
        self.epoch: int = newest if common is None else common
        """The epoch of all members; of members with epochs of their own, the newest."""
        self.ids = self.directory.ids
        for member_id in self.ids:
            if member_id not in known:
                identity = self.directory.identity(member_id) or b""
                known[member_id] = None, identity, _nobodys(member_id, identity)
        self.epochs = tuple(known[member][0] for member in self.ids)
        """The epoch of each member, in the order of ids; None for one without a card."""
        self.identities = tuple(known[member][1] for member in self.ids)
        self.sealing = tuple(known[member][2] for member in self.ids)
        self._check_distinct()
        self.root: bytes = self._root(common)

    def _check_number(self, cards: int, absent: int) -> None:
        # Otherwise a server that holds back the cards of honest members would choose the committee.
        if not len(self.directory) - absent <= cards <= len(self.directory):
            raise LocalProtocolError(
                f"{cards} cards were given for {len(self.directory)} members; each member needs one"
                f"{f', and {absent} may lack it' if absent else ''}, and the directory has the members of "
                "this committee alone"
            )

    def _root(self, common: int | None) -> bytes:
        keys = zip(self.ids, self.epochs, self.identities, self.sealing, strict=True)
        if common is not None:
            entries = (struct.pack("<I", at) + who + key for at, _, who, key in keys)
            return digest(b"committee", struct.pack("<I", common), b"".join(entries))
        own = (
            struct.pack("<IBI", at, of is not None, of or 0) + who + key
            for at, of, who, key in keys
        )
        return digest(b"committee of epochs", b"".join(own))

    def __len__(self) -> int:
        return len(self.ids)

    def _check_distinct(self) -> None:
        """A member that puts another's key into its own card signs that; which one copied is not visible."""
        owners: dict[bytes, int] = {}
        for member, key in zip(self.ids, self.sealing, strict=True):
            if key in owners:
                raise LocalProtocolError(
                    f"members {owners[key]} and {member} have one sealing key: one of them copied the "
                    "other's; ask both for new ones, or name a committee without them"
                )
            owners[key] = member

    def _read(self, card: bytes) -> tuple[int, int, bytes, bytes]:
        if len(card) != _CARD.size:
            raise LocalProtocolError(f"a card takes {_CARD.size} bytes, not {len(card)}")
        *head, member_id, epoch, public, signature = _CARD.unpack(card)
        identity = self.directory.identity(member_id)
        if tuple(head) != _HEAD or identity is None:
            raise LocalProtocolError(f"no card of a member that the directory knows: {member_id}")
        statement = _carded(member_id, epoch, public)
        if not self.directory.verify(identity, signature, statement):
            raise MemberError("has a card that it did not sign", member_id)
        if not acceptable_agreement_key(public):
            raise MemberError("has a sealing key of low order", member_id)
        return member_id, epoch, identity, public

    def session(self, params: CommitteeParams, context: bytes) -> bytes:
        """The session's name: parameters, committee with its keys, and context.

        Raises:
            LocalProtocolError: the committee has another size than the parameters say.
        """
        if len(self) != params.n_members:
            raise LocalProtocolError(
                f"params are for {params.n_members} members, and the committee has {len(self)}"
            )
        return digest(b"committee session", params.to_bytes(), self.root, context)

    def place(self, member_id: int) -> int:
        """The member's place in the ascending order of ids; its point is one more.

        Raises:
            LocalProtocolError: it is not in the committee.
        """
        member = check_client_id(member_id)
        if member not in self.ids:
            raise LocalProtocolError(f"member {member} is not in the committee")
        return self.ids.index(member)


def pinned(name: str, directory: object) -> Directory:
    """A directory whose identities are known beforehand.

    Raises:
        UnsafeParametersError: it believes the server.
        LocalProtocolError: it is no directory.
    """
    known = instance(name, directory, Directory)
    if not known.pinned:
        raise UnsafeParametersError(
            f"{name} believes the server, which could then invent clients and members; "
            "give a Directory of identities that are known beforehand"
        )
    return known


def card_epoch(card: bytes) -> int:
    """The epoch that a card names; whether its member signed that, a `Committee` of the epoch checks.

    Raises:
        LocalProtocolError: these are not the bytes of a card.

    Example:
        >>> from secagg import Identity
        >>> card_epoch(SealingKey.generate(Identity.generate(), 7, epoch=3).card)
        3
    """
    *_, epoch, _, _ = _card_fields(card)
    return int(epoch)


def card_member(card: bytes) -> int:
    """The id of the member that a card names; whether it signed the card, a `Committee` checks.

    Raises:
        LocalProtocolError: these are not the bytes of a card.

    Example:
        >>> from secagg import Identity
        >>> card_member(SealingKey.generate(Identity.generate(), 7, epoch=3).card)
        7
    """
    *_, member_id, _, _, _ = _card_fields(card)
    return int(member_id)


def _card_fields(card: bytes) -> tuple[Any, ...]:
    data = octets("a card", card)
    if len(data) != _CARD.size:
        raise LocalProtocolError(f"a card takes {_CARD.size} bytes, not {len(data)}")
    return _CARD.unpack(data)


def _nobodys(member_id: int, identity: bytes) -> bytes:
    """A key that nobody can open: a hash, of which nobody knows the private key."""
    attempt = 0
    while True:
        hashed = digest(b"no sealing key", struct.pack("<II", member_id, attempt), identity)
        public = hashed[:-1] + bytes([hashed[-1] & 0x7F])  # one of 255 bits is canonical
        if acceptable_agreement_key(public):
            return public
        attempt += 1


def check_epoch(epoch: object) -> int:
    """Return the number of an epoch; raise LocalProtocolError unless it has 32 bits."""
    exact = whole("epoch", epoch)
    if not 0 <= exact <= MAX_EPOCH:
        raise LocalProtocolError(f"epochs lie in 0…{MAX_EPOCH}, not {exact}")
    return exact


def share_key(agreed: bytes, session: bytes, public: bytes, client_id: int, place: int) -> bytes:
    """The key that seals one share, from a client's ephemeral X25519 key and a member's sealing key.

    Args:
        agreed: the agreement of the two keys.
        session: name of the session, which fixes the member's key.
        public: the client's ephemeral key.
        client_id: id of the client.
        place: place of the member.
    """
    info = public + struct.pack("<II", client_id, place)
    return derive(agreed, b"committee share", session=session, info=info)


def associated(session: bytes, client_id: int, place: int, message_digest: bytes) -> bytes:
    """What is authenticated with a share: it opens for this member, client, message and session alone."""
    return session + struct.pack("<II", client_id, place) + message_digest


def _carded(member_id: int, epoch: int, public: bytes) -> bytes:
    return digest(b"sealing key", struct.pack("<II", member_id, epoch), public)
