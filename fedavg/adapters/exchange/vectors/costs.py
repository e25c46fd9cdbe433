"""What the answers of one node cost it in privacy, towards those who see the means and towards the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dp import Accountant, FailureEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.privacy.noise import Event

__all__ = ["Cost", "Epsilons", "epsilons"]


@dataclass(frozen=True, slots=True)
class Epsilons:
    """What some answers of one node reveal about all that it holds, towards two observers, at one δ.

    Args:
        release: ε towards those who see the released means.
        server: ε towards the server, together with as many nodes as the sum assumes to collude; None where
            the server sees sums without noise.
        delta: δ.

    Example:
        >>> str(Epsilons(1.5, None, 1e-5))
        'epsilon 1.500 towards those who see the means, and none towards the server, at delta 1e-05'
    """

    release: float
    server: float | None
    delta: float

    def __str__(self) -> str:
        server = "none" if self.server is None else f"{self.server:.3f}"
        return (
            f"epsilon {self.release:.3f} towards those who see the means, and {server} towards the server, "
            f"at delta {self.delta:g}"
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one answer of a node.

    Args:
        release: the event towards those who see the released means; a node's ledger is charged this.
        failure: what the theorem excludes, the errors of the samplers' tables; charged beside it.
        server: the event towards the server and the nodes that collude with it; None where the server sees
            sums without noise.
    """

    release: Event
    failure: FailureEvent
    server: Event | None


def epsilons(answers: Mapping[Cost, int], delta: float) -> Epsilons:
    """Both epsilons of a node after some answers.

    Args:
        answers: how many answers of each cost.
        delta: δ.

    Example:
        >>> from dp import GaussianEvent
        >>> cost = Cost(GaussianEvent(4.0), FailureEvent(0.0), None)
        >>> found = epsilons({cost: 4}, 1e-5)
        >>> round(found.release, 3), found.server
        (1.993, None)
    """
    release, server, seen = Accountant(), Accountant(), True
    if not sum(answers.values()):
        return Epsilons(0.0, 0.0, delta)
    for cost, count in answers.items():
        release = release.compose(cost.release, count).compose(cost.failure, count)
        if cost.server is None:
            seen = False
        else:
            server = server.compose(cost.server, count).compose(cost.failure, count)
    return Epsilons(
        release.upper_epsilon(delta), server.upper_epsilon(delta) if seen else None, delta
    )
