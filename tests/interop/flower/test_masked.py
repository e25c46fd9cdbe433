"""Masked sums in Flower: each message meets a new call of the app, and a node is a file in between."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg

from dp import SharedLedger
from fedavg import DistributedGaussian, FixedPoint, SecAgg
from fedavg.adapters.exchange import Record, Terms, enrol_here
from fedavg.adapters.exchange.nodes.states import STATE_FILE
from fedavg.adapters.exchange.vectors.coordinates import Coordinates
from fedavg.adapters.flower import records
from tests.interop.flower.test_strategies import (
    _NODES,
    _START,
    fit,
    numbers,
    record,
    secure,
    terms,
)

MASKED = SecAgg(dropout_rate=0.2)
STAGES = ("contribute", "roster", "forwarded_shares", "partners", "survivors", "signatures")
"""What the messages of a round are called, which the server sends."""
UNSENT = STAGES[:4]


@pytest.fixture
def folder(tmp_path):
    enrol_here(tmp_path, _NODES, terms(sum=MASKED))
    return tmp_path


def left(folder) -> list[str]:
    return [path.parent.name for path in sorted(folder.glob(f"*/{STATE_FILE}*"))]


def plain_sum(nodes):
    at = Coordinates.of(terms(sum=MASKED), "train", _START)
    return at.decode(
        sum(at.encode(*fit(node, _START), _START) for node in nodes), tuple(nodes), _START
    )


def test_the_mean_is_that_of_plain_addition_of_the_same_integers_to_the_bit(folder):
    grid, plain = secure(folder)
    result = FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    expected = plain_sum(range(_NODES))
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(result.arrays[name].numpy(), array)
    assert dict(result.train_metrics_clientapp[1]) == expected.metrics
    assert [name for name, *_ in grid.outcomes[0].stages] == [
        "advertise_keys",
        "share_keys",
        "check_shares",
        "masked_input",
        "consistency",
        "unmask",
    ]
    assert {stage for stage, _, _ in plain.seen} == set(STAGES)
    assert not left(folder)


def test_several_rounds_of_training_and_evaluation(folder):
    grid, _ = secure(folder)
    result = FedAdam(**numbers()).start(grid, record(), num_rounds=3)
    assert [outcome.kind for outcome in grid.outcomes] == ["train", "evaluate"] * 3
    assert all(outcome.complete for outcome in grid.outcomes)
    assert result.evaluate_metrics_clientapp[3]["eval_acc"] > 0
    assert not left(folder)


def test_the_server_sees_no_update_no_metric_and_no_count_of_a_node(folder):
    grid, plain = secure(folder)
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    sizes: dict[str, set[int]] = {}
    for stage, _, reply in plain.seen:
        assert list(reply.content) == [records.KEY]
        sizes.setdefault(stage, set()).add(len(records.taken(reply.content)))
    assert all(len(found) == 1 for found in sizes.values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_node_that_dies_at_any_stage_of_a_round_is_missed_in_that_round_alone(stage, folder):
    grid, _ = secure(folder, fails=lambda node, at, number: (node, at, number) == (4, stage, 1))
    strategy = FedAvg(**numbers(fraction_evaluate=0.0))
    strategy.start(grid, record(), num_rounds=2, timeout=0.2)
    first, second = grid.outcomes
    assert first.complete
    assert (4 in first.contributors) == (stage not in UNSENT)
    assert second.contributors == tuple(range(_NODES))
    assert not left(folder)


@pytest.mark.parametrize("stage", STAGES)
def test_too_many_deaths_abort_a_round_cleanly(stage, folder):
    grid, _ = secure(
        folder, fails=lambda node, at, number: node < 4 and at == stage and number == 1
    )
    strategy = FedAvg(**numbers(fraction_evaluate=0.0))
    result = strategy.start(grid, record(), num_rounds=2, timeout=0.2)
    first, second = grid.outcomes
    assert "the round has no sum" in first.reason
    assert second.complete
    assert list(result.train_metrics_clientapp) == [2]
    assert not left(folder)


def test_a_message_that_is_delivered_twice_is_answered_once(folder):
    """The second answer is a refusal, which reaches the server in place of the first: the node is out."""
    grid, plain = secure(folder)
    twice = plain._handled

    def handled(message):
        first = twice(message)
        if message.metadata.dst_node_id == 1002:
            assert twice(message).has_error()
        return first

    plain._handled = handled
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    errors = [reply.error.reason for _, node, reply in plain.seen if reply.has_error()]
    assert len(errors) == len(STAGES)
    assert sum("answered before" in error for error in errors) == len(STAGES) - 2
    assert grid.outcomes[0].contributors == tuple(range(_NODES))


def test_an_app_that_fails_says_nothing_to_the_server(folder, caplog):
    def bad(node, arrays):
        if node == 2:
            raise ValueError("patient 4711 has no age")
        return fit(node, arrays)

    grid, plain = secure(folder, bad)
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    assert grid.outcomes[0].contributors == tuple(range(_NODES))
    assert grid.outcomes[0].weight == sum(50 + node for node in range(_NODES) if node != 2)
    assert not any(reply.has_error() for _, _, reply in plain.seen)
    assert "4711" in caplog.text


def test_a_state_that_others_can_read_stays_in_the_nodes_own_log(folder, caplog):
    def fails(node, stage, number):
        if (node, stage) == (1, "partners"):
            (folder / "1" / STATE_FILE).chmod(0o644)
        return False

    grid, plain = secure(folder, fails=fails)
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    assert grid.outcomes[0].contributors == (0, 2, 3, 4, 5)
    errors = [reply.error.reason for _, _, reply in plain.seen if reply.has_error()]
    assert len(errors) == 1
    assert str(folder) not in errors[0]
    assert "others can read" in caplog.text


def test_noise_is_added_charged_and_priced(tmp_path):
    noisy = Record(FixedPoint(1.0, 16), noise=DistributedGaussian(2.0), beyond="clip")
    enrol_here(tmp_path, _NODES, Terms(MASKED, {"train": noisy}, max_weight=1), epsilon=4.5)
    grid, _ = secure(tmp_path, fails=lambda node, at, _: (node, at) == (3, "roster"))
    content = {"arrays": record(), "config": ConfigRecord({"rate": 0.1})}
    messages = [Message(RecordDict(content), 1000 + node, "train") for node in range(_NODES)]
    (reply,) = grid.send_and_receive(messages, timeout=5)
    assert reply.content["metrics"]["num-examples"] == _NODES
    (outcome,) = grid.outcomes
    assert outcome.contributors == (0, 1, 2, 4, 5)
    assert outcome.epsilons.server > outcome.epsilons.release
    for node in range(_NODES):  # also the one that died
        spent = SharedLedger(tmp_path / str(node) / "ledger.json").spent().high
        assert spent == pytest.approx(outcome.epsilons.release, rel=1e-6)
