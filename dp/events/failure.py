"""Events outside every theorem, with their probability (docs/privacy.md §7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dp.checks import assign, fraction
from dp.losses.cost import Cost

if TYPE_CHECKING:
    from dp.events.interface import NeighboringRelation

__all__ = ["FailureEvent"]


@dataclass(frozen=True, slots=True)
class FailureEvent:
    """An event outside every theorem, with at most this probability under either neighbour.

    Examples are a cohort below its floor, a cap that binds, and the total variation of a sampler's table.  A
    total of p over a run turns δ(ε) into δ(ε) + (1 + e^ε)·p.

    Args:
        probability: largest probability, in [0, 1].
    """

    probability: float

    def __post_init__(self) -> None:
        assign(self, probability=fraction("probability", self.probability))

    def cost(self, relation: NeighboringRelation) -> Cost:  # noqa: ARG002 - the same under any
        """See Event."""
        return Cost(failure=self.probability, pure=0.0)
