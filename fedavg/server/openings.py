"""Says, before a sum may be opened, whose vectors may be in it.

The server of a round knows the moment: the stage in which clients' vectors arrive is about to be closed, and
what follows (unmasking, or a key holder's work) may show the sum to somebody. Whoever keeps a journal writes
it down then. A round that breaks off afterwards must not be summed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fedavg.sums.interface import Conviction, ServerSession, ServerSide, SumResult, SumSpec

__all__ = ["AnnouncedSide"]


class AnnouncedSide:
    """A server's side whose sessions announce themselves before they may open.

    Args:
        side: the side that sums.
        announce: called with the clients whose vectors have arrived, in part or whole, since this object
            was made. What it raises keeps the sum closed.
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
        if collecting:
            self._arrived.add(sender)

    def advance(self) -> Mapping[int, Sequence[bytes]]:
        if self._session.collecting and self._arrived:
            self._announce(tuple(sorted(self._arrived)))
        return self._session.advance()

    def result(self) -> SumResult:
        return self._session.result()
