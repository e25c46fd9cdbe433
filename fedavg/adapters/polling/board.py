"""The server's end: the questions of the open stage, and the answers to them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from fedavg import checks
from fedavg.adapters.polling.letters import Letter, content_digest
from fedavg.errors import LocalProtocolError, WireFormatError
from fedavg.protocol.driver import PROTOCOL_ERRORS
from fedavg.sums.interface import is_client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.sums.interface import ServerSession, SumResult

__all__ = ["Board", "Verdict"]


class Verdict(Enum):
    """What became of an answer.

    Example:
        >>> Verdict.CLOSED.value
        'the stage is closed, or asks others'
    """

    ACCEPTED = (
        "the answer is in the sum's protocol, now or since an earlier delivery of the same bytes"
    )
    SECOND = "another answer of this party was accepted"
    CLOSED = "the stage is closed, or asks others"
    REFUSED = "the answer is not acceptable; the party may send it again, undamaged"


@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage; another one takes its place as a whole, so that a poll never sees half of two."""

    number: int
    stage: int
    questions: Mapping[int, Sequence[bytes]]
    answered: dict[int, bytes] = field(
        default_factory=dict[int, bytes]
    )  # digests of accepted answers
    taken: dict[int, set[bytes]] = field(
        default_factory=dict[int, set[bytes]]
    )  # digests of accepted messages, also of answers that were refused for another message

    @property
    def ticket(self) -> str:
        return f"{self.number}.{self.stage}" if self.questions else ""


class Board:
    """The open stage of one sum: one question for each party that is asked, and one answer of each.

    The caller decides when a stage is over: when `complete`, or after a time-out. `answer` and `advance` make
    one call at a time; all else may be called from any thread meanwhile. A board keeps everything in memory,
    as the sum's own session does: if the process ends, the round is over without a sum.

    Args:
        session: the server's session of the sum, not yet opened.
        number: number of the round, which was not used before; record it durably first. A client takes part
            in a number once.
        content: what the clients are given in this round, such as a model, in the letter of the first stage;
            b"" for nothing. The session's `SumSpec` is that of the same content
            (`SumAgreement.spec(number, content)`); with another one no client takes part.

    Raises:
        LocalProtocolError: the number is no integer above 0, or the content not of type bytes.

    Example:
        >>> import numpy as np
        >>> from fedavg import InsecurePlain
        >>> from fedavg.sums.interface import SumSpec
        >>> method, spec = InsecurePlain(), SumSpec(2, 9, None, 3, b"round 1")
        >>> given = method.provision(spec, {})
        >>> board = Board(method.server_side(given.server).session(spec, (0, 1, 2)), 1, b"")
        >>> side = method.client_side(given.clients)
        >>> for client in (0, 2):
        ...     question = Letter.from_bytes(board.question(client))
        ...     part = side.session(spec, client, None, question.messages[0])
        ...     part.set_input(np.array([client, -1]))
        ...     answer = Letter(1, question.stage, tuple(part.start())).to_bytes()
        ...     print(board.answer(client, answer).name, board.answer(client, answer).name)
        ACCEPTED ACCEPTED
        ACCEPTED ACCEPTED
        >>> board.ticket, board.complete  # client 1 has not answered
        ('1.0', False)
        >>> board.advance()
        False
        >>> board.result().total
        array([ 2, -2])
    """

    def __init__(self, session: ServerSession, number: int, content: bytes) -> None:
        self._session = session
        self._number = checks.usage.whole("number", number)
        self._content, self._digest = content, content_digest(content)
        self.refused: dict[int, str] = {}
        """Why the latest answer of a party was refused, for the server's operator."""
        self.contributed: set[int] = set()
        """Clients whose vectors were sent towards the sum, accepted or refused; for a privacy ledger."""
        self._open = _Stage(self._number, 0, session.open())

    @property
    def ticket(self) -> str:
        """Round and stage that are open, such as "7.0"; "" after the last one."""
        return self._open.ticket

    @property
    def asked(self) -> tuple[int, ...]:
        """Addresses of the parties that have a question."""
        return tuple(self._open.questions)

    @property
    def complete(self) -> bool:
        """Whether all parties that are asked have answered."""
        stage = self._open
        return len(stage.answered) == len(stage.questions)

    def question(self, party: int | None, seen: str = "") -> bytes | None:
        """The open question to a party, the same at every call; None if it has none, or has seen it.

        Args:
            party: address of the party; None for a stranger.
            seen: the ticket that the party has answered last, if it says one.
        """
        stage = self._open
        if party is None or party not in stage.questions or seen == stage.ticket:
            return None
        messages = tuple(stage.questions[party])
        return Letter(stage.number, stage.stage, messages, self._given(party, stage)).to_bytes()

    def _given(self, party: int, stage: _Stage) -> bytes:
        """A client begins in the first stage only; a member may begin at any, and needs the digest alone."""
        if not is_client(party):
            return self._digest
        return b"" if stage.stage else self._content

    def answer(self, party: int | None, data: bytes) -> Verdict:
        """Take an answer, as the transport brings it.

        Messages of the secure sums that hide updates are signed, so nobody can answer in a party's name; a
        transport that lets strangers in costs work and no more.
        """
        try:
            letter = Letter.from_bytes(data)
        except WireFormatError as error:
            return self._refuse(party, error)
        stage = self._open
        if party is None or party not in stage.questions or letter.ticket != stage.ticket:
            return Verdict.CLOSED
        digest = hashlib.sha256(data).digest()
        if party in stage.answered:
            return Verdict.ACCEPTED if stage.answered[party] == digest else Verdict.SECOND
        if self._session.collecting and is_client(party):
            self.contributed.add(party)
        try:
            self._receive(party, letter.messages, stage.taken.setdefault(party, set()))
        except PROTOCOL_ERRORS as error:
            return self._refuse(party, error)
        # Only now: bytes that are refused, such as a stranger's, do not silence the party.
        stage.answered[party] = digest
        return Verdict.ACCEPTED

    def _receive(self, party: int, messages: Sequence[bytes], taken: set[bytes]) -> None:
        # The session keeps what it accepted of an answer that was refused for a later message, and takes no
        # message twice. The honest answer has the same bytes there, so only the rest of it is new.
        for message in messages:
            digest = hashlib.sha256(message).digest()
            if digest in taken:
                continue
            self._session.receive(party, message)
            taken.add(digest)

    def _refuse(self, party: int | None, error: Exception) -> Verdict:
        if party is not None:
            self.refused[party] = str(error)
        return Verdict.REFUSED

    def advance(self) -> bool:
        """Close the stage, and open the next one; False after the last.

        Raises:
            LocalProtocolError: the round is over.
            secagg.SecAggError, he.HeError, FedAvgError: there is no sum; the round is over.
        """
        stage = self._open
        if not stage.questions:
            raise LocalProtocolError(f"round {self._number} is over")
        self._open = _Stage(self._number, 0, {})  # also if the next line raises
        self._open = _Stage(self._number, stage.stage + 1, self._session.advance())
        return bool(self._open.questions)

    def result(self) -> SumResult:
        """The sum; raises an error of the sum if there is none."""
        return self._session.result()
