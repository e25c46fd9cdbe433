"""A committee that is drawn from all clients: how many of its members may be corrupt, and who they are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.errors import PlanError
from secagg import SecAggError
from secagg.committee import drawn_corrupt, drawn_members
from secagg.params.derivation import rounded_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Draw"]

_SECURITY_BITS = 40
_STEP = 1.1


@dataclass(frozen=True, slots=True)
class Draw:
    """Which clients are members: the first ones by a hash of the value, their ids and their identities.

    Args:
        value: what the draw depends on, and nobody could choose; 16 bytes or more.
        candidates: number of all clients.
        corrupt_rate: largest share of them that may be corrupt.

    Raises:
        PlanError: the value is too short, or there are fewer than three candidates.

    Example:
        >>> draw = Draw("drand round 4711: 6e5f…", 1000, 0.1)
        >>> [draw.corrupt_members(members) for members in (20, 50, 200)]
        [15, 24, 49]
    """

    value: str
    candidates: int
    corrupt_rate: float

    def __post_init__(self) -> None:
        if len(self.value.encode()) < 16:
            raise PlanError(
                f"drawn takes 16 characters or more, not {len(self.value)}: a shorter value can be guessed "
                "before the clients are enrolled"
            )
        if self.candidates < 3:
            raise PlanError(
                f"candidates is the number of all clients, from whom the committee is drawn, and not "
                f"{self.candidates}"
            )

    @property
    def corrupt(self) -> int:
        """The largest number of corrupt clients among the candidates."""
        return rounded_up(self.corrupt_rate, self.candidates)

    def corrupt_members(self, members: int) -> int:
        """The number of corrupt members to allow for: more are drawn once in 2^40 draws at most."""
        if members > self.candidates:
            raise PlanError(
                f"a committee of {members} cannot be drawn from {self.candidates} clients: take fewer members"
            )
        return _tail(self.candidates, self.corrupt, members)

    def check(self, members: int, allows: Callable[[int], object]) -> None:
        """Refuse a committee that is too small for so many corrupt members.

        Args:
            members: size of the committee.
            allows: size of a committee → anything; it raises an error of secagg where none of this size
                exists.

        Raises:
            PlanError: with the numbers, and the size from which on there are committees, if there is one.
        """
        try:
            allows(members)
        except SecAggError as error:
            larger, found = members, ""
            while not found and larger < self.candidates:
                larger = min(self.candidates, max(larger + 1, int(larger * _STEP)))
                try:
                    allows(larger)
                except SecAggError:
                    continue
                found = f"; committee={larger} is large enough"
            raise PlanError(
                f"of {self.candidates} clients {self.corrupt} may be corrupt, and a draw of {members} has up "
                f"to {self.corrupt_members(members)} of them, but once in 2^{_SECURITY_BITS}: too many for a "
                f"committee of this size ({error}){found or '; name the members, or enrol more clients'}"
            ) from error

    def check_population(self, size: int) -> None:
        """Refuse another number of clients than the draw is from.

        Raises:
            PlanError: with both numbers.
        """
        if size != self.candidates:
            raise PlanError(
                f"candidates={self.candidates}, and {size} clients are enrolled: the number of corrupt "
                f"members follows from it, so that both must be the same: say candidates={size}"
            )

    def members(self, clients: Mapping[int, bytes], count: int) -> tuple[int, ...]:
        """The ids of the members.

        Args:
            clients: id to identity of all clients.
            count: size of the committee.

        Raises:
            PlanError: there are not as many clients as was said, and the bound would be another.
        """
        self.check_population(len(clients))
        return drawn_members(clients, count, self.value.encode())

    def check_members(self, clients: Mapping[int, bytes], found: Iterable[int]) -> None:
        """Refuse a committee of others than were drawn.

        Raises:
            PlanError: the members are others.
        """
        given = tuple(sorted(found))
        if given != self.members(clients, len(given)):
            raise PlanError(
                "the members of the committee are not those that were drawn from these clients: every party "
                "draws them itself"
            )

    def __str__(self) -> str:
        return (
            f"drawn from {self.candidates} clients, of whom at most {self.corrupt} are corrupt, by a value "
            f"that nobody could choose ({self.value!r}); more corrupt members are drawn once in "
            f"2^{_SECURITY_BITS} draws at most."
        )


@functools.lru_cache(maxsize=256)
def _tail(candidates: int, corrupt: int, members: int) -> int:
    return drawn_corrupt(candidates, corrupt, members, security_bits=_SECURITY_BITS)
