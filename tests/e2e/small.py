"""Small federations for end-to-end tests: seconds, not minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedavg.contrib.masked_encrypted import EncryptedSecAgg
from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.federation.federation import Federation
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg
from fedavg.plan.plan import Plan
from fedavg.privacy.sampling import PoissonCohort
from fedavg.sums.encrypted import Bfv, Ckks
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot import OneShot
from fedavg.sums.plain import InsecurePlain

if TYPE_CHECKING:
    from pathlib import Path

SUMS = {
    "insecure-plain": InsecurePlain(),
    "secagg": SecAgg(),
    "ckks": Ckks(),
    "bfv": Bfv(),
    "encrypted-secagg": EncryptedSecAgg(),
    "one-shot": OneShot(),
}
MODEL = ModelSpec("softmax", (12,), 3)
LENGTH = 12 * 3 + 3


def examples(n: int, seed: int) -> Dataset:
    """Three Gaussian blobs in 12 dimensions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    centres = np.eye(12)[:3] * 3
    features = centres[labels] + rng.standard_normal((n, 12)) * 0.5
    return Dataset(features.astype(np.float32), labels.astype(np.int64))


def clients(n: int, *, sizes=(3, 5, 8)) -> dict[int, Dataset]:
    return {i: examples(sizes[i % len(sizes)], 100 + i) for i in range(n)}


def blobs_in(folder: Path, *, train: int = 400) -> Path:
    """Write blobs.npz, with 200 test examples, for configurations to name; returns its path."""
    path = folder / "blobs.npz"
    parts = {"train": examples(train, 0), "test": examples(200, 1)}
    arrays = {f"x_{part}": data.features for part, data in parts.items()}
    np.savez(path, **arrays, **{f"y_{part}": data.labels for part, data in parts.items()})
    return path


def plan(secure_sum, **changes) -> Plan:
    parts = {
        "cohort": PoissonCohort(1.0),
        "encoding": FixedPoint(8.0, 20, rounding="nearest"),
        "noise": None,
        "secure_sum": secure_sum,
        "local_training": LocalTraining(epochs=2, lr=0.5),
        "server_optimizer": FedAvg(1.0),
    }
    return Plan(**(parts | changes))


def federation(secure_sum, *, n=20, **options) -> Federation:
    changes = options.pop("changes", {})
    population = options.pop("clients", None) or clients(n)
    return Federation(
        options.pop("model", MODEL),
        population,
        plan(secure_sum, **changes),
        evaluate=examples(300, 1),
        **options,
    )
