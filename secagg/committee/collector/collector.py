"""The server of a sum by a committee: it carries messages, and learns the sum."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from secagg.committee.collector import closing
from secagg.committee.collector.admission import Accepted, Admission
from secagg.committee.collector.phases import AWAITS, CommitteePhase, next_phase
from secagg.committee.errors import MemberError
from secagg.committee.params.params import CommitteeParams
from secagg.committee.sealing import Committee, pinned
from secagg.committee.wire.messages import set_signed
from secagg.crypto.keys import Directory, check_client_id
from secagg.errors import Aborted, LocalProtocolError, RemoteProtocolError, SecAggError
from secagg.guards.calls import Turn, leaving_nothing
from secagg.guards.checks import context_of, instance, octets, read_only

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from secagg.committee.collector.closing import Chosen
    from secagg.committee.wire.messages import Answer, Endorsement, MemberMessage, Report
    from secagg.errors.conviction import Conviction

__all__ = ["Collector", "CommitteeResult"]

_CONTRIBUTE = (CommitteePhase.CONTRIBUTE,)
_ASKING = (CommitteePhase.REPORT, CommitteePhase.SIGN, CommitteePhase.ANSWER)


@dataclass(frozen=True, slots=True)
class CommitteeResult:
    """The sum, and whose inputs are in it.

    Args:
        total: int64[vector_length], read-only.
        survivors: ids of the clients, ascending.
        convictions: clients that were left out because more than c members reject their shares.

    Example:
        >>> import numpy as np
        >>> from secagg.committee import CommitteeParams, simulate_committee
        >>> params = CommitteeParams.for_committee(
        ...     4, corrupt=1, absent=0, vector_length=2, max_clients=4, max_abs=9, min_clients=3
        ... )
        >>> inputs = {i: np.array([i, -i]) for i in range(4)}
        >>> simulate_committee(inputs, params, drop_clients={3})
        CommitteeResult(total=array([ 3, -3]), survivors=(0, 1, 2), convictions=())
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]
    convictions: tuple[Conviction, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", read_only(self.total))


class Collector:
    """The server, for one context.

    A phase collects one kind of message and ends when the caller says so. There is no clock.

    Args:
        params: parameters of the session.
        committee: the committee.
        clients: identities of the clients, known beforehand.
        context: context of the session.

    Raises:
        UnsafeParametersError: the directory is not pinned.
        LocalProtocolError: an argument has another type, or the committee another size than the parameters.

    Example:
        >>> from secagg import Directory, Identity
        >>> from secagg.committee import Collector, Committee, CommitteeParams, SealingKey
        >>> params = CommitteeParams.for_committee(
        ...     4, corrupt=1, absent=0, vector_length=2, max_clients=3, max_abs=9, min_clients=3
        ... )
        >>> who = {i: Identity.generate() for i in range(4)}
        >>> cards = [SealingKey.generate(it, i, epoch=1).card for i, it in who.items()]
        >>> members = Directory({i: it.public for i, it in who.items()})
        >>> committee = Committee(members, cards, epoch=1)
        >>> clients = Directory({7: Identity.generate().public})
        >>> server = Collector(params, committee, clients, context=b"round 1, n = 3")
        >>> server.phase, server.opened
        (<CommitteePhase.CONTRIBUTE: 'contribute'>, False)
        >>> server.advance()
        Traceback (most recent call last):
        secagg.errors.Aborted: too few clients contributed: 0 of 3 needed
    """

    @leaving_nothing
    def __init__(
        self,
        params: CommitteeParams,
        committee: Committee,
        clients: Directory,
        *,
        context: bytes,
    ) -> None:
        self._params = instance("params", params, CommitteeParams)
        self._committee = instance("committee", committee, Committee)
        self._session = self._committee.session(self._params, context_of(context))
        known = pinned("clients", clients)
        self._admission = Admission(self._params, self._committee, known, self._session)
        self._phase = CommitteePhase.CONTRIBUTE
        self._accepted: dict[int, Accepted] = {}
        self._received: dict[int, MemberMessage] = {}  # place → its message of this phase
        self._live: frozenset[int] = frozenset()  # places that are asked in this phase
        self._asked = self._answered = 0
        self._chosen: Chosen | None = None
        self._names: list[tuple[int, bytes]] = []  # of all contributions, from REPORT on
        self._survivors: tuple[int, ...] = ()
        self._set = b""  # the content that endorsements cover, from SIGN on
        self._result: CommitteeResult | None = None
        self._turn = Turn("this collector")

    @property
    def phase(self) -> CommitteePhase:
        """The phase that is open."""
        return self._phase

    @property
    def survivors(self) -> tuple[int, ...]:
        """Clients of the set that members are asked to sign, ascending; () before SIGN."""
        return self._survivors

    @property
    def dropped_members(self) -> tuple[int, ...]:
        """Members that are left out over disputes; either they or the clients that they dispute with lie."""
        places = self._chosen.dropped if self._chosen else ()
        return tuple(self._committee.ids[place] for place in sorted(places))

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        """Clients that more than c members reject, with evidence; () before SIGN."""
        return self._chosen.convictions if self._chosen else ()

    @property
    def disputes(self) -> tuple[tuple[int, int], ...]:
        """Pairs (member, client) of which one lies; () before SIGN."""
        pairs = self._chosen.disputes if self._chosen else ()
        return tuple((self._committee.ids[place], client_id) for place, client_id in pairs)

    @property
    def answers(self) -> int:
        """Number of answers that were accepted."""
        return self._answered

    @property
    def opened(self) -> bool:
        """Whether the sum must count as known, although there may be no result.

        True as soon as a request has left: answers may arrive after the phase is closed, and with t points
        known, of corrupt members and of stolen sealing keys, the first honest answer says something. Updates
        of such a round enter no other sum, and its privacy loss is charged.
        """
        return self._asked > 0

    @leaving_nothing
    def receive(self, client_id: int, message: bytes) -> None:
        """Take a client's contribution; the transport knows the sender.

        Raises:
            RemoteProtocolError: the contribution is not acceptable; nothing has changed.
            LocalProtocolError: contributions are closed, another call is at work, or an argument has another
                type.
        """
        sender, data = check_client_id(client_id), octets("message", message)
        with self._turn, self._unbroken():
            self._check_phase(_CONTRIBUTE)
            if sender in self._accepted:
                raise RemoteProtocolError("contributed twice", sender)
            if len(self._accepted) >= self._params.max_clients:
                raise RemoteProtocolError("came after all places were taken", sender)
            self._accepted[sender] = self._admission.contribution(self._phase, sender, data)

    @leaving_nothing
    def receive_member(self, member_id: int, message: bytes) -> None:
        """Take a member's report, endorsement or answer; the transport knows the sender.

        Raises:
            MemberError: the message is not acceptable; nothing has changed.
            LocalProtocolError: no member is asked now, the id is no member's, another call is at work, or an
                argument has another type.
        """
        data = octets("message", message)
        with self._turn, self._unbroken():
            place = self._committee.place(member_id)
            self._check_phase(_ASKING)
            if place not in self._live:
                raise MemberError("is not, or no longer, asked", self._committee.ids[place])
            if place in self._received:
                raise MemberError("sent two messages in one phase", self._committee.ids[place])
            self._received[place] = self._admission.from_member(
                self._phase, place, data, self._names, self._set
            )
            self._answered += self._phase is CommitteePhase.ANSWER

    @leaving_nothing
    def advance(self) -> dict[int, bytes]:
        """Close the phase, and return the next message for each member that is asked; {} at the end.

        Raises:
            Aborted: there is no sum; the reason says why. `opened` says whether it may be known all the same.
            LocalProtocolError: the session is over, or another call is at work.
            InternalError: the call failed below the package's checks; the session is over.
        """
        with self._turn:
            self._check_phase(tuple(AWAITS))
            with self._unbroken(Aborted):
                messages, failure = self._closed()
            # It is raised here, because the first error's traceback refers to the messages.
            if failure is not None:
                raise failure
            self._phase = next_phase(self._phase)
            self._received, self._live = {}, frozenset(messages)
            if self._phase is CommitteePhase.ANSWER:
                self._asked = len(messages)
            return {self._committee.ids[place]: data for place, data in messages.items()}

    def result(self) -> CommitteeResult:
        """The sum.

        Raises:
            LocalProtocolError: there is none, or none yet.
        """
        if self._result is None:
            raise LocalProtocolError(f"there is no sum in phase {self._phase.name}")
        return self._result

    def message_digest(self, client_id: int) -> bytes:
        """The digest that a client's accepted contribution names.

        Compare it with that of the message which came with the contribution, before anything else is done
        with it.

        Raises:
            LocalProtocolError: no contribution of this client was accepted, or the session has ended early.
        """
        client = check_client_id(client_id)
        if client not in self._accepted:
            raise LocalProtocolError(f"no contribution of client {client} is here")
        return self._accepted[client].head.message_digest

    def _closed(self) -> tuple[Mapping[int, bytes], Aborted | None]:
        """The next message by place, or the end of the session with all that is known about it."""
        close = {
            CommitteePhase.CONTRIBUTE: self._close_contributions,
            CommitteePhase.REPORT: self._close_reports,
            CommitteePhase.SIGN: self._close_signatures,
            CommitteePhase.ANSWER: self._close_answers,
        }
        try:
            return close[self._phase](), None
        except Aborted as error:
            reason, detail = error.reason, error.args[1]
        self._phase = CommitteePhase.ABORTED
        self._accepted, self._received = {}, {}
        culprit = self.convictions[0].client_id if self.convictions else None
        return {}, Aborted(reason, detail, culprit, self.convictions, self.disputes)

    def _close_contributions(self) -> Mapping[int, bytes]:
        everything = self._ordered()
        self._names = [one.pair for one in everything]
        return closing.deliveries(self._params, everything, self._session)

    def _close_reports(self) -> Mapping[int, bytes]:
        reports = cast("dict[int, Report]", self._received)
        everything = self._ordered()
        self._chosen = closing.choose(self._params, everything, reports, self._session)
        closing.check_size(self._params, self._chosen)
        included = [one.pair for one in self._included()]
        self._survivors = tuple(client_id for client_id, _ in included)
        self._set = set_signed(self._session, included)
        return closing.proposals(self._chosen, everything, reports, self._session)

    def _close_signatures(self) -> Mapping[int, bytes]:
        endorsements = cast("dict[int, Endorsement]", self._received)
        return closing.requests(self._params, self._included(), endorsements, self._session)

    def _close_answers(self) -> Mapping[int, bytes]:
        answers = cast("dict[int, Answer]", self._received)
        total = closing.total(self._params, answers)
        self._result = CommitteeResult(total, self._survivors, self.convictions)
        return {}

    def _ordered(self) -> list[Accepted]:
        """All contributions, ascending by client."""
        return [self._accepted[client] for client in sorted(self._accepted)]

    def _included(self) -> list[Accepted]:
        """The contributions in the set, ascending by client."""
        flags = self._chosen.included if self._chosen else ()
        return [one for one, flag in zip(self._ordered(), flags, strict=False) if flag]

    def _check_phase(self, phases: tuple[CommitteePhase, ...]) -> None:
        if self._phase not in phases:
            raise LocalProtocolError(f"the session is in phase {self._phase.name}")

    @contextlib.contextmanager
    def _unbroken(self, refusal: type[SecAggError] = SecAggError) -> Generator[None]:
        """End the session when a call is interrupted other than by a refusal."""
        try:
            yield
        except refusal:
            raise
        except BaseException:
            self._phase = CommitteePhase.ABORTED
            self._accepted, self._received = {}, {}
            raise
