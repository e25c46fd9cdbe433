"""Our side: a federation like any user's, in worker processes, with everything that crosses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.kit.images import read_bytes, read_images, scaled
from benchmarks.simulation.task import CLIP, MULTIPLIER
from fedavg.simulation.fork_server import start_early

if TYPE_CHECKING:
    from benchmarks.simulation.task import Task
    from benchmarks.simulation.turns import Turns
    from fedavg import Dataset, Federation, Plan

__all__ = ["play"]

_FACTORIES = {
    "2nn": "2nn",
    "cnn": "cnn",
    "module": "benchmarks.simulation.modules:two_hidden",
}

_PARAMETERS = {"2nn": 199_210, "module": 199_210, "cnn": 1_663_370}


def play(task: Task, turns: Turns) -> None:
    """Run the rounds."""
    if task.workers:
        start_early()
    from fedavg import Federation, ModelSpec  # noqa: PLC0415 - while workers load

    federation = Federation(
        ModelSpec(_FACTORIES[task.model], (784,), 10),
        _clients(task),
        _plan(task),
        workers=task.workers,
    )
    turns.tick()
    for result in federation.run(task.rounds):
        if result.skipped is not None:
            raise RuntimeError(f"round {result.round} gave no model: {result.skipped}")
        turns.tick()
    turns.end(_accuracy(task, federation))


def _clients(task: Task) -> dict[int, Dataset]:
    from fedavg import Dataset  # noqa: PLC0415 - as above

    images, labels = read_bytes(task.data, "train")
    return {
        client: Dataset(scaled(images[chosen]), labels[chosen])
        for client, chosen in enumerate(task.shards(len(labels)))
    }


def _plan(task: Task) -> Plan:
    from fedavg import (  # noqa: PLC0415 - as above
        Budget,
        CentralGaussian,
        DistributedSkellam,
        FedAvg,
        FixedCohort,
        FixedPoint,
        InsecurePlain,
        LocalTraining,
        Plan,
        PoissonCohort,
        SecAgg,
    )
    from fedavg.encoding.fixed_point import bits_for  # noqa: PLC0415 - as above

    private = task.protection in ("central-dp", "secagg-skellam")
    noise = {
        "central-dp": CentralGaussian(MULTIPLIER),
        "secagg-skellam": DistributedSkellam(MULTIPLIER),
    }.get(task.protection)
    masked = task.protection in ("secagg", "secagg-skellam")
    everyone = task.cohort == task.clients  # no theorem bounds Skellam noise in fixed cohorts
    return Plan(
        cohort=PoissonCohort(1.0) if everyone else FixedCohort(task.cohort),
        encoding=FixedPoint(CLIP, bits_for(_PARAMETERS[task.model]))
        if private
        else FixedPoint(8.0, 24, rounding="nearest"),
        noise=noise,
        secure_sum=SecAgg() if masked else InsecurePlain(),
        local_training=LocalTraining(batch_size=task.batch, lr=task.lr),
        server_optimizer=FedAvg(),
        budget=Budget(
            delta=0.1
        ),  # of ten, that most stay away is no rarity; speed does not depend on it
    )


def _accuracy(task: Task, federation: Federation) -> float:
    from fedavg import Dataset, ModelSpec  # noqa: PLC0415 - as above
    from fedavg.training.evaluation import evaluate  # noqa: PLC0415 - as above

    images, labels = read_images(task.data, "test")
    model = ModelSpec(_FACTORIES[task.model], (784,), 10).build()
    return evaluate(model, federation.layout, federation.released, Dataset(images, labels)).accuracy
