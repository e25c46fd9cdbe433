"""The settings that the suite trains: two tasks at two budgets, and one of few sums, with their bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import fedavg
from benchmarks.records.task import RECORDS, SILOS, network

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from benchmarks.records.task import Images

__all__ = ["CLIP", "SETTINGS", "TASKS", "Setting", "Task", "plan"]

CLIP, _MOMENTUM, _DELTA = 0.1, 0.9, 1e-5


@dataclass(frozen=True, slots=True)
class Task:
    """A model, and what stands in front of it.

    Args:
        name: for people.
        features: fixed features, or None.
        centred: whether it takes centred pixels.
        model: the model with initial weights of a seed.
    """

    name: str
    features: fedavg.FixedFeatures | None
    centred: bool
    model: Callable[[int], nn.Module]


def _linear(seed: int) -> nn.Module:
    del seed  # it begins with zeros
    shape = fedavg.Scattering().shape((1, 28, 28))
    return fedavg.ModelSpec("softmax", shape, 10).build()


TASKS = {
    "cnn": Task("CNN", None, True, network),
    "scattering": Task("scattering and linear", fedavg.Scattering(), False, _linear),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One training, as Tramèr and Boneh 2021 choose it: learning rates grow with the batch.

    Args:
        task: "cnn" or "scattering".
        epsilon: ε of the budget, against the server with one silo.
        steps: number of sums.
        batch: the expected number of records in a step of all silos.
        lr: the server's learning rate.
        bar: the accuracy that is asked for.
        reach: the accuracy that is hoped for.
        momentum: the server's momentum.
    """

    task: str
    epsilon: float
    steps: int
    batch: int
    lr: float
    bar: float
    reach: float
    momentum: float = _MOMENTUM

    @property
    def key(self) -> str:
        """A short name for programs."""
        return f"{self.task}_{self.epsilon:g}_{self.steps}"

    @property
    def title(self) -> str:
        """A name for people."""
        return f"accuracy, {TASKS[self.task].name}, ε = {self.epsilon:g}, {self.steps} sums"


SETTINGS = (
    Setting("scattering", 3.0, 200, 4096, 8.0, 0.983, 0.987),
    Setting("scattering", 1.0, 150, 4096, 4.0, 0.978, 0.982),
    Setting("scattering", 3.0, 40, 16384, 16.0, 0.97, 0.978),
    Setting("cnn", 3.0, 400, 2048, 2.0, 0.97, 0.978),
    Setting("cnn", 1.0, 200, 2048, 2.0, 0.95, 0.965),
    Setting("cnn", 3.0, 40, 8192, 32.0, 0.95, 0.96, momentum=0.8),
)


def plan(images: Images, setting: Setting, *, protected: bool) -> fedavg.RecordPlan:
    """Poisson sampling of the records of ten silos, with noise that they share.

    Args:
        images: the records.
        setting: the training.
        protected: whether the sum is protected and the work of a step padded. The integers are the same
            without, and the accuracy has the same law; only the time differs.
    """
    rate = setting.batch / RECORDS
    privacy = fedavg.RecordPrivacy(
        unit="record",
        rate=rate,
        clip=CLIP,
        max_units=images.largest,
        epsilon=setting.epsilon,
        delta=_DELTA,
        colluders=1,
        padded=protected,
    )
    return fedavg.RecordPlan(
        privacy=privacy,
        steps=setting.steps,
        divisor=rate * images.largest * SILOS,
        secure_sum=fedavg.SecAgg(dropout_rate=0.0)
        if protected
        else fedavg.InsecurePlain(dropout_rate=0.0),
        server_optimizer=fedavg.FedMomentum(lr=setting.lr, momentum=setting.momentum),
        micro_batch=256,
        features=TASKS[setting.task].features,
    )
