"""What all parties agree on before the first round: the sum, its sizes, and everybody's public keys."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, cast

import msgspec

from fedavg.adapters.polling.letters import content_digest
from fedavg.errors import LocalProtocolError, PlanError, WireFormatError
from fedavg.sums.interface import FIRST_OPENER, SumSpec
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from fedavg.sums.one_shot.committee import member_material, public_material
from fedavg.sums.one_shot.epochs import epoch_of
from secagg.committee import card_epoch

if TYPE_CHECKING:
    from fedavg.sums.interface import ClientSide, OpenerSide, ServerSide
    from fedavg.sums.sides.others import Facts
    from secagg import Identity
    from secagg.committee import SealingKey

__all__ = ["SumAgreement"]

_DIGEST = 32  # bytes of a SHA-256
_BEGUN = b"an epoch of the members' sealing keys has begun "
_OVER = b"the epoch of this sealing key is over "


class SumAgreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public file, which an operator gives to all parties, and which the server cannot change.

    Its digest is part of each round's context, so parties with different files never enter the same sum. So
    is the digest of what the clients are given in the round.

    Args:
        secure_sum: `OneShot` or `SecAgg`.
        vector_length: number of coordinates of each client's vector.
        max_abs: bound on each coordinate; vectors beyond it are refused.
        clients: identities of the clients, who are all asked in each round.
        members: identities of the members of a committee, by their ids 0, 1, …; none for `SecAgg`. Where the
            sum draws them, they are the drawn clients, by their ids and under their own identities.
        cards: the signed sealing keys of each member, one for each epoch, from epoch 1 on. Round n is of
            epoch 1 + n // `OneShot.epoch_rounds`; there are no rounds after the last epoch.

    Raises:
        PlanError: the sum has another number of members, or no bound, or an epoch has no cards; or a sum that
            draws its members is for another number of clients, or others were drawn.
        secagg.SecAggError, he.HeError: there are no parameters for such sums, or a key is not valid.

    Example:
        >>> from secagg import Identity
        >>> known = {client: Identity.generate().public for client in range(3)}
        >>> agreed = SumAgreement(SecAgg(), 1000, 2**15, known)
        >>> SumAgreement.from_bytes(agreed.to_bytes()) == agreed
        True
        >>> agreed.spec(1, b"model").context == agreed.spec(1, b"other model").context
        False
        >>> SumAgreement(OneShot(), 1000, 2**15, known)
        Traceback (most recent call last):
        fedavg.errors.PlanError: this sum has a committee of 20, and 0 members are enrolled
    """

    secure_sum: OneShot | SecAgg
    vector_length: int
    max_abs: int
    clients: dict[int, bytes]
    members: dict[int, bytes] = {}
    cards: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        self.secure_sum.check_population(len(self.clients))
        self.secure_sum.check(self._largest)
        committee = len(self.secure_sum.provision(self._largest, self.clients).openers)
        # Otherwise every party would make a committee of its own.
        if committee != len(self.members):
            raise PlanError(
                f"this sum has a committee of {committee}, and {len(self.members)} members are enrolled"
            )
        self._check_drawn()
        self.server_side()  # refuses keys that are not valid
        self._check_epochs()

    @classmethod
    def from_bytes(cls, data: bytes) -> SumAgreement:
        """Read the file.

        Raises:
            WireFormatError: the bytes are no agreement; further errors are those of the class.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise WireFormatError(f"these bytes are no agreement: {error}") from error

    def to_bytes(self) -> bytes:
        """The file's content, in JSON; keys are in base 64."""
        return msgspec.json.encode(self)

    def spec(self, number: int, content: bytes) -> SumSpec:
        """The facts of one round's sum; each number and each content has another context.

        Args:
            number: number of the round.
            content: what the clients are given in this round, such as a model; b"" for nothing. Clients that
                were given different contents enter no common sum.

        Raises:
            LocalProtocolError: the content is not of type bytes.
        """
        return self.spec_of(number, content_digest(content))

    def spec_of(self, number: int, digest: bytes) -> SumSpec:
        """As `spec`, for a party that has only the `content_digest` of the content.

        Raises:
            WireFormatError: the digest has another length.
        """
        if len(digest) != _DIGEST:
            raise WireFormatError(
                f"a digest of a round's content has {_DIGEST} bytes, not {len(digest)}"
            )
        file = hashlib.sha256(self.to_bytes()).digest()
        context = file + number.to_bytes(8, "little") + digest
        return SumSpec(self.vector_length, self.max_abs, None, len(self.clients), context, number)

    def _check_drawn(self) -> None:
        """Refuse members that were not drawn, or whose identities are others than were drawn."""
        if not self.secure_sum.drawn:
            return
        # A draw says who signs: under another identity the member could be anybody.
        drawn = cast("OneShot", self.secure_sum).drawn_from(self.clients)
        if self.members != {member: self.clients[member] for member in drawn}:
            raise PlanError(
                "the committee is drawn from the clients, and the members are not the drawn ones "
                f"({', '.join(map(str, drawn))}) under their identities as clients: a client that is drawn "
                "has one identity in both of its folders"
            )

    def _check_epochs(self) -> None:
        epochs = set(self._epochs)
        if epochs and not self.members:
            raise PlanError(
                "the agreement has cards of sealing keys, and no members: this sum has none"
            )
        # Epochs without a gap are as many as the rounds that they serve for.
        missing = set(range(1, len(epochs) + 1)) - epochs
        if missing or (self.members and not epochs):
            raise PlanError(
                f"the agreement has no cards of epoch {min(missing, default=1)}: members have a sealing key "
                "for each epoch, from epoch 1 on"
            )

    @property
    def _epochs(self) -> dict[int, bytes]:
        """Epoch to a name of the members' sealing keys in it; none where there are no members."""
        cards: defaultdict[int, list[bytes]] = defaultdict(list)
        for card in self.cards:
            cards[card_epoch(card)].append(card)
        return {
            epoch: hashlib.sha256(b"".join(sorted(given))).digest()
            for epoch, given in cards.items()
        }

    def newest_epoch(self, journal: Facts) -> int:
        """The newest epoch in which the owner of a journal took part; 0 for none.

        Under another agreement with some of the same keys it is above all epochs whose keys are over.
        """
        over = (card_epoch(card) + 1 for card in self.cards if journal.known(_OVER + card))
        return max(self._newest_begun(journal), *over, 0)

    def _newest_begun(self, journal: Facts) -> int:
        names = self._epochs
        return max((epoch for epoch in names if journal.known(_BEGUN + names[epoch])), default=0)

    def enter(self, number: int, journal: Facts) -> int:
        """Record that a party takes part in a round; from then on earlier epochs are over for it.

        The record outlives the process: after a restart, too, a client seals nothing to a key of an earlier
        epoch, which a thief may have, and a member signs and answers nothing there. It names each of the
        members' keys, so it holds for every agreement that has one of these cards.

        Args:
            number: number of the round.
            journal: the party's durable record.

        Returns:
            The epoch of the round; 0 where there are no members.

        Raises:
            LocalProtocolError: the round's epoch is over, or the members have no keys for it; nothing is
                recorded.

        Example:
            >>> from fedavg.sums.sides.others import MemoryJournal
            >>> from secagg import Identity
            >>> known = {client: Identity.generate().public for client in range(3)}
            >>> SumAgreement(SecAgg(), 1000, 2**15, known).enter(1, MemoryJournal())
            0
        """
        names = self._epochs
        if not names:
            return 0
        rounds = self.secure_sum.epoch_rounds
        epoch = epoch_of(number, rounds)
        if epoch not in names:
            raise LocalProtocolError(
                f"round {number} is of epoch {epoch}, and the members have sealing keys for {len(names)} "
                f"epochs of {rounds} rounds; enrol again, with new keys"
            )
        newest = self._newest_begun(journal)
        if any(journal.known(_OVER + card) for card in self.cards if card_epoch(card) == epoch):
            newest = max(newest, epoch + 1)
        if epoch < newest:
            raise LocalProtocolError(
                f"round {number} is of epoch {epoch} of the members' sealing keys, which is over since this "
                f"party took part in epoch {newest}: what is sealed to such keys, a thief may open"
            )
        if not journal.known(_BEGUN + names[epoch]):
            for card in self.cards:
                if card_epoch(card) < epoch:
                    journal.add(_OVER + card)
            journal.add(_BEGUN + names[epoch])
        return epoch

    @property
    def _largest(self) -> SumSpec:
        """The sizes of all sums; nobody takes part in round 0."""
        return self.spec(0, b"")

    @property
    def addresses(self) -> dict[str, int]:
        """Name of each party, such as "client-3" or "member-0", to its address in the sums."""
        members = {f"member-{member}": FIRST_OPENER - member for member in self.members}
        return {f"client-{client}": client for client in self.clients} | members

    def server_side(self) -> ServerSide:
        """The server's side, without a secret."""
        return self.secure_sum.server_side(self._public())

    def client_side(self) -> ClientSide:
        """The clients' side, without a secret."""
        return self.secure_sum.client_side(self._public())

    def member_side(self, identity: Identity, *sealing: SealingKey) -> OpenerSide:
        """The side of the member with this identity and these sealing keys, one for each epoch to come."""
        return self.secure_sum.opener_side(member_material(self._public(), identity, *sealing))

    def _public(self) -> bytes:
        if not self.members:
            return self.secure_sum.provision(self._largest, self.clients).clients
        return public_material(self.clients, self.members, self.cards)
