"""The key holder of encrypted sums; it exchanges bytes, and sees sums, never a single update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError
from fedavg.protocol.agreement import agreed_spec, answered
from fedavg.protocol.messages import OpenRequest, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedavg.protocol.agreement import RunAgreement
    from fedavg.sums.interface import KeyHolderSide
    from he import Journal

__all__ = ["KeyHolder"]


class KeyHolder:
    """The key holder: opens one encrypted sum a round, once, after its checks.

    Args:
        agreement: the key holder's copy of what all roles agreed on, such as a resolved plan.
        side: the key holder's material.
        journal: records each sum before it is opened, so that no sum is opened twice, even after a restart,
            with another key or at the server's request. With None, this memory ends with the process.
    """

    def __init__(
        self, agreement: RunAgreement, side: KeyHolderSide, journal: Journal | None = None
    ) -> None:
        self._agreement = agreement
        self._side = side
        self._journal = journal
        self._round = -1
        self._tried: set[bytes] = set()
        self._opened = 0  # number of sums opened in this round

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer the server's request to open a sum.

        Raises:
            LocalProtocolError: the request is the second one for an attempt, is for a round that was opened
                already (possibly before a restart), or names a roster outside the plan's bounds.
            JournalError: the sum cannot be recorded; it was not opened.
            he.HeError: the sum is forged, belongs to another round, or is too small.
        """
        request = decode(message)
        if not isinstance(request, OpenRequest):
            raise LocalProtocolError("the key holder only opens sums")
        count, limit = self._agreement.sums_a_round, self._agreement.retry_limit
        begun = request.round == self._round
        # Counts of a new round start at zero, but the old ones stay until all checks have passed.
        tried, opened = (self._tried, self._opened) if begun else (set[bytes](), 0)
        # One sum for each block and round. A client sends its update once a round, under one first message.
        spent = opened >= count or len(tried) >= count * (1 + limit)
        if request.round < self._round or request.start_digest in tried or spent:
            raise LocalProtocolError(f"the sum of round {request.round} was asked for before")
        if not 0 <= request.attempt <= limit:
            raise LocalProtocolError(f"the plan allows no attempt {request.attempt} at a round")
        # The key holder checks the plan's bounds itself: its floor of contributors follows from the named
        # roster.
        spec = agreed_spec(
            self._agreement.requested(request.block),
            request.round,
            request.roster_size,
            request.start_digest,
        )
        # The round is on disk before anything is decrypted, so that a restart cannot open it twice.
        if not begun:
            self._record(request.round)
        # A request counts as tried before it is decrypted: one that fails is not repeated with other uploads.
        self._round, self._tried, self._opened = (
            request.round,
            tried | {request.start_digest},
            opened,
        )
        session = self._side.session(spec)
        answers = session.receive(request.chunks)
        # Only sums that were opened count here, so a failed attempt leaves room for the next one.
        self._opened += 1
        return answered(request, answers)

    def _record(self, number: int) -> None:
        """Record that a round begins; refuse a round that began before a restart and may have been opened."""
        # Without a journal only this process prevents a second opening; after a restart nothing does.
        if self._journal is None:
            return
        fact = (
            b"fedavg opening" + self._agreement.digest + number.to_bytes(8, "little", signed=True)
        )
        if not self._journal.add(fact):
            raise LocalProtocolError(
                f"a sum of round {number} may have been opened before the key holder's restart; "
                "the round is void"
            )
