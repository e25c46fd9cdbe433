"""The integers of one node's record: weight, metrics and arrays as coordinates of one vector, and the mean.

A node's values are multiplied by its share w ÷ cap before they are rounded, and w itself is one more
coordinate.  The sum of the vectors then gives the weighted mean, and nothing is weighted by a number that the
server sees.  Rounding moves the mean by at most n · cap ÷ W halves of a grid unit for total weight W: a cap
far above the usual weight costs precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedavg import checks
from fedavg.adapters.exchange.vectors.layout import ArrayLayout
from fedavg.adapters.exchange.vectors.places import Places
from fedavg.errors import (
    CapacityError,
    DataError,
    NonFiniteError,
    PlanError,
    RoundAbortedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.adapters.exchange.terms import Record, Terms
    from fedavg.adapters.exchange.vectors.costs import Cost
    from fedavg.adapters.exchange.vectors.layout import Arrays
    from fedavg.adapters.exchange.vectors.places import Mean

__all__ = ["Coordinates", "Vectors", "carried"]


class Vectors(Protocol):
    """How one kind of record becomes a vector of a sum: `Coordinates`, or with noise `NoisyCoordinates`.

    Example:
        >>> from fedavg import FixedPoint
        >>> from fedavg.adapters.exchange import Record
        >>> record = Record(FixedPoint(1.0, 16, rounding="nearest"))
        >>> made: Vectors = Coordinates(record, ArrayLayout.of({"w": np.zeros(2)}), cap=100, weight="n")
        >>> made.length, made.cost
        (3, None)
    """

    @property
    def layout(self) -> ArrayLayout:
        """The carried arrays."""
        ...

    @property
    def length(self) -> int:
        """Length of the vector of integers."""
        ...

    @property
    def cost(self) -> Cost | None:
        """What each answer of a node costs its privacy ledger; None without noise, where no ledger helps."""
        ...

    def encode(
        self, arrays: Arrays, metrics: Mapping[str, object], reference: Arrays
    ) -> NDArray[np.int64]:
        """The integers of one node, before noise."""
        ...

    def sent(self, integers: NDArray[np.int64], asked: int) -> NDArray[np.int64]:
        """What a node sends into a sum over so many nodes: its integers, and its share of the noise."""
        ...

    def released(
        self,
        total: NDArray[np.int64],
        contributors: tuple[int, ...],
        asked: int,
        reference: Arrays,
    ) -> Mean:
        """The mean that the server releases, with the noise that the server adds."""
        ...

    def without_sum(self, asked: int, reference: Arrays) -> Mean | None:
        """What the server releases in a round without a sum; None for nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where each number of a record stands in the vector that is summed.

    Args:
        record: what is carried, and in which ranges.
        layout: the carried arrays.
        cap: largest weight.
        weight: name of the weight.

    Example:
        >>> from fedavg import FixedPoint
        >>> from fedavg.adapters.exchange import Record
        >>> record = Record(FixedPoint(1.0, 16, rounding="nearest"), metrics={"loss": 8.0}, relative=False)
        >>> at = Coordinates(record, ArrayLayout.of({"w": np.zeros(2)}), cap=100, weight="n")
        >>> one = at.encode({"w": np.array([0.5, 0.0])}, {"loss": 2.0, "n": 30}, {})
        >>> two = at.encode({"w": np.array([0.0, 1.0])}, {"loss": 4.0, "n": 90}, {})
        >>> mean = at.decode(one + two, (3, 4), {"w": np.zeros(2)})
        >>> mean.weight, round(mean.metrics["loss"], 3), mean.arrays["w"].round(3)
        (120, 3.5, array([0.125, 0.75 ]))
    """

    record: Record
    layout: ArrayLayout
    cap: int
    weight: str

    @classmethod
    def of(cls, terms: Terms, kind: str, arrays: Arrays) -> Coordinates:
        """The coordinates of a kind of record, by the arrays that the server sends.

        Raises:
            PlanError: the agreement has no such kind, or an array cannot be summed.
        """
        record = terms.record(kind)
        return cls(record, carried(record, kind, arrays), terms.max_weight, terms.weight)

    @property
    def cost(self) -> None:
        """None: exact means have no ε."""
        return

    @property
    def places(self) -> Places:
        """Where metrics and arrays stand among the reals."""
        return Places(self.record, self.layout)

    @property
    def length(self) -> int:
        """Length of the vector of integers."""
        return 1 + self.record.encoding.encoded_length(self.places.reals)

    def encode(
        self, arrays: Arrays, metrics: Mapping[str, object], reference: Arrays
    ) -> NDArray[np.int64]:
        """The integers of one node.

        Args:
            arrays: the node's arrays; those that are not carried are left out.
            metrics: the node's metrics, with the weight among them; those not listed are left out.
            reference: the server's arrays, from which differences are taken if the record is relative.

        Returns:
            int64[length].

        Raises:
            PlanError: an array is missing, has another shape or type, or is none of the server's.
            DataError: a metric or the weight is missing, or is no number.
            CapacityError: a value is beyond its range; the message names it.
            NonFiniteError: a value is NaN or infinite.
        """
        weight = self._weight(metrics)
        places = self.places
        values = places.gathered(arrays, metrics, reference)
        encoding = self.record.encoding
        for name, place, limit in places.parts:
            self._admit(name, values[place], limit)
            values[place] *= encoding.clip * (weight / self.cap) / limit
        # The factors were rounded, so that a value at the end of its range may be a digit beyond.
        np.clip(values, -encoding.clip, encoding.clip, out=values)
        return np.concatenate(([np.int64(weight)], encoding.encode(values)))

    def _weight(self, metrics: Mapping[str, object]) -> int:
        if self.weight not in metrics:
            raise DataError(
                f"the reply has no metric {self.weight!r}, by which the agreement weighs nodes; add it"
            )
        given = metrics[self.weight]
        weight = checks.data.finite(repr(self.weight), given)
        if weight != int(weight) or weight < 0:
            raise DataError(f"{self.weight!r} must be a whole number, not {given!r:.40}")
        if weight > self.cap and self.record.beyond == "refuse":
            raise CapacityError(
                f"{self.weight!r} is above the agreement's max_weight={self.cap}; raise it there, or let "
                'nodes clip (beyond="clip")'
            )
        return min(int(weight), self.cap)

    def _admit(self, name: str, part: NDArray[np.float64], limit: float) -> None:
        """Refuse or clip values beyond their range, in place."""
        if not part.size or (-limit <= float(part.min()) and float(part.max()) <= limit):
            return
        if not bool(np.isfinite(part).all()):
            raise NonFiniteError(f"{name} holds NaN or infinity; lower the learning rate")
        if self.record.beyond == "refuse":
            raise CapacityError(
                f"{name} has a value of {float(np.abs(part).max()):.4g}, beyond its range ±{limit:g}; raise "
                'the range in the agreement, or let nodes clip (beyond="clip")'
            )
        np.clip(part, -limit, limit, out=part)

    def decode(
        self, total: NDArray[np.int64], contributors: tuple[int, ...], reference: Arrays
    ) -> Mean:
        """The mean from a sum of `encode`.

        Args:
            total: int64[length].
            contributors: ids of the nodes in the sum.
            reference: the server's arrays.

        Raises:
            RoundAbortedError: the total weight is zero.
        """
        weight = int(total[0])
        if weight <= 0:
            raise RoundAbortedError(
                "the nodes in the sum have no weight, so that it has no mean: their apps failed, or their "
                "values do not fit the agreement. Each node's own log says why"
            )
        encoding, places = self.record.encoding, self.places
        reals = encoding.decode(total[1:], places.reals)
        for _, place, limit in places.parts:
            reals[place] *= limit * (self.cap / weight) / encoding.clip
        return places.mean(reals, weight, contributors, reference)

    def sent(self, integers: NDArray[np.int64], asked: int) -> NDArray[np.int64]:
        """The integers themselves."""
        del asked
        return integers

    def released(
        self,
        total: NDArray[np.int64],
        contributors: tuple[int, ...],
        asked: int,
        reference: Arrays,
    ) -> Mean:
        """See `decode`."""
        del asked
        return self.decode(total, contributors, reference)

    def without_sum(self, asked: int, reference: Arrays) -> None:
        """None: a round without a sum has no mean."""
        del asked, reference


def carried(record: Record, kind: str, arrays: Arrays) -> ArrayLayout:
    """The layout of the server's arrays that a record carries.

    Raises:
        PlanError: an array cannot be summed, or the record would be empty.
    """
    layout = ArrayLayout.of(arrays, record.carries)
    if not layout.size and not record.metrics:
        raise PlanError(
            f"record {kind!r} carries nothing: the server sends no array that fits "
            f"{', '.join(map(repr, record.arrays))}, and the agreement lists no metric"
        )
    return layout
