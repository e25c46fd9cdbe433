"""Group XN: noise in the exchange. A server, or an operator's file, that would have a node send less of it.

The server leaves the noise out of what it asks, one node's file says another clip norm or no noise, requests
are sent again, budgets run out, and nodes fail. Expected: the node acts on its own agreement, each answer is
charged before it is made, and everything that leaves a node holds its share.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dp import Ledger, SharedLedger
from fedavg import DistributedGaussian, FixedPoint
from fedavg.adapters.exchange import Agreement, MeanServer, Node, RefusedRequestError, enrol_here
from fedavg.adapters.exchange.messages import Request, Stage
from fedavg.adapters.exchange.vectors.layout import content_digest
from fedavg.errors import ConfigError, FedAvgError
from he import HeError
from secagg import SecAggError
from tests.fedavg.adapters.exchange.parties import (
    NEAREST,
    RUN,
    Parties,
    changed,
    noisy,
    terms,
)

SIZE = 4000  # coordinates: a sample's variance is within 13 % of its law's, six deviations, but for 2e-9
WIDE = 6 * math.sqrt(2 / SIZE)
LONG = {"w": np.zeros(SIZE)}
ZEROS = {"w": np.zeros(SIZE)}


@pytest.fixture
def parties():
    return private()


def private(**given) -> Parties:
    return Parties(agreed=terms(records={"train": noisy(metrics={})}), **given)


def without_noise(agreement: Agreement) -> Agreement:
    """What a server would rather have."""
    exact = replace(agreement.terms.record("train"), encoding=NEAREST, noise=None, beyond="refuse")
    return changed(agreement, records={"train": exact})


def joined(parties: Parties, node: int, server: MeanServer, model=LONG):
    here = parties.node(node)
    return here.join(*here.read(server.request, run=RUN, kind="train"), model)


def refused(what: str):
    return pytest.raises(RefusedRequestError, match=what)


# XN1: the noise is left out ------------------------------------------------------------------------------


def test_xn1_a_server_whose_agreement_has_no_noise_gets_nothing(parties):
    server = MeanServer(without_noise(parties.agreement), RUN, 1, "train", 6, LONG)
    with refused("another agreement"):
        joined(parties, 0, server)


def test_xn1_a_request_without_our_record_gets_nothing(parties):
    with refused("no request"):
        parties.node(0).read(b"", run=RUN, kind="train")


def test_xn1_a_request_for_a_shorter_sum_gets_nothing(parties):
    """The request says the length of a sum with a weight in front, as exact sums have."""
    request = Request(
        Stage.CONTRIBUTE, parties.agreement.digest, 1, 6, SIZE + 1, content_digest(LONG, b"")
    )
    here = parties.node(0)
    with refused("other contents"):
        here.join(*here.read(request.to_bytes(), run=RUN, kind="train"), LONG)


OTHERS = {
    "no noise": without_noise,
    "another clip": lambda agreement: changed(
        agreement, records={"train": noisy(metrics={}, clip=100.0)}
    ),
    "less noise": lambda agreement: changed(
        agreement, records={"train": noisy(DistributedGaussian(1.9), metrics={})}
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_xn1_a_node_that_is_told_otherwise_enters_no_sum_of_the_others(parties, other):
    """Somebody has put another agreement into one node's folder, and asks that node in its words."""
    told = OTHERS[other](parties.agreement)
    server = parties.server(model=LONG)
    alone = MeanServer(told, RUN, 1, "train", 6, LONG)
    victim = Node(told, parties.keys[0], parties.journals[0], parties.ledgers[0])
    part = victim.join(*victim.read(alone.request, run=RUN, kind="train"), LONG)
    reply = part.send(ZEROS, {"num-examples": 40})
    with pytest.raises((HeError, SecAggError, FedAvgError)):
        server.receive(reply)
    assert server.received == frozenset()


# XN2: what leaves a node ---------------------------------------------------------------------------------


def variance(parties: Parties, *, silent=(), failing=()) -> float:
    """Of a round's release over zeros, in grid units, ÷ what is due: V of six shares."""
    server = parties.server(model=LONG)
    for node in set(range(6)) - set(silent):
        part = joined(parties, node, server)
        server.receive(part.send_nothing() if node in failing else part.send(ZEROS, {}))
    mean = parties.opened(server)
    units = mean.arrays["w"] * 6 * FixedPoint(1.0, 13).scale
    sensitivity = parties.agreed.record("train").encoding.l2_sensitivity(SIZE)
    return float(np.var(units)) / ((2.0 * sensitivity) ** 2 / 0.5)


def test_xn2_every_reply_holds_its_share(parties):
    assert variance(parties) == pytest.approx(1, rel=WIDE)


def test_xn2_a_node_without_a_record_sends_its_share_too(parties):
    """All nodes fail; a sum of plain zeros would say so exactly."""
    assert variance(parties, failing=range(6)) == pytest.approx(1, rel=WIDE)


def test_xn2_the_server_adds_the_shares_of_the_silent(parties):
    assert variance(parties, silent=(1, 4)) == pytest.approx(1, rel=WIDE)


def test_xn2_a_round_that_asks_few_of_the_nodes_holds_all_of_the_noise():
    """The server asks four of eight: each of them adds a fourth of it, and not an eighth."""
    parties = private(count=8)
    server = parties.server(asked=4, model=LONG)
    for node in range(4):
        server.receive(joined(parties, node, server).send(ZEROS, {}))
    units = parties.opened(server).arrays["w"] * 4 * FixedPoint(1.0, 13).scale
    due = (2.0 * parties.agreed.record("train").encoding.l2_sensitivity(SIZE)) ** 2 / 0.5
    assert float(np.var(units)) / due == pytest.approx(1, rel=WIDE)


def test_xn2_a_record_of_any_length_is_shortened(parties):
    """A node's update of a norm of 10^9 moves the mean by the clip norm at most, and the noise."""
    server = parties.server(model=LONG)
    for node in range(6):
        sent = {"w": np.full(SIZE, 1e9 if node == 0 else 0.0)}
        server.receive(joined(parties, node, server).send(sent, {}))
    mean = parties.opened(server).arrays["w"]
    # Along the update's direction: 1 of the clip, and noise of 2·√2 by 12 deviations, ÷ 6 nodes.
    assert abs(float(mean.sum()) / math.sqrt(SIZE)) <= (1 + 12 * 2 * math.sqrt(2)) / 6


# XN3: the ledger ------------------------------------------------------------------------------------------


def charges(parties: Parties, node: int = 0) -> int:
    """Number of charged answers; each has two entries, one of them for the samplers' errors."""
    history = parties.ledgers[node].history
    assert len(history) % 2 == 0
    return len(history) // 2


def test_xn3_an_answer_is_charged_before_training(parties):
    joined(parties, 0, parties.server(model=LONG))
    assert charges(parties) == 1


def test_xn3_every_attempt_is_charged_and_none_is_free(parties):
    """One model again and again, in rounds that all fail."""
    for number in range(1, 6):
        server = parties.server(number, model=LONG)
        parties.called(server)
        server.receive(joined(parties, 0, server).send(ZEROS, {}))
        assert server.advance() == {}  # noise alone: nobody else replied
        assert charges(parties) == number


def test_xn3_a_request_that_is_sent_again_is_not_answered_and_costs_nothing(parties):
    server = parties.server(model=LONG)
    joined(parties, 0, server).send(ZEROS, {})
    with refused("answered before"):
        joined(parties, 0, server)
    assert charges(parties) == 1


def test_xn3_nothing_leaves_a_node_whose_budget_is_spent():
    """One answer costs 1.99; the budget of 2.5 has room for one."""
    parties = private(epsilon=2.5)
    joined(parties, 0, parties.server(1, model=LONG)).send(ZEROS, {})
    with refused("no room for train 2"):
        joined(parties, 0, parties.server(2, model=LONG))
    assert parties.ledgers[0].spent().high <= 2.5


def test_xn3_a_new_agreement_does_not_fill_the_ledger_again():
    parties = private(epsilon=2.5)
    joined(parties, 0, parties.server(1, model=LONG)).send(ZEROS, {})
    parties.agreement = changed(parties.agreement, max_rounds=77)
    with refused("no room"):
        joined(parties, 0, parties.server(2, model=LONG))


def test_xn3_a_node_without_a_ledger_does_not_start(parties, tmp_path):
    with pytest.raises(ConfigError, match="no privacy budget"):
        Node(parties.agreement, parties.keys[0], parties.journals[0])
    enrol_here(tmp_path, 6, parties.agreed, epsilon=2.5)
    Node.open(tmp_path / "0")
    (tmp_path / "0" / "ledger.json").unlink()
    with pytest.raises(ConfigError, match="fedavg ledger create"):
        Node.open(tmp_path / "0")


def test_xn3_processes_share_one_ledger(parties, tmp_path):
    """The first process charges the file; the second, with a ledger object of its own, finds it spent."""
    path = tmp_path / "ledger.json"
    SharedLedger.create(path, Ledger(2.5, 1e-5))
    for number, room in ((1, True), (2, False)):
        node = Node(parties.agreement, parties.keys[0], parties.journals[0], SharedLedger(path))
        asked = node.read(parties.server(number, model=LONG).request, run=RUN, kind="train")
        if room:
            node.join(*asked, LONG)
        else:
            with refused("no room"):
                node.join(*asked, LONG)
