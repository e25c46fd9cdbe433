"""A party that helps to open secure sums, such as a member of a committee."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError
from fedavg.protocol.agreement import agreed_spec, answered
from fedavg.protocol.messages import OpenRequest, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.protocol.agreement import RunAgreement
    from fedavg.sums.interface import KeyHolderSession, OpenerSide
    from he import Journal

__all__ = ["Opener"]


class Opener:
    """Takes part in sums, several messages each; it sees no update and no sum of updates.

    Args:
        agreement: the opener's copy of what all roles agreed on, such as a resolved plan.
        side: the opener's material.
        journal: records what an opener does once for a sum, so that a restart cannot make it do so twice.
    """

    def __init__(self, agreement: RunAgreement, side: OpenerSide, journal: Journal) -> None:
        self._agreement = agreement
        self._side = side
        self._journal = journal
        self._context = b""
        self._session: KeyHolderSession | None = None

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer the server's message for one sum.

        Raises:
            LocalProtocolError: the message is no request, or names a roster outside the plan's bounds or a
                block that the plan does not have.
            secagg.SecAggError: the secure sum refuses it.
        """
        request = decode(message)
        if not isinstance(request, OpenRequest):
            raise LocalProtocolError("an opener only answers requests for a sum")
        # An opener computes the context itself: its floor of contributors follows from the named roster, and
        # clients that were told another number of clients are in another sum.
        spec = agreed_spec(
            self._agreement.requested(request.block),
            request.round,
            request.roster_size,
            request.start_digest,
        )
        if self._session is None or spec.context != self._context:
            self._session, self._context = self._side.session(spec, self._journal), spec.context
        return answered(request, self._session.receive(request.chunks))
