"""What became of one secure sum, for logs and tests."""

from __future__ import annotations

from dataclasses import dataclass

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
        reason: why there is no mean; "" with one.

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

    @property
    def complete(self) -> bool:
        """Whether there is a mean."""
        return not self.reason

    def __str__(self) -> str:
        steps = ", ".join(
            f"{name} {received}/{asked} in {seconds:.1f} s"
            for name, received, asked, seconds in self.stages
        )
        said = self.reason or f"mean of {len(self.contributors)} nodes"
        return f"secure sum {self.number} ({self.kind}): {said} [{steps}]"
