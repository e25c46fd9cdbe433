"""What both ways to add keys share: the parameters of uploads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedavg.sums.interface import SumSpec
    from he import onetime

__all__ = ["Uploads"]


@dataclass(frozen=True, slots=True)
class Uploads:
    """The parameters of a sum, which all roles derive from the plan.

    Args:
        params: the parameters of encryption for a sum.
        keys: the sum of keys that belongs to a sum.
    """

    params: Callable[[SumSpec], onetime.Params]
    keys: Callable[[SumSpec], SumSpec]
