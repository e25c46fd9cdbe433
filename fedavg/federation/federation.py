"""Federation: a model, clients and a plan, run round by round on one machine.

Enrolment distributes identities and keys. After it, server, clients and key holder exchange bytes only.
Every release is charged to the ledger before it is made.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dp import Ledger
from fedavg.algorithms.blocks.deal import check_seats
from fedavg.algorithms.personal.scores import of_one_figure
from fedavg.algorithms.state import FolderStore
from fedavg.client.trial import Trial, try_out
from fedavg.errors import LocalProtocolError
from fedavg.federation.broken_off import draw, draw_others, newly_spent, void_rounds
from fedavg.federation.checkpoint import Checkpoint, fingerprint
from fedavg.federation.entry import chosen_simulation, declared_population, enrolled
from fedavg.federation.provision import provision_all
from fedavg.federation.released import Released
from fedavg.federation.shared import charge_failure, charge_round
from fedavg.federation.spending import Spending
from fedavg.federation.watching import Recorded, Watch
from fedavg.models.files import rest_digest
from fedavg.models.spec import ModelSpec
from fedavg.plan.resolution import resolve
from fedavg.plan.stopping import check_stopping
from fedavg.protocol.driver import PROTOCOL_ERRORS, RoundTraffic
from fedavg.protocol.result import NOTHING_LEARNT, RoundResult
from fedavg.server.openings import AnnouncedSide
from fedavg.server.retries import run_with_retries, sum_round
from fedavg.simulation.faults import Faults
from fedavg.simulation.interface import Enrolled
from fedavg.training.compute import Compute
from fedavg.training.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.personal.scores import Score
    from fedavg.data.dataset import Dataset
    from fedavg.federation.checkpoint import Journal, Restart
    from fedavg.federation.scoring import Held
    from fedavg.federation.shared import SharedBudget
    from fedavg.plan.plan import Plan
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.protocol.transcript import Transcript
    from fedavg.simulation.interface import Simulation, SimulationFactory
    from fedavg.sums.interface import Conviction, ServerSide, SumResult
    from fedavg.training.evaluation import Scoring

__all__ = ["Federation", "RoundResult"]


class Federation(Released):
    """A simulated federation.

    Args:
        model: a module (the clients then run in this process) or a `ModelSpec`.
        clients: each client's own examples, by id; a list numbers the clients from 0.
        plan: the plan for protection and training.
        evaluate: held-out examples on which each released model is scored, all together or by client; or a
            function of the released module (see `fedavg.federation.scoring.Scorer`).
        scoring: metrics, headline and whether the held-out rows are public; None takes what fits the labels.
        device: device of training and scoring: "cpu", "cuda", "mps" or "auto"; all else stays on the CPU.
        precision: "float32", or "bfloat16" or "float16" for mixed precision (`torch.autocast`).
        workers: number of processes for the clients; 0 runs them in this process. Needs a `ModelSpec`.
        faults: simulated drop-outs.
        seed: public seed of the order of local examples.
        transcript: when given, records every message that the server sent or received.
        journal: when given, stores the data that a crash must not lose.
        client_store: folder for the state that clients keep between rounds; None keeps it in memory.
        simulation: constructs the simulation of the clients; None takes this process, or `workers`.
        population: N, the declared and public number of enrolled clients; None takes the number of `clients`.
        shared: a budget of several runs, to which every round is charged as well.

    With personalisation, `scores` holds each client's own figures when a run has ended.

    Example:
        >>> import torch
        >>> from fedavg import Dataset, FedAvg, FixedPoint, LocalTraining, Plan, PoissonCohort, SecAgg
        >>> parts = PoissonCohort(1.0), FixedPoint(4.0, 30, rounding="nearest"), None, SecAgg()
        >>> plan = Plan(*parts, LocalTraining(epochs=20, lr=1.0), FedAvg())
        >>> data = Dataset(np.eye(2), np.array([0, 1]))
        >>> federation = Federation(torch.nn.Linear(2, 2), [data] * 5, plan, evaluate=data)
        >>> [(result.survivors, result.accuracy) for result in federation.run(2)]
        [(5, 1.0), (5, 1.0)]
    """

    def __init__(
        self,
        model: nn.Module | ModelSpec,
        clients: Mapping[int, Dataset] | Sequence[Dataset],
        plan: Plan,
        *,
        evaluate: Held | None = None,
        workers: int = 0,
        faults: Faults | None = None,
        seed: int = 0,
        transcript: Transcript | None = None,
        journal: Journal | None = None,
        client_store: Path | str | None = None,
        population: int | None = None,
        shared: SharedBudget | None = None,
        scoring: Scoring | None = None,
        device: str = "cpu",
        precision: str = "float32",
        simulation: SimulationFactory | None = None,
    ) -> None:
        clients = enrolled(clients)
        self._spec = model if isinstance(model, ModelSpec) else None
        self._simulation = chosen_simulation(simulation, self._spec, workers)
        super().__init__(model, plan, evaluate, scoring, Compute(device, precision))
        self.plan = plan
        self.transcript = transcript
        self.ledger = Ledger(plan.budget.epsilon, plan.budget.delta)
        self.stopped = "unstarted"
        self._watch = Watch()
        self._rest = rest_digest(self._model)  # enters the plan's digest
        self._sizes = {client: len(data) for client, data in clients.items()}
        self.population = declared_population(population, clients)
        self._clients = dict(clients)  # until enrolment gives the data to the clients
        self._scorer.check(clients)
        self._tried = False
        self._faults = faults or Faults()
        self._seed = seed
        self._journal = journal
        self._store = None if client_store is None else Path(client_store)
        self._shared = shared
        self._spending = Spending(self._sizes)
        self._convicted: dict[int, Conviction] = {}
        self._spent: frozenset[int] = frozenset()  # see Checkpoint.spent
        self._learnt = False
        self.last_sum: SumResult | None = None
        self.last_update: NDArray[np.float64] | None = None
        self.scores: tuple[Score, ...] = ()

    @property
    def watched(self) -> tuple[int, ...]:
        """Clients with a probe in the recorded round."""
        return self._watch.clients

    def probe(self, client: int) -> Recorded | None:
        """A watched client's encoded update before and after its noise; only a simulation can see it."""
        return self._watch.seen(client)

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        """Clients that were shown to cheat in this run, with the evidence; none of them is asked again."""
        return tuple(self._convicted.values())

    def resolve(self, num_rounds: int) -> ResolvedPlan:
        """The plan with every derived number, as `run` would use it."""
        if self.plan.blocks is not None:
            check_seats(self._sizes)
            self.plan.blocks.check_model(self._model)
        resolution = resolve(
            self.plan,
            num_clients=self.population,
            vector_length=self.layout.size,
            num_rounds=num_rounds,
            largest_client=max(self._sizes.values()),  # bounds the weights
            rest=self._rest,
        )
        if self._clients and not self._tried:  # once, while the data is still here
            rest = self._seed, self._compute, getattr(self._spec, "num_classes", None)
            trial = Trial(resolution, self._model, self.layout, self._global.start(0), *rest)
            with one_thread():
                try_out(trial, self._clients)
                self._global.try_out(resolution)
                self._scorer.try_out(self._global.vector)
            self._tried = True
        return resolution

    def run(
        self,
        num_rounds: int,
        restart: Restart | None = None,
        until: Callable[[], bool] | None = None,
        best: Callable[[], NDArray[np.float64] | None] | None = None,
    ) -> Generator[RoundResult]:
        """Enrol the clients and run up to `num_rounds` rounds, once.

        Stops early, with `stopped == "budget"`, before the round that would exceed the budget.  A run to
        which no client contributed in any round ends with `stopped == "nothing-learnt"`.

        Args:
            num_rounds: number of rounds in the whole run.
            restart: state to resume from.  A round that was charged and never finished gives no model, and
                without noise neither does one whose sum may have been opened (`broken_off`).
            until: called before each round; once it returns True the run ends, with `stopped == "early"`.
                Without noise only: see `fedavg.plan.stopping`.
            best: called at the end for the model that the run keeps, float64[d] or None for the last one;
                clients then make models of their own from it.

        Raises:
            CheckpointError: the restart belongs to another plan, model, population or seed, or too few
                clients remain.
            PlanError and the packages' own errors: the parts of the plan do not fit together; raised before
                any round.
            LocalProtocolError: the federation has run before.
        """
        if self.stopped != "unstarted":
            raise LocalProtocolError("a federation runs once: make a new one")
        if until is not None or best is not None:
            private = self.plan.noise is not None
            check_stopping(self.plan.personalization, private=private, best=best is not None)
        resolution = self.resolve(num_rounds)
        if restart is not None:
            self._restore(resolution, restart)
        self.stopped = "running"
        transport = self._transport()
        try:
            yield from self._rounds(resolution, transport, restart, until or (lambda: False))
            if self.plan.personalization is not None:
                shared = self._chosen(None if best is None else best()).astype(np.float32)
                with one_thread():
                    self.scores = of_one_figure(transport.score(shared), self.headline)
        except (KeyboardInterrupt, GeneratorExit):  # or the caller leaves its loop
            self.stopped = "interrupted"
            raise
        finally:
            transport.close()

    def _transport(self) -> Simulation:
        here = (self._clients, self._model, self.layout, self._spec, self._faults, self._compute)
        members = Enrolled(*here, self._unit, self._scorer.named_headline)
        self._clients = {}  # from here on only the simulation holds them
        return self._simulation(members)

    def _restore(self, resolution: ResolvedPlan, restart: Restart) -> None:
        mark, point = fingerprint(resolution, self.layout, self._seed), restart.checkpoint
        restart.check(mark, self.layout.size, self._sizes.keys(), self.plan.budget)
        self.ledger = restart.ledger
        self._global.restore(point.model)
        self._spending.restore(point.participations)
        self._learnt = point.learnt
        self._convicted = {found.client: found for found in point.convictions}
        self._spent = frozenset(point.spent)
        if self._store is not None:  # states of rounds that will be run again
            FolderStore(self._store).rewind(self.plan.sequence(point.rounds_done, 0))

    def _rounds(
        self,
        resolution: ResolvedPlan,
        transport: Simulation,
        restart: Restart | None,
        until: Callable[[], bool],
    ) -> Generator[RoundResult]:
        provision = provision_all(resolution, transport, self._seed, self._store, self._journal)
        side = self.plan.secure_sum.server_side(provision.server)
        event, ids = resolution.release_event(), sorted(self._sizes)
        done = 0 if restart is None else restart.checkpoint.rounds_done
        if restart is None:
            self._record(resolution, done, None)  # `load` refuses charges without a checkpoint
        charge_failure(self.ledger, self._shared, resolution)  # a resumed run has paid it already
        hidden = self.plan.secure_sum.hides_updates or provision.key_holder is not None
        if restart is not None:
            done = yield from self._void(resolution, restart, hidden=hidden)
        for index in range(done, resolution.num_rounds):
            if until():  # before the charge: a run that stops pays for no further round
                self.stopped = "early"
                return
            if event is not None and not charge_round(self.ledger, self._shared, event):
                tried = index > 0  # without any round nothing is known about learning
                self.stopped = NOTHING_LEARNT if tried and not self._learnt else "budget"
                return
            cohort = draw(resolution, ids, self.population, self._spent)
            if event is not None and self._journal is not None:  # on disk before anyone is asked
                self._journal.charged(self.ledger, index, self._asked(resolution, cohort))
            announced = side
            if event is None and hidden and self._journal is not None:
                announced = AnnouncedSide(side, partial(self._journal.opening, index))
            with one_thread():
                result = self._round(resolution, transport, announced, index, cohort)
            self._record(resolution, index + 1, result)
            yield result
        self.stopped = "finished" if self._learnt else NOTHING_LEARNT

    def _asked(self, resolution: ResolvedPlan, cohort: tuple[int, ...]) -> tuple[int, ...]:
        """Clients of a cohort to ask: below their limit of rounds, not excluded and not convicted."""
        out = self._spent | self._convicted.keys()
        left = (client for client in cohort if client not in out)
        return self._spending.below_cap(resolution, left)

    def _void(
        self, resolution: ResolvedPlan, restart: Restart, *, hidden: bool
    ) -> Generator[RoundResult, None, int]:
        """Record interrupted rounds that give no model; refuse before anything is written."""
        done = restart.checkpoint.rounds_done
        void = void_rounds(resolution, restart, hidden=hidden)
        self._spent |= set(newly_spent(resolution, restart, hidden=hidden))
        if self._spent and done + len(void) < resolution.num_rounds:
            draw_others(resolution, sorted(self._sizes), self._spent)  # only for its refusal
        for clients, why in void:
            self._spending.took_part(clients)  # each may have sent an update
            self._global.void(done)  # clients discard the states of this sum
            report = self._report(resolution, RoundTraffic(), done, len(clients), 0, why)
            result = replace(report, clip=self._global.clip)
            done += 1
            self._record(resolution, done, result)
            yield result
        return done

    def _record(self, resolution: ResolvedPlan, rounds_done: int, last: RoundResult | None) -> None:
        if self._journal is None:
            return
        point = Checkpoint(
            fingerprint=fingerprint(resolution, self.layout, self._seed),
            rounds_done=rounds_done,
            model=self._global.state,
            participations=self._spending.participations,
            ledger=self.ledger.state_dict(),
            convictions=self.convictions,
            last=None if last is None else asdict(last),
            spent=tuple(sorted(self._spent)),
            learnt=self._learnt,
        )
        self._journal.finished(point, self.ledger)

    def _round(
        self,
        resolution: ResolvedPlan,
        transport: Simulation,
        side: ServerSide,
        index: int,
        cohort: tuple[int, ...],
    ) -> RoundResult:
        traffic, clip, survivors, contributors = RoundTraffic(), self._global.clip, 0, 0
        missing: Sequence[str] = ()

        def attempt(number: int, drawn: tuple[int, ...]) -> None:
            nonlocal survivors, contributors, missing
            transport.begin_round(index, number)
            asked = self._asked(resolution, drawn)
            self._watch.round(self.transcript, transport, index, asked)
            start = self._global.start(index, number)
            try:
                parts = (side, transport, traffic, start, asked, self.transcript)
                taken = sum_round(self._global, resolution, *parts)
            except PROTOCOL_ERRORS:
                self._global.void(index, number)
                raise
            finally:
                self._convicted |= traffic.convictions  # also when the sum failed
            self._spent = frozenset()  # the model has moved
            self.last_sum, self.last_update = taken.sums, taken.update
            survivors, missing = len(taken.sums.survivors), taken.missing
            contributors = len(set(taken.sums.survivors) - traffic.failures.keys())
            self._learnt = self._learnt or contributors > 0

        spent = traffic.contributed  # the same set, which grows with each attempt
        fresh = sorted(self._sizes.keys() - self._spent)
        tried = run_with_retries(resolution, fresh, cohort, spent, attempt)
        self._spending.took_part(spent)  # refused vectors too: the server has received them
        report = self._report(
            resolution, traffic, index, len(tried.cohort), survivors, tried.skipped
        )
        more = {"skipped_blocks": missing, "aborted": tried.aborted, "contributors": contributors}
        return replace(report, clip=clip, **more)

    def _report(
        self,
        resolution: ResolvedPlan,
        traffic: RoundTraffic,
        index: int,
        cohort: int,
        survivors: int,
        skipped: str | None,
    ) -> RoundResult:
        marks = self._scorer.marks(self.released, self._global.codec)
        return RoundResult(
            round=index + 1,
            accuracy=marks.accuracy,
            loss=marks.loss,
            epsilon_release=self._spending.for_release(resolution, self.ledger),
            epsilon_server=self._spending.for_server(resolution),
            cohort=cohort,
            survivors=survivors,
            skipped=skipped,
            bytes_up=traffic.bytes_up,
            bytes_down=traffic.bytes_down,
            seconds=traffic.seconds,
            failures=traffic.refused | traffic.failures,
            convicted={client: found.reason for client, found in traffic.convictions.items()},
            accuracy_as_sent=marks.accuracy_as_sent,
            figures=marks.figures,
        )
