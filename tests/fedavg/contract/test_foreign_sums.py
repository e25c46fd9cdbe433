"""A third-party secure sum with its own names: counts depend on its members and not on its names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fedavg
from fedavg.parts import register
from fedavg.sums.masked import SecAgg


class _Session:
    """SecAgg's session, whose stages have other names."""

    def __init__(self, inner):
        self._inner = inner

    @property
    def stage(self):
        return f"step of theirs: {self._inner.stage}"

    def __getattr__(self, name):
        return getattr(self._inner, name)


class _Side:
    def __init__(self, inner):
        self._inner = inner

    def session(self, spec, roster):
        return _Session(self._inner.session(spec, roster))


@register("secure_sum")
class Renamed(SecAgg, frozen=True, tag="renamed-for-a-test"):
    def server_side(self, material):
        return _Side(SecAgg.server_side(self, material))


class _Blind(_Session):
    """The mutant: a session that never says when it collects."""

    collecting = False


@register("secure_sum")
class Blind(SecAgg, frozen=True, tag="blind-for-a-test"):
    def server_side(self, material):
        inner = SecAgg.server_side(self, material)

        class Side(_Side):
            def session(self, spec, roster):
                return _Blind(inner.session(spec, roster))

        return Side(inner)


def _run(secure_sum):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 20)).astype(np.float32)
    data = fedavg.Dataset(x, (x[:, 0] > 0).astype(np.int64))
    clients = {i: data.subset(np.arange(10 * i, 10 * i + 10)) for i in range(40)}
    plan = fedavg.Plan(
        cohort=fedavg.PoissonCohort(rate=1.0),
        encoding=fedavg.FixedPoint(clip=1.0, bits=16),
        noise=fedavg.DistributedGaussian(noise_multiplier=1.2),
        secure_sum=secure_sum,
        local_training=fedavg.LocalTraining(lr=0.5),
        server_optimizer=fedavg.FedAvg(),
        budget=fedavg.Budget(epsilon=50, delta=1e-3),
    )
    federation = fedavg.Federation(torch.nn.Linear(20, 2), clients, plan)
    return list(federation.run(2))[-1]


@pytest.fixture(scope="module")
def ours():
    return _run(SecAgg())


def test_epsilon_of_the_server_does_not_depend_on_the_names_of_stages(ours):
    theirs = _run(Renamed())
    assert ours.epsilon_server > 1
    assert theirs.epsilon_server == ours.epsilon_server
    assert theirs.epsilon_release == ours.epsilon_release


def test_the_mutant_that_does_not_say_when_it_collects_would_be_seen(ours):
    assert _run(Blind()).epsilon_server < ours.epsilon_server
