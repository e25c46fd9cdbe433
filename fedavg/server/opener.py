"""A party that helps to open secure sums, such as a member of a committee."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError
from fedavg.protocol.messages import OpenRequest, SumMessage, decode, encode, round_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.sums.interface import KeyHolderSession, OpenerSide
    from he import Journal

__all__ = ["Opener"]


class Opener:
    """Takes part in sums, several messages each; it sees no update and no sum of updates.

    Args:
        resolution: the resolved plan, as agreed at enrolment.
        side: the opener's material.
        journal: records what an opener does once for a sum, so that a restart cannot make it do so twice.
    """

    def __init__(self, resolution: ResolvedPlan, side: OpenerSide, journal: Journal) -> None:
        self._resolution = resolution
        self._side = side
        self._journal = journal
        self._context = b""
        self._session: KeyHolderSession | None = None

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer the server's message for one sum.

        Raises:
            LocalProtocolError: the message is no request, or names a roster outside the plan's bounds.
            secagg.SecAggError: the secure sum refuses it.
        """
        request = decode(message)
        if not isinstance(request, OpenRequest):
            raise LocalProtocolError("an opener only answers requests for a sum")
        # An opener computes the context itself: its floor of contributors follows from the named roster, and
        # clients that were told another number of clients are in another sum.
        bounds = self._resolution.bounds
        if not bounds.floor <= request.roster_size <= bounds.cap:
            raise LocalProtocolError(
                f"a sum over {request.roster_size} clients is outside the plan's bounds "
                f"{bounds.floor} … {bounds.cap}"
            )
        context = round_context(
            self._resolution.digest, request.round, request.roster_size, request.start_digest
        )
        if self._session is None or context != self._context:
            of_block = self._resolution
            if request.block is not None:
                of_block = self._resolution.of_block(request.block)
            spec = of_block.spec(request.roster_size, context)
            self._session, self._context = self._side.session(spec, self._journal), context
        answers = self._session.receive(request.chunks)
        return tuple(encode(SumMessage(request.round, data, request.attempt)) for data in answers)
