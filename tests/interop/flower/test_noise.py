"""Noise in Flower: clipped and noised in the mod, charged to each node's ledger, priced at the server."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import ConfigRecord, Message, RecordDict

from dp import SharedLedger
from fedavg import DistributedGaussian, FixedPoint, OneShot
from fedavg.adapters.exchange import Record, Terms, enrol_here
from fedavg.adapters.flower import SecureGrid
from fedavg.errors import ConfigError
from tests.interop.flower.support.loopback import LoopbackGrid, client_app
from tests.interop.flower.test_strategies import record

NODES = 6
STATED = {"fedavg-noise-multiplier": 2.0, "fedavg-clip": 1.0}


@pytest.fixture
def folder(tmp_path):
    committee = OneShot(committee=6, corrupt_members=1, absent_members=1, dropout_rate=0.2)
    noisy = Record(FixedPoint(1.0, 16), noise=DistributedGaussian(2.0), beyond="clip")
    enrol_here(tmp_path, NODES, Terms(committee, {"train": noisy}, max_weight=1), epsilon=4.5)
    return tmp_path


def fit(node: int, arrays):
    if node == 2:
        raise ValueError("this node's data is broken")
    return {name: np.asarray(array + np.float32(1e6)) for name, array in arrays.items()}, {}


class Configured:
    """The app with the config of its run."""

    def __init__(self, app, config) -> None:
        self.app, self.config = app, config

    def __call__(self, message, context):
        context.run_config = dict(self.config)
        return self.app(message, context)


def grid_of(folder, fails=lambda *_: False, config=STATED):
    plain = LoopbackGrid(Configured(client_app(folder, fit), config), NODES, fails)
    return SecureGrid(plain, folder / "agreement.json", config, stage_timeout=0.2)


def asked(grid):
    content = {"arrays": record(), "config": ConfigRecord({"rate": 0.1})}
    messages = [Message(RecordDict(content), 1000 + node, "train") for node in range(NODES)]
    return grid.send_and_receive(messages, timeout=5)


def test_a_round_is_clipped_noised_charged_and_priced(folder, caplog):
    caplog.set_level(logging.INFO)
    grid = grid_of(folder)
    replies = [asked(grid) for _ in range(2)]
    assert [len(one) for one in replies] == [1, 1]
    assert replies[0][0].content["metrics"]["num-examples"] == NODES
    one, two = grid.outcomes
    assert one.contributors == tuple(range(NODES))  # the failing node sends its share of the noise
    assert one.epsilons.release == pytest.approx(1.993, abs=1e-3)
    assert one.epsilons.server > one.epsilons.release
    assert two.epsilons.release > one.epsilons.release
    assert "epsilon 1.993 towards those who see the means" in str(one)
    for node in range(NODES):
        spent = SharedLedger(folder / str(node) / "ledger.json").spent().high
        assert spent == pytest.approx(two.epsilons.release, rel=1e-6)
    # The reason stands in the first line of a node's log, before any traceback.
    assert "this node enters the sum without a record: ValueError: this node's data" in caplog.text


def test_a_spent_budget_ends_a_nodes_part(folder):
    grid = grid_of(folder)
    for _ in range(5):
        asked(grid)
    assert [len(outcome.contributors) for outcome in grid.outcomes] == [6, 6, 6, 6, 0]
    # Rounds without a sum release noise alone, so that strategies go on; the outcome has the reason.
    assert grid.outcomes[4].reason.startswith("the round has no sum")
    assert not grid.outcomes[4].complete


def test_a_round_without_a_sum_still_has_a_reply(folder):
    grid = grid_of(folder, fails=lambda node, stage, _: stage == "contribute" and node < 4)
    assert len(asked(grid)) == 1
    assert grid.outcomes[0].contributors == ()


def test_a_config_that_states_other_noise_is_refused_at_both_ends(folder):
    for config in ({"fedavg-clip": 2.0}, {"fedavg-epsilon": 1.0}):
        with pytest.raises(ConfigError, match="the run's config"):
            grid_of(folder, config=config)
    plain = LoopbackGrid(Configured(client_app(folder, fit), {"fedavg-clip": 2.0}), NODES)
    grid = SecureGrid(plain, folder / "agreement.json", {}, stage_timeout=0.2)
    asked(grid)
    told = [reply.error.reason for _, _, reply in plain.seen if reply.has_error()]
    assert len(told) == NODES
    assert all("states fedavg-clip=2.0" in reason for reason in told)
