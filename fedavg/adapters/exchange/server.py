"""The server's part of one round: bytes for the nodes and from them, and the mean in the end.

It has no clock and no transport.  The engine's adapter carries the bytes, and decides when a stage is over.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

from fedavg.adapters.exchange.cards import MemberCards
from fedavg.adapters.exchange.messages import Request, Round, Stage, read_reply
from fedavg.adapters.exchange.sides import server_side, sum_spec, vectors
from fedavg.adapters.exchange.vectors.layout import content_digest
from fedavg.errors import CohortSizeError, LocalProtocolError, RoundAbortedError
from fedavg.sums.interface import FIRST_OPENER, is_client
from he import HeError
from secagg import Aborted

if TYPE_CHECKING:
    from fedavg.adapters.exchange.agreement import Agreement
    from fedavg.adapters.exchange.messages import Reply
    from fedavg.adapters.exchange.vectors.costs import Cost
    from fedavg.adapters.exchange.vectors.layout import Arrays
    from fedavg.adapters.exchange.vectors.places import Mean
    from fedavg.sums.interface import ServerSession

__all__ = ["MeanServer"]


class MeanServer:
    """One round at the server.

    Send `request` to every node that is asked, give the replies to `receive`, and call `advance` when the
    stage is over.  It returns requests by node until the mean is there: for the members of a committee, or
    for the nodes that are left in a masked sum.

    Args:
        agreement: the server's copy.
        run: name of the run, as the nodes' engine knows it.
        number: number of the sum in the run, from 1; each once.
        kind: kind of the record.
        asked: number of nodes that are asked.
        arrays: the arrays that are sent with the request.
        settings: everything else that is sent, in one canonical form.
        cards: the members' sealing keys, of which one object serves all rounds of a run; None to begin with
            the first ones, which the agreement has. They serve for an epoch, and then no longer.

    Raises:
        PlanError: the agreement has no such kind, or an array cannot be summed.
        CohortSizeError: too few nodes are asked, or more than the agreement knows.
        he.HeError, secagg.SecAggError: no parameters exist for such a sum.

    Example:
        >>> import numpy as np
        >>> from fedavg import FixedPoint, OneShot
        >>> from fedavg.adapters.exchange import Agreement, Node, NodeKeys, Record, Terms
        >>> terms = Terms(
        ...     OneShot(committee=6, corrupt_members=1, absent_members=1),
        ...     {"train": Record(FixedPoint(1.0, 20, rounding="nearest"))},
        ...     max_weight=1000,
        ... )
        >>> keys = [NodeKeys.generate(node) for node in range(6)]
        >>> agreement = Agreement.among(terms, [key.card for key in keys])
        >>> from fedavg.sums.sides.others import MemoryJournal
        >>> nodes = [Node(agreement, key, MemoryJournal()) for key in keys]
        >>> model = {"w": np.zeros(3, np.float32)}
        >>> server = MeanServer(agreement, "run 1", 1, "train", 6, model)
        >>> for i, node in enumerate(nodes):  # each in a process of its own
        ...     asked = node.read(server.request, run="run 1", kind="train")
        ...     part = node.join(*asked, model)
        ...     trained = {"w": model["w"] + np.float32(i / 8)}
        ...     _ = server.receive(part.send(trained, {"num-examples": 100}))
        >>> while requests := server.advance():
        ...     for i, request in requests.items():
        ...         asked = nodes[i].read(request, run="run 1", kind="train")
        ...         _ = server.receive(nodes[i].answer(*asked), sender=i)
        >>> server.result().weight, server.result().arrays["w"].round(4)
        (600, array([0.3125, 0.3125, 0.3125], dtype=float32))
    """

    def __init__(
        self,
        agreement: Agreement,
        run: str,
        number: int,
        kind: str,
        asked: int,
        arrays: Arrays,
        settings: bytes = b"",
        cards: MemberCards | None = None,
    ) -> None:
        terms = agreement.terms
        self._at = vectors(agreement, kind, arrays)
        if asked < terms.min_cohort:
            raise CohortSizeError(
                f"{asked} nodes are asked, and the agreement sums at least {terms.min_cohort}: ask more, in "
                f"Flower with min_train_nodes={terms.min_cohort} and min_evaluate_nodes={terms.min_cohort}"
            )
        if asked > len(agreement.nodes):
            raise CohortSizeError(
                f"{asked} nodes are asked, and the agreement knows {len(agreement.nodes)}: enrol the others"
            )
        self._agreement = agreement
        self._reference = arrays
        self._facts = Round(
            run, number, kind, asked, self._at.length, content_digest(arrays, settings)
        )
        self._spec = sum_spec(self._facts, agreement)
        terms.sum.check(self._spec)
        first = agreement.members.values()
        self._cards = MemberCards(agreement, first) if cards is None else cards
        self._passed_on: tuple[bytes, ...] = ()  # the cards of this sum, the same in all its stages
        self._without_key: frozenset[int] = frozenset()
        # The address of each node whose reply is awaited; None while any node may contribute.
        self._awaited: dict[int, int] | None = None
        self._received: set[int] = set()
        self._mean: Mean | None = None
        self._failure = ""
        self._taken: dict[int, set[bytes]] = {}  # digests of the messages that the session has

    @functools.cached_property
    def _session(self) -> ServerSession:
        """The sum, which begins when it is first asked for: with the keys that are known by then."""
        if not self._cards.enough:
            raise RoundAbortedError(
                f"{len(self._cards.missing)} members of the committee have sent no sealing key that is good "
                f"by this server's clock, and {self._agreement.terms.sum.absent_members} may be absent"
            )
        self._passed_on, self._without_key = self._cards.held, self._cards.missing
        committee = self._agreement.committee(self._passed_on)
        # Which of the nodes are asked is known to the engine only; their number is part of the sum.
        side = server_side(self._agreement, committee)
        return side.session(self._spec, sorted(self._agreement.nodes))

    @functools.cached_property
    def request(self) -> bytes:
        """The request to contribute, the same for every node.

        Raises:
            RoundAbortedError: the sealing keys of too many members are not known.
        """
        opening = next(iter(self._session.open().values()))[0]
        return self._about(Stage.CONTRIBUTE, opening)

    @property
    def roll_call(self) -> bytes:
        """A request for a node's id, the same for every node; a member also sends its sealing key."""
        return self._about(Stage.NAME)

    @property
    def calls_first(self) -> bool:
        """Whether a roll call should come before the sum, because some sealing keys are not known."""
        return bool(self._cards.missing)

    @property
    def missing(self) -> frozenset[int]:
        """The members whose sealing keys are not known."""
        return self._cards.missing

    @property
    def stage(self) -> str:
        """Name of the stage whose replies are awaited, for logs."""
        return self._session.stage

    @property
    def received(self) -> frozenset[int]:
        """The nodes whose replies of this stage were accepted."""
        return frozenset(self._received)

    @property
    def cost(self) -> Cost | None:
        """What this round costs each node that is asked, also without a sum; None without noise."""
        return self._at.cost

    @property
    def failure(self) -> str:
        """Why the mean is noise alone, as it is under noise when a round has no sum; "" otherwise."""
        return self._failure

    def receive(self, reply: bytes, sender: int | None = None) -> int:
        """Take a reply of this stage; one that is refused counts as missing.

        Args:
            reply: the bytes.
            sender: id of the node, where the engine knows it; required after the first stage.

        Returns:
            The node's id. Contributions are signed, so it is true of them.

        Raises:
            WireFormatError: these bytes are no reply.
            LocalProtocolError: the reply has another sender, is not awaited, or has a sealing key that is
                not the sender's.
            he.HeError, secagg.SecAggError: the node's message is not acceptable.
        """
        found = read_reply(reply)
        awaited = self._awaited
        if found.node != sender and not (awaited is None and sender is None):
            raise LocalProtocolError(f"node {sender} replied as node {found.node}")
        if found.node in self._received:
            raise LocalProtocolError(f"node {found.node} replied twice in one stage")
        if not found.parts:
            raise LocalProtocolError(f"node {found.node} replied without a message")
        address = found.node if awaited is None else awaited.get(found.node)
        if address is None:
            raise LocalProtocolError(f"no reply of node {found.node} is awaited in this stage")
        self._take_card(found)
        taken = self._taken.setdefault(found.node, set())
        # The session keeps what it accepted of a reply that was refused for a later part, and takes no
        # message twice. The honest reply has the same bytes there, so only the rest of it is new.
        for part in found.parts:
            digest = hashlib.sha256(part).digest()
            if digest not in taken:
                self._session.receive(address, part)
                taken.add(digest)
        self._received.add(found.node)
        return found.node

    def identified(self, reply: bytes) -> int:
        """The id in a reply to `roll_call`; nothing proves it, and a wrong one makes a member absent.

        Raises:
            WireFormatError: these bytes are no reply.
            LocalProtocolError: the sealing key in it is not the member's.
        """
        found = read_reply(reply)
        self._take_card(found)
        self._cards.seen(found.parts)  # what nodes have seen, and a server of a new run has not
        return found.node

    def _take_card(self, reply: Reply) -> None:
        if reply.card:
            self._cards.take(reply.node, reply.card)

    def advance(self) -> dict[int, bytes]:
        """Close the stage, and return the next request for each node that is asked; {} at the end.

        Raises:
            RoundAbortedError: the round has no sum, and no noise that would stand in its place.
        """
        if self._awaited is not None:  # members that fell silent may have begun another epoch
            self._cards.forget(set(self._awaited) - self._received)
        self._received.clear()
        self._taken.clear()
        try:
            messages = self._session.advance()
        except (Aborted, HeError) as error:
            self._cards.forget(self._agreement.members)
            self._failure = f"the round has no sum: {error}"
            self._mean = self._at.without_sum(self._facts.asked, self._reference)
            if self._mean is None:
                raise RoundAbortedError(self._failure) from None
            return {}
        if not messages:
            found = self._session.result()
            self._mean = self._at.released(
                found.total, found.survivors, self._facts.asked, self._reference
            )
        # A member without a sealing key in this sum has no share, and is not waited for.
        asked = {
            _node_at(address): (address, parts[0])
            for address, parts in messages.items()
            if is_client(address) or _node_at(address) not in self._without_key
        }
        self._awaited = {node: address for node, (address, _) in asked.items()}
        return {
            node: self._about(Stage.CONTINUE if is_client(address) else Stage.OPEN, body)
            for node, (address, body) in asked.items()
        }

    def result(self) -> Mean:
        """The mean.

        Raises:
            LocalProtocolError: the round is not over, or has none.
        """
        if self._mean is None:
            raise LocalProtocolError("the round has no mean, or none yet")
        return self._mean

    def _about(self, stage: Stage, body: bytes = b"") -> bytes:
        passed = self._passed_on
        return Request.about(stage, self._facts, self._agreement.digest, body, passed).to_bytes()


def _node_at(address: int) -> int:
    """The node with an address in the sum: a client's id is the node's, and members are openers."""
    return address if is_client(address) else FIRST_OPENER - address
