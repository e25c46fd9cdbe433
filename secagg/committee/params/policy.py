"""What a client or a member requires of a committee's parameters before it takes part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.committee.params.params import SMALLEST_SUM
from secagg.errors import UnsafeParametersError
from secagg.guards.checks import number, whole

if TYPE_CHECKING:
    from secagg.committee.params.params import CommitteeParams

__all__ = ["CommitteePolicy"]


@dataclass(frozen=True, slots=True)
class CommitteePolicy:
    """A party's own requirements; `CommitteeParams` refuses only what is unsafe under its stated numbers.

    The party that chooses the parameters states how many members and clients are corrupt, and may state too
    few. A client or member that takes parameters from the server must not believe these numbers: each has a
    floor here. Shares are of the committee's members, whose identities the party knows beforehand.

    Args:
        min_corrupt_share: the parameters must tolerate this share of corrupt members, rounded down.
        min_threshold_share: their threshold must be at least this share of the members, rounded down.
        corrupt_clients: the parameters must tolerate so many corrupt clients.
        min_clients: smallest number of inputs in a sum.

    Raises:
        UnsafeParametersError: a share is outside [0, 1), or `min_clients` below 3.
        LocalProtocolError: a value has another type.

    Example:
        >>> from secagg.committee import CommitteeParams
        >>> lone = CommitteeParams.for_committee(
        ...     50, corrupt=0, absent=24, vector_length=1, max_clients=1000, max_abs=21, min_clients=3,
        ...     threshold=1,
        ... )
        >>> CommitteePolicy().check(lone)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        secagg.errors.UnsafeParametersError: corrupt=0 is offered, and this party asks for at least 5 ...
    """

    min_corrupt_share: float = 0.1
    min_threshold_share: float = 0.25
    corrupt_clients: int = 1
    min_clients: int = SMALLEST_SUM

    def __post_init__(self) -> None:
        for name in ("min_corrupt_share", "min_threshold_share"):
            share = number(name, getattr(self, name))
            if not 0 <= share < 1:
                raise UnsafeParametersError(f"{name} must lie in [0, 1), not {share!r}")
            object.__setattr__(self, name, share)
        for name, least in (("corrupt_clients", 0), ("min_clients", SMALLEST_SUM)):
            count = whole(name, getattr(self, name))
            if count < least:
                raise UnsafeParametersError(f"{name} must be at least {least}, not {count}")
            object.__setattr__(self, name, count)

    def check(self, params: CommitteeParams) -> None:
        """Raise UnsafeParametersError unless the parameters meet every requirement."""
        members = params.n_members
        for name, floor in (
            ("corrupt", _part(self.min_corrupt_share, members)),
            ("threshold", _part(self.min_threshold_share, members)),
            ("corrupt_clients", self.corrupt_clients),
            ("min_clients", self.min_clients),
        ):
            offered = whole(name, getattr(params, name))
            if offered < floor:
                raise UnsafeParametersError(
                    f"{name}={offered} is offered, and this party asks for at least {floor} (of {members} "
                    "members); refuse the session, or give a CommitteePolicy that accepts it"
                )


def _part(share: float, members: int) -> int:
    # 0.29 · 100 is just below 29 in binary; the share that was written is meant.
    return math.floor(share * members + 1e-9)
