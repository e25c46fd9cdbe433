"""A release of which only its Rényi divergences are known, which the caller must have proven."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dp.checks import assign, at_least, is_a, number, plain_array
from dp.errors import InvalidParameterError, UnsupportedEventError
from dp.events.checks import check_sampling
from dp.events.interface import NeighboringRelation
from dp.events.sampling import NoSampling
from dp.losses.cost import Cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dp.events.interface import Sampling

__all__ = ["RenyiEvent"]


@dataclass(frozen=True, slots=True)
class RenyiEvent:
    """One release that is (α, ε)-Rényi private at each of the orders given (Mironov 2017).

    The claim relies on the given curve, which cannot be checked here.  Between two orders (α−1)·ε is bounded
    by the chord, since it is convex in α and 0 at α = 1; above the largest order nothing is known. Sampling
    amplifies the curve by the bound that holds for every mechanism (Zhu and Wang 2019), which uses all whole
    orders: give as many as are known.

    Args:
        orders: α > 1, increasing.
        epsilons: ε ≥ 0, an upper bound on the Rényi divergence at each order, in either order of the two
            neighbours; infinity means that nothing is known, and the order is left out.
        sampling: sampling scheme of the cohort, if the curve is that of the release without sampling.
        relation: neighbouring relation of the curve; accountants of the other relation refuse it.

    Raises:
        InvalidParameterError: no order has a finite ε, orders do not increase, or the lengths differ.

    Example:
        >>> from dp import Accountant
        >>> orders = range(2, 65)
        >>> gaussian = RenyiEvent(orders, [order / 2 for order in orders])  # noise multiplier 1
        >>> 4.7 < Accountant().compose(gaussian).epsilon(1e-5).high < 4.9
        True
    """

    orders: Sequence[float]
    epsilons: Sequence[float]
    sampling: Sampling = field(default_factory=NoSampling, kw_only=True)
    relation: NeighboringRelation = field(default=NeighboringRelation.ADD_REMOVE, kw_only=True)

    def __post_init__(self) -> None:
        orders = [at_least("an order", order, 1) for order in _listed("orders", self.orders)]
        epsilons = [number("an epsilon", bound) for bound in _listed("epsilons", self.epsilons)]
        if len(orders) != len(epsilons):
            raise InvalidParameterError(
                f"{len(orders)} orders and {len(epsilons)} epsilons: there must be one for each"
            )
        if not all(a < b for a, b in zip((1.0, *orders), orders, strict=False)):
            raise InvalidParameterError("orders must be above 1 and increase")
        if not all(epsilon >= 0 for epsilon in epsilons):
            raise InvalidParameterError(
                "epsilons must be at least 0; infinity says nothing is known"
            )
        known = [pair for pair in zip(orders, epsilons, strict=True) if pair[1] < math.inf]
        if not known:
            raise InvalidParameterError("no order has a finite epsilon, so nothing is known")
        orders, epsilons = zip(*known, strict=True)
        assign(self, orders=orders, epsilons=epsilons, relation=_relation(self.relation))
        check_sampling(self.sampling)

    def cost(self, relation: NeighboringRelation) -> Cost:
        """See Event."""
        if relation is not self.relation:
            raise UnsupportedEventError(
                f"its curve was given for {self.relation.name}, and says nothing under {relation.name}"
            )
        curve = self.sampling.renyi(self.divergence, relation)
        return Cost(curve=curve, failure=self.sampling.failure)

    def divergence(self, distance: float, orders: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002 - the curve is that of the relation's distance
        """An upper bound at any orders; infinite above the largest given order.

        Args:
            distance: not used, because the curve belongs to one relation.
            orders: float64[n], above 1.
        """
        knots = np.append(1.0, self.orders)
        moments = (knots - 1) * np.append(0.0, self.epsilons)
        bound = np.interp(orders, knots, moments, right=np.inf) / (orders - 1)
        return bound * (1 + 1e-14)  # room for the rounding of chords


def _listed(name: str, values: Sequence[float]) -> list[float]:
    """The entries of a list, tuple, range or plain array."""
    if is_a(values, range):
        return list(values)
    if is_a(values, list | tuple):
        return list(values)
    array = plain_array(name, values)
    if array.ndim != 1:
        raise InvalidParameterError(f"{name} must be a list of numbers, not of shape {array.shape}")
    return list(array)


def _relation(relation: NeighboringRelation | str) -> NeighboringRelation:
    """A relation, or the name under which a ledger's file keeps one."""
    try:
        return NeighboringRelation(relation)
    except ValueError as cause:
        raise InvalidParameterError(
            f"relation must be a NeighboringRelation: {relation!r}"
        ) from cause
