"""The epsilon of a federation so far: for an observer of the released models, and for the server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dp import Ledger
    from fedavg.plan.resolution import ResolvedPlan

__all__ = ["Spending"]


class Spending:
    """Counts each client's masked updates, which determine the server's epsilon.

    Args:
        clients: ids of the present clients.

    Example:
        >>> spending = Spending([3, 7])
        >>> spending.took_part([7])
        >>> spending.participations
        {3: 0, 7: 1}
    """

    def __init__(self, clients: Iterable[int]) -> None:
        self.participations: dict[int, int] = dict.fromkeys(clients, 0)
        self._server: dict[int, float | None] = {}

    def enter(self, clients: Iterable[int]) -> None:
        """Add clients that have sent nothing yet."""
        self.participations |= dict.fromkeys(clients, 0)

    def restore(self, participations: Mapping[int, int]) -> None:
        """Continue from the counts of a checkpoint."""
        self.participations = dict(participations)

    def took_part(self, clients: Iterable[int]) -> None:
        """Count one more round for each client."""
        for client in clients:
            self.participations[client] += 1

    def below_cap(self, resolution: ResolvedPlan, clients: Iterable[int]) -> tuple[int, ...]:
        """Those of some clients whose participations are below the plan's cap."""
        cap = resolution.max_participations or math.inf
        return tuple(client for client in clients if self.participations[client] < cap)

    def for_release(self, resolution: ResolvedPlan, ledger: Ledger) -> float | None:
        """Epsilon for an observer of the released models; None without noise and where there is no bound."""
        if resolution.plan.noise is None:
            return None
        spent = ledger.upper_spent()  # the upper side is the number that is certified
        return spent if math.isfinite(spent) else None

    def for_server(self, resolution: ResolvedPlan) -> float | None:
        """Epsilon for the server, of the client that took part most often; None without a bound."""
        most = max(self.participations.values())
        # An account takes long to compose, and many rounds have the same maximum.
        if most not in self._server:
            self._server[most] = resolution.server_epsilon(most)
        return self._server[most]
