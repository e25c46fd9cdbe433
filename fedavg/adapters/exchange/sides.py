"""The sides of a sum for an agreement: who clients and members are comes from enrolled nodes, not a dealer.

In a simulation one process makes the keys of all members (`SecureSum.provision`).  Between machines each
member makes its own, and this module puts the same sides together from the public cards of a round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fedavg.adapters.exchange.vectors.coordinates import Coordinates
from fedavg.sums.interface import SumSpec

if TYPE_CHECKING:
    from fedavg.adapters.exchange.agreement import Agreement
    from fedavg.adapters.exchange.messages import Round
    from fedavg.adapters.exchange.vectors.coordinates import Vectors
    from fedavg.adapters.exchange.vectors.layout import Arrays
    from fedavg.sums.interface import ServerSide
    from fedavg.sums.one_shot import OneShot
    from fedavg.sums.one_shot.known import KnownCommittee
    from fedavg.sums.sides.masked_client import SecAggClientSide
    from secagg.committee import Committee

__all__ = [
    "server_side",
    "sides_among",
    "sum_spec",
    "suspending_side",
    "vectors",
]


def vectors(agreement: Agreement, kind: str, arrays: Arrays) -> Vectors:
    """How a kind of record becomes vectors, by the arrays that the server sends.

    Raises:
        PlanError: the agreement has no such kind, or an array cannot be summed.
        FedAvgError, dp.DpError: under noise, there is none for vectors of this length.
    """
    if agreement.terms.record(kind).noise is None:
        return Coordinates.of(agreement.terms, kind, arrays)
    # Loads the accountant, which sums without noise do not need; a process starts for every message.
    from fedavg.adapters.exchange.vectors.noisy import NoisyCoordinates  # noqa: PLC0415

    return NoisyCoordinates.of(agreement.terms, kind, len(agreement.nodes), arrays)


def sum_spec(facts: Round, agreement: Agreement) -> SumSpec:
    """The public facts of the sum of a round.

    Raises:
        PlanError: the agreement has no records of this kind, or the vectors have no coordinate.
        FedAvgError, dp.DpError: under noise, there is none for vectors of this length.
    """
    record, context = agreement.terms.record(facts.kind), facts.context(agreement.digest)
    if record.noise is None:
        # The weight is one coordinate; the encoding has the same bound for a vector before and after padding.
        bound = record.encoding.max_abs(facts.length - 1)
        return SumSpec(facts.length, bound, None, facts.asked, context)
    from fedavg.adapters.exchange.vectors.noisy import resolved  # noqa: PLC0415 - as above

    return resolved(agreement.terms, record, len(agreement.nodes), facts.length).spec(
        facts.asked, context
    )


def server_side(agreement: Agreement, committee: Committee | None) -> ServerSide:
    """The server's side: public identities, and the committee of the round if there is one."""
    if committee is None:
        return agreement.terms.sum.server_side(agreement.material)
    return sides_among(agreement, committee).server()


def sides_among(agreement: Agreement, committee: Committee) -> KnownCommittee:
    """All sides of a sum whose keys a committee adds, under the sealing keys of one round."""
    return cast("OneShot", agreement.terms.sum).among(committee, agreement.nodes)


def suspending_side(agreement: Agreement) -> SecAggClientSide:
    """A node's side as a client of sums that are without a committee: it is put away between two messages."""
    return cast("SecAggClientSide", agreement.terms.sum.client_side(agreement.material))
