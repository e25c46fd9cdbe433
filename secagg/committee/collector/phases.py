"""The collector's phases, and for each the one kind of message that it awaits."""

from __future__ import annotations

import enum

from secagg.committee.wire.messages import Kind

__all__ = ["AWAITS", "CommitteePhase", "next_phase"]


class CommitteePhase(enum.Enum):
    """The phases of a sum by a committee, in order, and the two final states.

    Example:
        >>> [phase.name for phase in CommitteePhase][:4]
        ['CONTRIBUTE', 'REPORT', 'SIGN', 'ANSWER']
    """

    CONTRIBUTE = "contribute"
    REPORT = "report"
    SIGN = "sign"
    ANSWER = "answer"
    DONE = "done"
    ABORTED = "aborted"


AWAITS: dict[CommitteePhase, Kind] = {
    CommitteePhase.CONTRIBUTE: Kind.CONTRIBUTION,
    CommitteePhase.REPORT: Kind.REPORT,
    CommitteePhase.SIGN: Kind.ENDORSEMENT,
    CommitteePhase.ANSWER: Kind.ANSWER,
}

_ORDER = tuple(CommitteePhase)


def next_phase(phase: CommitteePhase) -> CommitteePhase:
    """The phase that follows without a failure.

    Example:
        >>> next_phase(CommitteePhase.ANSWER)
        <CommitteePhase.DONE: 'done'>
    """
    return _ORDER[_ORDER.index(phase) + 1]
