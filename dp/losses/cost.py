"""The cost of one release by a theorem, in the forms that an accountant can add up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dp.checks import assign, fraction, is_a, number, real_array
from dp.errors import InvalidParameterError
from dp.losses.pairs import Pair
from dp.losses.renyi import ORDERS, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Cost"]


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """The cost of one release, which all the fields state together.

    Args:
        pairs: dominating pairs; the release costs at most as much as the release of all of them.
        curve: float64[len(ORDERS)], an upper bound on the Rényi divergence in either order of the two
            neighbours, at each of `dp.ORDERS`; infinite where nothing is known; None for no curve.
        slack: A, where the true δ(ε) is at most e^A·δ(ε − 2A) of the rest.
        failure: probability, under either neighbour, of an event outside the theorems.
        shared: weight of a part outside the theorems, when both neighbours' laws are mixtures with the same
            weights of a part inside the theorems and of this one.
        exposed: probability that the release reveals the client's part.
        pure: an ε at which the release is private with δ = 0; infinite if none is known. Without pairs and
            without a curve, the Rényi curve that follows from it is taken.
        least: pairs that some data attain in every release, up to `least_slack`; None for what `pairs` attain
            by themselves.
        least_slack: B, where the true δ(ε) of such data is at least e^(−B)·δ(ε + 2B) of those pairs.

    Raises:
        InvalidParameterError: a value has the wrong type, shape or range, or there is slack without pairs and
            without a curve.

    Example:
        >>> from dp import MixturePair
        >>> Cost(pairs=(MixturePair(0.1, 2.0),)).failure
        0.0
    """

    pairs: tuple[Pair, ...] = ()
    curve: NDArray[np.float64] | None = None
    slack: float = 0.0
    failure: float = 0.0
    shared: float = 0.0
    exposed: float = 0.0
    pure: float = math.inf
    least: tuple[Pair, ...] | None = None
    least_slack: float = 0.0

    def __post_init__(self) -> None:
        for name, pairs in (("pairs", self.pairs), ("least", self.least or ())):
            if not is_a(pairs, tuple) or not all(is_a(pair, Pair) for pair in pairs):
                raise InvalidParameterError(f"{name} must be a tuple of pairs (see dp.Pair)")
        if self.curve is not None:
            curve = real_array("curve", self.curve)
            if curve.shape != ORDERS.shape or not (curve >= 0).all():
                raise InvalidParameterError(
                    f"curve must be {len(ORDERS)} numbers ≥ 0, one for each of dp.ORDERS; "
                    f"it has shape {curve.shape}"
                )
            assign(self, curve=frozen(curve))  # a copy, which an accountant keeps
        slack, pure = number("slack", self.slack), number("pure", self.pure)
        least_slack = number("least_slack", self.least_slack)
        # Each by itself: min(0.0, nan) is 0.0, and a cost with pure = NaN would count as nothing.
        if not (slack >= 0 and pure >= 0 and least_slack >= 0):
            raise InvalidParameterError(
                "slack, pure and least_slack must be at least 0, not "
                f"{slack!r}, {pure!r} and {least_slack!r}"
            )
        if self.curve is None and not self.pairs:
            if 0 < pure < math.inf:
                assign(self, curve=frozen(_pure_curve(pure)))
            elif slack > 0:
                raise InvalidParameterError(
                    f"slack {slack!r} enlarges what pairs or a curve cost; state one of them"
                )
        assign(
            self,
            slack=slack,
            pure=pure,
            least_slack=least_slack,
            failure=fraction("failure", self.failure),
            shared=fraction("shared", self.shared),
            exposed=fraction("exposed", self.exposed),
        )


def _pure_curve(epsilon: float) -> NDArray[np.float64]:
    """The Rényi curve of any release that is (ε, 0)-private (Bun and Steinke 2016, proposition 3.3)."""
    with np.errstate(over="ignore"):
        return np.minimum(epsilon, ORDERS * epsilon / 2 * epsilon)
