"""Flower's strategies on secure sums, with every message in a process of its own but for the process."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    Bulyan,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    MultiKrum,
    QFedAvg,
)

from fedavg import FixedPoint, OneShot
from fedavg.adapters.exchange import Record, Terms, enrol_here
from fedavg.adapters.exchange.vectors.coordinates import Coordinates
from fedavg.adapters.flower import SecureGrid, records
from fedavg.errors import CohortSizeError, LocalProtocolError, PlanError
from tests.interop.flower.support.loopback import LoopbackGrid, client_app

_NODES = 6
_RANGE = 4.0
_ENCODING = FixedPoint(_RANGE, 20, rounding="nearest")
_START = {
    "conv.weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "bn.running_mean": np.zeros(3),
    "bn.num_batches_tracked": np.array(5),
}


def terms(**changes) -> Terms:
    records_ = {
        "train": Record(
            _ENCODING, metrics={"train_loss": 9.0}, ranges={"*.num_batches_tracked": 1000.0}
        ),
        "evaluate": Record(_ENCODING, arrays=(), metrics={"eval_acc": 1.0}),
    }
    given = {
        "sum": OneShot(committee=6, corrupt_members=1, absent_members=1, dropout_rate=0.2),
        "records": records_,
        "max_weight": 100,
    }
    return Terms(**{**given, **changes})


def fit(node: int, arrays):
    """Something that depends on the node and on the model, but on nothing else."""
    rng = np.random.default_rng(node)
    weight = arrays["conv.weight"]
    trained = {
        "conv.weight": (weight * 0.9 + rng.normal(size=weight.shape) / 4).astype(weight.dtype),
        "bn.running_mean": arrays["bn.running_mean"] + node / 8,
        "bn.num_batches_tracked": np.asarray(arrays["bn.num_batches_tracked"] + 20 + node),
    }
    return trained, {"train_loss": 1.0 + node / 4, "num-examples": 50 + node, "age": 41.5}


def score(node: int, arrays):
    return {"eval_acc": node / 8, "num-examples": 10 + node}


@pytest.fixture
def folder(tmp_path):
    enrol_here(tmp_path, _NODES, terms())
    return tmp_path


def secure(folder, train=fit, fails=lambda *_: False) -> tuple[SecureGrid, LoopbackGrid]:
    plain = LoopbackGrid(client_app(folder, train, score), _NODES, fails)
    return SecureGrid(plain, folder / "agreement.json", {}, stage_timeout=0.2), plain


def record(arrays=None) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in (arrays or _START).items()})


def numbers(**changes):
    least = {f"min_{what}_nodes": _NODES for what in ("train", "evaluate", "available")}
    return {**least, **changes}


@pytest.mark.parametrize(
    "make",
    [
        FedAvg,
        FedAvgM,
        FedAdam,
        FedAdagrad,
        FedYogi,
        lambda **given: FedProx(proximal_mu=0.1, **given),
    ],
)
def test_a_strategy_gives_the_model_that_it_gives_without_us_up_to_rounding(make, folder):
    grid, _ = secure(folder)
    ours = make(**numbers()).start(grid, record(), num_rounds=3)
    plain = LoopbackGrid(client_app(folder, fit, score, mods=[]), _NODES)
    theirs = make(**numbers()).start(plain, record(), num_rounds=3)
    assert all(outcome.complete for outcome in grid.outcomes)
    assert len(grid.outcomes) == 6
    for name, array in theirs.arrays.items():
        found = ours.arrays[name].numpy()
        assert found.shape == array.numpy().shape
        np.testing.assert_allclose(found, array.numpy(), atol=0.02, rtol=1e-3)
    for number in (1, 2, 3):
        mine = dict(ours.train_metrics_clientapp[number])
        assert mine.keys() == {"train_loss"}  # what is not agreed on stays
        expected = theirs.train_metrics_clientapp[number]["train_loss"]
        assert mine["train_loss"] == pytest.approx(expected, abs=1e-3)
        found = ours.evaluate_metrics_clientapp[number]["eval_acc"]
        assert found == pytest.approx(
            theirs.evaluate_metrics_clientapp[number]["eval_acc"], abs=1e-3
        )


def test_the_mean_is_that_of_plain_addition_of_the_same_integers_to_the_bit(folder):
    grid, _ = secure(folder)
    result = FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    at = Coordinates.of(terms(), "train", _START)
    total = sum(at.encode(*fit(node, _START), _START) for node in range(_NODES))
    expected = at.decode(total, tuple(range(_NODES)), _START)
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(result.arrays[name].numpy(), array)
        assert result.arrays[name].numpy().dtype == array.dtype
    assert dict(result.train_metrics_clientapp[1]) == expected.metrics
    assert grid.outcomes[0].weight == sum(50 + node for node in range(_NODES))


def test_the_server_sees_no_update_no_metric_and_no_count_of_a_node(folder):
    grid, plain = secure(folder)
    FedAvg(**numbers()).start(grid, record(), num_rounds=1)
    for _, _, reply in plain.seen:
        assert list(reply.content) == [records.KEY]
    sizes = {}
    for stage, _, reply in plain.seen:
        kind = reply.metadata.message_type
        sizes.setdefault((kind, stage), set()).add(len(records.taken(reply.content)))
    # The size of a contribution follows from the length of its kind of record, for any numbers of a node.
    assert len(sizes["train", "contribute"]) == len(sizes["evaluate", "contribute"]) == 1


@pytest.mark.parametrize("stage", ["contribute", "delivery", "proposal", "request"])
def test_a_node_that_dies_at_any_stage_of_a_round_is_missed_in_that_round_alone(stage, folder):
    grid, _ = secure(folder, fails=lambda node, at, number: (node, at, number) == (4, stage, 1))
    strategy = FedAvg(**numbers(fraction_evaluate=0.0))
    strategy.start(grid, record(), num_rounds=2, timeout=0.2)
    first, second = grid.outcomes
    assert first.complete
    assert second.complete
    assert (4 in first.contributors) == (stage != "contribute")
    assert second.contributors == tuple(range(_NODES))


@pytest.mark.parametrize("stage", ["contribute", "delivery", "proposal", "request"])
def test_too_many_deaths_abort_a_round_cleanly(stage, folder):
    grid, _ = secure(
        folder, fails=lambda node, at, number: node < 3 and at == stage and number == 1
    )
    strategy = FedAvg(**numbers(fraction_evaluate=0.0))
    result = strategy.start(grid, record(), num_rounds=2, timeout=0.2)
    first, second = grid.outcomes
    assert "the round has no sum" in first.reason
    assert second.complete
    assert list(result.train_metrics_clientapp) == [2]


def test_a_loop_of_ones_own_works_unchanged(folder):
    grid, _ = secure(folder)
    assert isinstance(grid, Grid)
    content = RecordDict({"arrays": record(), "config": ConfigRecord({"lr": 0.1})})
    messages = [Message(content, node, "train") for node in grid.get_node_ids()]
    (reply,) = grid.send_and_receive(messages, timeout=5)
    assert reply.content["metrics"]["num-examples"] == 315
    assert list(reply.content["arrays"]) == list(_START)
    assert grid.run.run_id == 77
    assert grid.send_and_receive([]) == []


@pytest.mark.parametrize(
    "strategy",
    [
        Krum(),
        MultiKrum(),
        Bulyan(),
        FedMedian(),
        FedTrimmedAvg(),
        QFedAvg(client_learning_rate=0.1),
        DifferentialPrivacyServerSideFixedClipping(FedAvg(), 1.0, 1.0, 5),
        DifferentialPrivacyClientSideFixedClipping(FedAvg(), 1.0, 1.0, 5),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_strategies_that_need_single_updates_are_refused_before_anything_is_sent(strategy, folder):
    grid, plain = secure(folder)
    with pytest.raises(PlanError, match=f"{type(strategy).__name__} cannot run on secure sums"):
        strategy.start(grid, record(), num_rounds=1)
    assert not plain.seen


def test_a_round_of_too_few_nodes_names_the_setting(folder):
    grid, plain = secure(folder)
    with pytest.raises(CohortSizeError, match="min_train_nodes=4"):
        FedAvg(fraction_train=0.1).start(grid, record(), num_rounds=1)
    assert not plain.seen


def test_records_that_are_not_agreed_on_are_refused_at_the_server(folder):
    grid, plain = secure(folder)
    content = RecordDict({"config": ConfigRecord({})})
    messages = [Message(content, node, "query") for node in grid.get_node_ids()]
    with pytest.raises(PlanError, match="no record 'query'"):
        grid.send_and_receive(messages)
    assert not plain.seen


def test_nodes_that_are_sent_different_things_are_refused_at_the_server(folder):
    grid, _ = secure(folder)
    messages = [
        Message(RecordDict({"config": ConfigRecord({"lr": node / 8})}), node, "train")
        for node in grid.get_node_ids()
    ]
    with pytest.raises(PlanError, match="different contents"):
        grid.send_and_receive(messages)
    one = RecordDict({"arrays": record()})
    with pytest.raises(PlanError, match="two messages for one node"):
        grid.send_and_receive([Message(one, 1000, "train"), Message(one, 1000, "train")])
    with pytest.raises(PlanError, match="of the kinds evaluate, train"):
        grid.send_and_receive([Message(one, 1000, "train"), Message(one, 1001, "evaluate")])


def test_single_messages_cannot_be_pushed_or_pulled(folder):
    grid, _ = secure(folder)
    with pytest.raises(LocalProtocolError, match="send_and_receive"):
        grid.push_messages([])
    with pytest.raises(LocalProtocolError, match="send_and_receive"):
        grid.pull_messages([])


def test_members_that_were_not_asked_are_found(folder):
    """A round over five of six nodes: the sixth is a member of the committee, and two others die."""
    grid, _ = secure(folder, fails=lambda node, at, _: node in {1, 2} and at == "contribute")
    content = RecordDict({"arrays": record(), "config": ConfigRecord({})})
    asked = [1001, 1002, 1003, 1004, 1005]
    messages = [Message(content, node, "train") for node in asked]
    assert grid.send_and_receive(messages, timeout=0.2) == []  # three of five are too few
    grid, plain = secure(folder, fails=lambda node, at, _: (node, at) == (1, "contribute"))
    plain._run.run_id = 78
    (reply,) = grid.send_and_receive(messages, timeout=0.2)
    assert reply.content["metrics"]["num-examples"] == 52 + 53 + 54 + 55
    assert {"name", "delivery"} <= {stage for stage, node, _ in plain.seen if node == 0}
    assert isinstance(reply.content["metrics"], MetricRecord)
