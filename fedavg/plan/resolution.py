"""A plan resolved for a population, a model and a number of rounds: every derived number."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from dp import SAMPLER_TV_ERROR, Accountant, Bracket, FailureEvent, NoSampling
from fedavg import checks
from fedavg.algorithms.chain import sent_length
from fedavg.algorithms.interface import RoundFacts
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.parts import Trait, traits_of
from fedavg.plan import feasibility
from fedavg.plan.codec import canonical
from fedavg.privacy.noise import Sensitivity, Shares, guaranteed_variance, share_stddev
from fedavg.sums.interface import SumSpec

if TYPE_CHECKING:
    from fedavg.encoding.fixed_point import Encoding
    from fedavg.plan.plan import Plan
    from fedavg.privacy.noise import Event
    from fedavg.privacy.sampling import CohortBounds

__all__ = ["Resolution", "ResolvedPlan", "resolve"]

_WRAP_BITS = 30  # a wrap of the sum has probability ≤ 2^−30 a round
_REMEMBERS = (
    "keep a state that depends on earlier cohorts, and in cohorts of fixed size the draw of one client says "
    "something about all others: no theorem that we know covers both; use PoissonCohort"
)


@dataclass(frozen=True, slots=True)
class ResolvedPlan:
    """A plan resolved for a population, a model and a number of rounds: every derived number in one place.

    `rest` is a digest of everything that the model holds beside the vector. A client whose frozen layers have
    other weights therefore does not enter the same sum.

    Example:
        >>> import fedavg
        >>> parts = fedavg.PoissonCohort(0.2), fedavg.FixedPoint(1.0, 8), fedavg.CentralGaussian(1.0)
        >>> plan = fedavg.Plan(*parts, fedavg.InsecurePlain(), fedavg.LocalTraining(), fedavg.FedAvg())
        >>> found = resolve(plan, num_clients=300, vector_length=9, num_rounds=1, largest_client=40)
        >>> found.expected_cohort, found.ring_bits, round(found.release_epsilon().high, 2)
        (60.0, 15, 2.45)
    """

    plan: Plan
    num_clients: int
    vector_length: int
    num_rounds: int
    max_weight: int
    bounds: CohortBounds
    honest_fraction: float
    server_fraction: float
    rest: str = ""
    block: int | None = None
    """The block that this resolution is for, when the model is cut into blocks; None for all of them."""

    @property
    def encoded_length(self) -> int:
        """Length of the summed vectors: the encoding's, and one more for the private weight or bit."""
        return self._encoded_length(self.update_length)

    def _encoded_length(self, update_length: int) -> int:
        length = self.plan.encoding.encoded_length(update_length)
        return length + 1 if self.plan.weighted or self.plan.clipping is not None else length

    @property
    def update_length(self) -> int:
        """Length of the real vectors that are encoded; without a chosen block, of the longest."""
        return self._longest if self.block is None else self._lengths[self.block]

    @property
    def _lengths(self) -> tuple[int, ...]:
        blocks = self.plan.blocks
        if blocks is not None:
            return blocks.lengths
        return (sent_length(self.plan.stages, self.vector_length, self.plan.local_training),)

    @property
    def _longest(self) -> int:
        return max(self._lengths)

    def of_block(self, block: int) -> ResolvedPlan:
        """The resolution for the sum of one block.

        Sensitivity, noise and ring are the same for all blocks and are sized for the longest. A client may be
        dealt any block, and each block's sum carries the full noise.
        """
        return replace(self, block=block)

    def requested(self, block: int | None) -> ResolvedPlan:
        """The resolution for the sum that a message names; see `protocol.agreement.RunAgreement`.

        Raises:
            LocalProtocolError: the plan has no such sum.
        """
        blocks = self.plan.blocks
        if blocks is None and block is None:
            return self
        if blocks is None or block is None or not 0 <= block < blocks.count:
            raise LocalProtocolError(f"the plan has no sum of block {block}")
        return self.of_block(block)

    @property
    def sums_a_round(self) -> int:
        """The number of sums that one round opens: one for each block of the model."""
        return len(self._lengths)

    @property
    def retry_limit(self) -> int:
        """The number of further attempts at a sum that failed."""
        return self.plan.retry_limit

    @property
    def expected_cohort(self) -> float:
        """Public expected cohort size."""
        return self.plan.cohort.expected_size(self.num_clients)

    @property
    def expected_roster(self) -> float:
        """Public expected size of the roster of one sum: the cohort, or its part in one block."""
        return self.expected_cohort / len(self._lengths)

    @property
    def sensitivity(self) -> Sensitivity:
        """The largest contribution of one client, in grid units: to one block's sum, and to no other."""
        encoding, d, bit = self.plan.encoding, self._longest, self.bit_units
        return Sensitivity(
            math.hypot(encoding.l2_sensitivity(d), bit),  # one vector, with the bit at its end
            encoding.l1_sensitivity(d) + bit,
            sum(map(self._encoded_length, self._lengths)),  # of all blocks (privacy.md §9)
        )

    @property
    def bit_units(self) -> int:
        """Grid units of a client's "within the clip norm" under adaptive clipping; else 0."""
        clipping, noise = self.plan.clipping, self.plan.noise
        if clipping is None or noise is None:
            return 0
        l2 = self.plan.encoding.l2_sensitivity(self._longest)
        return clipping.bit_units(l2, noise.noise_multiplier, self.expected_cohort)

    def facts(self, round_index: int) -> RoundFacts:
        """The facts of a round that stages may know, from the server's point of view."""
        return RoundFacts(
            round_index=round_index,
            num_rounds=self.num_rounds,
            num_clients=self.num_clients,
            vector_length=self.vector_length,
            training=self.plan.local_training,
            keeps_residual=any(Trait.RESIDUAL in traits_of(stage) for stage in self.plan.stages),
        )

    def encoding_at(self, clip: float | None) -> Encoding:
        """The encoding of a round: its scale follows the round's public clip norm.

        In grid units nothing changes, so noise and sensitivity hold for any clip norm that a server names.
        """
        return self.plan.encoding if clip is None else self.plan.encoding.at(clip)

    @property
    def noise_multiplier(self) -> float | None:
        """The claimed noise multiplier, which the accountant uses."""
        return None if self.plan.noise is None else self.plan.noise.noise_multiplier

    @property
    def noise_multiplier_added(self) -> float | None:
        """The noise multiplier in a round without drop-outs and colluders."""
        noise = self.plan.noise
        if noise is None:
            return None
        if not noise.distributed:
            return noise.noise_multiplier
        added = guaranteed_variance(noise, self.sensitivity) / self.honest_fraction
        return math.sqrt(added) / self.sensitivity.l2

    def share_stddev(self, roster: int) -> float:
        """Standard deviation of one client's noise share, grid units."""
        if self.plan.noise is None or not self.plan.noise.distributed:
            raise PlanError("this plan's clients add no noise")
        return share_stddev(self.plan.noise, self.sensitivity, self.honest_fraction, roster)

    def server_stddev(self, roster: int, survivors: int) -> float:
        """Standard deviation of the noise that the server adds before it releases, in grid units.

        This is central noise, or the shares of clients that dropped out, so that every release carries the
        same noise for every roster and every set of survivors.  0 when the server adds none.
        """
        noise = self.plan.noise
        if noise is None or (noise.distributed and survivors >= roster):
            return 0.0
        if noise.distributed:
            return self.share_stddev(roster) * math.sqrt(roster - survivors)  # variances add up
        return math.sqrt(guaranteed_variance(noise, self.sensitivity))

    @property
    def ring_bits(self) -> int | None:
        """Modulus bits under DP: the fewest at which a wrap has probability ≤ 2^−30; None without DP."""
        noise = self.plan.noise
        if noise is None:
            return None
        each = max(self.plan.encoding.max_abs(self._longest), self.bit_units)
        largest = self.bounds.cap * each
        if noise.distributed:
            variance = guaranteed_variance(noise, self.sensitivity) / self.honest_fraction
            log_probability = _WRAP_BITS * math.log(2) + math.log(self.sensitivity.dimension)
            largest += math.ceil(noise.tail(variance, log_probability))  # in all coordinates
        return largest.bit_length() + 1  # and a sign

    @property
    def wrap_probability(self) -> float:
        """Bound on the probability that a round's sum wraps."""
        return 0.0 if self.plan.noise is None else 2.0**-_WRAP_BITS

    def spec(self, roster: int, context: bytes) -> SumSpec:
        """The secure sum of one round."""
        bits = self.ring_bits
        bound = self.plan.encoding.max_abs(self._longest) * self.max_weight
        return SumSpec(
            vector_length=self.encoded_length,
            max_abs=max(bound, self.max_weight) if bits is None else None,  # and the weight
            ring_bits=bits,
            roster_size=roster,
            context=context,
        )

    @property
    def shares(self) -> Shares:
        """The noise shares on which the accountant relies."""
        return Shares(self.honest_fraction, self.bounds.cap)

    def release_event(self) -> Event | None:
        """Cost of one release towards an observer of the released models; None without DP."""
        noise = self.plan.noise
        if noise is None:
            return None
        scheme = self.plan.cohort.scheme(self.num_clients)
        return noise.event(self.sensitivity, self.shares, scheme)

    def failure(self) -> FailureEvent:
        """Probability per round of cases that the theorems exclude: sampler tables, cohort sizes.

        A size outside its bounds has the coins of the other clients for its cause (docs/privacy.md §7).
        """
        draws = (self.bounds.cap + 1) * self.sensitivity.dimension  # including the server's share
        return FailureEvent(draws * SAMPLER_TV_ERROR, shared=min(1.0, 2 * self.bounds.outside))

    def server_epsilon(self, participations: int) -> float | None:
        """ε for the server, which knows each cohort: zero-out adjacency, no amplification.

        It counts only the noise of the *other* honest clients, composed over the rounds in which one client
        sent a masked update. None when the server sees more than a noisy sum.
        """
        noise = self.plan.noise
        if noise is None or not noise.distributed or not self.plan.secure_sum.hides_updates:
            return None
        if participations == 0:
            return 0.0
        part = self.server_fraction / self.honest_fraction  # without the client's own share
        visible = guaranteed_variance(noise, self.sensitivity) * part - noise.held_back
        if visible <= 0:
            raise PlanError("the shares are too small for this noise; raise [encoding] bits")
        seen = noise.at(math.sqrt(visible) / self.sensitivity.l2)
        event = seen.event(self.sensitivity, self.shares, NoSampling())
        account = Accountant().compose(event, participations)
        account = account.compose(self.server_failure(), participations)
        return account.epsilon(self.plan.budget.delta).high

    def server_failure(self) -> FailureEvent:
        """Probability per round of what the server's theorem excludes: errors of the sampler's tables."""
        return FailureEvent(self.bounds.cap * self.sensitivity.dimension * SAMPLER_TV_ERROR)

    @property
    def max_participations(self) -> int | None:
        """Largest number of rounds in which one client sends a masked update; None without DP."""
        if self.plan.noise is None:
            return None
        if self.plan.limits.max_participations is not None:
            return self.plan.limits.max_participations
        if not self.plan.cohort.independent:  # caps are refused there (privacy.md §7)
            return self.num_rounds
        rate = min(self.expected_cohort / self.num_clients, 1.0)
        mean = rate * self.num_rounds
        spread = 3 * math.sqrt(mean * (1 - rate))  # so that few clients reach the limit
        return min(self.num_rounds, math.ceil(mean + spread))

    def release_account(self) -> Accountant | None:
        """The account of the whole run for an observer of the released models; None without DP."""
        event = self.release_event()
        if event is None:
            return None
        accountant = Accountant().compose(event, self.num_rounds)
        return accountant.compose(self.failure(), self.num_rounds)

    def release_epsilon(self) -> Bracket:
        """ε of the whole run for an observer of the released models, between proven bounds.

        It is infinite without DP.
        """
        account = self.release_account()
        if account is None:
            return Bracket(math.inf, math.inf)
        return account.epsilon(self.plan.budget.delta)

    def epsilon_at_end(self) -> float:
        """Certified ε of the whole run for an observer of the released models; infinite without DP."""
        account = self.release_account()
        return math.inf if account is None else account.upper_epsilon(self.plan.budget.delta)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What will disappoint although it is sound."""
        return feasibility.warnings(self)

    @property
    def digest(self) -> bytes:
        """SHA-256 of everything that clients and server must agree on."""
        sizes = f"{self.num_clients} {self.vector_length} {self.num_rounds} {self.max_weight}"
        text = f"fedavg plan v2\n{sizes}\n{self.rest}\n"
        return hashlib.sha256(text.encode() + canonical(self.plan)).digest()


def resolve(
    plan: Plan,
    *,
    num_clients: int,
    vector_length: int,
    num_rounds: int,
    largest_client: int,
    rest: str = "",
) -> ResolvedPlan:
    """Fix every derived number for one population, model and length of run.

    Args:
        plan: the parts.
        num_clients: size of the population.
        vector_length: d, parameters of the model.
        num_rounds: rounds that the budget has to last for.
        largest_client: most examples that any client holds.
        rest: digest of what the model holds beside the vector (`fedavg.models.files.rest_digest`).

    Raises:
        PlanError: a cohort too small for the threat model, or too little honest noise.
        secagg.UnsafeParametersError, he.CapacityError, …: the secure sum has no such parameters.
        dp.UnsupportedEventError: a sampling or noise that no theorem covers.

    Example:
        >>> import fedavg
        >>> parts = fedavg.PoissonCohort(0.2), fedavg.FixedPoint(1.0, 12), fedavg.DistributedGaussian(1.0)
        >>> plan = fedavg.Plan(*parts, fedavg.SecAgg(), fedavg.LocalTraining(), fedavg.FedAvg())
        >>> resolve(plan, num_clients=20, vector_length=9, num_rounds=5, largest_client=40)
        Traceback (most recent call last):
        fedavg.errors.CohortSizeError: a round asks about 4 of 20 clients, ... a rate of 0.82 or more ...
    """
    num_clients = checks.plan.whole("num_clients", num_clients)
    vector_length = checks.plan.whole("vector_length", vector_length)
    num_rounds = checks.plan.whole("num_rounds", num_rounds)
    largest_client = checks.plan.whole("largest_client", largest_client)
    cap = plan.limits.max_participations
    capped = plan.noise is not None and cap is not None and cap < num_rounds
    if capped and not plan.cohort.independent:  # docs/privacy.md §7
        raise PlanError(f"clients with max_participations={cap} {_REMEMBERS}")
    if plan.blocks is not None:
        plan.blocks.check(vector_length)
    plan.secure_sum.check_population(num_clients)
    bounds = feasibility.cohort_bounds(plan, num_clients, num_rounds)
    weight = (plan.limits.max_examples or largest_client) if plan.weighted else 1
    if plan.weighted and largest_client > weight:
        raise PlanError(f"a client holds {largest_client} examples, max_examples is {weight}")
    resolution = ResolvedPlan(
        plan=plan,
        num_clients=num_clients,
        vector_length=vector_length,
        num_rounds=num_rounds,
        max_weight=weight,
        bounds=bounds,
        honest_fraction=feasibility.honest_fraction(plan.secure_sum, bounds, 0),
        server_fraction=feasibility.honest_fraction(plan.secure_sum, bounds, 1),
        rest=rest,
    )
    sizes = {"num_clients": num_clients, "vector_length": vector_length, "num_rounds": num_rounds}
    again = partial(resolve, **sizes, largest_client=largest_client, rest=rest)
    feasibility.check_summable(resolution, again)
    feasibility.check_drawable(resolution)
    event = resolution.release_event()
    if event is not None:  # an event that no theorem covers is refused here, not after training
        Accountant().compose(event).quick_epsilon(plan.budget.delta)
    return resolution


Resolution = ResolvedPlan
"""The name until version 0.1; `fedavg.Resolution` stays for one release."""
