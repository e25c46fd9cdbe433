"""The integers of one node's record: weight, metrics and arrays as coordinates of one vector, and the mean.

A node's values are multiplied by its share w ÷ cap before they are rounded, and w itself is one more
coordinate.  The sum of the vectors then gives the weighted mean, and nothing is weighted by a number that the
server sees.  Rounding moves the mean by at most n · cap ÷ W halves of a grid unit for total weight W: a cap
far above the usual weight costs precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg import checks
from fedavg.adapters.exchange.layout import ArrayLayout
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

    from fedavg.adapters.exchange.layout import Arrays
    from fedavg.adapters.exchange.terms import Record, Terms

__all__ = ["Coordinates", "Mean"]


@dataclass(frozen=True, slots=True)
class Mean:
    """What a round gives: a weighted mean over the nodes in the sum.

    Args:
        arrays: name to mean.
        metrics: name to mean.
        weight: total weight of the nodes.
        contributors: ids of the nodes.
    """

    arrays: Mapping[str, NDArray[np.floating]]
    metrics: Mapping[str, float]
    weight: int
    contributors: tuple[int, ...]


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
        layout = ArrayLayout.of(arrays, record.carries)
        if not layout.size and not record.metrics:
            raise PlanError(
                f"record {kind!r} carries nothing: the server sends no array that fits "
                f"{', '.join(map(repr, record.arrays))}, and the agreement lists no metric"
            )
        return cls(record, layout, terms.max_weight, terms.weight)

    @property
    def reals(self) -> int:
        """Number of reals: metrics and coordinates of arrays."""
        return len(self.record.metrics) + self.layout.size

    @property
    def length(self) -> int:
        """Length of the vector of integers."""
        return 1 + self.record.encoding.encoded_length(self.reals)

    @property
    def _parts(self) -> tuple[tuple[str, slice, float], ...]:
        """Each metric and array with its place and its range."""
        metrics = self.record.metrics
        head = [
            (f"metric {name!r}", slice(at, at + 1), metrics[name])
            for at, name in enumerate(sorted(metrics))
        ]
        return (
            *head,
            *(
                (
                    f"array {name!r}",
                    slice(len(head) + place.start, len(head) + place.stop),
                    self.record.range_of(name),
                )
                for name, place in self.layout.parts
            ),
        )

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
        known = set(self.layout.names)
        if extra := [name for name in arrays if name not in known and self.record.carries(name)]:
            raise PlanError(
                f"array {extra[0]!r} is none of the server's: a sum needs the same arrays from every node; "
                "leave it out of the reply, or out of the agreement (`arrays`)"
            )
        values = np.empty(self.reals)
        listed = sorted(self.record.metrics)
        values[: len(listed)] = [_number(name, metrics) for name in listed]
        values[len(listed) :] = self.layout.flatten(arrays)
        if self.record.relative and self.layout.size:
            values[len(listed) :] -= self.layout.flatten(reference)
        encoding = self.record.encoding
        for name, place, limit in self._parts:
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
            raise RoundAbortedError("the nodes in the sum have no weight, so that it has no mean")
        encoding = self.record.encoding
        reals = encoding.decode(total[1:], self.reals)
        for _, place, limit in self._parts:
            reals[place] *= limit * (self.cap / weight) / encoding.clip
        listed = sorted(self.record.metrics)
        arrays = reals[len(listed) :]
        if self.record.relative and self.layout.size:
            arrays = arrays + self.layout.flatten(reference)
        metrics = {name: float(value) for name, value in zip(listed, reals, strict=False)}
        means = self.layout.unflatten(arrays)
        # In the server's order, for engines whose models are lists of arrays.
        ordered = {name: means[name] for name in reference if name in means}
        return Mean(ordered, metrics, weight, contributors)


def _number(name: str, metrics: Mapping[str, object]) -> float:
    if name not in metrics:
        raise DataError(
            f"the reply has no metric {name!r}, which the agreement sums; add it, or take it out there"
        )
    return checks.data.number(f"metric {name!r}", metrics[name])
