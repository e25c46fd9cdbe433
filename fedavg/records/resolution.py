"""A plan resolved for a number of silos and a model: the grid, the noise, the ring and every refusal.

The grid: a silo's sum of clipped gradients is multiplied by a power of two s, rounded to the nearest integers
and clamped. One unit moves the real sum by at most C, so that it moves the integers by at most Δ = C·s + √d:
rounding moves each coordinate by at most one more, and clamping moves no two vectors apart. The scale follows
from *one unit's* clip and not from the sum's length. Sums in float64 are not exact: their error, in grid
units, is added to the one unit of rounding (docs/records.md).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Self

import msgspec

from dp import TruncatedPoissonSampling
from fedavg import checks
from fedavg.errors import CohortSizeError, GridError, LocalProtocolError, PlanError
from fedavg.privacy.noise import Sensitivity
from fedavg.privacy.sampling import CohortBounds
from fedavg.records.accounts import Epsilons, NoiseAccount, calibrated
from fedavg.robust.deal import group_sizes
from fedavg.sums.interface import SumSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedavg.records.clip import ClipRule
    from fedavg.records.privacy import RecordPlan

__all__ = ["ResolvedRecords", "resolve_records"]

_WRAP_BITS = 30  # a wrap of the sum has probability ≤ 2^−30 a step
_LARGEST_STDDEV = 2.0**24  # of dp's samplers
_UPDATE_BITS, _UPDATE_RANGE = 24, 8.0
_FLOAT = 2.0**-52


@dataclass(frozen=True)
class ResolvedRecords:
    """Every derived number of a run.

    Args:
        plan: the plan.
        silos: n, the number of enrolled silos.
        vector_length: d, parameters of the model.
        noise_multiplier: z, for the budget's observer.
        colluders: c.
        rest: digest of what the model holds beside the vector.

    Example:
        >>> import fedavg
        >>> privacy = fedavg.RecordPrivacy(unit="record", rate=0.01, clip=1.0, max_units=5000, epsilon=3.0)
        >>> plan = fedavg.RecordPlan(privacy=privacy, steps=100, divisor=200.0)
        >>> found = resolve_records(plan, silos=10, vector_length=100)
        >>> before = found.epsilons({10: 100})
        >>> 2.99 < before.colluding <= 3.0, before.release < before.colluding
        (True, True)
    """

    plan: RecordPlan
    silos: int
    vector_length: int
    noise_multiplier: float
    colluders: int
    rest: str = ""

    @classmethod
    def begun(cls, plan: RecordPlan, silos: int, vector_length: int, rest: str) -> Self:
        """The derived numbers at a noise multiplier of 1, or the plan's."""
        given = plan.privacy.noise_multiplier
        # In the smallest group too, the secure sum must withstand all of them.
        usual = plan.secure_sum.colluders(_sizes(plan, silos)[-1])
        chosen = plan.privacy.colluders
        colluders = usual if chosen is None else chosen
        return cls(plan, silos, vector_length, 1.0 if given is None else given, colluders, rest)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of silos in each sum of a step, the largest one first; without groups there is one sum."""
        return _sizes(self.plan, self.silos)

    @property
    def summed(self) -> int:
        """The largest number of silos in one sum: all of them, or those of the largest group."""
        return self.sizes[0]

    @cached_property
    def most_units(self) -> int:
        """b_max: the number of units to which a silo pads its work in one draw."""
        return self.plan.privacy.most_units(self.plan.num_draws)

    @cached_property
    def sampling(self) -> TruncatedPoissonSampling:
        """The coins of one draw of a silo."""
        privacy = self.plan.privacy
        return TruncatedPoissonSampling(privacy.rate, privacy.max_units, self.most_units)

    @cached_property
    def scale(self) -> float:
        """s, grid units in one unit of a silo's vector: a power of two, so that scaling is exact."""
        length = self.plan.privacy.rounding * self.clipping.unit_length
        needed = math.sqrt(self.summed_length) / length
        return 2.0 ** math.ceil(math.log2(needed))

    @cached_property
    def clipping(self) -> ClipRule:
        """How long a unit's gradient may be, and what a silo's vector holds beside it."""
        return self.plan.privacy.clipping

    @property
    def summed_length(self) -> int:
        """Number of coordinates of a secure sum: d, and one more where the clip follows the median."""
        return self.vector_length + self.clipping.coordinates

    @property
    def unit_norm(self) -> float:
        """The longest scaled vector of one unit: C·s for a constant clip."""
        return self.clipping.unit_length * self.scale

    @property
    def gradient_norm(self) -> float:
        """The longest scaled gradient of one unit, without what is beside it."""
        return self.clipping.gradient_length * self.scale

    @property
    def float_error(self) -> float:
        """Bound, in grid units, on the error of one coordinate of a silo's sum in float64.

        A sum of b numbers in any order is off by at most b·2^−52 times the sum of their magnitudes, and one
        unit's coordinate is at most as long as its vector.
        """
        return self.most_units**2 * _FLOAT * self.unit_norm

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """How far one unit moves a silo's vector, in grid units: Δ = C·s + √d, with the floats' error."""
        d = self.summed_length
        rounding = math.sqrt(d) * (1 + 2 * self.float_error)
        l2 = (self.unit_norm + rounding) * (1 + _FLOAT)
        return Sensitivity(l2, math.sqrt(d) * l2, d)

    @property
    def clamp(self) -> int:
        """The public range of a silo's rounded sum, before its noise; no honest sum is outside."""
        return math.ceil(self.most_units * self.unit_norm) + 1

    @property
    def missing(self) -> int:
        """d: the number of silos that the secure sum allows to be missing from its largest sum."""
        return self.summed - self.plan.secure_sum.min_survivors(self.summed)

    @property
    def least(self) -> int:
        """The smallest number of silos in any sum: two are honest, and the secure sum has its own least."""
        return max(2, self.plan.secure_sum.smallest_cohort(), self.colluders + 2)

    @property
    def floor(self) -> int:
        """The smallest roster of a sum, of which the secure sum withstands all colluding silos.

        It withstands a share of a roster, and a server that leaves honest silos out keeps its colluders.
        """
        least = self.least
        sums, c = self.plan.secure_sum, self.colluders
        enough = (
            n
            for n in range(least, self.summed + 1)
            if min(sums.min_survivors(n), n - self.missing) > c and sums.colluders(n) >= c
        )
        return next(enough, max(least, self.summed + 1))

    @property
    def bounds(self) -> CohortBounds:
        """The smallest and the largest roster of a sum; silos are asked all, and never drawn."""
        return CohortBounds(self.floor, self.summed, 0.0)

    @property
    def sums_a_round(self) -> int:
        """One sum of gradients, or of updates, for each group."""
        return len(self.sizes)

    @property
    def retry_limit(self) -> int:
        """The number of further attempts at a step; each asks fewer silos, and each is charged."""
        return self.summed - 1

    def requested(self, block: int | None) -> Self:
        """See `protocol.agreement.RunAgreement`: a step has one sum, or one for each numbered group."""
        known = (None,) if self.plan.robust is None else range(len(self.sizes))
        if block not in known:
            raise LocalProtocolError(f"the plan has no sum of group {block}")
        return self

    @cached_property
    def account(self) -> NoiseAccount:
        """Noise and cost of one silo's vector among others."""
        privacy = self.plan.privacy
        return NoiseAccount(
            noise_multiplier=self.noise_multiplier,
            sensitivity=self.sensitivity,
            sampling=self.sampling,
            draws=privacy.local_steps,
            silos=self.summed,
            missing=self.missing,
            colluders=self.colluders,
            alone=not privacy.shares_noise,
        )

    @property
    def noise_overhead(self) -> float:
        """Noise of a step without drop-outs ÷ that of one trusted party: √(n/(n − c − d)), or √n.

        With groups it is the noise of the groups' mean; a median has up to 1.25 times as much.
        """
        return math.sqrt(sum(size / self.account.counted(size) for size in self.sizes))

    @property
    def clip_told(self) -> str:
        """What an adaptive clip does and costs, in one sentence; "" for a constant one."""
        groups, divisor = len(self.sizes), self.plan.divisor
        # The mean over the groups, each of which has its part of the divisor.
        parts = (
            size * self.account.share_variance(size) * (self.silos / (size * divisor)) ** 2
            for size in self.sizes
        )
        return self.clipping.told(math.sqrt(sum(parts)) / (groups * self.scale))

    def epsilons(self, rosters: Mapping[int, int]) -> Epsilons:
        """The three ε of one unit after some sums.

        Args:
            rosters: number of sums for each size of the roster, those that gave no result included.
        """
        privacy = self.plan.privacy
        colluders = self.silos - 1 if not privacy.shares_noise else self.colluders
        if not any(rosters.values()):
            return Epsilons(0.0, 0.0, 0.0, colluders, privacy.delta)

        def found(known: int) -> float:
            return self.account.spent(rosters, colluders=known).epsilon(privacy.delta).high

        release, worst = found(0), found(colluders)
        hides = self.plan.secure_sum.hides_updates
        # A server that sees every silo's vector is covered by that silo's own noise alone.
        server, seen = (release, worst) if hides else (None, None)
        return Epsilons(release, server, seen, colluders, privacy.delta)

    def in_silos(self, silos: int, sums: int) -> float:
        """ε of a person with rows in so many silos, towards the server with its colluders.

        Such a person draws a coin in each silo and may move the sum so many times as far.
        """
        account = self.account.budget_account(sums)
        curve = account.curve(group=checks.plan.whole("silos", silos), smallest=1e-9)
        return curve.epsilon(self.plan.privacy.delta).high

    @property
    def ring_bits(self) -> int:
        """b: a sum wraps with probability ≤ 2^−30 a step; privacy does not depend on it."""
        if self.sends_updates:
            return (self.summed * (2 * self.update_bound + 1)).bit_length()
        account = self.account
        # The noise of a sum is the larger, the smaller its roster.
        variance = self.floor * account.share_variance(self.floor)
        log_probability = _WRAP_BITS * math.log(2) + math.log(self.summed_length)
        largest = self.summed * self.clamp + math.ceil(
            account.noise.tail(variance, log_probability)
        )
        return largest.bit_length() + 1

    @property
    def sends_updates(self) -> bool:
        """Whether silos send the update of several noisy steps, in place of one noisy gradient."""
        return self.plan.privacy.local_steps > 1

    @property
    def update_bound(self) -> int:
        """The public range of an update's coordinates, in units of its own grid."""
        return (1 << (_UPDATE_BITS - 1)) - 1

    @property
    def update_scale(self) -> float:
        """Grid units in one unit of an update; coordinates beyond ±8 are clamped."""
        return self.update_bound / _UPDATE_RANGE

    def spec(self, roster: int, context: bytes) -> SumSpec:
        """The secure sum of one step."""
        return SumSpec(self.summed_length, None, self.ring_bits, roster, context)

    @property
    def digest(self) -> bytes:
        """SHA-256 of everything that silos and server must agree on."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        parts = {field.name: getattr(self.plan, field.name) for field in fields(self.plan)}
        text = f"fedavg records v1\n{self.silos} {self.vector_length} {self.noise_multiplier!r}\n"
        encoder = msgspec.msgpack.Encoder(order="deterministic")
        return hashlib.sha256(text.encode() + self.rest.encode() + encoder.encode(parts)).digest()


def resolve_records(
    plan: RecordPlan, *, silos: int, vector_length: int, rest: str = ""
) -> ResolvedRecords:
    """Fix every derived number, and refuse a plan that does not add up, before any silo is asked.

    Args:
        plan: the plan.
        silos: number of enrolled silos.
        vector_length: parameters of the model.
        rest: digest of what the model holds beside the vector (`fedavg.models.files.rest_digest`).

    Raises:
        CohortSizeError: there are too few silos.
        GridError: the noise cannot be drawn on the grid.
        PlanError: the parts do not fit together.
        secagg.SecAggError, he.HeError: the secure sum has no parameters for such a sum.
    """
    silos = checks.plan.whole("the number of silos", silos)
    plan.secure_sum.check_population(silos)
    found = ResolvedRecords.begun(
        plan, silos, checks.plan.whole("the model's length", vector_length), rest
    )
    _check_silos(found)
    privacy = plan.privacy
    if privacy.noise_multiplier is None:
        multiplier = calibrated(found.account, privacy.epsilon, privacy.delta, plan.steps)
        found = ResolvedRecords(plan, silos, found.vector_length, multiplier, found.colluders, rest)
    stddev = found.account.share_stddev(found.floor)
    if stddev > _LARGEST_STDDEV:
        raise GridError(
            f"a share of noise has a standard deviation of {stddev:.3g} grid units, and at most 2^24 can be "
            f"drawn: raise rounding ({privacy.rounding:g}), which makes the grid coarser",
            finer=False,
        )
    found.account.budget_event()  # refuses shares that are too small
    plan.secure_sum.check(found.spec(found.summed, found.digest))
    return found


def _sizes(plan: RecordPlan, silos: int) -> tuple[int, ...]:
    """The number of silos in each sum of a step, the largest one first."""
    if plan.robust is None:
        return (silos,)
    if plan.robust.groups > silos:
        raise CohortSizeError(
            f"{silos} silos cannot be dealt to robust.groups={plan.robust.groups}: take fewer groups, of at "
            "least three silos each"
        )
    return group_sizes(silos, plan.robust.groups)


def _check_silos(found: ResolvedRecords) -> None:
    n = found.sizes[-1]
    group = "" if found.plan.robust is None else f" in the smallest of {len(found.sizes)} groups"
    sums, more = found.plan.secure_sum, f"Enrol more silos{group and ', or take fewer groups'}"
    known = sums.colluders(n)
    if found.colluders > known:
        raise PlanError(
            f"colluders={found.colluders}, but the secure sum withstands {known} of {n} silos{group}: give "
            "it a larger corrupt_rate, or fewer colluders"
        )
    least = found.least
    if n < least:
        raise CohortSizeError(
            f"{n} silo{' is' if n == 1 else 's are'} too few{group}: this plan needs at least {least}, two "
            f"honest ones beside {found.colluders} that may collude, and at least {sums.smallest_cohort()} "
            f"for the secure sum {sums.kind!r}. {more}"
        )
    left = sums.min_survivors(n) - found.colluders
    if n < found.floor or left < 1:
        raise CohortSizeError(
            f"{n} silos are too few{group}: with {found.missing} missing and {found.colluders} that collude, "
            f"{max(left, 0)} are left whose noise counts, and the secure sum needs at least "
            f"{sums.smallest_cohort()}. {more}, or lower the sum's dropout_rate and corrupt_rate"
        )
