"""The sums of a step, group by group: a sum with a missing silo is void, and drawn again without it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fedavg.errors import RoundAbortedError
from fedavg.protocol.driver import PROTOCOL_ERRORS, RoundTraffic, run_round
from fedavg.protocol.messages import RoundStart
from fedavg.records.steps.mean import OpenedSum
from fedavg.robust.deal import dealt
from fedavg.server.round import RoundServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedavg.protocol.transcript import Transcript
    from fedavg.records.enrolment import Parties
    from fedavg.records.resolution import ResolvedRecords

__all__ = ["StepSums", "Summed"]


@dataclass(frozen=True, slots=True, eq=False)
class Summed:
    """The sums of one step.

    Args:
        sums: one for each group that has one.
        voided: why other attempts gave no sum; each was charged.
        traffic: bytes and seconds of all attempts.
    """

    sums: Sequence[OpenedSum]
    voided: Sequence[str]
    traffic: RoundTraffic


class StepSums:
    """Runs the sums of each step, and counts for every silo the sums that it was in.

    Args:
        resolution: the resolved plan.
        parties: silos and openers, and the server's material.
        silent: for simulations: the silos that do not answer in a step and stage.
        transcript: when given, records every message that the server sent or received.
    """

    def __init__(
        self,
        resolution: ResolvedRecords,
        parties: Parties,
        silent: Callable[[int, str], frozenset[int]],
        transcript: Transcript | None,
    ) -> None:
        self._resolution, self._parties = resolution, parties
        self._silent, self._transcript = silent, transcript
        self._counted: dict[int, Counter[int]] = {silo: Counter() for silo in parties.silos}
        self.rosters: Counter[int] = Counter()
        self.last: Sequence[OpenedSum] = ()

    def step(self, step: int, model: bytes) -> Summed | None:
        """Run the sums of one step; None if a silo's ledger has no room for another.

        Args:
            step: index of the step.
            model: the released model, as sent.

        Raises:
            RoundAbortedError: too few silos answer for one sum, or for as many groups as the rule needs.
        """
        rule, silos = self._resolution.plan.robust, tuple(sorted(self._parties.silos))
        groups: Mapping[int | None, Sequence[int]] = {None: silos}
        if rule is not None:
            groups = dict(enumerate(dealt(silos, rule.groups, step)))
        traffic, voided, sums = RoundTraffic(), list[str](), list[OpenedSum]()
        for group, members in groups.items():
            start = RoundStart(step, model, block=group)
            opened = self._group(start, members, traffic, voided)
            if self._parties.exhausted:
                return None
            if opened is not None:
                sums.append(opened)
        if len(sums) < (1 if rule is None else rule.fewest):
            said = f"step {step + 1} gave no sum"
            if rule is not None:
                said = (
                    f"{len(sums)} of {rule.groups} groups of step {step + 1} gave a sum, and the rule "
                    f"{rule.kind!r} needs {rule.fewest}"
                )
            raise RoundAbortedError(f"{said}: {voided[-1]}")
        self.last = tuple(sums)
        return Summed(self.last, tuple(voided), traffic)

    def _group(
        self, start: RoundStart, members: Sequence[int], traffic: RoundTraffic, voided: list[str]
    ) -> OpenedSum | None:
        left = frozenset(members)
        # Each attempt asks at least one silo fewer, so that the attempts come to an end.
        for attempt in range(len(members)):
            server = RoundServer(
                self._resolution,
                self._parties.side,
                start=RoundStart(start.round, start.model, block=start.block, attempt=attempt),
                cohort=sorted(left),
                stage="gradients",
                members="silos",
            )
            transport = self._parties.at(partial(self._silent, start.round), server)
            try:
                result = run_round(server, transport, traffic, self._transcript)
            except PROTOCOL_ERRORS as error:
                self._count(server.roster)
                voided.append(f"{type(error).__name__}: {error}")
                missing = server.silent & left  # and not a party that opens sums
                left -= missing
                if self._parties.exhausted or not missing or len(left) < self._resolution.floor:
                    return None
                continue
            self._count(server.roster)
            return OpenedSum(result.total, len(server.roster), start.block)
        return None

    def _count(self, roster: Sequence[int]) -> None:
        """Count an attempt whose sum began, whether or not it gave a result."""
        if roster:
            self.rosters[len(roster)] += 1
            for silo in roster:
                self._counted[silo][len(roster)] += 1

    def worst(self) -> dict[int, int]:
        """Sums by the size of the roster, which cost a unit at least as much as those of any silo did.

        A sum of more silos costs a unit no less, since its shares of noise are smaller. So for each size the
        largest number of sums of that size or a larger one, over all silos, is what counts.
        """
        found: dict[int, int] = {}
        before = 0
        for size in sorted(self.rosters, reverse=True):
            most = max(
                sum(count for roster, count in counted.items() if roster >= size)
                for counted in self._counted.values()
            )
            if most > before:
                found[size], before = most - before, most
        return found
