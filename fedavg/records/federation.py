"""RecordFederation: silos, a model and a record plan, run step by step on one machine.

Enrolment distributes identities and keys. After it, server, silos and key holder exchange bytes only. A step
in which a silo is missing gives no sum: it is void, charged by every silo whose vector left, and drawn again
among the silos that answered.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from dp import Ledger
from dp.checks import is_a
from fedavg import checks
from fedavg.errors import ConfigError, LocalProtocolError
from fedavg.models.features.computed import FeaturedModel
from fedavg.models.files import model_bytes, rest_digest
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.server import Progress
from fedavg.records.enrolment import Parties, enrol_silos, silos_of
from fedavg.records.prepared import featured
from fedavg.records.privacy import RecordPlan
from fedavg.records.resolution import resolve_records
from fedavg.records.steps.attempts import StepSums
from fedavg.records.steps.mean import mean_of
from fedavg.records.steps.reach import reach_of
from fedavg.training.evaluation import Scoring, evaluate
from fedavg.training.setup import set_up
from fedavg.training.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from dp import SharedLedger
    from fedavg.data.dataset import Dataset
    from fedavg.protocol.transcript import Transcript
    from fedavg.records.accounts import Epsilons
    from fedavg.records.clipped.gradients import Gradients
    from fedavg.records.resolution import ResolvedRecords
    from fedavg.records.steps.mean import OpenedSum
    from fedavg.records.steps.reach import Reach
    from fedavg.records.table import Silo
    from fedavg.training.evaluation import Evaluation

    Budgets: TypeAlias = Mapping[int, Ledger | SharedLedger]

__all__ = ["RecordFederation", "StepResult"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one step; all of it may be published as far as the held-out rows may.

    Args:
        step: number of the step, from 1.
        silos: number of silos in the sums; their ids and their numbers of records are in no result.
        voided: why earlier attempts at this step gave no sum; each was charged.
        bytes_up, bytes_down: bytes of all messages, failed attempts included.
        seconds: wall time by stage, of the silos of this machine one after the other.
        evaluation: figures of the released model, in steps that are scored; else None.
        groups: number of groups that gave a sum; 1 without groups.
        shortened: number of sums that were longer than honest silos can make them, and were shortened: a silo
            did not follow the protocol.
        clip: the clip of this step: the plan's, or the one that follows the median.

    Example:
        >>> result = StepResult(1, 10, (), 900, 500, {"gradients": 0.5}, None)
        >>> result.silos, sum(result.seconds.values())
        (10, 0.5)
    """

    step: int
    silos: int
    voided: Sequence[str]
    bytes_up: int
    bytes_down: int
    seconds: Mapping[str, float]
    evaluation: Evaluation | None = field(compare=False)
    groups: int = 1
    shortened: int = 0
    clip: float = math.nan


class RecordFederation:
    """A simulated federation of silos that protects people or records.

    Args:
        model: a module or a `ModelSpec`.
        silos: each silo's records, by id: a `Silo`, or a `Dataset` for a silo whose rows name nobody. A list
            numbers the silos from 0.
        plan: the plan.
        evaluate: held-out examples on which released models are scored; None for none.
        scoring: metrics, headline and whether the held-out rows are public.
        ledgers: each silo's own budget by its id, such as a `dp.SharedLedger` that several runs charge; or a
            function that gives them, which is called once, after everything else was checked. None gives
            every silo a new `dp.Ledger` over the plan's ε and δ.
        transcript: when given, records every message that the server sent or received.
        silent: for simulations: the silos that do not answer in a step and stage.
        gradients: for audits: given a silo's id and its gradients, what stands in for them.

    Raises:
        PlanError, CohortSizeError, GridError: the plan does not fit the silos or the model, or one record
            changes the gradient of another.
        DataError: a silo's table does not fit the model, the loss or the plan's bounds, or two silos are one
            object.
        ConfigError: model, plan or ledgers are none.

    Example:
        >>> import numpy, torch, fedavg
        >>> rng = numpy.random.default_rng(0)
        >>> def silo():
        ...     features = rng.normal(size=(300, 4))
        ...     return fedavg.Dataset(features, (features[:, 0] > 0).astype(int))
        >>> privacy = fedavg.RecordPrivacy(unit="record", rate=0.1, clip=1.0, max_units=400, epsilon=8.0)
        >>> plan = fedavg.RecordPlan(
        ...     privacy=privacy, steps=10, divisor=120.0, server_optimizer=fedavg.FedMomentum(lr=0.5)
        ... )
        >>> silos = [silo() for _ in range(4)]
        >>> federation = RecordFederation(torch.nn.Linear(4, 2), silos, plan, evaluate=silo())
        >>> *_, last = federation.run()
        >>> last.step, last.evaluation.accuracy > 0.6, 7.9 < federation.epsilons.colluding <= 8.0
        (10, True, True)
    """

    def __init__(
        self,
        model: nn.Module | ModelSpec,
        silos: Mapping[int, Silo | Dataset] | Sequence[Silo | Dataset],
        plan: RecordPlan,
        *,
        evaluate: Dataset | None = None,
        scoring: Scoring | None = None,
        ledgers: Budgets | Callable[[], Budgets] | None = None,
        transcript: Transcript | None = None,
        silent: Callable[[int, str], frozenset[int]] | None = None,
        gradients: Callable[[int, Gradients], Gradients] | None = None,
    ) -> None:
        module = model.build() if isinstance(model, ModelSpec) else model
        if not is_a(module, nn.Module):
            raise ConfigError(
                f"a model is a torch.nn.Module or a fedavg.ModelSpec, not {type(model).__name__}: a built-in "
                "model by its name is fedavg.ModelSpec('mlp', input_shape=(4,), num_classes=2), with the "
                "shape of one example and the number of outputs"
            )
        if not is_a(plan, RecordPlan):
            raise ConfigError(f"a plan is a fedavg.RecordPlan, not {type(plan).__name__}")
        self._module, self._layout, _ = set_up(module, ())
        given = silos_of(silos)
        self.resolution: ResolvedRecords = resolve_records(
            plan,
            silos=len(given),
            vector_length=self._layout.size,
            rest=rest_digest(self._module),
        )
        privacy = plan.privacy
        own = {silo: Ledger(privacy.epsilon, privacy.delta) for silo in given}
        held = own if ledgers is None else ledgers
        self._parties: Parties = enrol_silos(
            self.resolution,
            self._module,
            self._layout,
            given,
            held if callable(held) else lambda: held,
            gradients,
        )
        self._plan = plan
        self._test = None if evaluate is None else featured(evaluate, plan.features)
        self._shape = next(iter(given.values())).records.features.shape[1:]
        self._scoring = scoring or Scoring(loss=plan.loss)
        self.transcript = transcript
        self._vector = self._layout.flatten(self._module)
        self._released = self._vector
        rule = self.resolution.clipping
        self._clip = rule.given(rule.sent(rule.start))  # as the silos are given it
        self._state = plan.server_optimizer.init(self._vector.size)
        self._sums = StepSums(self.resolution, self._parties, silent or _nobody, transcript)
        self.stopped = "not run"

    @property
    def released(self) -> NDArray[np.float64]:
        """The released model, float64[d], a copy."""
        return self._released.copy()

    @property
    def clip(self) -> float:
        """The clip of the next step; computed from released sums alone."""
        return self._clip

    @property
    def rosters(self) -> Mapping[int, int]:
        """Number of sums so far by the number of silos in them, those that gave no result included."""
        return dict(self._sums.rosters)

    @property
    def epsilons(self) -> Epsilons:
        """The three ε of one unit so far, of the silo in most sums. Computing them takes up to a second."""
        return self.resolution.epsilons(self._sums.worst())

    def planned_epsilons(self) -> Epsilons:
        """The three ε after all steps of the plan, if no silo is ever missing."""
        return self.resolution.epsilons({self.resolution.summed: self._plan.steps})

    @property
    def epsilon_two_silos(self) -> float | None:
        """ε of a person with rows in two silos so far, at the budget; None for a sum that hides nothing.

        Computing it takes a second or two.
        """
        sums = sum(self._sums.worst().values())
        if not self.resolution.plan.secure_sum.hides_updates:
            return None
        return self.resolution.in_silos(2, sums) if sums else 0.0

    @property
    def reach(self) -> Reach:
        """How far one silo moves a step, for anything that it holds or sends."""
        return reach_of(self.resolution)

    @property
    def spent(self) -> dict[int, float]:
        """ε of each silo's own ledger, with what earlier runs charged to it. For the silos themselves."""
        return {silo: party.spent() for silo, party in self._parties.silos.items()}

    @property
    def troubles(self) -> dict[int, Sequence[str]]:
        """Why silos sent zeros in place of gradients; each silo's own log, which no other party sees."""
        found = self._parties.silos.items()
        return {silo: tuple(party.troubles) for silo, party in found if party.troubles}

    def model(self) -> nn.Module:
        """The released model, in evaluation mode: the federation's own, which its next step changes.

        With fixed features it takes examples, and computes their features first.
        """
        self._layout.load_vector(self._module, self._released)
        head, features = self._module.eval(), self._plan.features
        return (
            head if features is None else FeaturedModel(features.module(self._shape), head).eval()
        )

    def model_file(self) -> bytes:
        """The released model as a safetensors file, without fixed features."""
        return model_bytes(self._module, self._layout, self._released)

    def run(self, *, score_every: int = 0) -> Generator[StepResult]:
        """Run all steps, or until a silo's ledger has no room for another.

        Args:
            score_every: number of steps between two scores; 0 scores the last one alone.

        Yields:
            The result of each step.

        Raises:
            LocalProtocolError: the federation was run before: its plan and budget are for one run.
            RoundAbortedError: too few silos answer, and nobody's ledger is the reason.
        """
        every = checks.config.whole("score_every", score_every, 0)
        if self.stopped != "not run":
            raise LocalProtocolError("a federation runs once: its budget is for the plan's steps")
        self.stopped = "interrupted"
        with one_thread():
            for step in range(self._plan.steps):
                result = self._step(step, scored=self._is_scored(step, every))
                if result is None:
                    self.stopped = "budget"
                    return
                yield result
        self.stopped = "finished"

    def _is_scored(self, step: int, every: int) -> bool:
        last = step + 1 == self._plan.steps
        return self._test is not None and (last or (every > 0 and (step + 1) % every == 0))

    def _step(self, step: int, *, scored: bool) -> StepResult | None:
        clip = self._clip
        parts = self._released, self.resolution.clipping.sent(clip)
        sent = np.concatenate(parts).astype("<f4").tobytes()
        summed = self._sums.step(step, sent)
        if summed is None:
            return None
        shortened = self._advance(step, summed.sums)
        traffic, evaluation, begun = summed.traffic, None, time.perf_counter()
        if scored and self._test is not None:
            evaluation = evaluate(
                self._module, self._layout, self._released, self._test, self._scoring
            )
            traffic.seconds["score"] = time.perf_counter() - begun
        return StepResult(
            step + 1,
            sum(one.roster for one in summed.sums),
            summed.voided,
            traffic.bytes_up,
            traffic.bytes_down,
            dict(traffic.seconds),
            evaluation,
            groups=len(summed.sums),
            shortened=shortened,
            clip=clip,
        )

    def _advance(self, step: int, sums: Sequence[OpenedSum]) -> int:
        """Take the server's step; the number of sums that were too long to be honest."""
        rule, mean = self._plan.server_optimizer, mean_of(self.resolution, sums, self._clip)
        self._clip = self.resolution.clipping.moved(self._clip, mean.balance)
        progress = Progress(step, self._plan.steps)
        self._vector, self._state = rule.step(self._vector, mean.delta, self._state, progress)
        self._released, self._state = rule.release(self._vector, self._state, progress)
        return mean.shortened


def _nobody(step: int, stage: str) -> frozenset[int]:
    """No silo is silent."""
    del step, stage
    return frozenset()
