"""How a unit's gradient is cut into portions that are shortened by themselves, and how long each may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from fedavg.models.layout import Layout

__all__ = ["Portions"]


@dataclass(frozen=True, slots=True)
class Portions:
    """The parameters of each portion of a gradient.

    If each of L portions is shortened to C/√L, the whole is no longer than √(L·C²/L) = C, for any
    gradients. The portions follow from the model alone.

    Args:
        of: places in the layout of the parameters of each portion; together, each place once.
        places: the coordinates of each parameter.

    Example:
        >>> from torch import nn
        >>> from fedavg.models.layout import Layout
        >>> layout = Layout.of(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)))
        >>> Portions.by_layer(layout).of, Portions.whole(layout).of
        (((0, 1), (2, 3)), ((0, 1, 2, 3),))
    """

    of: tuple[tuple[int, ...], ...]
    places: tuple[slice, ...]

    @classmethod
    def whole(cls, layout: Layout) -> Self:
        """One portion of all parameters."""
        return cls((tuple(range(len(layout.names))),), _places(layout))

    @classmethod
    def by_layer(cls, layout: Layout) -> Self:
        """One portion for each layer: a module's own parameters, such as its weights and its bias."""
        owners: dict[str, list[int]] = {}
        for place, name in enumerate(layout.names):
            owners.setdefault(name.rpartition(".")[0], []).append(place)
        return cls(tuple(map(tuple, owners.values())), _places(layout))

    def share(self, clip: float) -> float:
        """C_l, the longest portion, for a gradient of at most the norm `clip`."""
        return clip / math.sqrt(len(self.of))


def _places(layout: Layout) -> tuple[slice, ...]:
    found, start = list[slice](), 0
    for shape in layout.shapes:
        end = start + math.prod(shape)
        found.append(slice(start, end))
        start = end
    return tuple(found)
