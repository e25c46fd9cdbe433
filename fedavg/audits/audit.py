"""Audit of a plan on the federation's own mechanism: canaries join its rounds, and an attack seeks them.

Audits are for simulations.  A fair coin decides for every canary whether it is included.  Included canaries
enrol as clients and send one random direction, ten clip norms long, through the client's own clipping,
encoding, noise and sum.  The attack sees every release and, as differential privacy assumes, everything that
the other clients sent.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dp.audit import (
    NoiseCheck,
    canary_scores,
    check_noise,
    claim_p_value,
    fair_coins,
    one_run,
    one_shot,
    plan_guesses,
    unit_canaries,
)
from fedavg import checks
from fedavg.algorithms.chain import sent_length
from fedavg.audits.claim import epsilon_added, family_bound, gaussian_like, profile
from fedavg.audits.clients import AuditedSimulation, InTheClear
from fedavg.audits.evidence import (
    FALSE_ALARM,
    FEWEST_CANARIES,
    as_json,
    fitting,
    refutations_of,
    verdict_of,
)
from fedavg.errors import PlanError
from fedavg.federation.entry import enrolled
from fedavg.federation.federation import Federation
from fedavg.plan.plan import Budget
from fedavg.training.compute import CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.federation.federation import RoundResult
    from fedavg.models.spec import ModelSpec
    from fedavg.plan.plan import Plan
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.simulation.faults import Faults
    from fedavg.training.compute import Compute

__all__ = ["PlanAudit", "audit_plan"]


@dataclass(frozen=True, slots=True)
class PlanAudit:
    """The evidence of canaries about a plan, beside the plan's claim.

    Args:
        epsilon_low: lower bound on the release's ε, wrong with probability at most 1 − confidence.
        confidence: confidence of both lower bounds.
        epsilon_low_family: a lower bound under the assumption that the mechanism is the plan's own at some
            strength of noise: smaller values are refuted.  It says nothing about other mechanisms.
        epsilon_estimate: estimate from a Gaussian fitted to the included canaries; no bound.
        epsilon_claimed: ε that the accountant states for these rounds.
        epsilon_added: ε that the accountant would state for the noise of a round without drop-outs and
            colluders, since a distributed noise claims less than it adds.
        delta: δ at which each ε is stated.
        canaries, included, guesses, correct: numbers of canaries, of included ones, of guesses, and of
        correct
            guesses.
        claim_p_value: largest probability of this many correct guesses, if the claim holds.
        rounds: number of rounds that gave a release.
        noise: strength, independence and shape of the noise in the releases, against the plan's noise.
        longest: largest norm that any client sent ÷ the sensitivity that the noise is scaled to.
    """

    epsilon_low: float
    confidence: float
    epsilon_low_family: float
    epsilon_estimate: float
    epsilon_claimed: float
    epsilon_added: float
    delta: float
    canaries: int
    included: int
    guesses: int
    correct: int
    claim_p_value: float
    rounds: int
    noise: NoiseCheck
    longest: float

    @property
    def ratio(self) -> float:
        """Lower bound ÷ claim."""
        return self.epsilon_low / self.epsilon_claimed if self.epsilon_claimed > 0 else math.inf

    @property
    def refutations(self) -> tuple[str, ...]:
        """Findings that the claim cannot explain; each check errs with probability 1e-6 at most."""
        # The tolerance is for rounding in the norm.
        too_long = ""
        if self.longest > 1 + 1e-9:
            too_long = (
                f"a client sent a vector {self.longest:.3g} times as long as the sensitivity that "
                "the noise is scaled to"
            )
        return refutations_of(self.correct, self.guesses, self.claim_p_value, self.noise, too_long)

    @property
    def verdict(self) -> str:
        """The verdict, in one or two sentences."""
        return verdict_of(self.refutations, self.confidence, self.epsilon_low, self.epsilon_claimed)

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Names and figures for a table."""
        noise = self.noise.measured / self.noise.stddev
        return (
            ("epsilon claimed", f"{self.epsilon_claimed:.3f} (delta {self.delta:g})"),
            (f"lower bound, {self.confidence:.0%} confidence", f"{self.epsilon_low:.3f}"),
            ("lower bound / claim", f"{self.ratio:.2f}"),
            (
                "lower bound, if only the noise's strength is in doubt",
                f"{self.epsilon_low_family:.3f}",
            ),
            ("estimate, no bound", f"{self.epsilon_estimate:.3f}"),
            ("epsilon of the noise as added", f"{self.epsilon_added:.3f}"),
            ("p-value of the claim", f"{self.claim_p_value:.2g}"),
            ("coins guessed right", f"{self.correct:,} of {self.guesses:,}"),
            ("canaries", f"{self.canaries:,}, of which {self.included:,} joined"),
            ("rounds", f"{self.rounds:,}"),
            ("noise measured / planned", f"{noise:.3f}"),
            ("longest vector / sensitivity", f"{self.longest:.6f}"),
        )

    def to_json(self) -> dict[str, Any]:
        """All figures, with the verdict."""
        more = {"ratio": self.ratio, "refuted": bool(self.refutations), "verdict": self.verdict}
        return as_json(asdict(self) | more)


def audit_plan(
    model: nn.Module | ModelSpec,
    clients: Mapping[int, Dataset],
    plan: Plan,
    num_rounds: int,
    *,
    canaries: int | None = None,
    confidence: float = 0.95,
    in_the_clear: bool = True,
    faults: Faults | None = None,
    seed: int = 0,
    compute: Compute = CPU,
    on_start: Callable[[], object] | None = None,
    on_round: Callable[[RoundResult], None] | None = None,
) -> PlanAudit:
    """Run a plan with canaries among its clients, and judge its claim by the result.

    The audit trains in a simulation of its own, and discards the model.

    Args:
        model: as for `Federation`.
        clients: as for `Federation`; the canaries join them.
        plan: a plan with a noise.
        num_rounds: number of rounds to run, and to compute the claim for.
        canaries: number of canaries, ≥ 40 and at most as many as the model has parameters; about half of
            them are included.  None takes 1,000, or half the number of parameters.
        confidence: confidence of the lower bounds.
        in_the_clear: whether to add vectors without masks or encryption, which gives the same integers
            faster; the shares of noise stay those of the plan's own sum.
        faults: simulated drop-outs.
        seed: public seed of the order of examples.
        compute: device and precision of the clients' training, the same as when the plan is run.
        on_start: called before the first round, once everything has been checked.
        on_round: called with the result of every round.

    Raises:
        PlanError: the plan has no noise, there are too many or too few canaries, or a canary's client refused
            it; or the plan does not fit these clients. The packages' own errors are raised too.
    """
    confidence = checks.plan.proper_fraction("confidence", confidence)
    if plan.noise is None:
        raise PlanError("without noise there is no epsilon to audit: choose a noise")
    if plan.blocks is not None:
        raise PlanError(
            "canaries are directions in the whole model and each client sends one block of it: audit the "
            "plan without blocks, whose multiplier is the same"
        )
    plan = _unlimited(plan, in_the_clear=in_the_clear)
    members = enrolled(clients)
    # The number of parameters is only known once the model has been built and set up.
    parameters = Federation(model, members, plan).layout.size
    _check_length(plan, parameters)
    usual = min(1000, max(FEWEST_CANARIES, parameters // 2))
    count = usual if canaries is None else canaries
    fitting(count, parameters, f"each parameter of the model ({parameters:,})")
    # Fair coins of the operating system make the count of correct guesses binomial, if nothing leaks.
    coins = fair_coins(count)
    directions = unit_canaries(count, parameters)
    # Canaries have ids beyond those of all clients.
    first = max(members) + 1
    joined = {first + k: row for k, row in enumerate(directions[coins])}
    simulation = AuditedSimulation(joined)
    # A canary never reads its examples; with those of a client, it is of a kind that can train.
    example = next(iter(members.values()))
    federation = Federation(
        model,
        {**members, **dict.fromkeys(joined, example)},
        plan,
        faults=faults,
        seed=seed,
        device=compute.device,
        precision=compute.precision,
        simulation=simulation,
    )
    attack, resolution = _Attack(federation, simulation), federation.resolve(num_rounds)
    if on_start is not None:
        on_start()
    for result in federation.run(num_rounds):
        attack.take(result)
        if on_round is not None:
            on_round(result)
    if not attack.noise:
        raise PlanError("no round gave a release: there is nothing to audit")
    return _judge(attack, resolution, directions, coins, confidence)


def _check_length(plan: Plan, parameters: int) -> None:
    """Refuse stages that send other vectors than all parameters, since canaries are directions over these."""
    sent = sent_length(plan.stages, parameters, plan.local_training)
    if sent > parameters:
        raise PlanError(
            f"canaries are updates of the model's length, {parameters:,}, and the stages of this plan send "
            f"{sent:,} numbers: audit a plan that sends the update alone; SCAFFOLD does with "
            "LocalTraining(steps=…)"
        )
    if sent < parameters:
        raise PlanError(
            f"canaries are directions over all {parameters:,} parameters, and the stages of this plan send "
            f"{sent:,} of them: audit the plan without random-k, whose releases cost no less"
        )


def _unlimited(plan: Plan, *, in_the_clear: bool) -> Plan:
    """The plan without a limit that the number of canaries could exceed, and with the sum to use."""
    sums = InTheClear(plan.secure_sum) if in_the_clear else plan.secure_sum
    personal = plan.personalization
    if (
        personal is not None and not personal.head
    ):  # parts that are never sent are not part of an attack
        personal = None
    return replace(
        plan,
        budget=Budget(delta=plan.budget.delta),
        secure_sum=sums,
        personalization=personal,
    )


class _Attack:
    """An attacker's view of a federation, round by round; it knows what all clients but the canaries sent.

    Args:
        federation: federation with the canaries among its clients.
        simulation: simulation of those clients.
    """

    def __init__(self, federation: Federation, simulation: AuditedSimulation) -> None:
        self._federation, self._simulation = federation, simulation
        self.seen = np.zeros(federation.layout.size)
        self.noise: list[NDArray[np.float64]] = []
        self.longest = 0.0

    def take(self, result: RoundResult) -> None:
        """Add one release to the attacker's view, in clip norms, and store its noise.

        Raises:
            PlanError: a canary's own client refused its update, so the audit would see nothing.
        """
        population = self._simulation.population
        # A canary that sends nothing would weaken the attack, and the audit could wrongly find nothing.
        refused = sorted(set(result.failures) & population.canaries.keys())
        if refused:
            raise PlanError(
                "a canary's client refused what its own clipping made of the update: "
                f"{result.failures[refused[0]]}"
            )
        # A failed round releases noise alone, from which the attack learns nothing.
        if result.skipped is not None:
            return
        released, summed = self._federation.last_update, self._federation.last_sum
        if released is None or summed is None:
            raise PlanError("the round left nothing to look at")
        resolution = population.resolution
        encoding = resolution.encoding_at(result.clip)
        # Under noise the divisor is the public expected cohort, so this gives the sum back.
        total = released * resolution.expected_cohort
        sent = population.sent(summed.survivors)
        length = encoding.encoded_length(resolution.update_length)

        def decoded(ids: AbstractSet[int]) -> NDArray[np.float64]:
            grid = np.zeros(length, dtype=np.int64)
            for client in ids:
                grid += sent[client][:length]
            return encoding.decode(grid, resolution.update_length)

        # Differential privacy assumes an attacker who knows what all others sent.
        others = decoded(sent.keys() - population.canaries.keys())
        canaries = decoded(sent.keys() & population.canaries.keys())
        self.seen += (total - others) / encoding.clip
        # Without any client's part, only the noise remains; it is checked in grid units.
        self.noise.append((total - others - canaries) * encoding.grid_units(total.size))
        norms = [float(np.linalg.norm(vector.astype(np.float64))) for vector in sent.values()]
        self.longest = max(self.longest, max(norms, default=0.0) / resolution.sensitivity.l2)


def _judge(
    attack: _Attack,
    resolution: ResolvedPlan,
    directions: NDArray[np.float32],
    coins: NDArray[np.bool_],
    confidence: float,
) -> PlanAudit:
    delta, claimed = resolution.plan.budget.delta, resolution.epsilon_at_end()
    # Each canary is drawn in a share of the rounds, and its score is a mean over these.
    rounds, added = len(attack.noise), resolution.noise_multiplier_added or 0.0
    rate = min(resolution.expected_cohort / resolution.num_clients, 1.0)
    stddev = added * math.sqrt(rounds) / (rate * rounds)
    scores = canary_scores(attack.seen / (rate * rounds), directions, stddev=stddev)
    # The number of guesses does not depend on the scores; otherwise the p-value would not hold.
    mu = gaussian_like(claimed, delta)
    guesses = plan_guesses(len(coins), mu, delta=delta, confidence=confidence)
    found = one_run(scores, coins, delta=delta, confidence=confidence, guesses=guesses)
    return PlanAudit(
        epsilon_low=found.epsilon_low,
        confidence=confidence,
        epsilon_low_family=family_bound(
            resolution, len(coins), found.guesses, found.correct, 1 - confidence
        ),
        epsilon_estimate=one_shot(attack.seen, directions[coins], delta=delta).epsilon_estimate,
        epsilon_claimed=claimed,
        epsilon_added=epsilon_added(resolution),
        delta=delta,
        canaries=len(coins),
        included=int(coins.sum()),
        guesses=found.guesses,
        correct=found.correct,
        claim_p_value=claim_p_value(scores, coins, profile(resolution), guesses=guesses),
        rounds=rounds,
        noise=check_noise(
            np.stack(attack.noise), added * resolution.sensitivity.l2, false_alarm=FALSE_ALARM
        ),
        longest=attack.longest,
    )
