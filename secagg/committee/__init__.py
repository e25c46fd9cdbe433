"""Sums of short integer vectors by a committee: clients speak once, and nobody holds a key to an input.

Each client shares its vector among the members of a committee, of which at most c of m are corrupt, and sends
one message. Members open only the sum over one set of clients that a quorum of them has signed. Read
`secagg.committee.simulate` first: it shows the whole protocol on one page.
"""

from __future__ import annotations

from secagg.committee.collector.collector import Collector, CommitteeResult
from secagg.committee.collector.phases import CommitteePhase
from secagg.committee.contributor import Contributor
from secagg.committee.drawing import drawn_members
from secagg.committee.errors import MemberError
from secagg.committee.member import Member
from secagg.committee.params.params import CommitteeParams, drawn_corrupt
from secagg.committee.params.policy import CommitteePolicy
from secagg.committee.sealing import Committee, SealingKey, card_epoch, card_member
from secagg.committee.simulate import simulate_committee
from secagg.committee.verdicts.evidence import check_rejection

__all__ = [
    "Collector",
    "Committee",
    "CommitteeParams",
    "CommitteePhase",
    "CommitteePolicy",
    "CommitteeResult",
    "Contributor",
    "Member",
    "MemberError",
    "SealingKey",
    "card_epoch",
    "card_member",
    "check_rejection",
    "drawn_corrupt",
    "drawn_members",
    "simulate_committee",
]
