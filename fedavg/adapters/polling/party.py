"""A party's end: one answer to each question, which survives retries and restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from fedavg.adapters.polling.letters import Letter, content_digest
from fedavg.errors import LocalProtocolError, WireFormatError
from fedavg.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import ClientSide, OpenerSide, SumSpec
    from he import Journal
    from secagg import Identity

    GoOn = Callable[[Sequence[bytes]], Sequence[bytes]]

__all__ = ["ClientRounds", "MemberRounds", "Party", "Rounds"]

_NOTHING = content_digest(b"")


class Rounds(Protocol):
    """How a party takes part in rounds: `ClientRounds` and `MemberRounds`.

    Example:
        >>> class Echo:  # a party that sends back what it is asked
        ...     def name(self, number):
        ...         return b"echo %d" % number
        ...     def begin(self, number, question, content):
        ...         return question, lambda more: more
        >>> rounds: Rounds = Echo()
        >>> rounds.begin(1, (b"hello",), b"")[0]
        (b'hello',)
    """

    def name(self, number: int) -> bytes:
        """Name of a round among those of all agreements; it does not depend on the content.

        An answer is sent again only under its round's name.
        """
        ...

    def begin(
        self, number: int, question: Sequence[bytes], content: bytes
    ) -> tuple[Sequence[bytes], GoOn]:
        """The answer to a round's first question, and the function that answers all others.

        Args:
            number: number of the round.
            question: the messages of the sum.
            content: `Letter.content` of the question.
        """
        ...


@dataclass(frozen=True, slots=True)
class ClientRounds:
    """A client's part: it takes part in each round once, in all processes that share its journal.

    Args:
        side: the clients' side of the sum.
        client_id: id of this client.
        identity: its signing key.
        spec: number of a round and `content_digest` of its content → the facts of its sum. A party derives
            them from what it knows itself, and the context is another one for each number and each digest
            (`SumAgreement.spec_of`).
        update: number and content of a round → int64[d], this client's vector. The content is the only thing
            from the server that it may use: what comes another way is not in the name of the sum.
        journal: durable record, such as a `fedavg.FileJournal`.
        enter: number of a round → anything; called first, it records durably that the party takes part, and
            raises an error where the epoch of the members' sealing keys is over (`SumAgreement.enter`).

    Example:
        >>> from fedavg import InsecurePlain
        >>> from fedavg.sums.interface import SumSpec
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> import numpy as np
        >>> from secagg import Identity
        >>> facts = lambda number, digest: SumSpec(2, 9, None, 3, b"round %d" % number + digest)
        >>> side = InsecurePlain().client_side(b"")
        >>> me, journal = Identity.generate(), MemoryJournal()
        >>> client = ClientRounds(
        ...     side, 5, me, facts, lambda number, model: np.array([number, 0]), journal, lambda number: 0
        ... )
        >>> spec = facts(1, content_digest(b"model"))
        >>> opening = InsecurePlain().server_side(b"").session(spec, (5, 6, 7)).open()[5]
        >>> answers, go_on = client.begin(1, opening, b"model")
        >>> client.begin(1, opening, b"model")
        Traceback (most recent call last):
        fedavg.errors.LocalProtocolError: client 5 has taken part in round 1 before: it waits for the next
    """

    side: ClientSide
    client_id: int
    identity: Identity = field(repr=False)
    spec: Callable[[int, bytes], SumSpec]
    update: Callable[[int, bytes], NDArray[np.int64]] = field(repr=False)
    journal: Journal
    enter: Callable[[int], object] = field(repr=False)

    def name(self, number: int) -> bytes:
        """See `Rounds.name`."""
        return self.spec(number, _NOTHING).context

    def begin(
        self, number: int, question: Sequence[bytes], content: bytes
    ) -> tuple[Sequence[bytes], GoOn]:
        """See `Rounds.begin`.

        Raises:
            LocalProtocolError: this client has taken part in the round, or its epoch is over.
        """
        self.enter(number)
        spec, vector = self.spec(number, content_digest(content)), self.update(number, content)
        # Claimed before a key is made: a client that lost its memory would mask its vector a second time, and
        # from two sums over different clients the server would learn the difference. The claim is of the
        # number, so that another content opens no second sum.
        if not self.journal.add(b"client takes part in the sum " + self.name(number)):
            raise LocalProtocolError(
                f"client {self.client_id} has taken part in round {number} before: it waits for the next"
            )
        session = self.side.session(spec, self.client_id, self.identity, question[0])
        session.set_input(vector)

        def go_on(more: Sequence[bytes]) -> Sequence[bytes]:
            return [reply for message in more for reply in session.receive(message)]

        return session.start(), go_on


@dataclass(frozen=True, slots=True)
class MemberRounds:
    """A committee member's part. A new process may begin at any stage: its session asks the journal.

    A process that ends between a member's second answer and its third loses the member's shares, and the
    member counts as absent in that round.

    Args:
        side: the member's side of the sum, which holds its keys.
        spec: as for `ClientRounds`.
        journal: durable record of what it has signed and answered.
        enter: as for `ClientRounds`; it also deletes the member's sealing keys of earlier epochs, wherever
            copies of them are. The side forgets its own.

    Example:
        >>> from fedavg import OneShot
        >>> from fedavg.sums.interface import FIRST_OPENER, SumSpec
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> from secagg import Identity
        >>> facts = lambda number, digest: SumSpec(2, 9, None, 3, b"round %d" % number + digest)
        >>> known = {client: Identity.generate().public for client in range(3)}
        >>> given = OneShot().provision(facts(1, b""), known)
        >>> side = OneShot().opener_side(given.openers[FIRST_OPENER])
        >>> member = MemberRounds(side, facts, MemoryJournal(), lambda number: 0)
        >>> member.begin(1, (b"no delivery",), content_digest(b"model"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        secagg.errors.RemoteProtocolError: sent a malformed message: ...
    """

    side: OpenerSide = field(repr=False)
    spec: Callable[[int, bytes], SumSpec]
    journal: Journal
    enter: Callable[[int], object] = field(repr=False)

    def name(self, number: int) -> bytes:
        """See `Rounds.name`."""
        return self.spec(number, _NOTHING).context

    def begin(
        self, number: int, question: Sequence[bytes], content: bytes
    ) -> tuple[Sequence[bytes], GoOn]:
        """See `Rounds.begin`; the content is the digest of the clients' content.

        Raises:
            LocalProtocolError: the round's epoch is over.
        """
        self.enter(number)
        session = self.side.session(self.spec(number, content), self.journal)
        return session.receive(question), session.receive


class Party:
    """Gives one answer to each question: the same bytes every time, also after a restart.

    The question of a round and stage is answered by the first of its letters. A second letter with other
    messages or another content gets the same answer. After an error, or if the process ended between the work
    and the writing, there is none: a client is then out of the round, and a member is absent from this stage.

    Args:
        rounds: how this party takes part.
        outbox: path of the file that holds the last answer; replaced before the answer is returned. It holds
            nothing that is not sent to the server, and may be deleted at any time. An answer under another
            agreement is not sent.

    Raises:
        WireFormatError: the outbox is no such file.

    Example:
        >>> import tempfile
        >>> class Count:
        ...     def name(self, number):
        ...         return b"count %d" % number
        ...     def begin(self, number, question, content):
        ...         return (b"%d: begun" % number,), lambda more: (b"%d: again" % number,)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     party = Party(Count(), Path(folder) / "outbox")
        ...     first = party.answer(Letter(1, 0, (b"a",)).to_bytes())
        ...     other = party.answer(Letter(1, 0, (b"b",)).to_bytes())
        ...     restarted = Party(Count(), Path(folder) / "outbox")
        ...     after = restarted.answer(Letter(1, 0, (b"a",)).to_bytes())
        >>> first == other == after, Letter.from_bytes(first).messages
        (True, (b'1: begun',))
    """

    __slots__ = ("_asked", "_go_on", "_number", "_outbox", "_reply", "_rounds", "seen")

    def __init__(self, rounds: Rounds, outbox: Path) -> None:
        self._rounds, self._outbox = rounds, Path(outbox)
        self._number, self._go_on = 0, _left
        self._asked, self._reply = _kept(self._outbox)
        self.seen = ""
        """Ticket of the last question that came to this object, for the next poll."""

    def __repr__(self) -> str:
        return f"Party(seen={self.seen!r})"

    def answer(self, question: bytes) -> bytes | None:
        """The answer to send; None if this question has none.

        Raises:
            WireFormatError: the bytes are no question.
            secagg.SecAggError, he.HeError, FedAvgError: the question is not acceptable. Final for this
                question, and for a client for the round.
            Exception: what `ClientRounds.update` raises, with the same effect while this object lives.
        """
        letter = Letter.from_bytes(question)
        self.seen = letter.ticket
        asked = (self._rounds.name(letter.number), letter.ticket)
        if asked == self._asked:
            return self._reply
        # Taken before any work: an error leaves no second try.
        self._asked, self._reply = asked, None
        messages = tuple(self._messages(letter))
        reply = Letter(letter.number, letter.stage, messages).to_bytes()
        # On the disk before it is sent, so that after a restart the same bytes are sent again.
        replace_file(self._outbox, msgspec.msgpack.encode((asked, reply)), mode=0o600)
        self._reply = reply
        return reply

    def _messages(self, letter: Letter) -> Sequence[bytes]:
        if letter.number == self._number:
            go_on, self._go_on = self._go_on, _left
            messages = go_on(letter.messages)
            self._go_on = go_on
        else:
            self._number, self._go_on = letter.number, _left
            messages, self._go_on = self._rounds.begin(
                letter.number, letter.messages, letter.content
            )
        return messages


def _left(question: Sequence[bytes]) -> Sequence[bytes]:
    del question
    raise LocalProtocolError("this party has left the round; it answers again in the next one")


def _kept(outbox: Path) -> tuple[tuple[bytes, str] | None, bytes | None]:
    """Name and ticket of the question that was answered last, and the answer."""
    if not outbox.exists():
        return None, None
    try:
        return msgspec.msgpack.decode(outbox.read_bytes(), type=tuple[tuple[bytes, str], bytes])
    except msgspec.MsgspecError as error:
        raise WireFormatError(
            f"{outbox} holds no answer; delete it, and this party answers from the next round on"
        ) from error
