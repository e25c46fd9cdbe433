"""What leaves a node of Flower: records of secure sums, refusals, and nothing about data."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedavg.adapters.exchange import Agreement, RefusedRequestError, enrol_here
from fedavg.adapters.flower import NodeSilentError, SecureGrid, records, secure_mod
from fedavg.adapters.flower.mod import FOLDER_KEY
from tests.interop.flower.support.loopback import LoopbackGrid, client_app
from tests.interop.flower.test_strategies import (
    _NODES,
    fit,
    folder,  # noqa: F401 - a fixture
    numbers,
    record,
    score,
    secure,
    terms,
)


def _errors(plain) -> list[str]:
    return [reply.error.reason for _, _, reply in plain.seen if reply.has_error()]


def test_a_server_that_leaves_our_record_out_gets_no_update(folder):  # noqa: F811
    plain = LoopbackGrid(client_app(folder, fit, score), _NODES)
    FedAvg(**numbers()).start(plain, record(), num_rounds=1)
    errors = _errors(plain)
    assert len(errors) == len(plain.seen) == 2 * _NODES
    assert all("outside of a secure sum" in error for error in errors)


@pytest.mark.parametrize("value", [np.nan, 1e9])
def test_a_refused_update_says_nothing_to_the_server(value, folder, caplog):  # noqa: F811
    def bad(node, arrays):
        trained, metrics = fit(node, arrays)
        if node == 2:
            trained["bn.running_mean"] = trained["bn.running_mean"] + value
        return trained, metrics

    grid, plain = secure(folder, bad)
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    # The node is not silent either, since that would tell its value's size; its weight is missing.
    assert grid.outcomes[0].contributors == tuple(range(_NODES))
    assert grid.outcomes[0].weight == sum(50 + node for node in range(_NODES) if node != 2)
    assert not _errors(plain)
    assert "array 'bn.running_mean'" in caplog.text


def test_an_error_of_the_users_own_function_says_nothing_to_the_server(folder):  # noqa: F811
    def bad(node, arrays):
        raise ValueError("patient 4711 has no age")

    grid, plain = secure(folder, bad)
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    assert not _errors(plain)
    assert "no weight" in grid.outcomes[0].reason
    assert not any("patient 4711" in str(reply) for _, _, reply in plain.seen)


def test_a_server_with_another_agreement_is_told_what_differs(folder):  # noqa: F811
    agreement = Agreement.read(folder / "agreement.json")
    other = Agreement(terms(attempts=999), agreement.nodes, agreement.members)
    plain = LoopbackGrid(client_app(folder, fit, score), _NODES)
    grid = SecureGrid(plain, other, {}, stage_timeout=0.2)
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    assert all("another agreement than this node" in error for error in _errors(plain))
    assert not grid.outcomes[0].complete


def test_a_message_that_is_delivered_twice_is_answered_once(folder):  # noqa: F811
    grid, plain = secure(folder)
    twice = plain._handled

    def handled(message):
        twice(message)
        return twice(message)

    plain._handled = handled
    FedAvg(**numbers(fraction_evaluate=0.0)).start(grid, record(), num_rounds=1)
    assert sum("answered before" in error for error in _errors(plain)) == _NODES
    assert not grid.outcomes[0].complete


def _asked(config: dict) -> tuple[Message, Context]:
    LoopbackGrid(None, 1)  # names the run for messages
    message = Message(RecordDict({"config": ConfigRecord({})}), 1000, "train")
    return message, Context(77, 1000, config, RecordDict(), {})


@pytest.mark.parametrize(
    ("given", "config", "said"),
    [
        (None, {}, "this node has no folder"),
        ("keys/{partition-id}", {}, "names a key"),
        ("/nowhere", {}, "there are no keys"),
        (None, {FOLDER_KEY: "/nowhere"}, "there are no keys"),
        (None, {"folder": "/nowhere"}, "Is 'folder' meant to be 'fedavg-folder'?"),
        (
            "/nowhere",
            {"fedavg_folder": "/srv"},
            "unknown key 'fedavg_folder': the key of its folder",
        ),
        ("/nowhere", {FOLDER_KEY: "/srv", "fedavg-foder": "/srv"}, "unknown key 'fedavg-foder'"),
        (None, {FOLDER_KEY: "~/nowhere-at-all"}, "/nowhere-at-all: No such file"),
    ],
)
def test_a_node_without_keys_is_silent(given, config, said, caplog):
    with pytest.raises(NodeSilentError):
        secure_mod(given)(*_asked(config), lambda *_: pytest.fail("the app was called"))
    assert said in caplog.text


def test_the_operators_folder_is_used(tmp_path):
    enrol_here(tmp_path, _NODES, terms())
    asked = _asked({FOLDER_KEY: str(tmp_path / "3")})
    with pytest.raises(RefusedRequestError, match="outside of a secure sum"):
        secure_mod("/somewhere/else")(*asked, lambda *_: pytest.fail("the app was called"))


@pytest.mark.parametrize(
    "content", [{}, {records.KEY: ConfigRecord({"bytes": b"x"})}, {records.KEY: record()}]
)
def test_odd_records_are_none_of_ours(content):
    assert records.taken(RecordDict(content)) is None
