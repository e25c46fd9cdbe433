"""A whole round: the same mean as by plain addition, to the bit, with nodes missing at any stage."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.adapters.exchange import MeanServer
from fedavg.adapters.exchange.messages import Reply, read_reply
from fedavg.errors import (
    CohortSizeError,
    LocalProtocolError,
    PlanError,
    RoundAbortedError,
    WireFormatError,
)
from he import HeError
from secagg import SecAggError
from tests.fedavg.adapters.exchange.parties import MODEL, RUN, Parties, own_sum, update
from tests.hostile.mutants import without


@pytest.fixture(scope="module")
def parties():
    return Parties()


def fresh(parties) -> Parties:
    """The same nodes with empty journals."""
    for journal in parties.journals:
        journal.clear()
    return parties


def assert_same(mean, expected):
    assert mean.contributors == expected.contributors
    assert mean.weight == expected.weight
    assert mean.metrics == expected.metrics
    assert list(mean.arrays) == list(MODEL)
    for name, array in mean.arrays.items():
        assert array.dtype == expected.arrays[name].dtype
        np.testing.assert_array_equal(array, expected.arrays[name])


def test_the_mean_is_that_of_plain_addition_to_the_bit(parties):
    here = fresh(parties)
    server = here.server()
    here.collect(server)
    assert_same(here.opened(server), own_sum(here, range(6)))


@pytest.mark.parametrize(
    "absent",
    [{2}, {("report", 3)}, {("sign", 0)}, {("answer", 5)}, {5, ("report", 5)}],
    ids=[
        "before it contributes",
        "before it reports",
        "before it signs",
        "before it answers",
        "all",
    ],
)
def test_a_node_that_dies_at_any_stage_costs_its_own_record_at_most(parties, absent):
    here = fresh(parties)
    server = here.server()
    here.collect(server, absent={one for one in absent if type(one) is int})
    nodes = tuple(sorted(set(range(6)) - absent))
    assert_same(here.opened(server, absent=absent), own_sum(here, nodes))


@pytest.mark.parametrize(
    "absent", [{1, 2, 3}, {("report", 3), ("report", 4)}, {("answer", 3), ("answer", 4)}]
)
def test_too_many_missing_nodes_abort_the_round_and_the_next_one_is_fine(parties, absent):
    here = fresh(parties)
    server = here.server()
    here.collect(server, absent={one for one in absent if type(one) is int})
    with pytest.raises(RoundAbortedError, match="the round has no sum"):
        here.opened(server, absent=absent)
    with pytest.raises(LocalProtocolError, match="no mean"):
        server.result()
    following = here.server(2)
    here.collect(following)
    assert_same(here.opened(following), own_sum(here, range(6)))


def test_metrics_alone_are_summed_too(parties):
    here = fresh(parties)
    server = here.server(kind="evaluate")
    for node in range(6):
        reply = here.contributed(
            node, server.request, {}, {"acc": node / 8, "num-examples": 10}, kind="evaluate"
        )
        server.receive(reply)
    mean = here.opened(server, kind="evaluate")
    assert not mean.arrays
    assert mean.metrics["acc"] == pytest.approx(15 / 48, abs=1e-4)


def test_a_round_of_some_nodes_is_opened_by_members_that_were_not_asked(parties):
    here = fresh(parties)
    server = here.server(asked=5)
    here.collect(server, absent={0})
    while requests := server.advance():
        assert 0 in requests
        for node, request in requests.items():
            server.receive(here.answered(node, request), sender=node)
    assert_same(server.result(), own_sum(here, range(1, 6)))


@pytest.mark.parametrize(("asked", "what"), [(3, "min_train_nodes=4"), (7, "knows 6")])
def test_rounds_of_too_few_or_unknown_nodes_are_refused(parties, asked, what):
    with pytest.raises(CohortSizeError, match=what):
        parties.server(asked=asked)


@pytest.mark.parametrize(
    ("kind", "model", "what"),
    [
        ("query", MODEL, "no record 'query'"),
        ("train", {"mask": np.zeros(2, bool)}, "array 'mask'"),
    ],
)
def test_records_that_cannot_be_summed_are_refused(parties, kind, model, what):
    with pytest.raises(PlanError, match=what):
        parties.server(kind=kind, model=model)


def test_replies_are_counted_once_and_from_their_sender(parties):
    here = fresh(parties)
    server = here.server()
    replies = [here.contributed(node, server.request, *update(node)) for node in range(6)]
    with pytest.raises(WireFormatError, match="no reply"):
        server.receive(b"nothing")
    for reply in replies:
        server.receive(reply)
    with pytest.raises(LocalProtocolError, match="twice"):
        server.receive(replies[0])
    assert server.received == frozenset(range(6))
    requests = server.advance()
    assert server.received == frozenset()
    reply = here.answered(1, requests[1])
    for sender in (None, 2):
        with pytest.raises(LocalProtocolError, match="replied as node 1"):
            server.receive(reply, sender)
    assert server.receive(reply, 1) == 1


def test_a_roll_call_changes_nothing(parties):
    here = fresh(parties)
    server = here.server()
    assert [server.identified(here.answered(node, server.roll_call)) for node in (3, 3)] == [3, 3]
    here.collect(server)
    assert_same(here.opened(server), own_sum(here, range(6)))


def test_the_server_holds_no_secret_of_a_node(parties):
    server = fresh(parties).server()
    assert isinstance(server, MeanServer)
    for keys in parties.keys:
        assert keys.identity.private_bytes() not in server.request
    assert RUN.encode() not in server.request  # nodes name the run themselves


def test_a_reply_that_was_damaged_on_its_way_leaves_the_honest_one_acceptable(parties):
    """The ciphertexts were good and the shares behind them were not; the transport then brings all again."""
    here, model = fresh(parties), {"w": np.zeros(5000)}  # short vectors have no ciphertexts
    server = here.server(model=model)
    sent = {"w": np.full(5000, 0.5)}, {"loss": 1.0, "num-examples": 40}
    replies = [
        here.contributed(node, server.request, *sent, model=model) for node in range(here.count)
    ]
    found = read_reply(replies[0])
    assert len(found.parts) > 1
    last = found.parts[-1]
    damaged = Reply(0, (*found.parts[:-1], last[:-1] + bytes([last[-1] ^ 1])))
    for _ in range(2):
        with pytest.raises((HeError, SecAggError)):
            server.receive(damaged.to_bytes())
    assert server.received == frozenset()
    assert [server.receive(reply) for reply in replies] == list(range(here.count))
    np.testing.assert_allclose(here.opened(server).arrays["w"], 0.5, atol=1e-5)


def test_mutant_that_takes_the_good_part_of_a_reply_twice(parties, monkeypatch):
    without(monkeypatch, MeanServer, "receive", "digest not in taken", "True")
    with pytest.raises((HeError, SecAggError)):
        test_a_reply_that_was_damaged_on_its_way_leaves_the_honest_one_acceptable(parties)
