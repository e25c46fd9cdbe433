"""A node against its own agreement."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fedavg.adapters.exchange import (
    MeanServer,
    Node,
    NodeKeys,
    RefusedRequestError,
    Stage,
    enrol_here,
)
from fedavg.adapters.exchange.messages import read_request
from fedavg.errors import CapacityError, ConfigError, JournalError, LocalProtocolError
from tests.fedavg.adapters.exchange.parties import (
    MODEL,
    RUN,
    Memory,
    Parties,
    changed,
    terms,
    update,
)


@pytest.fixture
def parties():
    return Parties()


def test_a_stranger_cannot_open_a_node(parties):
    with pytest.raises(ConfigError, match="does not know node 2 by these keys"):
        Node(parties.agreement, NodeKeys.generate(2), Memory())
    with pytest.raises(ConfigError, match="does not know node 9"):
        Node(parties.agreement, NodeKeys.generate(9), Memory())


def test_a_folder_is_a_node(tmp_path):
    enrol_here(tmp_path, 6, terms())
    assert repr(Node.open(tmp_path / "4")) == "Node(4, <redacted>)"
    (tmp_path / "4" / "agreement.json").unlink()
    with pytest.raises(ConfigError, match="cannot read the agreement"):
        Node.open(tmp_path / "4")


def test_no_node_is_copied(parties):
    node = parties.node(0)
    asked = node.read(parties.server().request, run=RUN, kind="train")
    for secret in (node, node.join(*asked, MODEL)):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(secret)
        with pytest.raises(TypeError, match="cannot be pickled"):
            copy.copy(secret)
        assert "<redacted>" in repr(secret)


def test_a_refused_record_uses_the_round_up_and_sends_nothing(parties):
    server = parties.server()
    trained, metrics = update(0)
    trained["w"] = trained["w"] + 9
    with pytest.raises(CapacityError, match="array 'w'"):
        parties.contributed(0, server.request, trained, metrics)
    with pytest.raises(RefusedRequestError, match="answered before"):
        parties.contributed(0, server.request, *update(0))


def test_a_contribution_is_sent_once(parties):
    node = parties.node(0)
    part = node.join(*node.read(parties.server().request, run=RUN, kind="train"), MODEL)
    part.send(*update(0))
    with pytest.raises(LocalProtocolError):
        part.send(*update(0))


def test_nothing_is_a_reply_too_and_is_sent_once(parties):
    """Its length is that of a record, also after a record was refused."""
    server = parties.server()
    trained, metrics = update(0)
    node = parties.node(0)
    part = node.join(*node.read(server.request, run=RUN, kind="train"), MODEL)
    with pytest.raises(CapacityError):
        part.send(trained, {**metrics, "loss": 1e6})
    reply = part.send_nothing()
    assert len(reply) == len(parties.contributed(1, server.request, *update(1)))
    for again in (part.send_nothing, lambda: part.send(trained, metrics)):
        with pytest.raises(LocalProtocolError, match="made already"):
            again()


def test_a_new_agreement_counts_anew(parties):
    """The bound on answers is one of the agreement, and each kind of request has its own count."""
    few = changed(parties.agreement, max_rounds=1)

    def asked(agreement, number, kind="train"):
        server = MeanServer(agreement, RUN, number, kind, 6, {"w": np.full(2, float(number))})
        node = Node(agreement, parties.keys[0], parties.journals[0])
        node.join(*node.read(server.request, run=RUN, kind=kind), {"w": np.full(2, float(number))})

    asked(few, 1)
    asked(few, 1, "evaluate")
    with pytest.raises(RefusedRequestError, match="max_rounds=1"):
        asked(few, 2)
    asked(changed(parties.agreement, max_rounds=2), 3)


def test_a_journal_that_fails_stops_everything(parties):
    class Broken(set):
        def add(self, fact):
            raise JournalError("the disk is full")

        known = set.__contains__

    node = Node(parties.agreement, parties.keys[0], Broken())
    with pytest.raises(JournalError):
        node.join(*node.read(parties.server().request, run=RUN, kind="train"), MODEL)

    class Odd(set):
        def add(self, fact):
            return None

        known = set.__contains__

    node = Node(parties.agreement, parties.keys[0], Odd())
    with pytest.raises(LocalProtocolError, match="True or False"):
        node.join(*node.read(parties.server().request, run=RUN, kind="train"), MODEL)


def test_a_contribution_is_no_answer_and_an_answer_no_contribution(parties):
    server = parties.server()
    node = parties.node(0)
    asked = node.read(server.request, run=RUN, kind="train")
    with pytest.raises(RefusedRequestError, match="answered by training"):
        node.answer(*asked)
    call = node.read(server.roll_call, run=RUN, kind="train")
    assert call[0].stage is Stage.NAME
    with pytest.raises(RefusedRequestError, match="other contents"):
        node.join(*call, MODEL)


def test_only_members_answer_for_the_committee():
    parties = Parties(7)
    server = parties.server()
    parties.collect(server)
    request = server.advance()[0]
    with pytest.raises(RefusedRequestError, match="node 6 is no member"):
        parties.answered(6, request)


def test_one_model_is_answered_for_a_few_times(parties):
    for number in range(1, 4):
        parties.contributed(0, parties.server(number).request, *update(0))
    with pytest.raises(RefusedRequestError, match="for this model 3 times"):
        parties.contributed(0, parties.server(4).request, *update(0))
    other = {**MODEL, "b": np.zeros(2)}
    parties.contributed(0, parties.server(5, model=other).request, *update(0), model=other)


def test_refusals_say_what_differs(parties):
    server = parties.server()
    node = Node(changed(parties.agreement, max_weight=99), parties.keys[0], Memory())
    with pytest.raises(RefusedRequestError, match="another agreement than this node"):
        node.read(server.request, run=RUN, kind="train")
    with pytest.raises(RefusedRequestError, match="no record 'query'"):
        parties.node(0).read(server.request, run=RUN, kind="query")


def test_a_request_names_no_run_and_no_kind(parties):
    """The node's engine says which run it is in, so a request moved there is another sum."""
    request = parties.server().request
    _, here = parties.node(0).read(request, run=RUN, kind="train")
    _, there = parties.node(0).read(request, run="run 2", kind="train")
    assert here != there
    assert read_request(request).facts("run 2", "train") == there
