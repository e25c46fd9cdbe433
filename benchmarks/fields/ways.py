"""The federated ways to train a field's model: the example's own configurations, for one seed each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.fields.scores import Held
from fedavg.config.build import build_job, load_config
from fedavg.config.builders.models import spec_of
from fedavg.data.loading.loading import load
from fedavg.federation.federation import Federation
from fedavg.records.federation import RecordFederation
from fedavg.records.table import Silo
from fedavg.runs.records.settings import data_of, load_record_run, plan_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from benchmarks.fields.catalogue import Field
    from benchmarks.fields.scores import Metric
    from fedavg.config.build import Job
    from fedavg.data.tables.source import TableSource
    from fedavg.data.task import Task

__all__ = ["Trained", "clear_job", "federated", "held_of", "outputs_of", "private"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained model's predictions, and what the training cost.

    Args:
        held: the held-out rows.
        predicted: float64[n], in the target's unit.
        weights: float64[d].
        sent: bytes that one silo sent, on average.
        seconds: CPU seconds of all silos and the server.
        multiplier: the noise multiplier of private training; 0 for the others.
    """

    held: Held
    predicted: NDArray[np.float64]
    weights: NDArray[np.float64]
    sent: float
    seconds: float
    multiplier: float = 0.0


def outputs_of(module: nn.Module, task: Task, metric: Metric) -> NDArray[np.float64]:
    """Predictions for the held-out rows, in the target's unit."""
    with torch.no_grad():
        found = metric.predicted(module.eval()(torch.from_numpy(task.test.features)).numpy())
    if task.label_scale:
        return found * task.label_scale[0] + task.label_centre[0]
    return found


def held_of(task: Task, silos: NDArray[np.int64]) -> Held:
    """The held-out rows, with labels in the target's unit."""
    labels = task.test.labels
    if task.label_scale:
        labels = labels * task.label_scale[0] + task.label_centre[0]
    return Held(labels, silos)


def clear_job(field: Field, table: Path, seed: int, **overrides: object) -> tuple[Job, Held]:
    """The job of the configuration without noise, and its held-out rows."""
    config = load_config(field.secure, field.seeded(table, seed) | overrides)
    job = build_job(config)
    source: TableSource = load(job.config.data, private=False).examples  # type: ignore[assignment]
    # A silo's number is its place among those with rows to train on.
    codes = source.rows.owners[0]
    present = np.unique(codes[source.train])
    places = np.searchsorted(present, codes[source.test])
    return job, held_of(job.task, places.astype(np.int64))


def federated(field: Field, table: Path, seed: int, **overrides: object) -> Trained:
    """Train as `fedavg run secure.toml` does.

    Args:
        field: the field.
        table: its table.
        seed: of split, batches and first weights.
        overrides: dotted keys that override the configuration.
    """
    job, held = clear_job(field, table, seed, **overrides)
    federation = Federation(job.model, job.clients, job.plan, seed=seed)
    begun = time.process_time()
    sent = sum(result.bytes_up for result in federation.run(job.config.rounds))
    seconds = time.process_time() - begun
    predicted = outputs_of(federation.model(), job.task, field.metric)
    return Trained(held, predicted, federation.released, sent / len(job.clients), seconds)


def private(field: Field, table: Path, seed: int, overrides: Mapping[str, object]) -> Trained:
    """Train as `fedavg records private.toml` does; the arguments are those of `federated`."""
    config = load_record_run(field.private, field.seeded(table, seed) | dict(overrides))
    source: TableSource = load(data_of(config), private=True).examples  # type: ignore[assignment]
    codes, _ = source.groups or (np.zeros(0, np.int64), ())
    present = np.unique(codes[codes >= 0])
    pieces = [np.flatnonzero(codes == code) for code in present]
    task, clients = source.placed(pieces, None, seed=seed)
    people = source.owners
    silos = {
        number: Silo(clients[number], None if people is None else people[0][piece])
        for number, piece in enumerate(pieces)
    }
    plan = plan_of(config, silos, public_counts=False)
    model = spec_of(config.model, task.train.features.shape[1:], task.outputs, seed=seed)
    federation = RecordFederation(model, silos, plan)
    begun = time.process_time()
    sent = sum(result.bytes_up for result in federation.run())
    seconds = time.process_time() - begun
    rows = source.rows.groups or (codes, ())
    held = held_of(task, np.searchsorted(present, rows[0][source.test]).astype(np.int64))
    predicted = outputs_of(federation.model(), task, field.metric)
    multiplier = federation.resolution.noise_multiplier
    return Trained(held, predicted, federation.released, sent / len(silos), seconds, multiplier)
