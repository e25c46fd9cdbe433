"""The grid of a ServerApp: it sends a strategy's messages as one secure sum, and returns one reply."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakKeyDictionary

from dp.checks import is_a
from fedavg import checks
from fedavg.adapters.engines import FLOWER
from fedavg.adapters.exchange import Agreement, MeanServer, MemberCards
from fedavg.adapters.exchange.vectors.layout import content_digest
from fedavg.adapters.flower import records
from fedavg.adapters.flower.declared import mismatch
from fedavg.adapters.flower.outcome import Outcome
from fedavg.adapters.flower.rounds import SecureRound
from fedavg.adapters.flower.strategies import check_caller
from fedavg.errors import ConfigError, LocalProtocolError, PlanError, RoundAbortedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid
    from flwr.supercore.run import Run

    from fedavg.adapters.exchange import Mean
    from fedavg.adapters.exchange.vectors.costs import Cost, Epsilons

    Base = Grid
else:
    Base = (
        object  # Flower may be missing; a grid registers itself with Flower's class when it is made
    )

__all__ = ["SecureGrid"]

_log = logging.getLogger("flwr")


@dataclass(slots=True)
class _Progress:
    """What all secure grids over one grid of Flower share: a run has one sequence of sums.

    Args:
        number: number of the last sum in the run.
        places: digest of an agreement → id of a node in it → its id in Flower.
        answers: how many sums of each cost there were.
        cards: digest of an agreement → the members' sealing keys.
    """

    number: int = 0
    places: dict[bytes, dict[int, int]] = field(default_factory=dict[bytes, dict[int, int]])
    answers: Counter[Cost] = field(default_factory=Counter["Cost"])
    cards: dict[bytes, MemberCards] = field(default_factory=dict[bytes, MemberCards])


# A second grid that began at 1 again would be refused by every node, and would forget what was spent.
_PROGRESS: WeakKeyDictionary[object, _Progress] = WeakKeyDictionary()


class SecureGrid(Base):
    """A Flower grid whose round trips are secure sums.

    Give it to a strategy, or to a loop of your own, in place of the grid that Flower gives to a ServerApp.
    `send_and_receive` returns one reply: the weighted mean of arrays and listed metrics, with the total
    weight. A round without a sum returns no reply; strategies then keep their model, and `outcomes` has the
    reason. Under noise the reply of such a round is noise alone, and each outcome has both epsilons. Several
    secure grids over one grid go on with the numbers and the costs of the run.

    Args:
        grid: the grid that Flower gave.
        agreement: the server's copy of the agreement, or its path.
        run_config: the config of the run, `context.run_config` of the ServerApp. Nodes compare it with the
            config that they were given, and refuse a run in which the two differ.
        stage_timeout: seconds that a node has for each answer after its record: three of a member of a
            committee, or five of each node in a masked sum. The time for training is the one that the
            strategy gives (`timeout`).

    Raises:
        MissingExtraError: Flower is missing, or of another version.
        ConfigError: `grid` is none of Flower's, the file holds no agreement, `run_config` is no mapping, or
            it states another noise than the agreement.

    Example:
        >>> strategy.start(SecureGrid(grid, "agreement.json", context.run_config), arrays)  # doctest: +SKIP
    """

    def __init__(
        self,
        grid: Grid,
        agreement: Agreement | str | os.PathLike[str],
        run_config: Mapping[str, object],
        *,
        stage_timeout: float = 120.0,
    ) -> None:
        FLOWER.version()
        from flwr.serverapp import Grid  # noqa: PLC0415 - an optional engine

        if not is_a(grid, Grid) or is_a(grid, SecureGrid):
            raise ConfigError(
                "grid must be the one that Flower gives to the ServerApp: SecureGrid(grid, agreement, "
                f"context.run_config), not a {type(grid).__name__}"
            )
        Grid.register(SecureGrid)
        self._grid = grid
        self._agreement = _agreement(agreement)
        self._config = _config(run_config)
        self._timeout = checks.config.positive("stage_timeout", stage_timeout)
        self._progress = _PROGRESS.setdefault(grid, _Progress())
        self._outcomes: list[Outcome] = []
        if differs := mismatch(self._config, self._agreement.terms):
            raise ConfigError(differs)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What became of every sum so far."""
        return tuple(self._outcomes)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._grid, name)

    def set_run(self, run: Run) -> None:
        """As Flower's grid."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """As Flower's grid."""
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        """As Flower's grid."""
        return self._grid.get_node_ids()

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """As Flower's grid."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        """Raise LocalProtocolError: a message alone has no sum."""
        del messages
        raise LocalProtocolError(
            "a SecureGrid sends all messages of a round at once: use send_and_receive"
        )

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        """Raise LocalProtocolError: replies of single nodes cannot be read."""
        del message_ids
        raise LocalProtocolError(
            "a SecureGrid has no replies of single nodes: use send_and_receive, which returns their mean"
        )

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """One secure sum over the nodes that the messages address.

        Args:
            messages: one message a node, all of one kind and with one content.
            timeout: seconds for the nodes' own work; None waits for all.

        Returns:
            One reply with the mean, or none when the round has no sum.

        Raises:
            PlanError: the strategy needs single updates, the agreement has no such kind of record, or the
                messages are of several kinds or contents.
            CohortSizeError: too few nodes are asked.
        """
        check_caller()
        asked = list(messages)
        if not asked:
            return []
        content, kind = _common(asked)
        name, arrays = records.arrays_of(content)
        done = self._progress
        done.number += 1
        server = MeanServer(
            self._agreement,
            str(self._grid.run.run_id),
            done.number,
            kind,
            len(asked),
            arrays,
            records.settings_of(content, self._config),
            # Empty at first, so that the members are asked: those of the agreement may be over since long.
            done.cards.setdefault(self._agreement.digest, MemberCards(self._agreement)),
        )
        work = SecureRound(
            self._grid,
            server,
            kind,
            done.number,
            done.places.setdefault(self._agreement.digest, {}),
            self._agreement.terms.sum,
        )
        if server.cost is not None:  # also for a round that will have no sum
            done.answers[server.cost] += 1
        mean = None
        try:
            mean = work.mean(asked, content, timeout, self._timeout)
            reason = server.failure
        except RoundAbortedError as error:
            reason = str(error)
        self._note(work, len(asked), mean, reason)
        if mean is None:
            return []
        from flwr.app import Message  # noqa: PLC0415 - an optional engine

        told = records.told(mean, name, self._agreement.terms.weight)
        return [Message(told, reply_to=asked[0])]

    def _note(self, work: SecureRound, asked: int, mean: Mean | None, reason: str) -> None:
        """Keep and log what became of a sum."""
        who, weight = (mean.contributors, mean.weight) if mean else ((), 0)
        outcome = Outcome(
            work.number,
            work.kind,
            asked,
            who,
            weight,
            tuple(work.stages),
            reason,
            self._spent(work.server.cost),
        )
        self._outcomes.append(outcome)
        _log.log(logging.INFO if outcome.complete else logging.WARNING, "%s", outcome)

    def _spent(self, cost: Cost | None) -> Epsilons | None:
        """What the sums so far cost a node that was asked in all; None where this one has no noise."""
        if cost is None:
            return None
        from fedavg.adapters.exchange.vectors.costs import epsilons  # noqa: PLC0415 - loads the accountant

        return epsilons(self._progress.answers, self._agreement.terms.delta)


def _agreement(given: Agreement | str | os.PathLike[str]) -> Agreement:
    """The agreement, read if it is given by its path."""
    if isinstance(given, (str, os.PathLike)):
        return Agreement.read(Path(given))
    if not is_a(given, Agreement):
        raise ConfigError(
            f"agreement must be an Agreement or the path of its file, not {type(given).__name__}"
        )
    return given


def _config(given: Mapping[str, object]) -> dict[str, object]:
    """A copy of the run's config, which the ServerApp may change later."""
    try:
        found = dict(given)
        records.encoded(found)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            "run_config must be the config of the run: SecureGrid(grid, agreement, context.run_config), not "
            f"{type(given).__name__}"
        ) from None
    return found


def _common(asked: list[Message]) -> tuple[RecordDict, str]:
    """The content and kind that all messages share."""
    kinds = {message.metadata.message_type for message in asked}
    if len(kinds) > 1:
        raise PlanError(
            f"one round trip has messages of the kinds {', '.join(sorted(kinds))}; a secure sum has one: "
            "send each kind by itself"
        )
    nodes = [message.metadata.dst_node_id for message in asked]
    if len(set(nodes)) < len(nodes):
        raise PlanError("one round trip has two messages for one node; a node enters a sum once")
    first = asked[0].content
    others = [message.content for message in asked if message.content is not first]
    if others:
        digests = {_digest(content) for content in (first, *others)}
        if len(digests) > 1:
            raise PlanError(
                "the messages of one round trip have different contents; nodes that are sent different "
                "models or settings enter no sum: send all of them the same"
            )
    return first, kinds.pop()


def _digest(content: RecordDict) -> bytes:
    _, arrays = records.arrays_of(content)
    return content_digest(arrays, records.settings_of(content, {}))
