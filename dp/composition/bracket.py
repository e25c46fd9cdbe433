"""An accountant's answer: a number with proven bounds from both sides."""

from __future__ import annotations

from dataclasses import dataclass

from dp.errors import InvalidParameterError

__all__ = ["Bracket"]


@dataclass(frozen=True, slots=True)
class Bracket:
    """A quantity between two proven bounds.

    Args:
        low: lower bound. No smaller number holds for every mechanism that the events describe, so no
            accountant can claim less from the events alone; 0 where that is unknown.  An event of rounded
            shares describes all grids at least as fine as its own (docs/privacy.md §2.5).
        high: upper bound, which holds for every mechanism that the events describe; publish this one.

    Example:
        >>> from dp import Accountant, GaussianEvent, RenyiEvent
        >>> exact = Accountant().compose(GaussianEvent(2.0), 10).epsilon(1e-5)
        >>> exact.width < 1e-6, round(exact.high, 2)
        (True, 7.51)
        >>> curve = RenyiEvent(range(2, 65), [order / 2 for order in range(2, 65)])
        >>> Accountant().compose(curve).epsilon(1e-5).low  # a curve alone gives no lower bound
        0.0
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise InvalidParameterError(f"not a bracket: [{self.low!r}, {self.high!r}]")

    @property
    def width(self) -> float:
        """High − low; 0 when both are infinite."""
        return 0.0 if self.low == self.high else self.high - self.low
