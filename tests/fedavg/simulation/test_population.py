"""Faults, populations, worker processes and plans as bytes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import msgspec
import pytest

from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.random_k import RandomK
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.encoding.quantised import Quantised
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.optimizers.server import FedAdam, FedMomentum
from fedavg.optimizers.wrapped import Averaged
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.plan.plan import Limits
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.simulation.faults import Faults
from fedavg.simulation.messages import Equip
from fedavg.simulation.pool import WorkerPool
from fedavg.simulation.population import InProcess, Population
from fedavg.sums.interface import Provision
from fedavg.sums.sides.he_keys import HeMaterial
from tests.e2e.small import MODEL, SUMS, clients, plan

PRIVATE = {"encoding": FixedPoint(0.5, 9)}


def test_faults_strike_at_their_rate_and_repeat_by_seed():
    """4,000 client rounds at 10 %: 400 ± 6·19 faults (false alarm 2e-9); all seven stages occur."""
    faults = Faults(rate=0.1, seed=3)
    stages = [faults.silent_from(client_id=c, round_index=r) for c in range(200) for r in range(20)]
    struck = [stage for stage in stages if stage is not None]
    assert abs(len(struck) - 400) < 6 * 19
    assert set(struck) == set(range(7))
    again = Faults(rate=0.1, seed=3).silent_from(client_id=5, round_index=7)
    assert again == faults.silent_from(client_id=5, round_index=7)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_bad_rates_are_refused(rate):
    with pytest.raises(PlanError):
        Faults(rate=rate)


def test_a_stranger_is_not_asked():
    model = MODEL.build()
    transport = InProcess(Population(clients(3), Faults()), model, Layout.of(model))
    with pytest.raises(LocalProtocolError, match="does not live here"):
        list(transport.exchange({99: (b"",)}))


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        PRIVATE | {"noise": DistributedGaussian(1.3)},
        PRIVATE | {"noise": DistributedSkellam(1.3), "limits": Limits(max_participations=3)},
        PRIVATE | {"noise": DistributedDiscreteGaussian(1.3), "server_optimizer": FedAdam()},
        PRIVATE | {"noise": CentralGaussian(1.3), "server_optimizer": Averaged(tail=0.2)},
        {"encoding": Quantised(0.5, 1, rotate=True), "stages": (RandomK(0.1, 3),)},
        {"stages": (ErrorFeedback(),), "broadcast": "int4"},
        {"server_optimizer": FedMomentum(0.5, 0.8), "weighting": "equal"},
    ],
)
def test_plans_survive_as_bytes(name, changes):
    original = plan(SUMS[name], **changes)
    rebuilt = plan_from_bytes(plan_to_bytes(original))
    assert rebuilt == original
    assert repr(rebuilt) == repr(original)


def test_bytes_that_hold_no_plan_are_refused():
    encoded = plan_to_bytes(plan(SUMS["secagg"]))
    bad_type = msgspec.msgpack.encode({"type": "os.system", "command": "true"})
    part = msgspec.msgpack.encode({"type": "FixedPoint", "clip": 1.0, "bits": 8})
    unknown = msgspec.msgpack.encode({"type": "Budget", "epsilom": 1.0})
    for data in (b"", b"\xc1", encoded[:-3], bad_type, part, unknown):
        with pytest.raises(PlanError):
            plan_from_bytes(data)


def test_a_value_that_is_no_registered_part_has_no_bytes():
    @dataclass(frozen=True)
    class Own:
        rate: float = 1.0
        independent = True

    with pytest.raises(PlanError, match="no registered part"):
        plan_to_bytes(replace(plan(SUMS["secagg"]), cohort=Own()))


def test_workers_report_what_they_cannot_do():
    pool = WorkerPool(clients(4), MODEL, workers=1, faults=Faults())
    try:
        assert len(pool.publics()) == 4
        with pytest.raises(LocalProtocolError, match="not equipped"):
            list(pool.exchange({0: (b"",)}))
        pool._processes[0].kill()
        pool._processes[0].join()
        with pytest.raises(LocalProtocolError, match="has died"):
            pool.watch(0)
    finally:
        pool.close()
    with pytest.raises(LocalProtocolError, match="workers must be at least 1"):
        WorkerPool(clients(4), MODEL, workers=0, faults=Faults())


def test_provisions_print_redacted_and_cannot_be_pickled():
    provision = Provision(server=b"", clients=b"secret", key_holder=b"secret")
    assert "secret" not in repr(provision)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(provision)
    assert "key" not in repr(HeMaterial(b"parameters", b"key"))
    equip = Equip(b"plan", 1, 1, 1, ModelSpec("softmax", (2,), 2), b"key", 0, None)
    assert "key" not in repr(equip)
