"""Means with noise for differential privacy: the unit that they protect is all that one node holds.

A node shortens its vector to the clip norm, rounds it, and adds its share of the noise before it encrypts.
All nodes weigh the same, and the mean divides by the number of nodes that were asked, which is public; a node
without a record sends noise alone. The shares, the ring, the sensitivity and both epsilons are those of a
`fedavg` plan (`ResolvedPlan`, docs/privacy.md §4.4) in which no draw of a cohort hides a node: an engine's
server chooses the nodes and knows them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dp import Accountant, DpError, NoSampling, l2_clip
from fedavg.adapters.exchange.vectors.coordinates import carried
from fedavg.adapters.exchange.vectors.costs import Cost
from fedavg.adapters.exchange.vectors.places import Places
from fedavg.errors import PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.plan.feasibility import check_drawable, honest_fraction
from fedavg.plan.plan import Budget, Plan
from fedavg.plan.resolution import ResolvedPlan
from fedavg.privacy.noise import guaranteed_variance
from fedavg.privacy.sampling import CohortBounds, PoissonCohort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fedavg.adapters.exchange.terms import Record, Terms
    from fedavg.adapters.exchange.vectors.layout import ArrayLayout, Arrays
    from fedavg.adapters.exchange.vectors.places import Mean
    from fedavg.privacy.noise import Noise

__all__ = ["NoisyCoordinates", "resolved"]


def noise_of(record: Record) -> Noise:
    """The noise of a record that has one.

    Raises:
        PlanError: it has none.
    """
    if record.noise is None:
        raise PlanError("this record has no noise")
    return record.noise


def resolved(terms: Terms, record: Record, nodes: int, length: int) -> ResolvedPlan:
    """Every number that follows from the noise of a record, as for a plan of `fedavg`.

    Args:
        terms: the terms.
        record: one of their records, with noise.
        nodes: number of nodes of the agreement.
        length: length of the encoded vector.

    Raises:
        GridError, dp.UnsupportedEventError: the noise cannot be drawn, or accounted for, on this grid.
        PlanError: the parts do not fit together.
    """
    chosen = terms.sum
    bounds = CohortBounds(terms.min_cohort, nodes, 0.0)
    parts = PoissonCohort(1.0), record.encoding, noise_of(record), chosen, LocalTraining(), FedAvg()
    found = ResolvedPlan(
        plan=Plan(*parts, Budget(delta=terms.delta)),
        num_clients=nodes,
        vector_length=length,
        num_rounds=terms.max_rounds,
        max_weight=1,
        bounds=bounds,
        honest_fraction=honest_fraction(chosen, bounds, 0),
        server_fraction=honest_fraction(chosen, bounds, 1),
    )
    check_drawable(found)
    try:  # a draw of nothing checks the range; the server adds most where a round has no sum
        noise_of(record).sample(found.server_stddev(nodes, 0), 0)
    except DpError as error:
        raise PlanError(
            f"noise alone, for a round without a sum, cannot be drawn ({error}): choose other bits"
        ) from error
    return found


@dataclass(frozen=True, slots=True)
class NoisyCoordinates:
    """The vector of a record with noise: clipped, without a weight of its own.

    Args:
        record: what is carried.
        layout: the carried arrays.
        noise: its noise.
        resolution: the derived numbers.

    Example:
        >>> from fedavg import DistributedGaussian, FixedPoint, OneShot
        >>> from fedavg.adapters.exchange import Record, Terms
        >>> from fedavg.adapters.exchange.vectors.costs import epsilons
        >>> committee = OneShot(committee=6, corrupt_members=1, absent_members=1)
        >>> record = Record(FixedPoint(1.0, 16), noise=DistributedGaussian(2.0), beyond="clip")
        >>> terms = Terms(committee, {"train": record}, max_weight=1)
        >>> at = NoisyCoordinates.of(terms, "train", 10, {"w": np.zeros(1000)})
        >>> sent = at.sent(at.encode({"w": np.full(1000, 7.0)}, {}, {"w": np.zeros(1000)}), asked=10)
        >>> print(epsilons({at.cost: 1}, terms.delta))
        epsilon 1.993 towards those who see the means, and 2.943 towards the server, at delta 1e-05
    """

    record: Record
    layout: ArrayLayout
    noise: Noise
    resolution: ResolvedPlan

    @classmethod
    def of(cls, terms: Terms, kind: str, nodes: int, arrays: Arrays) -> NoisyCoordinates:
        """The coordinates of a kind of record, by the arrays that the server sends.

        Raises:
            PlanError, GridError, dp.UnsupportedEventError: see `carried` and `resolved`.
        """
        record = terms.record(kind)
        layout = carried(record, kind, arrays)
        length = record.encoding.encoded_length(Places(record, layout).reals)
        found = resolved(terms, record, nodes, length)
        return cls(record, layout, noise_of(record), found)

    @property
    def length(self) -> int:
        """Length of the vector of integers."""
        return self.resolution.encoded_length

    @property
    def _places(self) -> Places:
        return Places(self.record, self.layout)

    @property
    def cost(self) -> Cost:
        """The cost of one answer; no sampling of nodes is counted, since the server chooses them."""
        resolution, noise = self.resolution, self.noise
        sensitivity, shares = resolution.sensitivity, resolution.shares
        event = noise.event(sensitivity, shares, NoSampling())
        if not noise.distributed:
            return Cost(event, resolution.failure(), None)
        # As `ResolvedPlan.server_epsilon`: the noise of the other honest survivors, less what is held back.
        part = resolution.server_fraction / resolution.honest_fraction
        visible = guaranteed_variance(noise, sensitivity) * part - noise.held_back
        if visible <= 0:
            raise PlanError(
                "the shares are too small for this noise; raise the bits of the encoding"
            )
        seen = noise.at(math.sqrt(visible) / sensitivity.l2)
        return Cost(event, resolution.failure(), seen.event(sensitivity, shares, NoSampling()))

    def check(self) -> None:
        """Raise an error of `dp` if no theorem covers the noise, for either observer."""
        cost, delta = self.cost, self.resolution.plan.budget.delta
        for event in (cost.release, cost.server or cost.release):
            Accountant().compose(event).quick_epsilon(delta)

    def encode(
        self, arrays: Arrays, metrics: Mapping[str, object], reference: Arrays
    ) -> NDArray[np.int64]:
        """The integers of one node: never longer than the sensitivity, for any record.

        A value at the end of its range, alone, has the clip norm. A vector with NaN or infinity becomes
        zeros.

        Returns:
            int64[length].

        Raises:
            PlanError: an array is missing, has another shape or type, or is none of the server's.
            DataError: a metric is missing, or is no number.
        """
        places, encoding = self._places, self.record.encoding
        values = places.gathered(arrays, metrics, reference)
        with np.errstate(over="ignore"):  # infinity makes zeros
            for _, place, limit in places.parts:
                values[place] *= encoding.clip / limit
        return encoding.encode(l2_clip(values, encoding.clip))

    def sent(self, integers: NDArray[np.int64], asked: int) -> NDArray[np.int64]:
        """The integers with this node's share of the noise; the server's noise is added by the server."""
        noise = self.noise
        if not noise.distributed:
            return integers
        return integers + noise.sample(self.resolution.share_stddev(asked), integers.size)

    def released(
        self,
        total: NDArray[np.int64],
        contributors: tuple[int, ...],
        asked: int,
        reference: Arrays,
    ) -> Mean:
        """The mean, with what the server adds: the shares of nodes that dropped out, or central noise.

        It divides by the number of nodes that were asked, for any number in the sum.
        """
        stddev = self.resolution.server_stddev(asked, len(contributors))
        noised = total + self.noise.sample(stddev, total.size) if stddev else total
        places, encoding = self._places, self.record.encoding
        reals = encoding.decode(noised, places.reals)
        for _, place, limit in places.parts:
            reals[place] *= limit / encoding.clip / asked
        return places.mean(reals, asked, contributors, reference)

    def without_sum(self, asked: int, reference: Arrays) -> Mean:
        """Noise alone: an unchanged model would say that the round failed (docs/privacy.md §14)."""
        return self.released(np.zeros(self.length, np.int64), (), asked, reference)
