"""The task as a Flower app, in a module of its own.

An app of `__main__` is pickled by value, and so would load its images again for every message.
"""

from __future__ import annotations

import os
from functools import cache

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg

from benchmarks.kit.images import read_images
from benchmarks.simulation.modules import accuracy, build, train
from benchmarks.simulation.task import CLIP, MULTIPLIER, Task
from benchmarks.simulation.turns import Turns

__all__ = ["TASK", "client", "server"]

TASK = "BENCHMARK_TASK"
"""Environment variable that holds the task, also in the processes that Flower starts."""

client, server = ClientApp(), ServerApp()


@cache
def _task() -> Task:
    return Task.from_json(os.environ[TASK])


@cache
def _shards() -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.set_num_threads(1)
    images, labels = read_images(_task().data, "train")
    return [
        (torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]))
        for chosen in _task().shards(len(labels))
    ]


@client.train()
def _train(message: Message, context: Context) -> Message:
    images, labels = _shards()[int(context.node_config["partition-id"])]
    model = build(_task().model)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    train(model, images, labels, batch=_task().batch, lr=_task().lr)
    content = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({"num-examples": len(labels)}),
    }
    return Message(RecordDict(content), reply_to=message)


@server.main()
def _main(grid: Grid, context: Context) -> None:
    del context
    task, turns = _task(), Turns(waits="BENCHMARK_FREE" not in os.environ)
    strategy = FedAvg(
        fraction_train=task.cohort / task.clients,
        fraction_evaluate=0.0,
        min_train_nodes=task.cohort,
        min_available_nodes=task.clients,
    )
    if task.protection == "central-dp":
        strategy = DifferentialPrivacyServerSideFixedClipping(
            strategy, MULTIPLIER, CLIP, task.cohort
        )
    model = build(task.model)
    result = strategy.start(
        grid,
        ArrayRecord(model.state_dict()),
        num_rounds=task.rounds,
        evaluate_fn=lambda *_: turns.tick(),
    )
    model.load_state_dict(result.arrays.to_torch_state_dict())
    turns.end(accuracy(model, *map(torch.from_numpy, read_images(task.data, "test"))))
