"""Federation: a model, clients and a plan, run round by round on one machine.

Enrolment hands out identities and keys; after it, server, clients and key holder exchange bytes only.
Every release is charged to the ledger before it is made.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from dp import BudgetExhaustedError, Ledger
from fedavg.algorithms.blocks.deal import check_seats
from fedavg.algorithms.state import FolderStore
from fedavg.client.blocks import check_model
from fedavg.client.trial import Trial, try_out
from fedavg.errors import DataError, LocalProtocolError
from fedavg.federation.checkpoint import Checkpoint, fingerprint
from fedavg.federation.entry import check_evaluation, enrolled
from fedavg.federation.provision import provision_all
from fedavg.federation.scoring import Scorer
from fedavg.models.files import model_bytes, rest_digest
from fedavg.models.spec import ModelSpec
from fedavg.plan.resolution import resolve
from fedavg.protocol.driver import PROTOCOL_ERRORS, RoundTraffic
from fedavg.protocol.result import RoundResult
from fedavg.server.model import GlobalModel
from fedavg.server.retries import persevere, take_sum
from fedavg.simulation.fork_server import start_early
from fedavg.simulation.pool import WorkerPool
from fedavg.simulation.population import Faults, InProcess, Population
from fedavg.training.compute import Compute
from fedavg.training.evaluation import Scoring
from fedavg.training.setup import set_up
from fedavg.training.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.personal import Score
    from fedavg.data.dataset import Dataset
    from fedavg.federation.checkpoint import Journal, Restart
    from fedavg.plan.plan import Plan
    from fedavg.plan.resolution import Resolution
    from fedavg.protocol.transcript import Transcript
    from fedavg.sums.interface import Conviction, ServerSide, SumResult

__all__ = ["Federation", "RoundResult"]

_EMPTY = -2  # ids from here down stand for enrolled clients that are not here; -1 is the key holder
_WATCHED = 3  # clients with a probe in a recorded round: one of them surely stays to its end


class Federation:
    """A simulated federation.

    Args:
        model: a module (clients then live in this process) or a `ModelSpec`.
        clients: each client's own examples, by id; a list numbers them from 0.
        plan: how it is protected and trained.
        evaluate: held-out examples on which each released model is scored.
        scoring: metrics, headline and whether the held-out rows are public; None takes what fits the labels.
        device: of training and scoring: "cpu", "cuda", "mps" or "auto"; protocol and noise stay on the CPU.
        precision: "float32", or "bfloat16" or "float16" for mixed precision (`torch.autocast`).
        workers: processes to spread the clients over; 0 keeps them in this one. Needs a `ModelSpec`.
        faults: simulated drop-outs.
        seed: public seed of the order of local examples.
        transcript: records what the server sees, when given.
        journal: keeps what a crash must not lose, when given.
        client_store: folder for what the clients keep between rounds; None keeps it in memory.
        population: N, the declared number of enrolled clients, which is public; None declares as many as
            there are.  Noise, divisor and cohort sizes follow from N alone: epsilon compares a run with
            one in which one enrolled client never answers.

    Raises:
        DataError: no clients, or more of them than were declared.

    With personalisation, `scores` holds each client's own figures when a run has ended.

    Example: see `examples/` and the README.
    """

    def __init__(
        self,
        model: nn.Module | ModelSpec,
        clients: Mapping[int, Dataset] | Sequence[Dataset],
        plan: Plan,
        *,
        evaluate: Dataset | None = None,
        workers: int = 0,
        faults: Faults | None = None,
        seed: int = 0,
        transcript: Transcript | None = None,
        journal: Journal | None = None,
        client_store: Path | None = None,
        population: int | None = None,
        scoring: Scoring | None = None,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        clients = enrolled(clients)
        if (population or len(clients)) < len(clients):
            raise DataError(
                f"{len(clients)} clients are here, and a population of {population} was declared"
            )
        if workers and not isinstance(model, ModelSpec):
            raise LocalProtocolError("worker processes build their own models: give a ModelSpec")
        if workers:
            start_early()
        self.plan = plan
        self.transcript = transcript
        self.ledger = Ledger(plan.budget.epsilon, plan.budget.delta)
        self.stopped = "unstarted"
        self.watched: tuple[int, ...] = ()
        self._spec = model if isinstance(model, ModelSpec) else None
        built = model.build() if isinstance(model, ModelSpec) else model
        head = () if plan.personalization is None else plan.personalization.head
        self._model, self.layout, self._kept = set_up(built, head)
        self._compute = Compute(device, precision)
        self._rest = rest_digest(self._model)
        self._sizes = {client: len(data) for client, data in clients.items()}
        self.population = population or len(clients)
        self._clients = dict(clients)  # until they are handed to the clients
        self._scorer = Scorer(
            self._model,
            self.layout,
            evaluate,
            apart=bool(self._kept),
            scoring=replace(
                scoring or Scoring(), loss=plan.local_training.loss, compute=self._compute
            ),
        )
        if evaluate is not None:
            check_evaluation(evaluate, clients)
        self._tried = False
        self._workers = workers
        self._faults = faults or Faults()
        self._seed = seed
        self._journal = journal
        self._store = client_store
        self._global = GlobalModel(plan, self.layout.flatten(self._model), self.layout)
        self._participations: dict[int, int] = dict.fromkeys(self._sizes, 0)
        self._convicted: dict[int, Conviction] = {}
        self._server_epsilon: dict[int, float | None] = {}
        self.last_sum: SumResult | None = None
        self.last_update: NDArray[np.float64] | None = None
        self.scores: tuple[Score, ...] = ()

    @property
    def released(self) -> NDArray[np.float64]:
        """float64[d]: the model as released last."""
        return self._global.released

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        """Clients that were shown to cheat in this run, with the evidence: none of them is asked again."""
        return tuple(self._convicted.values())

    def resolve(self, num_rounds: int) -> Resolution:
        """The plan with every derived number, as `run` would use it."""
        if self.plan.blocks is not None:
            check_seats(self._sizes)
            check_model(self.plan.blocks, self._model)
        resolution = resolve(
            self.plan,
            num_clients=self.population,
            vector_length=self.layout.size,
            num_rounds=num_rounds,
            largest_client=max(self._sizes.values()),
            rest=self._rest,
        )
        self._try_out(resolution)
        return resolution

    def _try_out(self, resolution: Resolution) -> None:
        """Let one client of each kind take a step, and score the initial model, before any charge."""
        if self._tried:
            return
        start = self._global.start(0)
        trial = Trial(resolution, self._model, self.layout, start, self._seed, self._compute)
        with one_thread():
            try_out(trial, self._clients)
            self._scorer.try_out(self._global.vector)
        self._tried = True

    def model_file(self, vector: NDArray[np.float64] | None = None) -> bytes:
        """A model, whole, as a safetensors file: any run may start from it.

        What stays at the clients is left out, and named in the file's metadata.

        Args:
            vector: float64[d]; None takes the released one.
        """
        chosen = self.released if vector is None else vector
        return model_bytes(self._model, self.layout, chosen, self._kept)

    def run(self, num_rounds: int, restart: Restart | None = None) -> Generator[RoundResult]:
        """Enrol the clients and run up to `num_rounds` rounds, once.

        Stops early, with `stopped == "budget"`, before the round that would exceed the budget.

        Args:
            num_rounds: length of the whole run.
            restart: goes on from there.  Under DP a round that was charged and never finished gives no
                model; without noise it is run again.

        Raises:
            CheckpointError: a restart of another plan, model, population or seed.
            PlanError and the packages' own errors: a plan that does not add up, before any round.
            LocalProtocolError: a second run.
        """
        if self.stopped != "unstarted":
            raise LocalProtocolError("a federation runs once: make a new one")
        resolution = self.resolve(num_rounds)
        if restart is not None:
            self._restore(resolution, restart)
        self.stopped = "running"
        transport = self._transport()
        try:
            yield from self._rounds(resolution, transport, restart)
            if self.plan.personalization is not None:
                with one_thread():
                    self.scores = tuple(transport.score(self.released.astype(np.float32)))
        except (KeyboardInterrupt, GeneratorExit):
            self.stopped = "interrupted"
            raise
        finally:
            transport.close()

    def _transport(self) -> InProcess | WorkerPool:
        datasets, self._clients = self._clients, {}
        if self._workers and self._spec is not None:
            options = {"workers": self._workers, "faults": self._faults}
            return WorkerPool(datasets, self._spec, compute=self._compute, **options)
        return InProcess(Population(datasets, self._faults, self._compute))

    def _restore(self, resolution: Resolution, restart: Restart) -> None:
        mark, point = fingerprint(resolution, self.layout, self._seed), restart.checkpoint
        restart.check(mark, self.layout.size, self._sizes.keys(), self.plan.budget)
        self.ledger = restart.ledger
        self._global.restore(point.model)
        self._participations = dict(point.participations)
        self._convicted = {found.client: found for found in point.convictions}
        if self._store is not None:
            FolderStore(self._store).rewind(self.plan.sequence(point.rounds_done, 0))

    def _rounds(
        self, resolution: Resolution, transport: InProcess | WorkerPool, restart: Restart | None
    ) -> Generator[RoundResult]:
        provision = provision_all(
            resolution, transport, (self._model, self.layout), self._seed, self._store
        )
        side = self.plan.secure_sum.server_side(provision.server)
        event, ids = resolution.release_event(), sorted(self._sizes)
        done = 0 if restart is None else restart.checkpoint.rounds_done
        if restart is None:
            self._record(resolution, done, None)
        if event is not None and not self.ledger.history:
            self.ledger.charge(resolution.failure(), resolution.num_rounds)
        if restart is not None and event is not None:
            for _ in range(min(restart.lost, resolution.num_rounds - done)):
                result = self._lost(resolution, done, restart.asked.get(done, ()))
                done += 1
                self._record(resolution, done, result)
                yield result
        for index in range(done, resolution.num_rounds):
            if event is not None:
                try:
                    self.ledger.charge(event)
                except BudgetExhaustedError:
                    self.stopped = "budget"
                    return
            cohort = self._draw(ids)
            if event is not None and self._journal is not None:
                self._journal.charged(self.ledger, index, self._asked(resolution, cohort))
            with one_thread():
                result = self._round(resolution, transport, side, index, cohort)
            self._record(resolution, index + 1, result)
            yield result
        self.stopped = "finished"

    def _draw(self, ids: list[int]) -> tuple[int, ...]:
        """A cohort among all enrolled; whoever is enrolled and not here never answers."""
        empty = range(_EMPTY, _EMPTY - (self.population - len(ids)), -1)
        drawn = self.plan.cohort.draw([*ids, *empty])
        return tuple(client for client in drawn if client > _EMPTY)

    def _asked(self, resolution: Resolution, cohort: tuple[int, ...]) -> tuple[int, ...]:
        """Those below their cap, and not convicted; the others are as if they never answered.

        A client keeps count itself, but not beyond a restart of the simulation.
        """
        cap = resolution.max_participations or math.inf
        return tuple(
            client
            for client in cohort
            if self._participations[client] < cap and client not in self._convicted
        )

    def _lost(self, resolution: Resolution, index: int, asked: tuple[int, ...]) -> RoundResult:
        """A round that was charged before the run broke off: whoever was asked may have sent an update."""
        for client in asked:
            self._participations[client] += 1
        self._global.void(index)
        why = "the run broke off in it; it stays charged"
        report = self._report(resolution, RoundTraffic(), index, len(asked), 0, why)
        return replace(report, clip=self._global.clip)

    def _record(self, resolution: Resolution, rounds_done: int, last: RoundResult | None) -> None:
        if self._journal is None:
            return
        point = Checkpoint(
            fingerprint=fingerprint(resolution, self.layout, self._seed),
            rounds_done=rounds_done,
            model=self._global.state,
            participations=self._participations,
            ledger=self.ledger.state_dict(),
            convictions=self.convictions,
            last=None if last is None else asdict(last),
        )
        self._journal.finished(point, self.ledger)

    def _round(
        self,
        resolution: Resolution,
        transport: InProcess | WorkerPool,
        side: ServerSide,
        index: int,
        cohort: tuple[int, ...],
    ) -> RoundResult:
        traffic, clip, survivors = RoundTraffic(), self._global.clip, 0
        missing: Sequence[str] = ()

        def attempt(number: int, drawn: tuple[int, ...]) -> None:
            nonlocal survivors, missing
            transport.begin_round(index, number)
            asked = self._asked(resolution, drawn)
            self._watch(transport, index, asked)
            start = self._global.start(index, number)
            try:
                parts = (self._global, resolution, side, transport, traffic)
                taken = take_sum(*parts, start, asked, self.transcript)
            except PROTOCOL_ERRORS:
                self._global.void(index, number)
                raise
            finally:
                self._convicted |= traffic.convictions
            self.last_sum, self.last_update = taken.sums, taken.update
            survivors, missing = len(taken.sums.survivors), taken.missing

        spent = traffic.contributed
        tried = persevere(resolution, sorted(self._sizes), cohort, spent, attempt)
        for client in spent:
            self._participations[client] += 1
        report = self._report(
            resolution, traffic, index, len(tried.cohort), survivors, tried.skipped
        )
        return replace(report, clip=clip, skipped_blocks=missing, aborted=tried.aborted)

    def _watch(
        self, transport: InProcess | WorkerPool, index: int, cohort: tuple[int, ...]
    ) -> None:
        record = self.transcript
        if record is None:
            return
        record.round_index = index
        if record.rounds is None or index in record.rounds:
            self.watched = cohort[:_WATCHED]
            for client in self.watched:
                transport.watch(client)
            self._seen = transport.seen

    def probe(self, client: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """A watched client's encoded update before and after its noise: a simulation's privilege."""
        return self._seen(client) if client in self.watched else None

    def _report(
        self,
        resolution: Resolution,
        traffic: RoundTraffic,
        index: int,
        cohort: int,
        survivors: int,
        skipped: str | None,
    ) -> RoundResult:
        score = self._scorer.of(self.released)
        private = self.plan.noise is not None
        release = self.ledger.spent().high if private else math.inf
        return RoundResult(
            round=index + 1,
            accuracy=None if score is None else score.accuracy,
            loss=None if score is None else score.loss,
            epsilon_release=release if math.isfinite(release) else None,
            epsilon_server=self._epsilon_server(resolution),
            cohort=cohort,
            survivors=survivors,
            skipped=skipped,
            bytes_up=traffic.bytes_up,
            bytes_down=traffic.bytes_down,
            seconds=traffic.seconds,
            failures=traffic.refused | traffic.failures,
            convicted={client: found.reason for client, found in traffic.convictions.items()},
            accuracy_as_sent=self._scorer.as_sent(self.released, self._global.codec),
        )

    def _epsilon_server(self, resolution: Resolution) -> float | None:
        most = max(self._participations.values())
        if most not in self._server_epsilon:
            self._server_epsilon[most] = resolution.server_epsilon(most)
        return self._server_epsilon[most]
