"""A node's part: it checks every request against its own agreement, and answers each round once."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NoReturn, cast

import secagg
from fedavg.adapters.exchange.agreement import AGREEMENT_FILE, Agreement
from fedavg.adapters.exchange.errors import RefusedRequestError
from fedavg.adapters.exchange.keys.keys import NodeKeys
from fedavg.adapters.exchange.messages import Reply, Request, Round, Stage, read_request
from fedavg.adapters.exchange.nodes.contribution import Contribution
from fedavg.adapters.exchange.nodes.epochs import MemberKeys, SeenEpochs
from fedavg.adapters.exchange.nodes.ledger import LEDGER_FILE, charge, open_ledger
from fedavg.adapters.exchange.nodes.seen_cards import CardFile, newest_of
from fedavg.adapters.exchange.nodes.states import StateFile
from fedavg.adapters.exchange.sides import sides_among, sum_spec, suspending_side, vectors
from fedavg.adapters.exchange.vectors.layout import content_digest
from fedavg.errors import ConfigError, LocalProtocolError, PlanError, WireFormatError
from fedavg.files import FileJournal
from secagg import RemoteProtocolError, SecAggError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedavg.adapters.exchange.nodes.contribution import FirstMessage
    from fedavg.adapters.exchange.nodes.ledger import Chargeable
    from fedavg.adapters.exchange.nodes.seen_cards import SeenCards
    from fedavg.adapters.exchange.nodes.states import Shelf
    from fedavg.adapters.exchange.nodes.suspended import SuspendedClient
    from fedavg.adapters.exchange.vectors.coordinates import Vectors
    from fedavg.adapters.exchange.vectors.layout import Arrays
    from fedavg.sums.sides.others import Facts
    from secagg.committee import Committee

__all__ = ["JOURNAL_FILE", "Node"]

_LOG = logging.getLogger(__name__)

JOURNAL_FILE = "journal"


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """One node, with what it pins itself: agreement, keys and journal.

    It keeps nothing between two messages but the facts in its journal, and in a masked sum its client as a
    sealed state, so that a new process may handle each.

    Args:
        agreement: the node's own copy.
        keys: the node's keys.
        journal: durable record of what was done once; a `fedavg.FileJournal` where processes end.
        ledger: the node's privacy budget, which outlives agreements; needed where a record has noise. Every
            answer to a request for such a record is charged before training.
        shelf: where the client of a masked sum lies between two messages, a `StateFile`; needed for sums
            without a committee. There is room for one sum: a later one ends the part in an earlier one.
        clock: seconds since 1970, by which sealing keys become too old (`Terms.key_days`).
        seen_cards: the members' newest cards, which the node shows to a server that calls; None to show none.

    Raises:
        ConfigError: the agreement knows the node by other keys, or not at all, or the ledger or the shelf is
            missing.

    Example:
        >>> from fedavg import FixedPoint, OneShot
        >>> from fedavg.adapters.exchange import NodeKeys, Record, Terms
        >>> terms = Terms(
        ...     OneShot(committee=6, corrupt_members=1, absent_members=1),
        ...     {"train": Record(FixedPoint(1.0, 20, rounding="nearest"))},
        ...     max_weight=1000,
        ... )
        >>> keys = [NodeKeys.generate(node) for node in range(6)]
        >>> agreement = Agreement.among(terms, [key.card for key in keys])
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> Node(agreement, keys[0], MemoryJournal()).read(b"send me your model", run="1", kind="train")
        Traceback (most recent call last):
        fedavg.adapters.exchange.errors.RefusedRequestError: these bytes are no request of a secure exchange
    """

    agreement: Agreement
    keys: NodeKeys = field(repr=False)
    journal: Facts = field(repr=False)
    ledger: Chargeable | None = field(default=None, repr=False)
    shelf: Shelf | None = field(default=None, repr=False)
    clock: Callable[[], float] = field(default=time.time, repr=False)
    seen_cards: SeenCards | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Node({self.keys.node}, <redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Node holds secret keys and cannot be pickled or copied")

    def __post_init__(self) -> None:
        if self.agreement.nodes.get(self.keys.node) != self.keys.identity.public:
            raise ConfigError(
                f"the agreement does not know node {self.keys.node} by these keys: put an agreement in "
                "place that was made from this node's card"
            )
        noisy = [
            kind for kind, one in self.agreement.terms.records.items() if one.noise is not None
        ]
        if noisy and self.ledger is None:
            raise ConfigError(
                f"record {noisy[0]!r} has noise, and this node has no privacy budget: make one in its folder "
                f"(python -m fedavg ledger create FOLDER/{LEDGER_FILE} --epsilon … --delta …)"
            )
        if self.agreement.terms.suspends and self.shelf is None:
            raise ConfigError(
                "this sum has no committee, and this node no place for its client between two messages: give "
                "it one (shelf=StateFile(folder)), or agree on OneShot"
            )

    @classmethod
    def open(cls, folder: Path) -> Node:
        """The node whose keys, agreement and journal are in a folder, with its ledger where there is noise.

        Raises:
            ConfigError: a file is missing or damaged, or others can read the keys.
            JournalError: the journal is missing, empty or damaged.
        """
        keys = NodeKeys.read(folder)
        agreement = Agreement.read(folder / AGREEMENT_FILE)
        journal = FileJournal(folder / JOURNAL_FILE, create=False)
        private = any(record.noise is not None for record in agreement.terms.records.values())
        shelf = StateFile(folder)
        if not agreement.terms.suspends:
            shelf.clear()  # what a sum under an earlier agreement left there
        ledger = open_ledger(folder) if private else None
        return cls(agreement, keys, journal, ledger, shelf, seen_cards=CardFile(folder))

    def read(self, data: bytes, *, run: str, kind: str) -> tuple[Request, Round]:
        """Check a request against the agreement.

        Args:
            data: the request.
            run: name of the run, as the node's engine knows it.
            kind: kind of the request, as the engine names it.

        Raises:
            RefusedRequestError: the agreement does not allow the request.
        """
        try:
            request = read_request(data)
        except WireFormatError as error:
            raise RefusedRequestError(str(error)) from None
        if request.agreement != self.agreement.digest:
            raise RefusedRequestError(
                "the server holds another agreement than this node: compare the files, "
                f"here it is {self.agreement.digest.hex()[:16]}, there {request.agreement.hex()[:16]}"
            )
        terms = self.agreement.terms
        if kind not in terms.records:
            raise RefusedRequestError(
                f"the agreement has no record {kind!r}, and nothing else leaves this node"
            )
        if not terms.min_cohort <= request.asked <= len(self.agreement.nodes):
            raise RefusedRequestError(
                f"a round of {request.asked} nodes is refused: the agreement asks for at least "
                f"{terms.min_cohort}, and knows {len(self.agreement.nodes)}"
            )
        return request, request.facts(run, kind)

    def join(
        self, request: Request, facts: Round, arrays: Arrays, settings: bytes = b""
    ) -> Contribution:
        """Take part in a round, before training; a round that is joined is used up.

        Args:
            request: the request, from `read`.
            facts: its round, from `read`.
            arrays: the server's arrays.
            settings: everything else that the server sends, in one canonical form.

        Raises:
            RefusedRequestError: the request is about other contents, this node has answered for it, or its
                privacy budget has no room for another answer.
            PlanError: an array of the server cannot be summed, or the noise does not fit vectors so long.
            ConfigError: the ledger cannot be charged, or the folder not written; the round is lost.
            JournalError: the journal cannot be used; the round is lost.
        """
        at = vectors(self.agreement, facts.kind, arrays)
        found = Round(
            facts.run,
            facts.number,
            facts.kind,
            facts.asked,
            at.length,
            content_digest(arrays, settings),
        )
        if request.stage is not Stage.CONTRIBUTE or found != facts:
            raise RefusedRequestError(
                "the request names other contents than it came with: nodes that were sent different models "
                "enter no sum"
            )
        session = self._begun(facts, request)
        # Claimed before training: a second process with the same request stops here.
        self._claim(facts, "contributes")
        if (
            at.cost is None
        ):  # otherwise each answer is charged, and sums that differ by one node are covered
            self._claim_attempt(facts, _model_digest(at, arrays))
        self._claim_slot(facts)
        # After the claims, so that a request that is sent again spends nothing.
        if at.cost is not None:
            charge(self.ledger, at.cost, f"{facts.kind} {facts.number} of run {facts.run}")
        if self.agreement.terms.suspends:
            self._suspended().forget()  # before training: an earlier sum is over for this node
        # A member that was away is known again by this card; its key stays until the sum is over.
        node = self.keys.node, self._present_card()
        return Contribution(node, at, facts.asked, arrays, session)

    def _begun(self, facts: Round, request: Request) -> FirstMessage:
        """The node's client in a sum, before the round is claimed."""
        spec = sum_spec(facts, self.agreement)
        committee = self._committee(request)
        if committee is None:
            return self._suspended().begin(spec, request.body)
        side = sides_among(self.agreement, committee).client()
        try:
            return side.session(spec, self.keys.node, self.keys.identity, request.body)
        except LocalProtocolError:
            raise RefusedRequestError("the request was made for another run or sum") from None

    def _committee(self, request: Request) -> Committee | None:
        """The committee of a sum, with sealing keys whose epochs are not over; None for a sum without one."""
        try:
            found = self.agreement.committee(request.cards)
        except SecAggError as error:
            raise RefusedRequestError(
                f"the sealing keys of the committee cannot be used: {error}"
            ) from None
        if found is not None:
            SeenEpochs(self.journal, self.agreement.terms.key_ages).enter(found, self.clock())
            self._keep(request.cards)
        return found

    def _keep(self, cards: tuple[bytes, ...]) -> None:
        """Keep the newest cards, which `_committee` has verified; those of another agreement go."""
        if self.seen_cards is None:
            return
        kept = self.seen_cards.cards
        if set(cards) <= set(kept):
            return
        newest = newest_of(cards, filter(self.agreement.has_signed, kept))
        if newest != kept:
            self.seen_cards.keep(newest)

    @property
    def _is_member(self) -> bool:
        return self.keys.node in self.agreement.members

    def _present_card(self) -> bytes:
        """A member's card; b"" where its key cannot be used: it is absent, and still gives its record."""
        try:
            return self._own.present() if self._is_member else b""
        except ConfigError as error:
            _LOG.warning("node %d is absent from the committee: %s", self.keys.node, error)
            return b""

    @property
    def _own(self) -> MemberKeys:
        """This member's own sealing keys."""
        terms = self.agreement.terms
        return MemberKeys(
            self.keys, self.journal, terms.sum.epoch_rounds, terms.key_ages, self.clock
        )

    def _suspended(self) -> SuspendedClient:
        from fedavg.adapters.exchange.nodes.suspended import SuspendedClient  # noqa: PLC0415 - masked sums only

        keys = self.keys.node, self.keys.identity
        shelf = cast("Shelf", self.shelf)  # it is there, as `__post_init__` has checked
        return SuspendedClient(suspending_side(self.agreement), *keys, self.journal, shelf)

    def answer(self, request: Request, facts: Round) -> bytes:
        """Answer every request but one to contribute.

        Raises:
            RefusedRequestError: this node has answered it, is no member, or may not answer it.
            JournalError, ConfigError: the journal or the state cannot be used; nothing is answered.
        """
        answers = {
            Stage.OPEN: self._opened,
            Stage.CONTINUE: self._continued,
            Stage.NAME: self._named,
        }
        if request.stage not in answers:
            raise RefusedRequestError("the request asks for a record, and is answered by training")
        return answers[request.stage](request, facts)

    def _named(self, request: Request, facts: Round) -> bytes:
        del request, facts
        card = self._own.card() if self._is_member else b""
        seen = self.seen_cards.cards if self.seen_cards and self.agreement.members else ()
        return Reply(self.keys.node, seen, card).to_bytes()

    def _opened(self, request: Request, facts: Round) -> bytes:
        """One of a member's three answers."""
        committee = self._committee(request) if self._is_member else None
        if committee is None:
            raise RefusedRequestError(f"node {self.keys.node} is no member of the committee")
        own = self._own
        try:
            stage = self.agreement.terms.sum.describe(request.body)
            # A member checks and claims what it signs and opens once more, for the name of this sum.
            self._claim(facts, stage)
            context = facts.context(self.agreement.digest)
            sealing = own.used(context, committee.sealing[committee.place(self.keys.node)])
            side = sides_among(self.agreement, committee).member(
                self.keys.node, self.keys.identity, sealing
            )
            session = side.session(sum_spec(facts, self.agreement), self.journal)
            parts = tuple(session.receive((request.body,)))
            # With the last answer of an epoch its key is erased, before anybody has that answer.
            card = own.card() if session.over else own.present()
            return Reply(self.keys.node, parts, card).to_bytes()
        except RemoteProtocolError as error:
            raise RefusedRequestError(f"the server {error.args[0]}") from None
        except (secagg.LocalProtocolError, secagg.InternalError) as error:
            # The journal, or this machine: paths and disks are no matter of the server's.
            raise ConfigError(f"this member cannot answer: {error}") from error
        except (SecAggError, PlanError) as error:
            raise RefusedRequestError(
                f"the committee's message cannot be answered: {error}"
            ) from None

    def _continued(self, request: Request, facts: Round) -> bytes:
        """The next message of a client that was put away."""
        terms, message = self.agreement.terms, request.body
        if not terms.suspends:
            raise RefusedRequestError(
                "the agreement's sum has one message of each node, and no second one"
            )
        try:
            stage = terms.sum.describe(message)
        except SecAggError as error:
            raise RefusedRequestError(f"the server sent no message of the sum: {error}") from None
        context = facts.context(self.agreement.digest)
        claim = partial(self._claim, facts, f"answers {stage}")
        parts = self._suspended().go_on(context, message, claim)
        return Reply(self.keys.node, parts).to_bytes()

    def _claim(self, facts: Round, what: str) -> None:
        if not self._recorded(facts.fact(what)):
            raise RefusedRequestError(
                f"sum {facts.number} of the run was answered before ({what}); this node answers once. If it "
                "was asked once, another process, such as a second SuperNode, uses the same folder"
            )

    def _claim_attempt(self, facts: Round, model: bytes) -> None:
        """Count the answers for one model: sums over different nodes could be subtracted."""
        attempts, agreement = self.agreement.terms.attempts, self.agreement.digest
        if not any(
            self._recorded(facts.model_fact(agreement, model, count)) for count in range(attempts)
        ):
            raise RefusedRequestError(
                f"this node has answered {facts.kind!r} for this model {attempts} times, in all runs "
                f"together, and the agreement allows attempts={attempts}. Runs that start from one first "
                "model use this up, and so do rounds that are repeated. Start from another model (another "
                "seed), or agree on more (python -m fedavg.adapters.exchange agree --attempts …)"
            )

    def _claim_slot(self, facts: Round) -> None:
        """Count the answers under the agreement: this bound holds for any models of the server."""
        most = self.agreement.terms.max_rounds
        if not any(map(self._recorded, facts.slot_facts(self.agreement.digest, most))):
            raise RefusedRequestError(
                f"this node has answered {most} requests of kind {facts.kind!r}, in all runs together, and "
                f"the agreement allows max_rounds={most}: a new agreement with a larger number starts anew"
            )

    def _recorded(self, fact: bytes) -> bool:
        new = self.journal.add(fact)
        if type(new) is not bool:
            raise LocalProtocolError("a journal's add must return True or False")
        return new


def _model_digest(at: Vectors, arrays: Arrays) -> bytes:
    """Digest of the arrays that are summed; of all arrays, if the record carries metrics only."""
    names = at.layout.names or sorted(arrays)
    return content_digest({name: arrays[name] for name in names}, b"")
