"""The privacy budget before a run: ε from noise, noise from ε, and the trade-off between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dp import DpError, calibrate_noise_multiplier
from dp.accounting.curve import group_size
from dp.checks import assign
from fedavg import checks
from fedavg.encoding.fixed_point import FixedPoint, bits_for
from fedavg.errors import GridError, PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.parts import named, names
from fedavg.parts.nearest import offered
from fedavg.plan import catalogue
from fedavg.plan.budget.samplings import WAYS, check_covered
from fedavg.plan.deltas import usual_delta
from fedavg.plan.plan import Budget, Limits, Plan
from fedavg.plan.resolution import resolve
from fedavg.sums.masked import SecAgg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dp import Bracket, PrivacyCurve
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.privacy.noise import Noise, Sampling
    from fedavg.privacy.sampling import Cohort
    from fedavg.sums.interface import SecureSum

__all__ = [
    "MECHANISMS",
    "SAMPLINGS",
    "BudgetAnswer",
    "Scenario",
    "answer",
    "check_group",
    "curve",
    "noise_for",
    "planned",
    "tradeoff",
    "usual_rate",
]

OURS = catalogue.OURS  # the import registers every noise of this package under its name
MECHANISMS = names("noise")
SAMPLINGS = tuple(WAYS)
_SMALLEST_EPSILON, _LARGEST_EPSILON, _LARGEST_NOISE = 1e-3, 1e4, 1e6
_MOST_CLIENTS, _MOST_NOISE = 10**12, 1e9
_FINEST = 40  # largest number of bits of an encoding that is tried


@dataclass(frozen=True, slots=True)
class Scenario:
    """The quantities, besides the noise, that a budget depends on.

    Args:
        rate: share of the clients that a round asks, in (0, 1]; 1 without sampling.
        rounds: number of rounds, each of which releases a model.
        delta: δ; None takes `usual_delta`, as a run does.
        clients: size of the population.
        sampling: "poisson" (each client independently), "fixed" (exactly rate · clients) or "none" (all).
        mechanism: a name in `MECHANISMS`.
        participations: most rounds in which one client sends an update; None: the mean and three deviations.
        parameters: number of parameters of the model, on which noise on a grid depends slightly.
        secure_sum: secure sum; its drop-outs and colluders decide which noise does not count for the server.

    Raises:
        PlanError: a value is out of range; the message names it.

    Example:
        >>> Scenario(rate=0.2, rounds=60).delta_used, Scenario(rate=0.2, rounds=60).cohort
        (1e-05, 200)
    """

    rate: float = 0.2
    rounds: int = 60
    delta: float | None = None
    clients: int = 1000
    sampling: str = "poisson"
    mechanism: str = "gaussian"
    participations: int | None = None
    parameters: int = 1970
    secure_sum: SecureSum = SecAgg()

    def __post_init__(self) -> None:
        plan = checks.plan
        assign(
            self,
            rounds=plan.whole("rounds", self.rounds),
            clients=plan.whole("clients", self.clients),
            parameters=plan.whole("parameters", self.parameters),
            rate=plan.positive_fraction("rate", self.rate),
        )
        if self.participations is not None:
            assign(self, participations=plan.whole("participations", self.participations))
        if self.delta is not None:
            assign(self, delta=plan.proper_fraction("delta", self.delta))
        if self.clients > _MOST_CLIENTS:
            raise PlanError(f"clients must be at most {_MOST_CLIENTS:,}")
        _known("sampling", self.sampling, SAMPLINGS)
        _known("mechanism", self.mechanism, MECHANISMS)
        if self.everybody and self.rate != 1:
            raise PlanError(
                f"sampling {self.sampling!r} asks all clients: leave the rate {self.rate:g} out"
            )
        if self.participations is not None and self.participations > self.rounds:
            raise PlanError(
                f"a client cannot take part in {self.participations} of {self.rounds} rounds"
            )
        if self.cohort < 1:
            raise PlanError(
                f"a rate of {self.rate:g} among {self.clients} clients leaves no cohort: raise one of them"
            )

    @property
    def delta_used(self) -> float:
        """The given δ, or the usual one."""
        return usual_delta(self.clients) if self.delta is None else self.delta

    @property
    def cohort(self) -> int:
        """Expected size of a cohort."""
        return round(self.rate * self.clients)

    @property
    def scheme(self) -> Sampling:
        """The sampling scheme, for the accountant."""
        return WAYS[self.sampling].scheme(self.rate, self.cohort, self.clients)

    @property
    def sampler(self) -> Cohort:
        """The sampler of a round's clients."""
        return WAYS[self.sampling].sampler(self.rate, self.cohort)

    @property
    def everybody(self) -> bool:
        """Whether all clients take part in every round."""
        return WAYS[self.sampling].everybody

    @property
    def cohort_words(self) -> str:
        """How many clients a round has, in words."""
        return WAYS[self.sampling].size.format(size=self.cohort)

    @property
    def sampling_words(self) -> str:
        """What happens to a client in a round, in words."""
        words = WAYS[self.sampling].words
        return words.format(rate=self.rate, size=self.cohort, clients=self.clients)

    @property
    def distributed(self) -> bool:
        """Whether the clients add the noise, and not the server."""
        noise: type[Noise] = named("noise", self.mechanism)  # pyright: ignore[reportAssignmentType] - of the family
        return noise.distributed


def check_group(setting: Scenario, size: int) -> None:
    """Refuse a group of more clients than there are, or than a bound is computed for.

    Raises:
        PlanError, dp.InvalidParameterError: the size is out of range.
    """
    if group_size(size) > setting.clients:
        raise PlanError(f"a group of {size:,} is more than all {setting.clients:,} clients")


def usual_rate(sampling: str) -> float:
    """The share of the clients that a round asks where nothing is said about it.

    Args:
        sampling: as in `Scenario`.

    Raises:
        PlanError: no such sampling.

    Example:
        >>> usual_rate("poisson"), usual_rate("none")
        (0.2, 1.0)
    """
    _known("sampling", sampling, SAMPLINGS)
    return 1.0 if WAYS[sampling].everybody else 0.2


def _known(name: str, value: str, names: Sequence[str]) -> None:
    if value not in names:
        raise PlanError(f"there is no {name} {value!r}; {offered(value, names)}")


@dataclass(frozen=True, slots=True)
class BudgetAnswer:
    """Both epsilons of one setting at one noise multiplier.

    Args:
        setting: the setting.
        noise_multiplier: standard deviation of the noise in a sum ÷ clip norm.
        release: ε for an observer of the released models, between proven bounds; the claim is the upper one.
        server: ε for the server, which knows each cohort; None when it sees sums without noise.
        participations: largest number of rounds in which one client sends an update; decides the server's ε.
    """

    setting: Scenario
    noise_multiplier: float
    release: Bracket
    server: float | None
    participations: int


def answer(setting: Scenario, noise_multiplier: float, *, server: bool = True) -> BudgetAnswer:
    """Compute ε from the noise multiplier.

    Args:
        setting: the other quantities that ε depends on.
        noise_multiplier: noise multiplier, > 0.
        server: whether to compute the server's ε too; False saves time.

    Raises:
        PlanError: the multiplier is not positive.
        dp.DpError: no theorem covers the combination.

    Example:
        >>> found = answer(Scenario(rate=0.15, rounds=40, mechanism="central-gaussian"), 1.3)
        >>> 4.36 < found.release.high < 4.4, found.server
        (True, None)
    """
    resolved = planned(setting, noise_multiplier)
    most = resolved.max_participations or setting.rounds
    seen = resolved.server_epsilon(most) if server else None
    return BudgetAnswer(setting, noise_multiplier, resolved.release_epsilon(), seen, most)


def curve(setting: Scenario, noise_multiplier: float, *, group: int = 1) -> PrivacyCurve:
    """The whole privacy curve for an observer of the released models, down to δ = delta ÷ 1,000.

    Args:
        setting: the quantities that the curve depends on.
        noise_multiplier: noise multiplier, > 0.
        group: number of clients whose joint participation is to be hidden.

    Raises:
        PlanError, dp.DpError: as for `answer`; also, `group` is no whole number from 1 to the number of
            clients, or to 1,000.

    Example:
        >>> whole = curve(Scenario(rate=0.15, rounds=40, mechanism="central-gaussian"), 1.3)
        >>> 4.36 < whole.epsilon(1e-5).high < 4.4
        True
    """
    check_group(setting, group)
    account = planned(setting, noise_multiplier).release_account()
    if account is None:
        raise PlanError("a curve needs noise")
    return account.curve(smallest=1e-3 * setting.delta_used, group=group)


def planned(setting: Scenario, noise_multiplier: float) -> ResolvedPlan:
    """The plan of a run with this setting, resolved.

    Raises:
        PlanError, dp.DpError: such a run would be refused.
    """
    if checks.plan.positive("noise_multiplier", noise_multiplier) > _MOST_NOISE:
        raise PlanError(
            f"noise_multiplier must be at most {_MOST_NOISE:g}, not {noise_multiplier:g}"
        )
    return _resolved(setting, _noise(setting.mechanism, noise_multiplier))


def _resolved(setting: Scenario, noise: Noise) -> ResolvedPlan:
    """On the coarsest grid on which the theorems hold and the noise can be drawn."""
    others = {name: _noise(name, 1.0) for name in MECHANISMS}
    check_covered(noise, setting.scheme, setting.sampling, others)
    refused: Exception | None = None
    for bits in range(bits_for(setting.parameters), _FINEST + 1):
        plan = Plan(
            cohort=setting.sampler,
            encoding=FixedPoint(1.0, bits),
            noise=noise,
            secure_sum=setting.secure_sum,
            local_training=LocalTraining(),
            server_optimizer=FedAvg(),
            budget=Budget(delta=setting.delta_used),
            limits=Limits(max_participations=setting.participations),
        )
        try:
            return resolve(
                plan,
                num_clients=setting.clients,
                vector_length=setting.parameters,
                num_rounds=setting.rounds,
                largest_client=1,
            )
        except DpError as error:  # shares of less than two grid units: a finer grid may help
            refused = error
        except GridError as error:
            # A coarser grid than the first one would round too much, so the noise itself is refused.
            if not error.finer:
                said = f"{noise.kind} noise of multiplier {noise.noise_multiplier:g} is too strong to draw"
                raise PlanError(f"{said}: ask for less, or for a larger epsilon") from error
            refused = error
    raise refused or PlanError(
        "this little noise among so many clients needs a finer grid than encodings offer"
    )


def _noise(name: str, noise_multiplier: float) -> Noise:
    make: Callable[[float], Noise] = named("noise", name)  # pyright: ignore[reportAssignmentType] - of the family
    return make(noise_multiplier)


def noise_for(setting: Scenario, epsilon: float) -> float:
    """Compute the smallest noise multiplier, to one part in 1,000, whose release keeps within ε.

    Raises:
        PlanError: ε is out of range or cannot be reached.
        dp.DpError: no theorem covers the combination.

    Example:
        >>> round(noise_for(Scenario(sampling="none", rate=1.0, rounds=1), 1.0), 2)
        3.73
    """
    if checks.plan.positive("epsilon", epsilon) > _LARGEST_EPSILON:
        raise PlanError(f"epsilon must be at most {_LARGEST_EPSILON:g}, not {epsilon:g}")
    if epsilon < _SMALLEST_EPSILON:
        raise PlanError(
            f"epsilon must be at least {_SMALLEST_EPSILON:g}, not {epsilon:g}: noise that strong leaves "
            "nothing to learn"
        )

    def fits(multiplier: float) -> bool:
        return answer(setting, multiplier, server=False).release.high <= epsilon

    # The multiplier of plain Gaussian noise is a good first guess for every mechanism.
    high = calibrate_noise_multiplier(
        epsilon, setting.delta_used, sampling=setting.scheme, steps=setting.rounds
    )
    if not fits(high) and fits(high * 1.001):  # tolerance for the accountant's grid
        return high * 1.001
    if fits(high) and not fits(
        high / 1.002
    ):  # a different relation between neighbours needs different noise
        return high
    low = high / 2
    while fits(low):
        low, high = low / 2, low
    while not fits(high):
        low, high = high, 2 * high
        if high > _LARGEST_NOISE:
            raise PlanError(f"no noise reaches epsilon={epsilon:g} in this setting")
    while high > low * 1.001:
        # The geometric mean halves the relative error in each step.
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def tradeoff(
    setting: Scenario, noise_multiplier: float, *, points: int = 9
) -> tuple[tuple[BudgetAnswer, ...], tuple[BudgetAnswer, ...]]:
    """Answers for several noise multipliers, and answers for several numbers of rounds.

    Args:
        setting: the other quantities that ε depends on.
        noise_multiplier: of the second curve; the first spans a factor of 3 to either side of it.
        points: number of points on the first curve, ≥ 2; the second has up to 10.

    Returns:
        Answers by rising noise, and answers by rising number of rounds, up to the setting's own.
    """
    steps = [2 * k / (points - 1) - 1 for k in range(points)]
    by_noise = [_where_covered(setting, noise_multiplier * 3.0**step) for step in steps]
    marks = sorted({max(1, round(setting.rounds * k / 10)) for k in range(1, 11)})
    by_round = [
        # A limit on participations above the number of rounds would be refused.
        _where_covered(
            replace(setting, rounds=rounds, participations=_part(setting, rounds)), noise_multiplier
        )
        for rounds in marks
    ]
    return tuple(a for a in by_noise if a), tuple(a for a in by_round if a)


def _where_covered(setting: Scenario, noise_multiplier: float) -> BudgetAnswer | None:
    """An answer; None where no theorem covers this end of the curve."""
    try:
        return answer(setting, noise_multiplier)
    except (DpError, PlanError):
        return None


def _part(setting: Scenario, rounds: int) -> int | None:
    """A given limit on participations, lowered to the length of a shorter run."""
    return None if setting.participations is None else min(setting.participations, rounds)
