"""Convictions of clients, with the evidence, as values; `secagg.verdicts.evidence` makes and checks it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = ["Conviction", "Offence"]


class Offence(enum.Enum):
    """An offence that a client has been shown to commit.

    Example:
        >>> met = [Conviction(7, Offence.DISPUTES, b""), Conviction(9, Offence.BAD_DEALER, b"")]
        >>> [found.client_id for found in met if found.offence is Offence.BAD_DEALER]
        [9]
    """

    BAD_DEALER = "dealt shares that rebuild another secret than it announced"
    DISPUTES = "disputes shares with more clients than can be corrupt"
    REJECTED_SHARES = "dealt shares that more members of the committee reject than can be corrupt"


@dataclass(frozen=True, slots=True)
class Conviction:
    """A client that has been shown to cheat; leave it out from now on.

    Args:
        client_id: id of the client.
        offence: the offence.
        evidence: signed messages that prove it, for `secagg.check_conviction`, or for
            `secagg.committee.check_rejection` if members of a committee reject its shares.

    Example:
        >>> str(Conviction(7, Offence.BAD_DEALER, b"long"))
        'client 7 dealt shares that rebuild another secret than it announced'
    """

    client_id: int
    offence: Offence
    evidence: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"client {self.client_id} {self.offence.value}"
