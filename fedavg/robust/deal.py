"""The public deal of members to groups: nobody chooses it, and each member checks its own group."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["dealt", "group_of", "group_sizes"]


def group_sizes(members: int, groups: int) -> tuple[int, ...]:
    """The sizes of the groups, the larger ones first.

    Example:
        >>> group_sizes(10, 4)
        (3, 3, 2, 2)
    """
    small, larger = divmod(members, groups)
    return (small + 1,) * larger + (small,) * (groups - larger)


@functools.lru_cache(maxsize=8)
def dealt(members: tuple[int, ...], groups: int, step: int) -> tuple[tuple[int, ...], ...]:
    """The groups of one step: they follow from the members' ids and the step, in the order of a public hash.

    They change from step to step, so that no member is always in a group with the same others.

    Args:
        members: the ids of all enrolled members; their order does not matter.
        groups: number of groups.
        step: index of the step, from 0.

    Returns:
        The ids of each group, in order; the sizes are those of `group_sizes`.

    Example:
        >>> found = dealt((1, 2, 3, 4, 5), 2, 0)
        >>> [len(group) for group in found], sorted(found[0] + found[1])
        ([3, 2], [1, 2, 3, 4, 5])
    """
    # In the order of a hash, which is the same in every version of every library.
    order = sorted(members, key=lambda member: _place(member, groups, step))
    found: list[tuple[int, ...]] = []
    for size in group_sizes(len(members), groups):
        found.append(tuple(sorted(order[:size])))
        order = order[size:]
    return tuple(found)


def group_of(member: int, members: Sequence[int], groups: int, step: int) -> int:
    """The group of one member in a step.

    Raises:
        LocalProtocolError: the member is not enrolled.

    Example:
        >>> first, second = dealt((1, 2, 3, 4, 5), 2, 0)
        >>> group_of(first[0], (1, 2, 3, 4, 5), 2, 0), group_of(second[0], (1, 2, 3, 4, 5), 2, 0)
        (0, 1)
    """
    for number, group in enumerate(dealt(tuple(members), groups, step)):
        if member in group:
            return number
    raise LocalProtocolError(f"member {member} is not enrolled, and so is in no group")


def _place(member: int, groups: int, step: int) -> bytes:
    return hashlib.sha256(f"fedavg groups {groups} {step} {member}".encode()).digest()
