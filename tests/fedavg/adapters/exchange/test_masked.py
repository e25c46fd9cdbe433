"""A whole round of a masked sum: every message meets a new `Node`, whose client lies sealed on a shelf."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg import CentralGaussian, DistributedGaussian, FixedPoint, SecAgg
from fedavg.adapters.exchange import Agreement, MeanServer, Node, RefusedRequestError, enrol_here
from fedavg.adapters.exchange.nodes.states import STATE_FILE
from fedavg.adapters.exchange.vectors.noisy import NoisyCoordinates
from fedavg.errors import CapacityError, LocalProtocolError, PlanError, RoundAbortedError
from fedavg.sums.masked import STAGES
from secagg.roles.client import suspended
from secagg.session.state import CLIENT_AWAITS
from tests.arch.tree import ROOT
from tests.fedavg.adapters.exchange.parties import (
    MASKED,
    MODEL,
    RUN,
    Parties,
    noisy,
    own_sum,
    terms,
    update,
)
from tests.fedavg.adapters.exchange.test_server import assert_same

LATER = list(STAGES.values())[1:]
UNMASKED = ("share_keys", "check_shares", "masked_input")
"""Stages in which a node that dies has not sent its masked record."""


@pytest.fixture
def parties():
    return Parties(agreed=terms(sum=MASKED))


def test_the_mean_is_that_of_plain_addition_to_the_bit(parties):
    server = parties.server()
    parties.collect(server)
    assert_same(parties.opened(server), own_sum(parties, range(6)))
    assert [shelf.state for shelf in parties.shelves] == [None] * 6


@pytest.mark.parametrize("sum_", [SecAgg(0.2, 0.0, "semi-honest"), SecAgg(0.25)])
def test_other_masked_sums_too(sum_):
    parties = Parties(agreed=terms(sum=sum_))
    server = parties.server()
    parties.collect(server)
    assert_same(parties.opened(server), own_sum(parties, range(6)))


@pytest.mark.parametrize("stage", ["advertise_keys", *LATER])
def test_a_node_that_dies_at_any_stage_costs_its_own_record_at_most(stage, parties):
    server = parties.server()
    absent = {2} if stage == "advertise_keys" else {(stage, 2)}
    parties.collect(server, absent={2} & absent)
    counted = 2 not in absent and stage not in UNMASKED
    assert_same(
        parties.opened(server, absent=absent),
        own_sum(parties, [node for node in range(6) if node != 2 or counted]),
    )
    # A dead node's state stays until its next round, which the node joins as any other.
    kept = parties.shelves[2].state
    assert (kept is None) == (stage == "advertise_keys")
    following = parties.server(2)
    parties.collect(following)
    assert parties.shelves[2].state not in (None, kept)
    assert_same(parties.opened(following), own_sum(parties, range(6)))
    assert parties.shelves[2].state is None


@pytest.mark.parametrize("stage", LATER)
def test_too_many_missing_nodes_abort_the_round_and_the_next_one_is_fine(stage, parties):
    server = parties.server()
    parties.collect(server)
    with pytest.raises(RoundAbortedError, match="the round has no sum"):
        parties.opened(server, absent={(stage, node) for node in range(4)})
    with pytest.raises(LocalProtocolError, match="no mean"):
        server.result()
    following = parties.server(2)
    parties.collect(following)
    assert_same(parties.opened(following), own_sum(parties, range(6)))


def test_metrics_alone_are_summed_too(parties):
    server = parties.server(kind="evaluate")
    for node in range(6):
        metrics = {"acc": node / 8, "num-examples": 10}
        server.receive(parties.contributed(node, server.request, {}, metrics, kind="evaluate"))
    mean = parties.opened(server, kind="evaluate")
    assert not mean.arrays
    assert mean.metrics["acc"] == pytest.approx(15 / 48, abs=1e-4)


def test_a_round_of_some_nodes_is_theirs_alone(parties):
    server = parties.server(asked=5)
    parties.collect(server, absent={0})
    asked = set()
    while requests := server.advance():
        asked |= set(requests)
        for node, request in requests.items():
            server.receive(parties.answered(node, request), sender=node)
    assert asked == set(range(1, 6))
    assert_same(server.result(), own_sum(parties, range(1, 6)))


def test_a_node_without_a_record_is_in_the_sum_with_weight_0(parties):
    server = parties.server()
    for node in range(6):
        here = parties.node(node)
        part = here.join(*here.read(server.request, run=RUN, kind="train"), MODEL)
        if node == 3:
            trained, metrics = update(3)
            with pytest.raises(CapacityError):
                part.send({**trained, "w": trained["w"] + 9}, metrics)
            reply = part.send_nothing()
            with pytest.raises(LocalProtocolError, match="made already"):
                part.send(trained, metrics)
        else:
            reply = part.send(*update(node))
        server.receive(reply)
    mean = parties.opened(server)
    assert mean.contributors == tuple(range(6))
    expected = own_sum(parties, (0, 1, 2, 4, 5))
    assert mean.weight == expected.weight
    np.testing.assert_array_equal(mean.arrays["w"], expected.arrays["w"])


def test_a_message_that_comes_twice_is_answered_once_and_costs_nothing(parties):
    """Engines may deliver a message again, also after the next one."""
    server = parties.server()
    parties.collect(server)
    with pytest.raises(RefusedRequestError, match="joined before"):
        parties.contributed(0, server.request, *update(0))
    earlier = None
    while requests := server.advance():
        for node, request in requests.items():
            server.receive(parties.answered(node, request), sender=node)
        for again in filter(None, (requests[0], earlier)):
            with pytest.raises(RefusedRequestError, match="answered before|gave its last answer"):
                parties.answered(0, again)
        earlier = requests[0]
    assert_same(server.result(), own_sum(parties, range(6)))


def test_replies_are_counted_once_and_from_their_sender(parties):
    server = parties.server()
    parties.collect(server, absent={5})
    requests = server.advance()
    reply = parties.answered(1, requests[1])
    for sender in (None, 2):
        with pytest.raises(LocalProtocolError, match="replied as node 1"):
            server.receive(reply, sender)
    assert server.receive(reply, 1) == 1
    with pytest.raises(LocalProtocolError, match="twice"):
        server.receive(reply, 1)
    stranger = parties.answered(5, server.roll_call)
    with pytest.raises(LocalProtocolError, match="without a message"):
        server.receive(stranger, 5)
    with pytest.raises(LocalProtocolError, match="no reply of node 5 is awaited"):
        server.receive(reply.replace(b"\x93\x01", b"\x93\x05", 1), 5)


def test_folders_carry_a_round_and_keep_nothing_after_it(tmp_path):
    agreed = enrol_here(tmp_path, 4, terms(sum=SecAgg(dropout_rate=0.25)))
    assert Agreement.read(tmp_path / "agreement.json").terms.sum == SecAgg(dropout_rate=0.25)
    server = MeanServer(agreed, RUN, 1, "train", 4, MODEL)
    for node in range(4):
        here = Node.open(tmp_path / str(node))
        part = here.join(*here.read(server.request, run=RUN, kind="train"), MODEL)
        assert not (tmp_path / str(node) / STATE_FILE).exists()  # while the app trains
        server.receive(part.send(*update(node)))
        assert (tmp_path / str(node) / STATE_FILE).stat().st_mode & 0o777 == 0o600
    while requests := server.advance():
        for node, request in requests.items():
            here = Node.open(tmp_path / str(node))
            reply = here.answer(*here.read(request, run=RUN, kind="train"))
            server.receive(reply, sender=node)
    assert server.result().contributors == (0, 1, 2, 3)
    for node in range(4):
        left = sorted(path.name for path in (tmp_path / str(node)).iterdir())
        assert left.pop(4).startswith("sealing-")  # for a later agreement with a committee
        locks = ["sealing.lock", "secagg.lock"]
        assert sorted(left) == sorted(
            ["agreement.json", "journal", "node.card", "node.key", *locks]
        )


def test_the_page_has_the_messages_of_the_code():
    """Steps, messages, and where the record still is in a node's file: docs/embedding/flower.md."""
    page = (ROOT / "docs" / "embedding" / "flower.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    found = [row for row in rows if row and row[0] in STAGES.values()]
    assert [row[0] for row in found] == list(STAGES.values())
    kinds = ["offer", *(kind.name.lower() for kind in CLIENT_AWAITS.values())]
    assert [row[1].split(",")[0] for row in found] == kinds
    holds = ["input" in suspended._CARRIED[phase] for phase in CLIENT_AWAITS]
    assert ["record" in row[3] for row in found] == [*holds, False]


def test_a_sum_of_another_kind_asks_nothing_of_this_one(parties):
    others = Parties()
    server = others.server()
    others.collect(server)
    request = next(iter(server.advance().values()))
    masked = parties.server()
    parties.collect(masked)
    later = next(iter(masked.advance().values()))
    with pytest.raises(RefusedRequestError, match="another agreement"):
        others.answered(0, later)
    with pytest.raises(RefusedRequestError, match="another agreement"):
        parties.answered(0, request)


def test_an_agreement_without_a_committee_names_nobody(parties):
    assert not parties.agreement.members
    cards = [keys.card for keys in parties.keys]
    with pytest.raises(PlanError, match="committee=0, and 3 members are named"):
        Agreement.among(parties.agreed, cards, members=(0, 1, 2))


SIZE = 4000  # coordinates: a sample's variance is within 13 % of its law's, six deviations, but for 2e-9
ZEROS = {"w": np.zeros(SIZE)}


@pytest.mark.parametrize(
    "silent", [set(), {"contribute"}, set(UNMASKED), {"consistency"}, {"contribute", "consistency"}]
)
def test_every_mean_carries_the_whole_noise(silent):
    """Shares of nodes in the sum, and the server's for all others, wherever they fell silent."""
    train = noisy(DistributedGaussian(2.0), metrics={})
    parties = Parties(10, terms(sum=SecAgg(0.3, 0.1), records={"train": train}))
    server = parties.server(model=ZEROS)
    places = dict(zip(sorted(silent), range(10), strict=False))
    for node in range(10):
        if node != places.get("contribute"):
            server.receive(
                parties.contributed(node, server.request, ZEROS, {}, model=ZEROS)
                if node % 2
                else _nothing(parties, node, server.request)
            )
    mean = parties.opened(server, absent=set(places.items()))
    assert len(mean.contributors) == 10 - len(silent - {"consistency"})
    units = mean.arrays["w"] * 10 * FixedPoint(1.0, 13).scale
    of = NoisyCoordinates.of(parties.agreed, "train", 10, ZEROS).resolution
    due = (2.0 * of.sensitivity.l2) ** 2 / of.honest_fraction
    assert float(np.var(units)) / due == pytest.approx(1, rel=6 * (2 / SIZE) ** 0.5)


def _nothing(parties, node: int, request: bytes) -> bytes:
    here = parties.node(node)
    return here.join(*here.read(request, run=RUN, kind="train"), ZEROS).send_nothing()


def test_a_noisy_round_is_charged_once_and_priced_for_both():
    parties = Parties(10, terms(sum=SecAgg(0.3, 0.1), records={"train": noisy(metrics={})}))
    server = parties.server(model=ZEROS)
    parties.contributed(0, server.request, ZEROS, {}, model=ZEROS)
    with pytest.raises(RefusedRequestError, match="joined before"):
        parties.contributed(0, server.request, ZEROS, {}, model=ZEROS)
    assert (
        len(parties.ledgers[0].history) == 2
    )  # a release, and what the samplers' tables leave out
    assert server.cost.server is not None


def test_a_noisy_round_without_a_sum_is_noise_alone():
    train = noisy(CentralGaussian(2.0), metrics={})
    parties = Parties(10, terms(sum=SecAgg(0.3, 0.1), records={"train": train}))
    server = parties.server(model=ZEROS)
    for node in range(10):
        server.receive(parties.contributed(node, server.request, ZEROS, {}, model=ZEROS))
    mean = parties.opened(server, absent={("consistency", node) for node in range(6)})
    assert mean.contributors == ()
    assert "the round has no sum" in server.failure
