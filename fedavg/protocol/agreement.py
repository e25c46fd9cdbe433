"""What the roles of a sum agree on at enrolment, and what each of them checks against it by itself.

A server cannot change the agreement later: every role computes context and parameters of a sum from its own
copy, and takes only the numbers of the round from a message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self

from fedavg.errors import LocalProtocolError
from fedavg.protocol.messages import OpenRequest, SumMessage, encode, round_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.privacy.sampling import CohortBounds
    from fedavg.sums.interface import SumSpec

__all__ = ["Agreement", "RunAgreement", "agreed_spec", "answered"]


class Agreement(Protocol):
    """The agreement about one kind of sum."""

    @property
    def digest(self) -> bytes:
        """Digest of all that the roles must agree on."""
        ...

    @property
    def bounds(self) -> CohortBounds:
        """The smallest and the largest roster of a sum."""
        ...

    def spec(self, roster: int, context: bytes) -> SumSpec:
        """The secure sum over a roster of this size."""
        ...


class RunAgreement(Agreement, Protocol):
    """The agreement about all sums of a run, for the parties that open them."""

    @property
    def sums_a_round(self) -> int:
        """The number of sums that one round opens at most."""
        ...

    @property
    def retry_limit(self) -> int:
        """The number of further attempts at a sum that failed."""
        ...

    def requested(self, block: int | None) -> Self:
        """The agreement about the sum of one block, or, with None, of a model that is not cut into blocks.

        Raises:
            LocalProtocolError: there is no such sum.
        """
        ...


def agreed_spec(
    agreement: Agreement, round_index: int, roster: int, start_digest: bytes
) -> SumSpec:
    """The sum of one round, as each role computes it.

    A roster outside the bounds is refused by every role: below the floor, too little honest noise would be
    guaranteed. The context holds the size of the roster, which sizes every client's share of the noise. It
    also holds the digest of the first message: clients that were sent different models are in no common sum.

    Args:
        agreement: the role's own copy.
        round_index: number of the round.
        roster: number of clients in the sum.
        start_digest: digest of the round's first message to the clients.

    Raises:
        LocalProtocolError: the roster is outside the plan's bounds.
    """
    bounds = agreement.bounds
    if not bounds.floor <= roster <= bounds.cap:
        raise LocalProtocolError(
            f"a sum over a roster of {roster} is outside the plan's bounds {bounds.floor} … {bounds.cap}"
        )
    context = round_context(agreement.digest, round_index, roster, start_digest)
    return replace(agreement.spec(roster, context), round=round_index)


def answered(request: OpenRequest, answers: Sequence[bytes]) -> tuple[bytes, ...]:
    """Wrap the answers of a party that opens sums to a request for one."""
    return tuple(encode(SumMessage(request.round, data, request.attempt)) for data in answers)
