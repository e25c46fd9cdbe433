"""The task that all cases share: ten clients of unequal digits, a small network, ranges from a pilot."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

import fedavg
from fedavg.data.partitions.partition import dirichlet
from fedavg.models.layout import Layout
from fedavg.sums.interface import KEY_HOLDER
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update

if TYPE_CHECKING:
    from fedavg.data.tasks import Task
    from fedavg.federation.federation import RoundResult
    from fedavg.sums.interface import SecureSum

__all__ = ["CLIENTS", "Outcome", "Setting", "Traffic", "wide"]

CLIENTS = 10
_ALPHA = 1.0
_PILOT = 1000  # a seed that no case runs with
_SUMS = {"secagg": fedavg.SecAgg(), "bfv": fedavg.Bfv()}


def wide(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """About a million parameters, for bytes alone: one ciphertext is then a small part of an upload."""
    inner = 5000
    inputs = int(np.prod(input_shape))
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, inner), nn.Linear(inner, num_classes))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case's released models over the seeds.

    Args:
        accuracies: after the last round, one a seed.
        loss: mean over the seeds, nats.
        as_sent: accuracy in the format of the download, mean; None for float32.
    """

    accuracies: tuple[float, ...]
    loss: float
    as_sent: float | None

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return mean(self.accuracies)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one round between server and clients, ÷ clients ÷ parameters of the model.

    Args:
        up: all that clients send, keys and shares included.
        model: the round's first message, with the model.
        down: all that clients are sent.
    """

    up: float
    model: float
    down: float


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """Data, sizes and public ranges.

    Args:
        task: MNIST's five thousand digits at 14×14.
        rounds: of a run.
        seeds: runs of a case.
        norm: longest update of a pilot's first round.
        parameters: d.
        beyond: share of the pilot's coordinates outside ±3·norm ÷ √d.
    """

    task: Task
    rounds: int
    seeds: int
    norm: float
    parameters: int
    beyond: float

    @classmethod
    def of(cls, *, rounds: int, seeds: int) -> Setting:
        """Load the digits, and take the ranges from the first round of a run that is thrown away."""
        task = fedavg.load_task("mnist-14x14")
        blank = cls(task, rounds, seeds, 0.0, 0, 0.0)
        model = blank._spec(_PILOT).build()
        layout = Layout.of(model)
        start = layout.flatten(model)
        updates = [
            local_update(
                TrainingJob(
                    model, layout, start, data, _TRAINING, round_index=0, num_rounds=rounds, seed=i
                )
            )
            for i, data in blank._clients(_PILOT).items()
        ]
        norm = max(float(np.linalg.norm(update)) for update in updates)
        beyond = float((np.abs(updates) > 3 * norm / start.size**0.5).mean())
        return cls(task, rounds, seeds, norm, start.size, beyond)

    @property
    def flat_range(self) -> float:
        """Range of a coordinate without rotation: as wide as with it."""
        return 3 * self.norm / self.parameters**0.5

    def train(self, seed: int, **changes: Any) -> RoundResult:  # noqa: ANN401 - parts of a plan
        """One run in the clear: every secure sum gives the same model to the bit."""
        return self._run(seed, self.rounds, fedavg.InsecurePlain(), changes)

    def outcome(self, results: list[RoundResult]) -> Outcome:
        """Put a case's seeds together."""
        sent = [r.accuracy_as_sent for r in results if r.accuracy_as_sent is not None]
        return Outcome(
            tuple(r.accuracy or 0.0 for r in results),
            mean(r.loss or 0.0 for r in results),
            mean(sent) if sent else None,
        )

    def traffic(self, kind: str, **changes: Any) -> Traffic:  # noqa: ANN401 - parts of a plan
        """One real round of the case under a secure sum."""
        record = fedavg.Transcript()
        self._run(0, 1, _SUMS[kind], changes, record)
        return self._counted(record, self.parameters)

    def widely(self, kind: str, **changes: Any) -> Traffic:  # noqa: ANN401 - parts of a plan
        """The same for a model of a million parameters and one step of training."""
        record = fedavg.Transcript()
        spec = fedavg.ModelSpec(f"{__name__}:wide", self._spec(0).input_shape, 10, 0)
        one_step = fedavg.LocalTraining(steps=1, batch_size=20, lr=0.1)
        self._run(0, 1, _SUMS[kind], changes | {"local_training": one_step}, record, spec)
        return self._counted(record, Layout.of(spec.build()).size)

    def _counted(self, record: fedavg.Transcript, parameters: int) -> Traffic:
        clients = [entry for entry in record if entry.party != KEY_HOLDER]
        down = [len(entry.message) for entry in clients if entry.direction == "down"]
        up = [len(entry.message) for entry in clients if entry.direction == "up"]
        whole = CLIENTS * parameters
        return Traffic(sum(up) / whole, sum(down[:CLIENTS]) / whole, sum(down) / whole)

    def _run(
        self,
        seed: int,
        rounds: int,
        secure_sum: SecureSum,
        changes: dict[str, Any],
        transcript: fedavg.Transcript | None = None,
        spec: fedavg.ModelSpec | None = None,
    ) -> RoundResult:
        parts = {
            "cohort": fedavg.FixedCohort(CLIENTS),
            "encoding": fedavg.FixedPoint(8.0, 20, rounding="nearest"),
            "noise": None,
            "secure_sum": secure_sum,
            "local_training": _TRAINING,
            "server_optimizer": fedavg.FedAvg(),
            "weighting": "equal",
        }
        federation = fedavg.Federation(
            spec or self._spec(seed),
            self._clients(seed),
            fedavg.Plan(**(parts | changes)),
            evaluate=self.task.test,
            seed=seed,
            transcript=transcript,
        )
        *_, last = federation.run(rounds)
        if last.skipped is not None:
            raise RuntimeError(last.skipped)
        return last

    def _spec(self, seed: int) -> fedavg.ModelSpec:
        shape = tuple(int(n) for n in self.task.train.features.shape[1:])
        return fedavg.ModelSpec("mlp", shape, self.task.num_classes, seed)

    def _clients(self, seed: int) -> dict[int, fedavg.Dataset]:
        train = self.task.train
        parts = dirichlet(train.labels, CLIENTS, alpha=_ALPHA, seed=seed)
        return {i: train.subset(rows) for i, rows in enumerate(parts)}


_TRAINING = fedavg.LocalTraining(epochs=1, batch_size=20, lr=0.1)
