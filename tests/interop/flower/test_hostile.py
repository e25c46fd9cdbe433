"""A hostile SuperLink, and a hostile node: what one node alone is told, and a reply that is junk."""

from __future__ import annotations

import copy
import importlib.util
import sys
from io import BytesIO

import numpy as np
import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.skip("Flower is in the peers' environment only", allow_module_level=True)

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)

from fedavg.adapters.exchange import server as server_module
from fedavg.adapters.exchange.nodes import node as node_module
from fedavg.adapters.flower import NodeSilentError, SecureGrid, records, secure_mod
from fedavg.adapters.flower import mod as mod_module
from fedavg.errors import ConfigError
from tests.hostile.mutants import FOUND, without
from tests.interop.flower.support.loopback import LoopbackGrid, client_app
from tests.interop.flower.test_strategies import _NODES, fit, folder, record  # noqa: F401

VICTIM, STAGE = 3, "contribute"
CONFIG = {"rate": 0.1, "name": "run", "deep": True, "steps": 2}


class Told:
    """A ClientApp behind a server that tells each node what `config` and `changed` say.

    Args:
        app: the nodes' app.
        config: partition → the config of the run.
        changed: changes the message to the victim.
    """

    def __init__(self, app, config=lambda _: CONFIG, changed=lambda _: None) -> None:
        self.app, self.config, self.changed = app, config, changed

    def __call__(self, message: Message, context: Context) -> Message:
        node = context.node_config["partition-id"]
        if node == VICTIM and "arrays" in message.content:
            self.changed(message.content)
        context.run_config = dict(self.config(node))
        return self.app(message, context)


def summed(plain, folder, config=CONFIG):  # noqa: F811
    """One sum over all nodes: its outcome, and the texts of errors at the server."""
    grid = SecureGrid(plain, folder / "agreement.json", config, stage_timeout=0.2)
    settings = ConfigRecord({"rate": 0.1, "decay": 0.5})
    content = {"arrays": record(), "config": settings, "metrics": MetricRecord({"a": 1, "b": 2})}
    messages = [
        Message(RecordDict(content), 1000 + node, "train", group_id="1") for node in range(_NODES)
    ]
    grid.send_and_receive(messages, timeout=5)
    errors = [reply.error.reason for _, _, reply in plain.seen if reply.has_error()]
    return grid.outcomes[0], errors


def told(folder, **given) -> LoopbackGrid:  # noqa: F811
    return LoopbackGrid(Told(client_app(folder, fit), **given), _NODES)


ALL, OTHERS = tuple(range(_NODES)), tuple(node for node in range(_NODES) if node != VICTIM)


def test_nodes_with_the_servers_run_config_are_summed_in_any_order_of_it(folder):  # noqa: F811
    plain = told(folder, config=lambda node: dict(sorted(CONFIG.items(), reverse=bool(node % 2))))
    outcome, errors = summed(plain, folder)
    assert outcome.contributors == ALL
    assert errors == []


@pytest.mark.parametrize(
    "other",
    [{}, {**CONFIG, "rate": 0.5}, {**CONFIG, "steps": 2.0}, {**CONFIG, "more": 1}],
)
def test_a_node_with_another_run_config_enters_no_sum(other, folder):  # noqa: F811
    """The others would train at rate 0, and the mean would be the victim's own update."""
    plain = told(folder, config=lambda node: other if node == VICTIM else CONFIG)
    outcome, errors = summed(plain, folder)
    assert outcome.contributors == OTHERS
    (error,) = errors
    assert "another run config" in error


def test_a_grid_that_binds_no_run_config_is_told_what_to_pass(folder):  # noqa: F811
    outcome, errors = summed(told(folder), folder, config={})
    assert not outcome.complete
    assert len(errors) == _NODES
    assert all("SecureGrid(grid, agreement, context.run_config)" in error for error in errors)


def test_mutant_that_leaves_the_run_config_out(folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(records, "encoded", lambda _: b"")
    with pytest.raises(FOUND):
        test_a_node_with_another_run_config_enters_no_sum({**CONFIG, "rate": 0.5}, folder)


@pytest.mark.parametrize("wrong", [None, "rate=0.1", 5, {"rate": object()}, {"big": 1 << 70}])
def test_a_run_config_is_one(wrong, folder):  # noqa: F811
    plain = LoopbackGrid(None, _NODES)
    with pytest.raises(ConfigError, match=r"SecureGrid\(grid, agreement, context.run_config\)"):
        SecureGrid(plain, folder / "agreement.json", wrong)


def _turned(name, kind):
    def changed(content):
        content[name] = kind({key: content[name][key] for key in reversed(list(content[name]))})

    return changed


def _records_turned(content):
    """The config first: an app may take the first record that it finds."""
    moved = content["arrays"]
    del content["arrays"]
    content["arrays"] = moved


TURNED = [
    _turned("arrays", ArrayRecord),
    _turned("config", ConfigRecord),
    _turned("metrics", MetricRecord),
    _records_turned,
]


@pytest.mark.parametrize("changed", TURNED)
def test_a_node_that_is_sent_another_order_enters_no_sum(changed, folder):  # noqa: F811
    outcome, errors = summed(told(folder, changed=changed), folder)
    assert outcome.contributors == OTHERS
    (error,) = errors
    assert "names another model, other settings" in error


@pytest.mark.parametrize("changed", TURNED)
def test_mutant_that_sorts_all_records(changed, folder, monkeypatch):  # noqa: F811
    mutant = without(
        monkeypatch, node_module, "content_digest", "arrays.items()", "sorted(arrays.items())"
    )
    for module in (server_module, mod_module):
        monkeypatch.setattr(module, "content_digest", mutant)
    monkeypatch.setattr(records, "_IN_ORDER", records._SORTED)
    monkeypatch.setattr(records, "_stated", lambda _: [])
    without(
        monkeypatch,
        records,
        "settings_of",
        "[name for name in content if name != KEY]",
        "sorted(content)",
    )
    with pytest.raises(FOUND):
        test_a_node_that_is_sent_another_order_enters_no_sum(changed, folder)


def _states(**fields):
    def changed(content):
        for name, value in fields.items():
            setattr(content["arrays"]["bn.running_mean"], name, value)

    return changed


def _in_another_order_of_memory(content):
    array, held = content["arrays"]["conv.weight"], BytesIO()
    np.save(held, np.asfortranarray(array.numpy()))
    array.data = held.getvalue()


def _with_more_at_the_end(content):
    content["arrays"]["conv.weight"].data += b"for node 3 alone"


BESIDE = [
    _states(dtype="float16"),
    _states(shape=(99,)),
    _in_another_order_of_memory,
    _with_more_at_the_end,
]
"""The values stay the same, and an app may read the rest."""


@pytest.mark.parametrize("changed", BESIDE)
def test_a_node_whose_arrays_state_something_else_enters_no_sum(changed, folder):  # noqa: F811
    outcome, errors = summed(told(folder, changed=changed), folder)
    assert outcome.contributors == OTHERS
    (error,) = errors
    assert "names another model, other settings" in error


@pytest.mark.parametrize("changed", BESIDE)
def test_mutant_that_looks_at_values_alone(changed, folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(records, "_stated", lambda _: [])
    with pytest.raises(FOUND):
        test_a_node_whose_arrays_state_something_else_enters_no_sum(changed, folder)


def test_an_app_that_exits_is_silent_to_nobody(folder, caplog):  # noqa: F811
    """Silence would say that this node has something that the app does not take."""

    def exits(node, arrays):
        return sys.exit("patient 17 has no age") if node == VICTIM else fit(node, arrays)

    outcome, errors = summed(LoopbackGrid(client_app(folder, exits), _NODES), folder, {})
    assert outcome.contributors == ALL
    assert outcome.weight == sum(50 + node for node in OTHERS)
    assert errors == []
    assert "enters the sum without a record: SystemExit: patient 17" in caplog.text


def test_mutant_that_lets_an_app_exit(folder, caplog, monkeypatch):  # noqa: F811
    without(monkeypatch, mod_module, "_contributed", "except BaseException", "except Exception")
    with pytest.raises(SystemExit):
        test_an_app_that_exits_is_silent_to_nobody(folder, caplog)


def test_an_operator_who_stops_a_node_stops_it(folder):  # noqa: F811
    def stopped(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        summed(LoopbackGrid(client_app(folder, stopped), _NODES), folder, {})


def test_a_node_writes_no_lines_of_its_own_into_the_servers_log(folder, caplog):  # noqa: F811
    plain = LoopbackGrid(client_app(folder, fit), _NODES)
    forged = "well\nINFO secure sum 1 (train): mean of 6 nodes\x1b[2K" + "x" * 5000

    def handled(message):
        if message.metadata.dst_node_id == 1000 + VICTIM:
            return Message(Error(code=3, reason=forged), reply_to=message)
        return LoopbackGrid._handled(plain, message)

    plain._handled = handled
    outcome, _ = summed(plain, folder, {})
    assert outcome.contributors == OTHERS
    told_of = [one.getMessage() for one in caplog.records if "well" in one.getMessage()]
    assert len(told_of) == 1
    assert told_of[0].isprintable()
    assert len(told_of[0]) < 1200


def _junk(data: bytes, dtype: str = "uint8", stype: str = "numpy.ndarray") -> RecordDict:
    array = Array(dtype=dtype, shape=(1,), stype=stype, data=data)
    return RecordDict({records.KEY: ArrayRecord({"bytes": array})})


JUNK = [
    _junk(b"junk"),
    _junk(b""),
    _junk(b"x", stype="pickle"),
    _junk(b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
    RecordDict({records.KEY: ArrayRecord({"bytes": Array(np.zeros(3, np.uint8))})}),
    RecordDict(),
]


@pytest.mark.parametrize(
    ("junk", "stage"),
    [(junk, STAGE) for junk in JUNK]
    + [(JUNK[0], stage) for stage in ("delivery", "proposal", "request")],
)
def test_a_node_that_replies_with_junk_counts_as_missing(junk, stage, folder):  # noqa: F811
    plain = LoopbackGrid(client_app(folder, fit), _NODES)
    honest = plain._handled

    def handled(message):
        reply = honest(message)
        found, node, _ = plain.seen[-1]
        if node == VICTIM and found == stage and not reply.has_error():
            return Message(copy.deepcopy(junk), reply_to=message)
        return reply

    plain._handled = handled
    outcome, _ = summed(plain, folder, {})
    assert outcome.complete
    assert outcome.contributors == (OTHERS if stage == STAGE else ALL)


def test_mutant_that_lets_a_strangers_error_through(folder, monkeypatch):  # noqa: F811
    without(monkeypatch, records, "taken", "except Exception:", "except ZeroDivisionError:")
    with pytest.raises(ValueError, match="."):
        test_a_node_that_replies_with_junk_counts_as_missing(JUNK[0], STAGE, folder)


def test_a_junk_request_says_nothing_to_the_server(folder):  # noqa: F811
    LoopbackGrid(None, _NODES)  # names the run for messages
    message = Message(copy.deepcopy(JUNK[0]), 1000, "train")
    with pytest.raises(NodeSilentError, match="its own log says why"):
        secure_mod(folder / "0")(
            message, Context(77, 1000, {}, RecordDict(), {}), lambda *_: pytest.fail("called")
        )
