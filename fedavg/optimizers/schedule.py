"""Learning rates over server rounds: one rule for clients and server."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from fedavg import checks
from fedavg.errors import ConfigError
from fedavg.parts import Part

__all__ = ["CONSTANT", "Schedule"]


class Schedule(Part, frozen=True, tag=False):
    """The factor of a learning rate in each round: a linear warm-up, then a rule.

    Args:
        kind: "constant"; "step" multiplies by `factor` at each milestone; "cosine" falls from 1 towards 0
            (Loshchilov and Hutter 2017, eq. 5, one period).
        milestones: for "step", rising shares of the rounds after the warm-up.
        factor: factor for "step".
        warmup: number of rounds before the full rate: round r of them has the factor (r + 1)/(warmup + 1), as
            in Goyal et al. 2017, §2.2.  The rule begins after them.

    Raises:
        ConfigError: a value is out of range; the message names it.

    Example:
        >>> [Schedule("step", milestones=(0.5,)).at(r, 4) for r in range(4)]
        [1.0, 1.0, 0.1, 0.1]
        >>> [Schedule(warmup=3).at(r, 5) for r in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    warmup: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(
            self, "milestones", tuple(self.milestones)
        )  # configurations have lists
        if self.kind not in {"constant", "step", "cosine"}:
            raise ConfigError(f"schedule {self.kind!r} is none of constant, step, cosine")
        rising = sorted(set(self.milestones)) == list(self.milestones)
        if not rising or not all(0 < share < 1 for share in self.milestones):
            raise ConfigError(
                f"milestones must be rising shares of the run in (0, 1), not {self.milestones!r}"
            )
        checks.config.positive_fraction("the schedule's factor", self.factor)
        checks.config.whole("warmup", self.warmup, 0)

    def at(self, round_index: int, num_rounds: int) -> float:
        """The factor of one round.

        Args:
            round_index: index of the round, from 0.
            num_rounds: number of rounds in the run.
        """
        after = round_index - self.warmup
        if after < 0:
            # The first round has a small rate and not zero, so that it is not wasted.
            return (round_index + 1) / (self.warmup + 1)
        # A warm-up as long as the run leaves no rounds, and the divisor must not be zero.
        done = min(after / max(num_rounds - self.warmup, 1), 1.0)
        match self.kind:
            case "constant":
                return 1.0
            case "step":
                return self.factor ** sum(done >= share for share in self.milestones)
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * done))


CONSTANT = Schedule()
"""The full rate in every round."""
