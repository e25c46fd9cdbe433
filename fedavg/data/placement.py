"""A run's data, from its configuration: which task, who holds what, and what enters the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedavg.data import partition
from fedavg.data.preprocessing import fit_preprocessor, public_preprocessor
from fedavg.data.skew import skew_features
from fedavg.data.tables import TableOptions
from fedavg.data.tasks import keep_classes, load_task
from fedavg.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedavg.config.settings import DataConfig
    from fedavg.data.dataset import Dataset
    from fedavg.data.tasks import Task
    from fedavg.sums.interface import SecureSum

__all__ = ["pieces_of", "place", "task_of"]


def task_of(data: DataConfig) -> Task:
    """Load the configured task; its split has a seed of its own, so that runs are scored alike.

    Raises:
        DataError: what cannot be read, or classes that are not there.
    """
    options = TableOptions(
        target=data.target,
        client=data.client,
        bounds=data.bounds,
        vocabulary=data.vocabulary,
        buckets=data.buckets,
    )
    task = load_task(
        data.name, test_fraction=data.test_fraction, seed=data.split_seed, table=options
    )
    return keep_classes(task, data.classes) if data.classes else task


def pieces_of(task: Task, data: DataConfig, *, seed: int) -> list[NDArray[np.int64]]:
    """Return the indices of each client's training examples.

    Raises:
        ConfigError: natural clients without a column that names them, or such a column for others.
        DataError: a partition that the examples do not allow.
    """
    labels, count = task.train.labels, data.clients
    natural = data.partition == "natural"
    if (natural and task.owners is None) or (data.client and not natural):
        raise ConfigError(
            "data.partition = 'natural' and data.client, the column that says whose row it is, go "
            "together: give both or none"
        )
    match data.partition:
        case "iid":
            return partition.iid(labels, count, seed=seed)
        case "shards":
            return partition.shards(
                labels, count, shards_per_client=data.shards_per_client, seed=seed
            )
        case "dirichlet":
            return partition.dirichlet(labels, count, alpha=data.alpha, seed=seed)
        case "quantity":
            return partition.quantity(labels, count, alpha=data.alpha, seed=seed)
        case "noisy-sort":
            return partition.noisy_sort(labels, count, spread=data.spread, seed=seed)
        case "natural":
            return [] if task.owners is None else partition.natural(task.owners)


def place(
    data: DataConfig, statistics: SecureSum | None, *, seed: int
) -> tuple[Task, dict[int, Dataset]]:
    """Load the task, give every client its own examples, and make model inputs of them.

    Args:
        data: the configuration's table.
        statistics: adds the clients' statistics of a table; None under differential privacy, where only
            what is public may scale it.
        seed: public.

    Returns:
        The task, its examples as model inputs, and each client's.

    Raises:
        ConfigError, DataError: see `pieces_of` and `load_task`.
        PlanError: a table without public bounds under differential privacy, or too few clients to sum.
    """
    task = task_of(data)
    pieces = pieces_of(task, data, seed=seed)
    clients = {client: task.train.subset(piece) for client, piece in enumerate(pieces)}
    if task.columns is not None:
        if statistics is None:
            preprocessor = public_preprocessor(task.columns)
        else:
            preprocessor = fit_preprocessor(clients, task.columns, statistics, seed=seed)
        clients = {client: preprocessor.apply(rows) for client, rows in clients.items()}
        train, test = preprocessor.apply(task.train), preprocessor.apply(task.test)
        task = replace(task, train=train, test=test, columns=None)
    strength = data.feature_strength
    return task, skew_features(clients, data.feature_skew, strength=strength, seed=seed)
