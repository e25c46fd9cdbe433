"""A simulation's look into a few clients of the recorded round, for a report's pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fedavg.protocol.transcript import Transcript
    from fedavg.simulation.interface import Simulation

__all__ = ["Recorded", "Watch"]

Recorded: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""An encoded update before and after its noise, int64[d'] each."""

_WATCHED = 3  # clients with a probe in a recorded round: one of them surely stays to its end


class Watch:
    """Which clients carry a probe, and what was seen of them."""

    def __init__(self) -> None:
        self.clients: tuple[int, ...] = ()
        self._transport: Simulation | None = None

    def round(
        self,
        record: Transcript | None,
        transport: Simulation,
        index: int,
        cohort: tuple[int, ...],
    ) -> None:
        """Begin a round: probes go to a few of its clients when it is recorded.

        Args:
            record: of what the server sees, or None when nothing is recorded.
            transport: to the clients.
            index: of the round, from 0.
            cohort: the clients that are asked.
        """
        if record is None:
            return
        record.round_index = index
        if record.rounds is None or index in record.rounds:
            self.clients = cohort[:_WATCHED]
            for client in self.clients:
                transport.watch(client)
            self._transport = transport

    def seen(self, client: int) -> Recorded | None:
        """What was seen of a client; None for one without a probe."""
        if self._transport is None or client not in self.clients:
            return None
        return self._transport.seen(client)
