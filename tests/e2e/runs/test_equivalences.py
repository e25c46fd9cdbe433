"""Algorithms that must agree where one is a special case of the other: whole federations, over bytes."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.algorithms.scaffold import Scaffold
from fedavg.data.dataset import Dataset
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.optimizers.local import LocalTraining
from fedavg.optimizers.server import FedAvg, FedMomentum
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import clients, examples, federation

FINE = {"encoding": FixedPoint(4.0, 40, rounding="nearest")}
SEVERAL = {"epochs": 3, "batch_size": 2, "lr": 0.3}


def _trained(rounds=4, population=None, **changes):
    run = federation(InsecurePlain(), n=12, changes=FINE | changes, clients=population)
    assert all(result.skipped is None for result in run.run(rounds))
    return run.released


def _descended(data, lr, rounds):
    """Gradient descent on the mean cross-entropy of W·x + b, in float64."""
    run = federation(InsecurePlain(), n=2)
    start = run.released
    w = np.hstack([start[:36].reshape(3, 12), start[36:, None]])
    x = np.hstack([data.features, np.ones((len(data), 1))]).astype(float)
    for _ in range(rounds):
        logits = x @ w.T
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(x)), data.labels] -= 1
        w = w - lr * p.T @ x / len(x)
    return np.concatenate([w[:, :12].ravel(), w[:, 12]])


def _union(population):
    parts = list(population.values())
    return Dataset(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def test_one_full_batch_a_round_is_gradient_descent_on_the_union():
    """Clients of 3, 5 and 8 examples, weighted by counts that the server never sees; ten rounds."""
    found = _trained(10, local_training=LocalTraining(lr=0.5))
    np.testing.assert_allclose(found, _descended(_union(clients(12)), 0.5, 10), atol=5e-6)


def test_equal_weights_are_another_mean():
    found = _trained(10, local_training=LocalTraining(lr=0.5), weighting="equal")
    assert np.abs(found - _descended(_union(clients(12)), 0.5, 10)).max() > 1e-3


def test_clients_of_one_size_weigh_the_same():
    population = clients(12, sizes=(6,))
    training = LocalTraining(**SEVERAL)
    by_count = _trained(population=population, local_training=training)
    equally = _trained(population=population, local_training=training, weighting="equal")
    np.testing.assert_allclose(by_count, equally, atol=1e-9)


def test_twins_learn_what_one_of_them_learns():
    """Twelve clients with the same examples, full batches: federated averaging is one long descent."""
    data = examples(6, 3)
    found = _trained(
        population=dict.fromkeys(range(12), data), local_training=LocalTraining(5, lr=0.4)
    )
    np.testing.assert_allclose(found, _descended(data, 0.4, 20), atol=1e-5)


@pytest.mark.parametrize(
    ("general", "special"),
    [
        (
            {"local_training": LocalTraining(**SEVERAL, proximal=0.0)},
            {"local_training": LocalTraining(**SEVERAL)},
        ),
        (
            {"local_training": LocalTraining(**SEVERAL, optimizer="momentum", momentum=0.0)},
            {"local_training": LocalTraining(**SEVERAL)},
        ),
        (
            {"local_training": LocalTraining(**SEVERAL, optimizer="adamw", weight_decay=0.0)},
            {"local_training": LocalTraining(**SEVERAL, optimizer="adam")},
        ),
        (
            {"local_training": LocalTraining(**SEVERAL, weight_decay=0.2)},
            {"local_training": LocalTraining(**SEVERAL, l2=0.2)},
        ),
        (
            {"local_training": LocalTraining(**SEVERAL, clip_gradient=1e9)},
            {"local_training": LocalTraining(**SEVERAL)},
        ),
        ({"server_optimizer": FedMomentum(1.0, 0.0)}, {"server_optimizer": FedAvg(1.0)}),
        (
            {"stages": (Scaffold(),), "local_training": LocalTraining(steps=1, lr=0.3)},
            {"weighting": "equal", "local_training": LocalTraining(steps=1, lr=0.3)},
        ),
    ],
    ids=["fedprox", "momentum", "adamw", "decay", "clipping", "fedavgm", "scaffold-one-step"],
)
def test_a_special_case_is_the_simpler_algorithm(general, special):
    """SCAFFOLD's corrections of a single step sum to zero over clients that all take part."""
    np.testing.assert_allclose(_trained(**general), _trained(**special), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"local_training": LocalTraining(**SEVERAL, proximal=1.0)},
        {"local_training": LocalTraining(**SEVERAL, optimizer="momentum", momentum=0.5)},
        {"local_training": LocalTraining(**SEVERAL, clip_gradient=0.1)},
        {"server_optimizer": FedMomentum(1.0, 0.5), "local_training": LocalTraining(**SEVERAL)},
        {"stages": (Scaffold(),), "local_training": LocalTraining(**SEVERAL)},
    ],
    ids=["fedprox", "momentum", "clipping", "fedavgm", "scaffold"],
)
def test_the_general_case_is_not(changes):
    plain = _trained(local_training=LocalTraining(**SEVERAL))
    assert np.abs(_trained(**changes) - plain).max() > 1e-3


def test_the_first_round_of_scaffold_is_federated_averaging():
    training = LocalTraining(steps=6, batch_size=2, lr=0.3)
    first = _trained(1, local_training=training, stages=(Scaffold(),))
    averaged = _trained(1, local_training=training, weighting="equal")
    np.testing.assert_allclose(first, averaged, atol=1e-6)
