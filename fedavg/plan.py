"""Plan: the one coupling of cohort, encoding, noise, secure sum and accounting.

Nothing here is typed in twice: the sensitivity comes from the encoding, the sampling scheme from the
cohort, the guaranteed shares of noise from the secure sum, and the event that the ledger is charged
with from all three.  What does not add up cannot be constructed, or is refused when the population
and the model are known (`Plan.resolve`), before any client is asked.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from dp import SAMPLER_TV_ERROR, Accountant, FailureEvent, NoSampling
from fedavg.errors import PlanError
from fedavg.noise import Sensitivity, Shares, share_stddev
from fedavg.secure_sum import SumSpec

if TYPE_CHECKING:
    from fedavg.cohort import Cohort, CohortBounds
    from fedavg.encoding import FixedPoint
    from fedavg.local import LocalTraining
    from fedavg.noise import Event, Noise
    from fedavg.secure_sum import SecureSum
    from fedavg.server_optim import AveragedIterates, ServerOptimizer

__all__ = ["Budget", "Plan", "Resolution", "calibrated", "noise_to_signal"]

_WRAP_BITS = 30  # a wrap of the sum has probability ≤ 2^−30 a round
_COHORT_TAIL = 1e-12  # per round; enters δ
_RATIO_WARNING = 2.0  # noise norm ÷ largest possible signal norm, per round


@dataclass(frozen=True, slots=True)
class Budget:
    """The privacy budget of a run, for whoever sees the released models.

    Args:
        epsilon: bound that no round may pass; infinite to account without a limit.
        delta: the δ at which ε is stated.
    """

    epsilon: float = math.inf
    delta: float = 1e-5

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise PlanError(f"epsilon must be positive, not {self.epsilon!r}")
        if not 0 < self.delta < 1:
            raise PlanError(f"delta must lie between 0 and 1, not {self.delta!r}")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run does to protect its clients, and how they train.

    Args:
        cohort: who is asked each round.
        encoding: real updates to integers; its clip is the clip norm under DP.
        noise: None for no differential privacy.
        secure_sum: how the integers are added.
        local_training: what a client does with the model.
        server_optimizer: what the server does with the mean update.
        budget: ε and δ.
        averaging: release an average of the iterates instead of the last one (post-processing).
        weighting: "examples" (FedAvg: n_k·Δ with n_k as one more, private, coordinate) or "equal";
            None chooses "equal" under DP, where nothing else is sound, and "examples" without.
        max_examples: public bound on a client's weight, for "examples"; None takes the largest
            client of a simulation.
        max_participations: rounds in which one client sends a masked update at most; None chooses
            three standard deviations above the mean.  It bounds the server's view.

    Raises:
        PlanError: parts that do not add up.
    """

    cohort: Cohort
    encoding: FixedPoint
    noise: Noise | None
    secure_sum: SecureSum
    local_training: LocalTraining
    server_optimizer: ServerOptimizer
    budget: Budget = Budget()
    averaging: AveragedIterates | None = None
    weighting: Literal["examples", "equal"] | None = None
    max_examples: int | None = None
    max_participations: int | None = None

    def __post_init__(self) -> None:
        if self.noise is None:
            self._check_without_noise()
        else:
            self._check_with_noise()
        for name in ("max_examples", "max_participations"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise PlanError(f"{name} must be at least 1, not {value!r}")

    def _check_with_noise(self) -> None:
        if self.weighting == "examples":
            raise PlanError(
                "weights by example counts have no bounded sensitivity: under differential privacy "
                "use weighting='equal'"
            )
        if self.encoding.rounding != "stochastic":
            raise PlanError("under differential privacy encode with rounding='stochastic'")

    def _check_without_noise(self) -> None:
        if math.isfinite(self.budget.epsilon):
            raise PlanError(
                f"a budget of epsilon={self.budget.epsilon} needs noise: choose one, or drop the budget"
            )
        if self.encoding.rounding != "nearest":
            raise PlanError(
                "without noise, encode with rounding='nearest' (a range per coordinate)"
            )

    @property
    def weighted(self) -> bool:
        """Whether updates are weighted by example counts."""
        return self.noise is None and self.weighting != "equal"

    def resolve(
        self, *, num_clients: int, vector_length: int, num_rounds: int, largest_client: int
    ) -> Resolution:
        """Fix every derived number for one population, model and length of run.

        Args:
            num_clients: size of the population.
            vector_length: d, parameters of the model.
            num_rounds: rounds that the budget has to last for.
            largest_client: most examples that any client holds.

        Raises:
            PlanError: a cohort too small for the threat model, or too little honest noise.
            secagg.UnsafeParametersError, he.CapacityError, …: the secure sum has no such parameters.
            dp.UnsupportedEventError: a sampling or noise that no theorem covers.
        """
        if min(num_clients, vector_length, num_rounds, largest_client) < 1:
            raise PlanError("a run needs clients, parameters, rounds and examples, one at least")
        bounds = self._bounds(num_clients, num_rounds)
        weight = (self.max_examples or largest_client) if self.weighted else 1
        if self.weighted and largest_client > weight:
            raise PlanError(f"a client holds {largest_client} examples, max_examples is {weight}")
        resolution = Resolution(
            plan=self,
            num_clients=num_clients,
            vector_length=vector_length,
            num_rounds=num_rounds,
            max_weight=weight,
            bounds=bounds,
            honest_fraction=self._honest_fraction(bounds, 0),
            server_fraction=self._honest_fraction(bounds, 1),
        )
        self.secure_sum.check(resolution.spec(bounds.cap, b""))
        self.secure_sum.check(resolution.spec(max(bounds.floor, 1), b""))
        return resolution

    def _bounds(self, num_clients: int, num_rounds: int) -> CohortBounds:
        floor = self.secure_sum.smallest_cohort()
        if self.noise is not None and self.noise.distributed:
            floor = max(floor, self._smallest_with_honest_noise())
        expected = self.cohort.expected_size(num_clients)
        if expected < floor:
            raise PlanError(
                f"cohorts of about {expected:g} are too small: {self.secure_sum.kind} under its threat "
                f"model needs at least {floor} clients a round; raise the rate or the number of "
                "clients, or assume fewer drop-outs and colluders"
            )
        attendance = 1 - self.secure_sum.dropout_rate
        bounds = self.cohort.bounds(num_clients, floor, _COHORT_TAIL, attendance)
        if self.noise is not None and bounds.outside * num_rounds > self.budget.delta / 100:
            raise PlanError(
                f"a roster falls outside {bounds.floor} … {bounds.cap} with probability "
                f"{bounds.outside:.1e} a round, too much for delta={self.budget.delta:g}: "
                "raise the rate or the number of clients"
            )
        return bounds

    def _smallest_with_honest_noise(self) -> int:
        for n in range(1, 4096):
            if self.secure_sum.min_survivors(n) - self.secure_sum.colluders(n) - 1 >= 1:
                return n
        raise PlanError("with so many drop-outs and colluders no honest noise is left")

    def _honest_fraction(self, bounds: CohortBounds, fewer: int) -> float:
        """Guaranteed honest survivors ÷ roster, the least over all cohort sizes of the run."""
        sums = self.secure_sum
        return min(
            max(sums.min_survivors(n) - sums.colluders(n) - fewer, 0) / n
            for n in range(max(bounds.floor, 1), bounds.cap + 1)
        )


@dataclass(frozen=True, slots=True)
class Resolution:
    """A plan with its population, model and length: every derived number in one place."""

    plan: Plan
    num_clients: int
    vector_length: int
    num_rounds: int
    max_weight: int
    bounds: CohortBounds
    honest_fraction: float
    server_fraction: float

    @property
    def encoded_length(self) -> int:
        """Length of the vectors that are summed: encoding's, and one for the private weight."""
        length = self.plan.encoding.encoded_length(self.vector_length)
        return length + 1 if self.plan.weighted else length

    @property
    def expected_cohort(self) -> float:
        """Public expected cohort size."""
        return self.plan.cohort.expected_size(self.num_clients)

    @property
    def sensitivity(self) -> Sensitivity:
        """What one client can add, in grid units."""
        encoding, d = self.plan.encoding, self.vector_length
        return Sensitivity(
            encoding.l2_sensitivity(d), encoding.l1_sensitivity(d), encoding.encoded_length(d)
        )

    @property
    def noise_multiplier(self) -> float | None:
        """Claimed: what the accountant counts on."""
        return None if self.plan.noise is None else self.plan.noise.noise_multiplier

    @property
    def noise_multiplier_added(self) -> float | None:
        """In a round without drop-outs and colluders."""
        noise = self.plan.noise
        if noise is None:
            return None
        if not noise.distributed:
            return noise.noise_multiplier
        return noise.noise_multiplier / math.sqrt(self.honest_fraction)

    def share_stddev(self, roster: int) -> float:
        """Standard deviation of one client's noise share, grid units."""
        if self.plan.noise is None or not self.plan.noise.distributed:
            raise PlanError("this plan's clients add no noise")
        return share_stddev(self.plan.noise, self.sensitivity, self.honest_fraction, roster)

    @property
    def central_stddev(self) -> float:
        """Standard deviation of the server's noise, grid units; 0 when it adds none."""
        noise = self.plan.noise
        if noise is None or noise.distributed:
            return 0.0
        return noise.noise_multiplier * self.sensitivity.l2

    @property
    def ring_bits(self) -> int | None:
        """Modulus bits under DP: the smallest at which a wrap has probability ≤ 2^−30; None without DP."""
        noise = self.plan.noise
        if noise is None:
            return None
        largest = self.bounds.cap * self.plan.encoding.max_abs(self.vector_length)
        if noise.distributed:
            variance = (noise.noise_multiplier * self.sensitivity.l2) ** 2 / self.honest_fraction
            log_probability = _WRAP_BITS * math.log(2) + math.log(self.sensitivity.dimension)
            # every share is rounded, by at most one half
            largest += math.ceil(noise.tail(variance, log_probability) + self.bounds.cap / 2)
        return largest.bit_length() + 1

    @property
    def wrap_probability(self) -> float:
        """Bound on the probability that a round's sum wraps."""
        return 0.0 if self.plan.noise is None else 2.0**-_WRAP_BITS

    def spec(self, roster: int, context: bytes) -> SumSpec:
        """The secure sum of one round."""
        bits = self.ring_bits
        bound = self.plan.encoding.max_abs(self.vector_length) * self.max_weight
        return SumSpec(
            vector_length=self.encoded_length,
            max_abs=max(bound, self.max_weight) if bits is None else None,
            ring_bits=bits,
            roster_size=roster,
            context=context,
        )

    @property
    def shares(self) -> Shares:
        """The noise shares that the accountant may count on."""
        sums, bounds = self.plan.secure_sum, self.bounds
        honest = [sums.min_survivors(n) - sums.colluders(n) for n in (bounds.floor, bounds.cap)]
        return Shares(self.honest_fraction, max(honest[0], 1), max(honest[1], 1), bounds.cap)

    def release_event(self) -> Event | None:
        """What one release costs whoever sees the models; None without DP."""
        noise = self.plan.noise
        if noise is None:
            return None
        scheme = self.plan.cohort.scheme(self.num_clients)
        return noise.event(self.sensitivity, self.shares, scheme)

    def failure(self) -> FailureEvent:
        """Probability per round of what lies outside the theorems: cohort sizes, sampler tables."""
        draws = self.bounds.cap * self.sensitivity.dimension
        return FailureEvent(self.bounds.outside + draws * SAMPLER_TV_ERROR)

    def server_epsilon(self, participations: int) -> float | None:
        """ε for the server, who knows each cohort: zero-out adjacency, no amplification.

        Counts the noise of the *other* honest clients only, composed over the rounds in which one
        client sent a masked update; None when the server sees more than a noisy sum.
        """
        noise = self.plan.noise
        if noise is None or not noise.distributed or not self.plan.secure_sum.hides_updates:
            return None
        if participations == 0:
            return 0.0
        seen = replace_multiplier(
            noise, noise.noise_multiplier * math.sqrt(self.server_fraction / self.honest_fraction)
        )
        event = seen.event(self.sensitivity, self.shares, NoSampling())
        accountant = Accountant().compose(event, participations)
        return (
            accountant.compose(self._sampler_failure(), participations)
            .epsilon(self.plan.budget.delta)
            .high
        )

    def _sampler_failure(self) -> FailureEvent:
        return FailureEvent(self.bounds.cap * self.sensitivity.dimension * SAMPLER_TV_ERROR)

    @property
    def max_participations(self) -> int | None:
        """Rounds in which one client sends a masked update at most; None without DP."""
        if self.plan.noise is None:
            return None
        if self.plan.max_participations is not None:
            return self.plan.max_participations
        rate = min(self.expected_cohort / self.num_clients, 1.0)
        mean = rate * self.num_rounds
        spread = 3 * math.sqrt(mean * (1 - rate))
        return min(self.num_rounds, math.ceil(mean + spread))

    def epsilon_at_end(self) -> float:
        """Certified ε of the whole run for whoever sees the models; infinite without DP."""
        event = self.release_event()
        if event is None:
            return math.inf
        accountant = Accountant().compose(event, self.num_rounds)
        accountant = accountant.compose(self.failure(), self.num_rounds)
        return accountant.epsilon(self.plan.budget.delta).high

    @property
    def warnings(self) -> tuple[str, ...]:
        """What will disappoint although it is sound."""
        ratio = noise_to_signal(self)
        found: list[str] = []
        if ratio > _RATIO_WARNING:
            found.append(
                f"the noise is {ratio:.1f} times as long as the longest mean update "
                f"({self.vector_length:,} parameters, cohorts of about {self.expected_cohort:.0f}): "
                "client-level privacy needs many clients or a small model, this one will hardly learn"
            )
        if self.plan.noise is None and self.bounds.outside > 0.01:
            found.append(f"{self.bounds.outside:.0%} of the rounds will be skipped as too small")
        return tuple(found)

    @property
    def digest(self) -> bytes:
        """SHA-256 of everything that clients and server must agree on."""
        sizes = f"{self.num_clients} {self.vector_length} {self.num_rounds} {self.max_weight}"
        text = f"fedavg plan v1\n{self.plan!r}\n{sizes}"
        return hashlib.sha256(text.encode()).digest()


def replace_multiplier(noise: Noise, multiplier: float) -> Noise:
    """The same noise at another strength."""
    return replace(noise, noise_multiplier=multiplier)  # pyright: ignore[reportArgumentType] - every Noise is a dataclass


def noise_to_signal(resolution: Resolution) -> float:
    """Noise norm ÷ norm of the longest possible sum of one round: √d·z ÷ cohort.

    Example: 1,970 parameters, z = 1.45 and 150 clients give 0.43; 199,210 parameters and 10 clients
    give 65.
    """
    added = resolution.noise_multiplier_added
    if added is None:
        return 0.0
    return math.sqrt(resolution.sensitivity.dimension) * added / resolution.expected_cohort


def calibrated(
    plan: Plan, *, num_clients: int, vector_length: int, num_rounds: int, largest_client: int = 1
) -> Plan:
    """Return the plan with the smallest noise multiplier that its budget allows for all rounds.

    Args:
        plan: with a finite budget and a noise of any strength.
        num_clients: see `Plan.resolve`.
        vector_length: see `Plan.resolve`.
        num_rounds: see `Plan.resolve`.
        largest_client: see `Plan.resolve`.

    Raises:
        PlanError: no noise or no budget to calibrate for.
    """
    noise = plan.noise
    if noise is None or not math.isfinite(plan.budget.epsilon):
        raise PlanError("calibration needs a noise and a finite epsilon")

    def spent(multiplier: float) -> float:
        candidate = replace(plan, noise=replace_multiplier(noise, multiplier))
        return candidate.resolve(
            num_clients=num_clients,
            vector_length=vector_length,
            num_rounds=num_rounds,
            largest_client=largest_client,
        ).epsilon_at_end()

    low, high = 0.3, 1.0
    while spent(high) > plan.budget.epsilon:
        low, high = high, high * 2
        if high > 1e6:
            raise PlanError(
                f"epsilon={plan.budget.epsilon} is out of reach with this cohort and delta"
            )
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > plan.budget.epsilon else (low, middle)
    return replace(plan, noise=replace_multiplier(noise, high))
