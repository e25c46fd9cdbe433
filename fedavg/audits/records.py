"""Audit of a plan of records on its own mechanism: one silo's units are canaries, and an attack seeks them.

Audits are for simulations. A fair coin decides for every canary whether it is a unit of the audited silo.
Each one has a gradient in a random direction, ten clips long. It goes through the silo's own coins, clipping,
rounding, noise and charge, and through the sum. The attack is the budget's observer: it sees every sum, knows
all that the other silos computed, and the noise of as many of them as may collude.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dp.audit import (
    NoiseCheck,
    check_noise,
    claim_p_value,
    fair_coins,
    one_run,
    plan_guesses,
    unit_canaries,
)
from fedavg import checks
from fedavg.audits.canaries import CanaryGradients, Watched, canary_silo
from fedavg.audits.claim import claimed_curve, gaussian_like
from fedavg.audits.clients import InTheClear
from fedavg.audits.evidence import (
    FALSE_ALARM,
    as_json,
    fitting,
    refutations_of,
    verdict_of,
)
from fedavg.errors import PlanError
from fedavg.protocol.transcript import Transcript, uploaded_vector
from fedavg.records.enrolment import silos_of
from fedavg.records.federation import RecordFederation
from fedavg.records.prepared import prepared
from fedavg.robust.deal import dealt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset
    from fedavg.models.spec import ModelSpec
    from fedavg.records.accounts import Epsilons
    from fedavg.records.clipped.gradients import Gradients
    from fedavg.records.federation import StepResult
    from fedavg.records.privacy import RecordPlan
    from fedavg.records.table import Silo

__all__ = ["RecordAudit", "audit_records", "check_canaries"]

_MOST_CANARIES = 1000


@dataclass(frozen=True, slots=True)
class RecordAudit:
    """The evidence of canaries about a plan of records, beside the plan's claims.

    Args:
        epsilon_low: lower bound on the ε against the server with its colluding silos, wrong with probability
            at most 1 − confidence.
        confidence: confidence of the lower bound.
        claimed: the three ε that the plan claims for these steps; None where it has no bound.
        budget: the ε that the attack tests: `claimed.colluding`, or, for a sum in the clear, what it would be
            under a sum that hides.
        canaries, included, guesses, correct: numbers of canaries, of included ones, of guesses, and of
            correct guesses.
        claim_p_value: largest probability of this many correct guesses, if the claim holds.
        steps: number of steps.
        noise: strength, independence and shape of the noise that the attack does not know.
        longest: norm of one clipped canary ÷ the clip.
    """

    epsilon_low: float
    confidence: float
    claimed: Epsilons
    budget: float
    canaries: int
    included: int
    guesses: int
    correct: int
    claim_p_value: float
    steps: int
    noise: NoiseCheck
    longest: float

    @property
    def ratio(self) -> float:
        """Lower bound ÷ claim."""
        return self.epsilon_low / self.budget

    @property
    def refutations(self) -> tuple[str, ...]:
        """Findings that the claim cannot explain; each check errs with probability 1e-6 at most."""
        too_long = (
            ""
            if self.longest <= 1
            else f"a unit's clipped gradient is {self.longest:.3g} clips long"
        )
        return refutations_of(self.correct, self.guesses, self.claim_p_value, self.noise, too_long)

    @property
    def verdict(self) -> str:
        """The verdict, in one or two sentences."""
        return verdict_of(self.refutations, self.confidence, self.epsilon_low, self.budget)

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Names and figures for a table."""
        noise, three = self.noise.measured / self.noise.stddev, self.claimed
        silos = "1 silo" if three.colluders == 1 else f"{three.colluders} silos"
        return (
            (f"epsilon claimed, server with {silos}", f"{self.budget:.3f} (delta {three.delta:g})"),
            ("epsilon claimed, server", _number(three.server)),
            ("epsilon claimed, released models", _number(three.release)),
            (f"lower bound, {self.confidence:.0%} confidence", f"{self.epsilon_low:.3f}"),
            ("lower bound / claim", f"{self.ratio:.2f}"),
            ("p-value of the claim", f"{self.claim_p_value:.2g}"),
            ("coins guessed right", f"{self.correct:,} of {self.guesses:,}"),
            (
                "canaries",
                f"{self.canaries:,}, of which {self.included:,} are units of the audited silo",
            ),
            ("steps", f"{self.steps:,}"),
            ("noise measured / planned", f"{noise:.3f}"),
            ("one clipped canary / clip", f"{self.longest:.6f}"),
        )

    def to_json(self) -> dict[str, Any]:
        """All figures, with the verdict."""
        more = {"ratio": self.ratio, "refuted": bool(self.refutations), "verdict": self.verdict}
        return as_json(asdict(self) | more)


def _number(value: float | None) -> str:
    return "no bound" if value is None else f"{value:.3f}"


def audit_records(
    model: nn.Module | ModelSpec,
    silos: Mapping[int, Silo | Dataset] | Sequence[Silo | Dataset],
    plan: RecordPlan,
    *,
    canaries: int | None = None,
    confidence: float = 0.95,
    on_start: Callable[[], object] | None = None,
    on_step: Callable[[StepResult], None] | None = None,
) -> RecordAudit:
    """Run a plan in which the units of the last silo are canaries, and judge its claim by the result.

    The audit trains in a simulation of its own, with ledgers of its own, and discards the model. It adds the
    vectors in the clear: each secure sum gives the same integers, and the shares of noise stay those of the
    plan's own sum. It assumes that this sum hides single vectors.

    Args:
        model: as for `RecordFederation`.
        silos: as for `RecordFederation`; the records of the last one do not take part.
        plan: the plan, with one gradient a sum.
        canaries: number of canaries, at least 40 and at most `max_units` and the number of parameters; about
            half of them are included. None takes up to 1,000, and at most a quarter of the number of
            parameters, since more of them hide one another.
        confidence: confidence of the lower bound.
        on_start: called before the first step, once everything has been checked.
        on_step: called with the result of every step.

    Raises:
        PlanError: the plan takes local steps, or there are too many or too few canaries; or the plan does not
            fit these silos. The packages' own errors are raised too.

    Example:
        >>> import fedavg, torch
        >>> rng = np.random.default_rng(0)
        >>> silos = [fedavg.Dataset(rng.normal(size=(50, 40)), rng.integers(0, 5, 50)) for _ in range(4)]
        >>> privacy = fedavg.RecordPrivacy(unit="record", rate=0.5, clip=1.0, max_units=100, epsilon=8.0)
        >>> plan = fedavg.RecordPlan(privacy=privacy, steps=10, divisor=100.0)
        >>> found = audit_records(torch.nn.Linear(40, 5), silos, plan)
        >>> found.refutations, 7.9 < found.budget <= 8.0, found.epsilon_low < found.budget
        ((), True, True)
    """
    if plan.privacy.local_steps > 1:
        raise PlanError(
            "canaries are gradients, and with local_steps > 1 a silo sends the update of several: audit the "
            "plan with local_steps=1, whose noise is the same"
        )
    confidence = checks.plan.proper_fraction("confidence", confidence)
    check_canaries(canaries, plan.privacy.max_units)
    # Fixed features are computed before, so that canaries have the shape of what the model is given.
    given = {key: prepared(silo, plan.features) for key, silo in silos_of(silos).items()}
    plan = replace(plan, features=None)
    audited = max(given)
    like = next(iter(given.values())).records
    # The claim is that of the plan's own sum; a trial also gives the number of parameters.
    trial = RecordFederation(model, given, plan)
    count = _count(canaries, trial.resolution.vector_length, plan.privacy.max_units)
    coins, directions = fair_coins(count), unit_canaries(count, trial.resolution.vector_length)
    unit = CanaryGradients(directions[coins])
    given[audited] = canary_silo(int(coins.sum()), like, by_person=plan.privacy.by_person)
    watched: dict[int, Watched] = {}

    def watching(silo: int, own: Gradients) -> Gradients:
        watched[silo] = Watched(unit if silo == audited else own)
        return watched[silo]

    log = Transcript()
    clear = replace(plan, secure_sum=InTheClear(plan.secure_sum))
    run = RecordFederation(model, given, clear, transcript=log, gradients=watching)
    attack = _Attack(run, audited, watched, directions)
    if on_start is not None:
        on_start()
    for result in run.run():
        attack.take(result.step - 1, log)
        log.entries.clear()
        if on_step is not None:
            on_step(result)
    return _judge(attack, trial, coins, confidence, unit.longest(plan.privacy.clip))


def check_canaries(canaries: int | None, units: int) -> None:
    """Refuse a number of canaries that no model makes right, before any data is read.

    Args:
        canaries: the number; None for the usual one.
        units: `max_units` of the plan.

    Raises:
        PlanError: there are fewer than 40 or more than `units`.

    Example:
        >>> check_canaries(200, 100)
        Traceback (most recent call last):
        fedavg.errors.PlanError: 200 canaries do not fit: between 40 and 100 do, one for each unit ...
    """
    _within(canaries, units, f"each unit of a silo (max_units={units:,})")


def _count(canaries: int | None, parameters: int, units: int) -> int:
    """The number of canaries, within what the model and the silo hold."""
    what = f"each parameter of the model ({parameters:,}) and each unit of a silo (max_units={units:,})"
    return _within(canaries, min(parameters, units), what)


def _within(canaries: int | None, most: int, what: str) -> int:
    count = (
        min(_MOST_CANARIES, most) if canaries is None else checks.plan.whole("canaries", canaries)
    )
    return fitting(count, most, what)


class _Attack:
    """The view of the budget's observer, step by step.

    Args:
        run: the federation with the canaries' silo.
        audited: id of that silo.
        watched: what each silo computed before its noise.
        directions: float32[canaries, d], of included canaries and of others.
    """

    def __init__(
        self,
        run: RecordFederation,
        audited: int,
        watched: Mapping[int, Watched],
        directions: NDArray[np.float32],
    ) -> None:
        self._resolution, self._audited, self._watched = run.resolution, audited, watched
        self._directions = directions
        self.scores = np.zeros(len(directions))
        self.noise: defaultdict[float, list[NDArray[np.float64]]] = defaultdict(list)

    def take(self, step: int, log: Transcript) -> None:
        """Look at one step's uploads.

        Args:
            step: index of the step.
            log: all messages of the step.
        """
        resolution, messages = self._resolution, defaultdict[int, list[bytes]](list)
        for entry in log:
            if entry.direction == "up":
                messages[entry.party].append(entry.message)
        roster = self._companions(step)
        # The noise of colluding silos is known, and so is everything but the noise of the others.
        hidden = 1 if resolution.account.alone else len(roster) + 1 - resolution.colluders
        view = np.zeros(resolution.summed_length, np.int64)
        for silo in (self._audited, *roster[: hidden - 1]):
            sent = uploaded_vector(messages[silo], resolution.plan.secure_sum)
            if sent is None:
                raise PlanError(f"silo {silo} sent no vector in step {step + 1}: nothing to audit")
            view += sent.astype(np.int64)
            if silo != self._audited:
                view -= self._watched[silo].vector(resolution)
        own = self._watched[self._audited].vector(resolution)
        stddev = math.sqrt(hidden) * resolution.account.share_stddev(len(roster) + 1)
        self.noise[stddev].append((view - own).astype(np.float64))
        # Canaries are directions of gradients; all are longer than the clip, and so on one side of it.
        gradient, length = view[: resolution.vector_length], resolution.gradient_norm
        self._score(gradient / length, stddev / length)

    def _companions(self, step: int) -> list[int]:
        """The other silos in the audited silo's sum."""
        silos, rule = tuple(sorted(self._watched)), self._resolution.plan.robust
        groups = (silos,) if rule is None else dealt(silos, rule.groups, step)
        (own,) = (group for group in groups if self._audited in group)
        return [silo for silo in own if silo != self._audited]

    def _score(self, view: NDArray[np.float64], stddev: float) -> None:
        """Add each canary's log-likelihood ratio: drawn by its coin of rate q, against never there."""
        rate = self._resolution.plan.privacy.rate
        along = (self._directions @ view.astype(np.float32)).astype(np.float64)
        # Other canaries are noise too: their directions are random.
        variance = stddev**2 + rate * len(along) / 2 / view.size
        with np.errstate(divide="ignore"):  # at rate 1 no canary is left out
            missed, drawn = np.log1p(-rate), np.log(rate)
        self.scores += np.logaddexp(missed, drawn + (along - 0.5) / variance)


def _judge(
    attack: _Attack,
    trial: RecordFederation,
    coins: NDArray[np.bool_],
    confidence: float,
    longest: float,
) -> RecordAudit:
    steps, privacy = sum(map(len, attack.noise.values())), trial.resolution.plan.privacy
    if not steps:
        raise PlanError("no step gave a sum: there is nothing to audit")
    delta = privacy.delta
    curve, budget = claimed_curve(trial.resolution.account.budget_account(steps), delta)
    # The number of guesses does not depend on the scores; otherwise the p-value would not hold.
    mu = gaussian_like(budget, delta)
    guesses = plan_guesses(len(coins), mu, delta=delta, confidence=confidence)
    scores = attack.scores
    # The strength may depend on the size of the group: the most frequent one is checked.
    stddev, noise = max(attack.noise.items(), key=lambda item: len(item[1]))
    found = one_run(scores, coins, delta=delta, confidence=confidence, guesses=guesses)
    return RecordAudit(
        epsilon_low=found.epsilon_low,
        confidence=confidence,
        claimed=trial.planned_epsilons(),
        budget=budget,
        canaries=len(coins),
        included=int(coins.sum()),
        guesses=found.guesses,
        correct=found.correct,
        claim_p_value=claim_p_value(scores, coins, curve, guesses=guesses),
        steps=steps,
        noise=check_noise(np.stack(noise), stddev, false_alarm=FALSE_ALARM),
        longest=longest,
    )
