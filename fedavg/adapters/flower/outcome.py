"""What became of one secure sum, for logs and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedavg.adapters.exchange.vectors.costs import Epsilons

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One secure sum at the server.

    Args:
        number: number of the sum in the run, from 1.
        kind: kind of the record.
        asked: number of nodes that were asked.
        contributors: ids of the nodes in the mean; () without one.
        weight: total weight; 0 without a mean.
        stages: name, accepted replies, requests and seconds of every stage.
        reason: why there is no mean, or under noise a mean of noise alone; "" with one.
        epsilons: under noise, what the sums of this grid so far, with this one, cost a node that was asked in
            all of them.

    Example:
        >>> Outcome(1, "train", 4, (0, 1, 2), 900, (("contribute", 3, 4, 0.5),), "").complete
        True
    """

    number: int
    kind: str
    asked: int
    contributors: tuple[int, ...]
    weight: int
    stages: tuple[tuple[str, int, int, float], ...]
    reason: str
    epsilons: Epsilons | None = None

    @property
    def complete(self) -> bool:
        """Whether there is a mean of nodes."""
        return not self.reason

    def __str__(self) -> str:
        steps = ", ".join(
            f"{name} {received}/{asked} in {seconds:.1f} s"
            for name, received, asked, seconds in self.stages
        )
        said = self.reason or f"mean of {len(self.contributors)} nodes"
        spent = f"; {self.epsilons}" if self.epsilons else ""
        return f"secure sum {self.number} ({self.kind}): {said} [{steps}]{spent}"
