"""Group X: a hostile server of another engine against nodes that keep nothing but a journal.

The server chooses every message, shows nodes different things, repeats itself, and starts two processes of a
node at once.  Expected: a refusal, and no second answer in any round.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import numpy as np
import pytest

from fedavg.adapters.exchange import Agreement, MeanServer, Node, Record, RefusedRequestError
from fedavg.adapters.exchange.messages import Request, Round, Stage, read_reply, read_request
from fedavg.adapters.exchange.sides import server_side, sum_spec
from fedavg.errors import FedAvgError, RoundAbortedError
from fedavg.files import FileJournal
from he import HeError
from secagg import SecAggError
from secagg.committee.wire.codec import decode
from secagg.committee.wire.messages import Endorsement
from tests.fedavg.adapters.exchange.parties import (
    MODEL,
    NEAREST,
    RUN,
    Parties,
    changed,
    terms,
    update,
)


@pytest.fixture
def parties():
    return Parties()


def refused(what: str):
    return pytest.raises(RefusedRequestError, match=what)


# X1: downgrades ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"train", bytes(200), b"FXR1", b"FXA1" + bytes(40)])
def test_x1_a_server_without_a_secure_sum_gets_nothing(parties, data):
    with refused("secure exchange"):
        parties.node(0).read(data, run=RUN, kind="train")


def test_x1_a_server_with_another_agreement_gets_nothing(parties):
    """It lets one model be asked for a thousand times, and says so in an agreement of its own."""
    request = Request(
        Stage.CONTRIBUTE, changed(parties.agreement, attempts=1000).digest, 1, 6, 10, bytes(32)
    )
    with refused("another agreement"):
        parties.node(0).read(request.to_bytes(), run=RUN, kind="train")


@pytest.mark.parametrize("asked", [0, 1, 3, 7, 2**31])
def test_x1_a_round_of_too_few_is_refused_at_every_stage(parties, asked):
    for stage in Stage:
        request = Request(stage, parties.agreement.digest, 1, asked, 10, bytes(32))
        with refused("nodes is refused"):
            parties.node(0).read(request.to_bytes(), run=RUN, kind="train")


def test_x1_a_kind_that_is_not_agreed_on_gets_nothing(parties):
    with refused("no record 'query'"):
        parties.node(0).read(parties.server().request, run=RUN, kind="query")


# X2: a stage is replayed ------------------------------------------------------------------------------


def test_x2_a_request_for_a_record_is_answered_once(parties):
    request = parties.server().request
    parties.contributed(0, request, *update(0))
    with refused("answered before"):
        parties.contributed(0, request, *update(0))


def test_x2_a_round_is_answered_once_under_any_content(parties):
    """The server changes its model, so that the name of the sum is another one."""
    parties.contributed(0, parties.server().request, *update(0))
    other = {**MODEL, "b": np.zeros(2)}
    with refused("answered before"):
        parties.contributed(0, parties.server(model=other).request, *update(0), model=other)


@pytest.mark.parametrize("stage", ["report", "sign", "answer"])
def test_x2_a_stage_of_the_committee_is_answered_once(parties, stage):
    server = parties.server()
    parties.collect(server)
    while requests := server.advance():
        for node, request in requests.items():
            server.receive(parties.answered(node, request), sender=node)
            if server.stage == stage:
                with refused("answered before|has signed one|has answered"):
                    parties.answered(node, request)


def test_x2_a_request_of_another_run_is_refused(parties):
    request = parties.server().request
    node = parties.node(0)
    with refused("another run or sum"):
        node.join(*node.read(request, run="run 2", kind="train"), MODEL)


# X3: two processes with one message -------------------------------------------------------------------


def test_x3_of_many_processes_with_one_request_one_answers(parties, tmp_path):
    request = parties.server().request
    replies, start = [], threading.Barrier(6)

    def process() -> None:
        # Each has a journal object of its own, as a process has; the file is what they share.
        node = Node(parties.agreement, parties.keys[0], FileJournal(tmp_path / "journal"))
        asked = node.read(request, run=RUN, kind="train")
        start.wait()
        with contextlib.suppress(RefusedRequestError):
            replies.append(node.join(*asked, MODEL).send(*update(0)))

    threads = [threading.Thread(target=process) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 1


# X4: a member is told two sets ------------------------------------------------------------------------


def _endorsed(parties: Parties, replies: list[bytes], numbers) -> int:
    found = [decode(read_reply(reply).parts[0], numbers)[1] for reply in replies]
    return sum(isinstance(one, Endorsement) for one in found)


def committee(parties: Parties):
    return parties.agreement.committee(parties.cards.held)


def two_sets(parties: Parties) -> list[bytes]:
    """Member 0's answers when the server tells it one set with node 5, and one without.

    The difference of both sums would be node 5's record.
    """
    facts = parties.server()
    request = read_request(facts.request)
    round_ = request.facts(RUN, "train")
    uploads = [parties.contributed(node, facts.request, *update(node)) for node in range(6)]
    answers = []
    for nodes in (range(6), range(5)):
        spec = sum_spec(round_, parties.agreement)
        session = server_side(parties.agreement, committee(parties)).session(spec, range(6))
        session.open()
        for node in nodes:
            for part in read_reply(uploads[node]).parts:
                session.receive(node, part)
        with contextlib.suppress(RefusedRequestError):
            for _ in range(2):
                _stage(parties, session, round_, answers)
    return answers


def _stage(parties: Parties, session, round_: Round, answers: list[bytes]) -> None:
    """One stage, in which the other members are the server's accomplices and sign everything."""
    for address, (message,) in session.advance().items():
        member = -2 - address
        request = Request.about(
            Stage.OPEN, round_, parties.agreement.digest, message, parties.cards.held
        ).to_bytes()
        if member:
            parties.journals[member].clear()
        reply = parties.answered(member, request)
        if not member:
            answers.append(reply)
        session.receive(address, read_reply(reply).parts[0])


def test_x4_a_member_signs_one_set_a_round(parties):
    round_ = read_request(parties.server().request).facts(RUN, "train")
    side = server_side(parties.agreement, committee(parties))
    session = side.session(sum_spec(round_, parties.agreement), range(6))
    numbers = session._sums.numbers
    assert _endorsed(parties, two_sets(parties), numbers) == 1


# X5: nodes are sent different things ------------------------------------------------------------------


def test_x5_another_model_than_the_request_names_is_refused(parties):
    node = parties.node(0)
    asked = node.read(parties.server().request, run=RUN, kind="train")
    with refused("other contents"):
        node.join(*asked, {**MODEL, "b": np.zeros(2)})


def test_x5_other_settings_than_the_request_names_are_refused(parties):
    node = parties.node(0)
    asked = node.read(parties.server().request, run=RUN, kind="train")
    with refused("other contents"):
        node.join(*asked, MODEL, b"learn faster, and only you")


def test_x5_nodes_with_different_models_enter_no_common_sum(parties):
    """The victim is sent a request of its own for another model; its record fits no other's sum."""
    server, other = parties.server(), {**MODEL, "b": MODEL["b"] + 0.01}
    alone = parties.server(model=other)
    trained, metrics = update(5)
    reply = parties.contributed(
        5, alone.request, {**trained, "b": other["b"]}, metrics, model=other
    )
    with pytest.raises((HeError, SecAggError)):
        server.receive(reply)
    assert server.received == frozenset()


# X6: one model again and again, with other nodes ------------------------------------------------------


def test_x6_one_model_is_answered_for_a_few_times_only(parties):
    answered = 0
    for number in range(1, 8):
        with contextlib.suppress(RefusedRequestError):
            parties.contributed(0, parties.server(number).request, *update(0))
            answered += 1
    assert answered == parties.agreed.attempts


def count_of(parties: Parties, requests) -> int:
    """How many of the requests (run, number, kind, model, settings) node 0 answers."""
    node, answered = parties.node(0), 0
    for run, number, kind, model, settings in requests:
        server = MeanServer(parties.agreement, run, number, kind, 6, model, settings)
        with contextlib.suppress(RefusedRequestError):
            node.join(*node.read(server.request, run=run, kind=kind), model, settings)
            answered += 1
    return answered


def test_x6_the_same_model_in_other_words_is_the_same_model(parties):
    """Another run, other settings and an array that nobody sums make no new model."""
    head = Record(NEAREST, arrays=("head",))
    parties = Parties(agreed=terms(records={"train": head}))
    requests = [
        (f"run {i}", i, "train", {"head": np.zeros(2), "unused": np.full(1, i)}, b"round %d" % i)
        for i in range(1, 10)
    ]
    assert count_of(parties, requests) == parties.agreed.attempts


def test_x6_requests_without_arrays_are_counted(parties):
    requests = [(RUN, i, "evaluate", {}, b"round %d" % i) for i in range(1, 10)]
    assert count_of(parties, requests) == parties.agreed.attempts


def test_x6_no_model_of_the_servers_choice_evades_the_last_bound(parties):
    """A model that differs in the last digit of one parameter is a new one, but the answers end."""
    parties = Parties(agreed=terms(max_rounds=5))
    models, value = [], 1.0
    for _ in range(12):
        models.append({"w": np.array([value])})
        value = np.nextafter(value, 2.0)
    requests = [(f"run {i % 3}", 1 + 7 * i, "train", one, b"") for i, one in enumerate(models)]
    assert count_of(parties, requests) == 5


# X7: what the server sees -----------------------------------------------------------------------------


def test_x7_replies_have_one_length_and_show_no_weight(parties):
    server = parties.server()
    found = []
    for node, weight in enumerate((1, 99, 57)):
        trained, metrics = update(0)
        reply = parties.contributed(
            node, server.request, trained, {**metrics, "num-examples": weight}
        )
        found.append(read_reply(reply))
    assert len({tuple(map(len, one.parts)) for one in found}) == 1
    for one, weight in zip(found, (1, 99, 57), strict=True):
        assert weight.to_bytes(8, "little") not in b"".join(one.parts)
        assert (12345).to_bytes(4, "little") not in b"".join(one.parts)


# X10: one digest, two meanings -------------------------------------------------------------------------


def test_x10_a_copy_with_its_ranges_in_another_order_is_another_agreement(parties):
    """The first pattern that fits counts; a node with the other order would scale its values otherwise."""
    train = Record(NEAREST, ranges={"b*": 1000.0, "?": 1.0})
    turned = replace(train, ranges=dict(reversed(train.ranges.items())))
    ours, theirs = (changed(parties.agreement, records={"train": one}) for one in (train, turned))
    assert train.range_of("b") != turned.range_of("b")
    server = MeanServer(theirs, RUN, 1, "train", 6, MODEL)
    node = Node(Agreement.from_bytes(ours.to_bytes()), parties.keys[0], parties.journals[0])
    with refused("another agreement"):
        node.read(server.request, run=RUN, kind="train")


# X11: who is silent ------------------------------------------------------------------------------------


def replied(parties: Parties, node: int, request: bytes, metrics) -> bytes:
    """What a node does, as its adapter carries it out: it sends its record, or nothing by name."""
    here = parties.node(node)
    part = here.join(*here.read(request, run=RUN, kind="train"), MODEL)
    try:
        return part.send(update(node)[0], metrics)
    except FedAvgError:
        return part.send_nothing()


@pytest.mark.parametrize("loss", [5.0, float("nan"), "none"])
def test_x11_a_value_beyond_its_range_is_silent_to_nobody(parties, loss):
    """The server scales its model until one node's loss leaves the range; its silence would say when."""
    server, lengths = parties.server(), set()
    for node in range(6):
        metrics = update(node)[1]
        if node == 2:
            metrics["loss"] = loss
        reply = replied(parties, node, server.request, metrics)
        lengths.add(tuple(map(len, read_reply(reply).parts)))
        server.receive(reply)
    assert server.received == frozenset(range(6))
    assert len(lengths) == 1
    mean = parties.opened(server)
    assert mean.contributors == tuple(range(6))
    # This is what the server still sees: the total weight lacks that node's.
    assert mean.weight == sum(update(node)[1]["num-examples"] for node in range(6) if node != 2)


def test_x11_nodes_that_all_send_nothing_give_no_mean(parties):
    server = parties.server()
    for node in range(6):
        server.receive(replied(parties, node, server.request, {}))
    with pytest.raises(RoundAbortedError, match="no weight"):
        parties.opened(server)
