"""Where the metrics and arrays of a record stand in one vector of reals, and the mean of such vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg import checks
from fedavg.errors import DataError, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.adapters.exchange.terms import Record
    from fedavg.adapters.exchange.vectors.layout import ArrayLayout, Arrays

__all__ = ["Mean", "Places"]


@dataclass(frozen=True, slots=True)
class Mean:
    """What a round gives: a weighted mean over the nodes in the sum.

    Args:
        arrays: name to mean.
        metrics: name to mean.
        weight: total weight of the nodes; under noise, the public number of nodes that were asked.
        contributors: ids of the nodes; () for a release of noise alone.
    """

    arrays: Mapping[str, NDArray[np.floating]]
    metrics: Mapping[str, float]
    weight: int
    contributors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where each real of a record stands: the metrics by name, and then the arrays by name.

    Args:
        record: what is carried.
        layout: the carried arrays.

    Example:
        >>> from fedavg import FixedPoint
        >>> from fedavg.adapters.exchange import Record
        >>> from fedavg.adapters.exchange.vectors.layout import ArrayLayout
        >>> record = Record(FixedPoint(1.0, 16, rounding="nearest"), metrics={"loss": 8.0})
        >>> at = Places(record, ArrayLayout.of({"w": np.zeros(2)}))
        >>> at.gathered({"w": np.array([3.0, 4.0])}, {"loss": 2.0}, {"w": np.ones(2)})
        array([2., 2., 3.])
        >>> at.parts
        (("metric 'loss'", slice(0, 1, None), 8.0), ("array 'w'", slice(1, 3, None), 1.0))
    """

    record: Record
    layout: ArrayLayout

    @property
    def reals(self) -> int:
        """Number of reals: metrics and coordinates of arrays."""
        return len(self.record.metrics) + self.layout.size

    @property
    def parts(self) -> tuple[tuple[str, slice, float], ...]:
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

    def gathered(
        self, arrays: Arrays, metrics: Mapping[str, object], reference: Arrays
    ) -> NDArray[np.float64]:
        """One vector of a node's metrics and arrays, or of the arrays' differences to the server's.

        Raises:
            PlanError: an array is missing, has another shape or type, or is none of the server's.
            DataError: a metric is missing, or is no number.
        """
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
        return values

    def mean(
        self,
        reals: NDArray[np.float64],
        weight: int,
        contributors: tuple[int, ...],
        reference: Arrays,
    ) -> Mean:
        """The mean as metrics and arrays.

        Args:
            reals: float64[reals], the mean of `gathered`.
            weight: see `Mean`.
            contributors: see `Mean`.
            reference: the server's arrays.
        """
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
