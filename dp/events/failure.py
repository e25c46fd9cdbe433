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
    """Events outside every theorem, with at most these probabilities.

    A total of p and s over a run turns δ(ε) into δ(ε) + (1 + e^ε)·p + s.

    Args:
        probability: p, the largest total variation between the release and one that the theorems cover, under
            either neighbour, in [0, 1]. An example is the error of a sampler's table.
        shared: s, the largest weight of a part outside the theorems, in [0, 1], when both neighbours' laws
            are mixtures, with the same weights, of a part that the theorems cover and of this one. An example
            is a cohort outside its bounds: the coins of the other clients have one law under both
            neighbours. It costs less, since no factor e^ε applies.

    Example:
        >>> from dp import Accountant, GaussianEvent
        >>> one = Accountant().compose(GaussianEvent(0.5))
        >>> events = FailureEvent(1e-9), FailureEvent(shared=1e-9)
        >>> [round(one.compose(event).epsilon(1e-5).high, 2) for event in events]
        [inf, 10.0]
    """

    probability: float = 0.0
    shared: float = 0.0

    def __post_init__(self) -> None:
        assign(
            self,
            probability=fraction("probability", self.probability),
            shared=fraction("shared", self.shared),
        )

    def cost(self, relation: NeighboringRelation) -> Cost:  # noqa: ARG002 - the same under any
        """See Event."""
        return Cost(failure=self.probability, shared=self.shared, pure=0.0)
