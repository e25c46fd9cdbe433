"""Plan: it combines cohort, encoding, noise, secure sum and accounting.

No number is entered twice.  The sensitivity follows from the encoding, the sampling scheme from the cohort,
and the guaranteed noise shares from the secure sum; the event that is charged to the ledger follows from all
three.  A plan whose parts do not fit together cannot be constructed, or is refused once population and model
are known (`fedavg.plan.resolution.resolve`), before any client is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedavg import checks
from fedavg.algorithms.chain import sent_length
from fedavg.encoding.broadcast import FORMATS
from fedavg.errors import PlanError
from fedavg.parts import Part, Trait, traits_of
from fedavg.parts.nearest import offered
from fedavg.plan.checks import Claim, check_together

if TYPE_CHECKING:
    from fedavg.algorithms.blocks.interface import Blocks
    from fedavg.algorithms.interface import UpdateStage
    from fedavg.algorithms.personal.interface import Personalization
    from fedavg.encoding.broadcast import BroadcastFormat
    from fedavg.encoding.fixed_point import Encoding
    from fedavg.optimizers.local import LocalTraining
    from fedavg.optimizers.server import ServerOptimizer
    from fedavg.parts import Family
    from fedavg.privacy.clipping import AdaptiveClipping
    from fedavg.privacy.noise import Noise
    from fedavg.privacy.sampling import Cohort
    from fedavg.sums.interface import SecureSum

__all__ = ["FAMILY_OF", "Budget", "Limits", "Plan"]

FAMILY_OF: dict[str, Family] = {
    "cohort": "cohort",
    "encoding": "encoding",
    "noise": "noise",
    "secure_sum": "secure_sum",
    "server_optimizer": "server_optimizer",
    "clipping": "clipping",
    "personalization": "personalization",
    "blocks": "blocks",
}
"""The fields of a plan that hold a registered part, and the part's family."""

_PROBE = 1000  # any length: whether stages send more does not depend on it
_RETRIES = 2


class Budget(Part, frozen=True, tag=False):
    """The privacy budget of a run, for an observer of the released models.

    Args:
        epsilon: upper bound that no round may exceed; infinite to account without a limit.
        delta: the δ at which ε is stated.

    Example:
        >>> from dp import GaussianEvent, Ledger
        >>> budget = Budget(epsilon=2.0)
        >>> ledger = Ledger(budget.epsilon, budget.delta)
        >>> [ledger.would_exceed(GaussianEvent(noise)) for noise in (1.0, 3.0)]
        [True, False]
    """

    epsilon: float = math.inf
    delta: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.positive_or_infinite("epsilon", self.epsilon)
        checks.plan.proper_fraction("delta", self.delta)


class Limits(Part, frozen=True, tag=False):
    """Public bounds on what one client, or one round, may do.

    Args:
        max_examples: largest weight of a client, for weighting by "examples"; None takes the largest client
            of a simulation.
        max_participations: largest number of rounds in which one client sends a masked update; None chooses
            three standard deviations above the mean.  The limit bounds the server's view.  Cohorts of fixed
            size have no limit.
        retries: largest number of further attempts, with a new cohort each, at a round that gave no sum; None
            chooses 2 without noise, and 0 under DP, where only 0 is allowed.

    Raises:
        PlanError: a number is out of range; the message names it.

    Example:
        >>> from fedavg import FedAvg, FixedPoint, InsecurePlain, LocalTraining, PoissonCohort, resolve
        >>> parts = PoissonCohort(0.5), FixedPoint(1.0, 20, rounding="nearest"), None, InsecurePlain()
        >>> plan = Plan(*parts, LocalTraining(), FedAvg(), limits=Limits(max_examples=50))
        >>> resolve(plan, num_clients=90, vector_length=9, num_rounds=9, largest_client=40).max_weight
        50
        >>> resolve(plan, num_clients=90, vector_length=9, num_rounds=9, largest_client=60)
        Traceback (most recent call last):
        fedavg.errors.PlanError: a client holds 60 examples, max_examples is 50
    """

    max_examples: int | None = None
    max_participations: int | None = None
    retries: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("max_examples", 1), ("max_participations", 1), ("retries", 0)):
            value: int | None = getattr(self, name)
            if value is not None:
                checks.plan.whole(name, value, least)


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of a run that protect its clients, and how the clients train.

    Args:
        cohort: sampler of the clients of each round.
        encoding: encoding of real updates as integers: `FixedPoint`, or without noise `Quantised`. Its clip
            is the clip norm under DP.
        noise: noise for differential privacy; None for none.
        secure_sum: secure sum that adds the integers.
        local_training: training at a client.
        server_optimizer: optimiser that applies the mean update at the server.
        budget: ε and δ.
        weighting: "examples" (FedAvg: n_k·Δ with n_k as one more, private, coordinate) or "equal".
            None chooses "equal" under DP, where nothing else is sound, and with SCAFFOLD; else "examples".
        limits: public bounds on one client's weight and rounds, and on attempts at a round.
        clipping: rule by which the clip norm follows a quantile of the updates' norms; None keeps it fixed.
        personalization: models of the clients' own (`fedavg.algorithms.personal`); None for none.
        stages: steps that change an update before it is sent, in order: `Scaffold()`, `ErrorFeedback()`,
            `RandomK(0.1)`.
        broadcast: format of the broadcast model; the server keeps full precision.
        blocks: division of the model into blocks, of which each client trains and sends one; None for none.

    Raises:
        PlanError: the parts do not fit together.

    Example:
        >>> from fedavg import CentralGaussian, FedAvg, FixedPoint, LocalTraining, PoissonCohort, SecAgg
        >>> cohort, grid, training = PoissonCohort(0.1), FixedPoint(1.0, 16), LocalTraining(lr=0.1)
        >>> Plan(cohort, grid, CentralGaussian(1.0), SecAgg(), training, FedAvg(), Budget(4.0)).weighted
        False
        >>> Plan(cohort, grid, None, SecAgg(), training, FedAvg())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        fedavg.errors.PlanError: a plan without noise does not go with FixedPoint: ... rounding='nearest' ...
    """

    cohort: Cohort
    encoding: Encoding
    noise: Noise | None
    secure_sum: SecureSum
    local_training: LocalTraining
    server_optimizer: ServerOptimizer
    budget: Budget = Budget()
    weighting: Literal["examples", "equal"] | None = None
    limits: Limits = Limits()
    clipping: AdaptiveClipping | None = None
    personalization: Personalization | None = None
    stages: tuple[UpdateStage, ...] = ()
    broadcast: BroadcastFormat = "float32"
    blocks: Blocks | None = None

    def __post_init__(self) -> None:
        if self.broadcast not in FORMATS:
            raise PlanError(
                f"there is no broadcast {self.broadcast!r}; {offered(self.broadcast, FORMATS)}"
            )
        # A list could still be changed from outside.
        object.__setattr__(self, "stages", tuple(self.stages))
        kinds = [stage.kind for stage in self.stages]
        # A stage's state and its broadcast data are kept under its kind.
        if len(set(kinds)) < len(kinds):
            raise PlanError(f"each stage stands in a plan once, not {', '.join(kinds)}")
        check_together(self._claims())

    def _claims(self) -> list[Claim]:
        """All parts with their traits, and the traits that follow from the plan's own settings."""
        named = (getattr(self, name) for name in (*FAMILY_OF, "local_training"))
        parts = [part for part in (*named, *self.stages) if part is not None]
        claims = [Claim(type(part).__name__, traits_of(part)) for part in parts]
        longer = sent_length(self.stages, _PROBE, self.local_training) > _PROBE
        settings = (
            (Trait.NO_NOISE, self.noise is None, "a plan without noise"),
            (Trait.NOISE, self.noise is not None, type(self.noise).__name__),
            (
                Trait.FINITE_BUDGET,
                math.isfinite(self.budget.epsilon),
                f"epsilon={self.budget.epsilon}",
            ),
            (Trait.EXAMPLE_WEIGHTS, self.weighting == "examples", "weighting='examples'"),
            (Trait.BOUNDED_NORM, self.encoding.bounded, type(self.encoding).__name__),
            (Trait.UNBOUNDED_NORM, not self.encoding.bounded, type(self.encoding).__name__),
            (Trait.MIXES_COORDINATES, self.encoding.rotate, "rotate=True"),
            (Trait.DEPENDENT_DRAWS, not self.cohort.independent, type(self.cohort).__name__),
            (Trait.RETRIES, bool(self.limits.retries), f"retries={self.limits.retries}"),
            (Trait.BLOCKS, self.blocks is not None, type(self.blocks).__name__),
            (Trait.EXTRA_VECTOR, longer, "a stage that sends more than the update"),
        )
        return claims + [
            Claim(name, frozenset({trait})) for trait, holds, name in settings if holds
        ]

    @property
    def weighted(self) -> bool:
        """Whether updates are weighted by example counts."""
        equal = any(Trait.EQUAL_WEIGHTS in traits_of(stage) for stage in self.stages)
        # A number of examples has no bounded sensitivity, so with noise all clients weigh the same.
        return self.noise is None and self.weighting != "equal" and not equal

    @property
    def retry_limit(self) -> int:
        """Number of further attempts at a round that gave no sum."""
        if self.limits.retries is not None:
            return self.limits.retries
        # Under noise a second draw is no longer a Poisson draw, and no theorem amplifies it.
        return _RETRIES if self.noise is None else 0

    def sequence(self, round_index: int, attempt: int) -> int:
        """The number of an attempt in the whole run, from 0."""
        return round_index * (1 + self.retry_limit) + attempt

    @property
    def keeps_state(self) -> bool:
        """Whether clients keep a state from round to round."""
        return any(stage.remembers for stage in self.stages)
