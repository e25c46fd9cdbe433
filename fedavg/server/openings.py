"""Records, before a sum may be opened, which clients' vectors it may contain.

The stage in which clients' vectors arrive is the last moment for this record: the steps that follow
(unmasking, or the key holder's decryption) may reveal the sum. The record lets a restarted run refuse to sum
the same round again after it broke off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedavg.sums.interface import Conviction, ServerSession, ServerSide, SumResult, SumSpec

__all__ = ["AnnouncedSide"]


class AnnouncedSide:
    """A server's side whose sessions announce that they may be opened, before they are.

    Args:
        side: the side that sums.
        announce: called with the clients from which vectors have arrived, partly or completely, since this
            object was made. If it raises, the sum stays unopened.
    """

    def __init__(self, side: ServerSide, announce: Callable[[tuple[int, ...]], None]) -> None:
        self._side = side
        self._announce = announce
        self._arrived: set[int] = set()

    def session(self, spec: SumSpec, roster: Sequence[int]) -> ServerSession:
        """Begin one sum over a roster."""
        return _AnnouncedSession(self._side.session(spec, roster), self._arrived, self._announce)


class _AnnouncedSession:
    def __init__(
        self,
        session: ServerSession,
        arrived: set[int],
        announce: Callable[[tuple[int, ...]], None],
    ) -> None:
        self._session = session
        self._arrived = arrived
        self._announce = announce

    @property
    def stage(self) -> str:
        return self._session.stage

    @property
    def collecting(self) -> bool:
        return self._session.collecting

    @property
    def convictions(self) -> Sequence[Conviction]:
        return self._session.convictions

    def open(self) -> Mapping[int, Sequence[bytes]]:
        return self._session.open()

    def receive(self, sender: int, message: bytes) -> None:
        collecting = self._session.collecting
        self._session.receive(sender, message)
        # A refused message is in no sum, so its sender need not be excluded after a restart.
        if collecting:
            self._arrived.add(sender)

    def advance(self) -> Mapping[int, Sequence[bytes]]:
        # The record is made before the stage closes, because closing it may reveal the sum.
        if self._session.collecting and self._arrived:
            self._announce(tuple(sorted(self._arrived)))
        return self._session.advance()

    def result(self) -> SumResult:
        return self._session.result()
