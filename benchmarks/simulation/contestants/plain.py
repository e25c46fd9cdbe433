"""A plain PyTorch loop: one process, a copy of the model for each client, data loaders, an optimiser."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.kit.images import read_images
from benchmarks.simulation.modules import accuracy, build
from benchmarks.simulation.task import CLIP, MULTIPLIER

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.simulation.task import Task
    from benchmarks.simulation.turns import Turns

__all__ = ["play"]


def play(task: Task, turns: Turns) -> None:
    """Run the rounds."""
    torch.set_num_threads(1)
    images, labels = map(torch.from_numpy, read_images(task.data, "train"))
    shards = task.shards(len(labels))
    model, rng = build(task.model), np.random.default_rng(1)
    turns.tick()
    for _ in range(task.rounds):
        _round(task, model, [(images[shards[c]], labels[shards[c]]) for c in _draw(task, rng)])
        turns.tick()
    turns.end(accuracy(model, *map(torch.from_numpy, read_images(task.data, "test"))))


def _draw(task: Task, rng: np.random.Generator) -> list[int]:
    return rng.choice(task.clients, task.cohort, replace=False).tolist()


def _round(task: Task, model: nn.Module, clients: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    total, weight = torch.zeros_like(start), 0
    for images, labels in clients:
        own = copy.deepcopy(model)
        optimizer = torch.optim.SGD(own.parameters(), lr=task.lr)
        loader = DataLoader(TensorDataset(images, labels), batch_size=task.batch, shuffle=True)
        for inputs, classes in loader:
            optimizer.zero_grad()
            functional.cross_entropy(own(inputs), classes).backward()
            optimizer.step()
        update = torch.nn.utils.parameters_to_vector(own.parameters()).detach() - start
        if task.protection == "central-dp":
            total += update * min(1.0, CLIP / (float(update.norm()) + 1e-12))
        else:
            total += update * len(labels)
        weight += len(labels)
    if task.protection == "central-dp":
        total, weight = total + torch.randn_like(total) * CLIP * MULTIPLIER, len(clients)
    torch.nn.utils.vector_to_parameters(start + total / weight, model.parameters())
