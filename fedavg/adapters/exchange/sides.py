"""The sides of `OneShot` for an agreement: who the members are comes from enrolled nodes, not from a dealer.

In a simulation one process makes the keys of all members (`SecureSum.provision`).  Between machines each
member makes its own, and this module puts the same sides together from public cards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.sums.interface import SumSpec
from fedavg.sums.one_shot.committee import CommitteeKeys
from fedavg.sums.one_shot.committee_sessions import (
    CommitteeClientSide,
    CommitteeServerSide,
    MemberSide,
)
from fedavg.sums.one_shot.uploads import Uploads
from secagg import Directory

if TYPE_CHECKING:
    from fedavg.adapters.exchange.agreement import Agreement
    from fedavg.adapters.exchange.keys import NodeKeys
    from fedavg.adapters.exchange.messages import Round

__all__ = ["client_side", "member_side", "server_side", "sum_spec"]


def sum_spec(facts: Round, agreement: Agreement) -> SumSpec:
    """The public facts of the sum of a round.

    Raises:
        PlanError: the agreement has no records of this kind, or the vectors have no coordinate.
    """
    # The weight is one coordinate; the encoding has the same bound for a vector before and after padding.
    bound = agreement.terms.record(facts.kind).encoding.max_abs(facts.length - 1)
    return SumSpec(facts.length, bound, None, facts.asked, facts.context(agreement.digest))


def server_side(agreement: Agreement) -> CommitteeServerSide:
    """The server's side: public identities."""
    uploads, adding = _parts(agreement)
    return CommitteeServerSide(
        uploads, adding.params, agreement.committee, agreement.nodes, adding.min_survivors
    )


def client_side(agreement: Agreement) -> CommitteeClientSide:
    """A node's side as a client of sums."""
    uploads, adding = _parts(agreement)
    return CommitteeClientSide(uploads, adding.params, agreement.committee)


def member_side(agreement: Agreement, keys: NodeKeys) -> MemberSide:
    """A node's side as a member of the committee, with its keys."""
    uploads, adding = _parts(agreement)
    return MemberSide(
        uploads,
        adding.params,
        agreement.committee,
        Directory(agreement.nodes),
        (keys.node, keys.identity, keys.sealing),
    )


def _parts(agreement: Agreement) -> tuple[Uploads, CommitteeKeys]:
    chosen = agreement.terms.sum
    members = (chosen.committee, chosen.corrupt_members, chosen.absent_members)
    adding = CommitteeKeys(chosen.dropout_rate, chosen.corrupt_rate, members)
    return Uploads(chosen.params, chosen.key_spec), adding
