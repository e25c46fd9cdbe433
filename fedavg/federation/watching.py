"""A simulation's view into a few clients of the recorded round, for figures in a report."""

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

_WATCHED = (
    3  # clients with a probe in a recorded round, so that probably one of them does not drop out
)


class Watch:
    """The clients that carry a probe, and what the probes recorded."""

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
        """Begin a round; if it is recorded, a few of its clients get probes.

        Args:
            record: record of the server's view, or None when nothing is recorded.
            transport: transport to the clients.
            index: index of the round, from 0.
            cohort: clients that are asked.
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
        """The record of a client's probe; None for a client without one."""
        if self._transport is None or client not in self.clients:
            return None
        return self._transport.seen(client)
