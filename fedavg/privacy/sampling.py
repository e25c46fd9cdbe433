"""Client sampling: samplers draw a round's cohort and state their sampling scheme to the accountant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from dp import FixedSizeSampling, PoissonSampling, random_uniform
from fedavg import checks
from fedavg.errors import PlanError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cohort", "CohortBounds", "DealtCohort", "FixedCohort", "PoissonCohort"]


@dataclass(frozen=True, slots=True)
class CohortBounds:
    """The smallest and largest roster of a round, and the probability of a roster outside.

    Args:
        floor: smallest size; smaller cohorts are skipped.
        cap: largest size; larger cohorts are skipped too, so that a size outside is one event, not two.
        outside: probability per round of a draw below `floor` or above `cap`, for the worse of two
            populations that differ by one client.
    """

    floor: int
    cap: int
    outside: float


class Cohort(Protocol):
    """A client sampler.

    Example:
        >>> for cohort in (PoissonCohort(0.1), FixedCohort(100)):
        ...     print(cohort.expected_size(1000), cohort.scheme(1000))
        100.0 PoissonSampling(rate=0.1)
        100.0 FixedSizeSampling(size=100, dataset_size=1000, enrolled=True)
    """

    independent: ClassVar[bool]
    """Whether the draws of two clients are independent. If they are not, then under differential privacy no
    client's contribution may depend on earlier draws (docs/privacy.md §7)."""

    def expected_size(self, num_clients: int) -> float:
        """The public expected cohort size, which is the divisor under differential privacy."""
        ...

    def bounds(
        self, num_clients: int, floor: int, tail: float, attendance: float = 1.0
    ) -> CohortBounds:
        """Floor and cap such that a roster is outside with probability about `tail` or less.

        A roster is the part of a draw that attends. At least a fraction `attendance` of the clients attends,
        each client independently of its data.
        """
        ...

    def scheme(self, num_clients: int) -> PoissonSampling | FixedSizeSampling:
        """The sampling scheme for this population, for the accountant."""
        ...

    def draw(self, client_ids: Sequence[int]) -> tuple[int, ...]:
        """Draw one round's cohort from operating-system entropy."""
        ...

    def again(self, left: Sequence[int], expected: float) -> tuple[int, ...] | None:
        """Draw a round again from the clients in `left`; None if they are too few for `expected`."""
        ...


class DealtCohort(Cohort, Protocol):
    """A client sampler that knows how many of the drawn clients belong to one block of a model.

    Plans that cut the model into blocks need such a sampler.

    Example:
        >>> def rosters(cohort: DealtCohort, blocks: int) -> tuple[int, int]:
        ...     bounds = cohort.block_bounds(blocks, 1000, floor=3, tail=1e-6, attendance=1.0)
        ...     return bounds.floor, bounds.cap
        >>> rosters(FixedCohort(100), 2), rosters(PoissonCohort(0.1), 2)  # about 50 in each block
        ((25, 75), (19, 88))
    """

    def block_bounds(
        self, count: int, num_clients: int, floor: int, tail: float, attendance: float
    ) -> CohortBounds:
        """Smallest and largest roster of one block.

        Args:
            count: number of blocks B, each dealt ⌊num_clients/B⌋ or ⌈num_clients/B⌉ clients; B ≤ num_clients.
            num_clients: enrolled clients.
            floor: smallest roster of one block that the threat model allows.
            tail: approximate probability, per round, that the roster of any block is outside; a union bound
                divides it among the blocks.
            attendance: least fraction of a draw that attends, see `Cohort.bounds`.

        Returns:
            Floor and cap of every block; `outside` counts all B.
        """
        ...


@register("cohort")
class PoissonCohort(Part, frozen=True, tag="poisson"):
    """A sampler in which every client joins a round with probability `rate`, independently of the others.

    Example:
        >>> PoissonCohort(0.15).expected_size(1000)
        150.0
        >>> len(PoissonCohort(1.0).draw(range(5)))
        5
    """

    rate: float
    independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.positive_fraction("a Poisson cohort's rate", self.rate)

    def scheme(self, num_clients: int) -> PoissonSampling:
        """Poisson sampling does not depend on the population."""
        del num_clients
        return PoissonSampling(self.rate)

    def expected_size(self, num_clients: int) -> float:
        """Rate · num_clients."""
        return self.rate * num_clients

    def bounds(
        self, num_clients: int, floor: int, tail: float, attendance: float = 1.0
    ) -> CohortBounds:
        """Lower quantile of Bin(num_clients, rate·attendance), upper one of Bin(num_clients, rate).

        The lower quantile is raised to `floor` if it is smaller. With a floor of 0 even an empty round runs;
        its release is noise alone.

        The probability outside is the largest one at num_clients − 1, num_clients and num_clients + 1,
        because the neighbouring population has one client more or less.
        """
        from fedavg.privacy.binomial import (  # noqa: PLC0415 - loads scipy; lists and help need none
            at_most,
            least_leaving,
            least_reaching,
            more_than,
        )

        # The floor allows for clients that stay away; the cap assumes that all come.
        least = self.rate * attendance
        quantile = max(least_reaching(tail / 2, num_clients, least) - 1, 0)
        low = max(floor, quantile) if floor else 0
        cap = min(
            max(low, least_leaving(tail / 2, num_clients + 1, self.rate) + 1), num_clients + 1
        )
        outside = max(
            at_most(low - 1, n, least) + more_than(cap, n, self.rate)
            for n in (max(num_clients - 1, 1), num_clients, num_clients + 1)
        )
        return CohortBounds(low, cap, outside)

    def block_bounds(
        self, count: int, num_clients: int, floor: int, tail: float, attendance: float
    ) -> CohortBounds:
        """See `DealtCohort`: a block's clients are drawn as in a population of that size."""
        # The deal gives each block one of these two numbers of clients.
        least, most = num_clients // count, -(-num_clients // count)
        small = self.bounds(least, floor, tail / count, attendance)
        large = self.bounds(most, floor, tail / count, attendance)
        outside = small.outside if least == most else small.outside + large.outside
        # The union bound counts a round in which any of the blocks' rosters is outside.
        return CohortBounds(small.floor, max(small.cap, large.cap), min(1.0, count * outside))

    def draw(self, client_ids: Sequence[int]) -> tuple[int, ...]:
        """Draw every client independently with probability `rate`."""
        # The coins come from the operating system: those of a seed could be guessed, and amplify nothing.
        joined = random_uniform(len(client_ids)) < self.rate
        return tuple(client_ids[int(i)] for i in np.flatnonzero(joined))

    def again(self, left: Sequence[int], expected: float) -> tuple[int, ...]:
        """Draw each remaining client independently, at a rate that gives the expected size.

        Example:
            >>> PoissonCohort(0.1).again([3, 4], 2.0)
            (3, 4)
        """
        # The rate cannot exceed 1, even if fewer clients remain than a round expects.
        return PoissonCohort(min(expected / len(left), 1.0)).draw(left)


@register("cohort")
class FixedCohort(Part, frozen=True, tag="fixed"):
    """A sampler of exactly `size` clients a round, drawn without replacement.

    Accounting for it is not Poisson accounting; see `dp.FixedSizeSampling`. A client that is absent is
    enrolled: it is drawn like all others and does not answer (docs/privacy.md §3.4).

    Example:
        >>> sorted(FixedCohort(3).draw([7, 8, 9]))
        [7, 8, 9]
    """

    size: int
    independent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.whole("a fixed cohort's size", self.size)

    def scheme(self, num_clients: int) -> FixedSizeSampling:
        """Fixed-size sampling from `num_clients` enrolled clients, present and absent ones."""
        return FixedSizeSampling(self.size, num_clients, enrolled=True)

    def expected_size(self, num_clients: int) -> float:
        """The size itself, which is not random."""
        self._check(num_clients)
        return float(self.size)

    def bounds(
        self, num_clients: int, floor: int, tail: float, attendance: float = 1.0
    ) -> CohortBounds:
        """The cap is the size itself, and the floor is what remains of it in the worst case."""
        del tail
        self._check(num_clients)
        if self.size < floor:
            raise PlanError(
                f"a cohort of {self.size} is below {floor}, the smallest that this threat model "
                "allows: enlarge the cohort or assume fewer drop-outs and colluders"
            )
        # Clients that drop out before the sum begins make the roster smaller, down to this size.
        least = max(floor, math.floor(self.size * attendance))
        return CohortBounds(least, self.size, 0.0)

    def block_bounds(
        self, count: int, num_clients: int, floor: int, tail: float, attendance: float
    ) -> CohortBounds:
        """See `DealtCohort`; the number of drawn clients in one block is hypergeometric."""
        from scipy.stats import hypergeom  # noqa: PLC0415 - takes half a second to load

        least, most = num_clients // count, -(-num_clients // count)
        drawn, each = int(self.expected_size(num_clients)), tail / count
        # A neighbouring population may have one client more or less in a block.
        groups = [g for g in range(least - 1, most + 2) if 0 <= g <= num_clients]
        fewest = int(hypergeom.ppf(each / 2, num_clients, groups[0], drawn))
        low = max(floor, math.floor(max(fewest - 1, 0) * attendance))
        cap = max(low, int(hypergeom.isf(each / 2, num_clients, groups[-1], drawn)) + 1)
        needed = math.ceil(low / attendance) if attendance > 0 else low
        below = float(hypergeom.cdf(needed - 1, num_clients, groups[0], drawn))
        above = float(hypergeom.sf(cap, num_clients, groups[-1], drawn))
        return CohortBounds(low, min(cap, drawn), min(1.0, count * (below + above)))

    def again(self, left: Sequence[int], expected: float) -> tuple[int, ...] | None:
        """Draw the same number of clients as the first time; None if fewer remain.

        Example:
            >>> FixedCohort(2).again([3, 4], 2.0), FixedCohort(2).again([4], 2.0)
            ((3, 4), None)
        """
        return self.draw(left) if expected <= len(left) else None

    def draw(self, client_ids: Sequence[int]) -> tuple[int, ...]:
        """Give every client an independent uniform key, and return those with the `size` smallest keys."""
        self._check(len(client_ids))
        order = np.argsort(random_uniform(len(client_ids)), kind="stable")[: self.size]
        return tuple(client_ids[int(i)] for i in np.sort(order))

    def _check(self, num_clients: int) -> None:
        if self.size > num_clients:
            raise PlanError(f"a cohort of {self.size} cannot be drawn from {num_clients} clients")
