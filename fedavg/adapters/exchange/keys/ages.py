"""Ages of a sealing key, by the clock of whoever looks at it: when it is renewed, passed on, and refused."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KeyAges"]


@dataclass(frozen=True, slots=True)
class KeyAges:
    """The ages at which the parties act, for clocks that differ by an eighth of the largest age.

    An epoch is numbered by the second in which its key was made. A number that is ahead of the time would
    make a key that is never too old, so every party bounds it: a member makes no such key, a server passes
    none on, and a node refuses it.

    Args:
        largest: age in seconds at which a node refuses a key.

    Example:
        >>> ages = KeyAges(800.0)
        >>> ages.renewed, ages.ahead
        (400.0, 100.0)
        >>> [ages.passed_on(age) for age in (-101.0, -100.0, 600.0, 601.0)]
        [False, True, True, False]
        >>> ages.dated_ahead(-200.0), ages.dated_ahead(-201.0), ages.too_old(800.0), ages.too_old(801.0)
        (False, True, False, True)
    """

    largest: float

    @property
    def renewed(self) -> float:
        """Age from which a member renews its key when it is called."""
        return self.largest / 2

    @property
    def ahead(self) -> float:
        """Seconds by which a member's number, and one that a server passes on, may be ahead of its clock."""
        return self.largest / 8

    def passed_on(self, age: float) -> bool:
        """Whether a server passes the key on: nodes with other clocks still take it while the sum lasts."""
        return -self.ahead <= age <= 0.75 * self.largest

    def dated_ahead(self, age: float) -> bool:
        """Whether a node refuses the key because its number is ahead of the node's clock."""
        return age < -2 * self.ahead

    def too_old(self, age: float) -> bool:
        """Whether a node refuses the key because of its age."""
        return age > self.largest
