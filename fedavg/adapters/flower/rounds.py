"""One secure sum over a Flower grid: contributions, then the answers of a committee or of the nodes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedavg.adapters.flower import records
from fedavg.adapters.flower.calls import exchanged
from fedavg.errors import FedAvgError
from he import HeError
from secagg import SecAggError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid

    from fedavg.adapters.exchange import Mean, MeanServer
    from fedavg.sums.masked import SecAgg
    from fedavg.sums.one_shot import OneShot

__all__ = ["SecureRound"]

_log = logging.getLogger("flwr")
_LONGEST = 1000  # characters of a node's text


@dataclass(slots=True)
class SecureRound:
    """One secure sum, carried out.

    Args:
        grid: Flower's grid.
        server: the server's part.
        kind: type of the messages, of every stage; an app has functions for this type only.
        number: number of the sum in the run.
        places: id of a node in the agreement → its id in Flower, as far as known; it is filled.
        sum: the secure sum, which says how many members of a committee may be absent.
        stages: name, accepted replies, requests and seconds of every stage so far.
    """

    grid: Grid
    server: MeanServer
    kind: str
    number: int
    places: dict[int, int]
    sum: OneShot | SecAgg
    stages: list[tuple[str, int, int, float]] = field(
        default_factory=list[tuple[str, int, int, float]]
    )
    _began: float = 0.0

    def mean(
        self,
        asked: list[Message],
        content: RecordDict,
        timeout: float | None,
        stage_timeout: float,
    ) -> Mean:
        """Carry the sum out.

        Args:
            asked: the strategy's messages.
            content: their common content.
            timeout: seconds for contributions; None waits for all.
            stage_timeout: seconds for each later answer.

        Raises:
            RoundAbortedError: there is no sum.
        """
        from flwr.app import RecordDict  # noqa: PLC0415 - an optional engine

        if self.server.calls_first:
            self._call(stage_timeout)
        request = {records.KEY: records.carrying(self.server.request)}
        # Flower's own records go along as they are: each is sent once for all nodes.
        body = RecordDict({**content, **request})
        nodes = {message.metadata.dst_node_id: body for message in asked}
        for place, reply in self._stage(nodes, timeout).items():
            node = self._accepted(reply, place, None)
            if node is not None:
                self.places[node] = place
        self._close(len(nodes))
        while requests := self.server.advance():
            self._find(requests, stage_timeout)
            reached = {
                self.places[node]: RecordDict({records.KEY: records.carrying(data)})
                for node, data in requests.items()
                if node in self.places
            }
            nodes_at = {self.places[node]: node for node in requests if node in self.places}
            for place, reply in self._stage(reached, stage_timeout).items():
                self._accepted(reply, place, nodes_at.get(place))
            self._close(len(requests))
        return self.server.result()

    def _find(self, requests: Mapping[int, bytes], timeout: float) -> None:
        """Ask nodes for their ids when too few members are known, as in a round that asked only others.

        A node that was started again has another id in Flower, so that ids of nodes that have gone are
        forgotten first. In a sum without a committee the others are known, by their contributions.
        """
        here = self._here()
        known = sum(member in self.places for member in requests)
        if known >= len(requests) - self.sum.absent_members and known:
            return
        self._ask(here - set(self.places.values()), timeout)

    def _call(self, timeout: float) -> None:
        """Ask members for their present sealing keys, as in the first sum of a run."""
        here = self._here()
        keys_known = {self.places[at] for at in set(self.places) - self.server.missing}
        self._ask(here - keys_known, timeout)
        asked = "secure sum %d: the sealing keys of %d members are not known"
        _log.info(asked, self.number, len(self.server.missing))

    def _here(self) -> set[int]:
        """The ids of all nodes in Flower; those of nodes that have gone are forgotten."""
        here = set(self.grid.get_node_ids())
        for node in [node for node, place in self.places.items() if place not in here]:
            del self.places[node]
        return here

    def _ask(self, silent: set[int], timeout: float) -> None:
        """A roll call of nodes."""
        from flwr.app import RecordDict  # noqa: PLC0415 - an optional engine

        if not silent:
            return
        call = RecordDict({records.KEY: records.carrying(self.server.roll_call)})
        for place, reply in self._stage(dict.fromkeys(silent, call), timeout).items():
            try:
                data = None if reply.has_error() else records.taken(reply.content)
                if data is not None:
                    self.places.setdefault(self.server.identified(data), place)
            except FedAvgError as error:
                _log.warning("node %d: %s", place, error)

    def _stage(
        self, contents: Mapping[int, RecordDict], timeout: float | None
    ) -> dict[int, Message]:
        """One round trip."""
        from flwr.app import Message  # noqa: PLC0415 - an optional engine

        self._began = time.monotonic()
        # A message that outlives its stage would wake a node for nothing.
        messages = [
            Message(content, place, self.kind, ttl=timeout, group_id=str(self.number))
            for place, content in contents.items()
        ]
        return exchanged(self.grid, messages, timeout)

    def _accepted(self, reply: Message, place: int, sender: int | None) -> int | None:
        """The id of the node whose reply was taken; None for a reply that is none."""
        if reply.has_error():
            _log.warning(
                "secure sum %d, %s: node %d: %s",
                self.number,
                self.server.stage,
                place,
                _one_line(reply.error.reason),
            )
            return None
        try:
            data = records.taken(reply.content)
            if data is not None:
                return self.server.receive(data, sender)
        except (FedAvgError, HeError, SecAggError) as error:
            _log.warning("secure sum %d: the reply of node %d: %s", self.number, place, error)
            return None
        _log.warning("secure sum %d: node %d replied outside of the sum", self.number, place)
        return None

    def _close(self, asked: int) -> None:
        """Note a stage that is over."""
        took = time.monotonic() - self._began
        name, received = self.server.stage, len(self.server.received)
        self.stages.append((name, received, asked, took))
        # Each stage takes seconds in a deployment, so that somebody may wait for this line.
        _log.info("secure sum %d, %s: %d of %d in %.1f s", self.number, name, received, asked, took)


def _one_line(text: str | None) -> str:
    """A text of a node's for the log: a node could otherwise write lines there that look like ours."""
    return "".join(part if part.isprintable() else " " for part in str(text)[:_LONGEST])
