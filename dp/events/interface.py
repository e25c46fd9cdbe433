"""The interface of an event for accountants, and the relations that define neighbouring data sets.

A new mechanism is one class with the method `cost`; no other part of this package needs to know it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from dp.losses import Cost, Pair

    Divergence = Callable[[float, NDArray[np.float64]], NDArray[np.float64]]

__all__ = ["Event", "NeighboringRelation", "Sampling"]


class NeighboringRelation(Enum):
    """The pairs of data sets that an adversary must not distinguish.

    Example:
        >>> from dp import Accountant, GaussianEvent
        >>> for relation in NeighboringRelation:  # exchanging a client moves a sum twice as far
        ...     one = Accountant(relation).compose(GaussianEvent(4.0))
        ...     print(relation.value, round(one.epsilon(1e-5).high, 2))
        add_remove 0.93
        replace_one 1.99
    """

    ADD_REMOVE = "add_remove"
    """One client is present or absent."""
    REPLACE_ONE = "replace_one"
    """One client's data is exchanged for other data; the number of clients is public."""


@runtime_checkable
class Event(Protocol):
    """One release: a hashable value that knows its cost.

    Two equal events must have the same cost, since an accountant counts them instead of storing each. Use a
    frozen dataclass.

    Example:
        >>> import math
        >>> from dataclasses import dataclass
        >>> from dp import Accountant, Cost
        >>> @dataclass(frozen=True)
        ... class Answer:  # to a yes-or-no question, true with probability 3/4
        ...     def cost(self, relation):
        ...         return Cost(pure=math.log(3))
        >>> isinstance(Answer(), Event), round(Accountant().compose(Answer(), 2).epsilon(0).high, 4)
        (True, 2.1972)
    """

    def cost(self, relation: NeighboringRelation) -> Cost:
        """Return the cost of this release, by a theorem.

        Args:
            relation: neighbouring relation of data sets.

        Raises:
            UnsupportedEventError: no theorem covers the event under this relation.
        """
        ...


@runtime_checkable
class Sampling(Protocol):
    """A way of drawing cohorts, and its effect on the cost of a release.

    Noise multipliers and distances are in clip norms.

    Example:
        >>> from dp import FixedSizeSampling, NoSampling, PoissonSampling
        >>> ways = NoSampling(), PoissonSampling(0.25), FixedSizeSampling(5, 100)
        >>> [f"{way.exposure:g}" for way in ways if isinstance(way, Sampling)]
        ['1', '0.25', '0.05']
    """

    @property
    def exposure(self) -> float:
        """Probability that a given client takes part."""
        ...

    @property
    def failure(self) -> float:
        """Probability of a draw that the other methods do not cover."""
        ...

    def gaussian(self, noise_multiplier: float, relation: NeighboringRelation) -> Pair:
        """Return the dominating pair of a sum with Gaussian noise.

        Raises:
            UnsupportedEventError: no theorem covers it under this relation.
        """
        ...

    def mixture(self, relation: NeighboringRelation) -> tuple[float, float]:
        """Return the rate q and the distance d of a dominating pair of a sum with any symmetric noise N.

        The pair is (1−q)·N + q·(N moved by d) against N.  It must be sound for each noise whose curves grow
        with the distance and are those of their mirror images.

        Raises:
            UnsupportedEventError: no theorem covers it under this relation.
        """
        ...

    def renyi(self, divergence: Divergence, relation: NeighboringRelation) -> NDArray[np.float64]:
        """Return the Rényi curve of a release that is known by its divergences only.

        Args:
            divergence: of two sums at this distance in clip norms, at these orders.
            relation: neighbouring relation of data sets.

        Raises:
            UnsupportedEventError: no theorem covers it under this relation.
        """
        ...
