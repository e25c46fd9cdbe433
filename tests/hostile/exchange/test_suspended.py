"""Group XS: a node of another engine that lies in a file between two messages of a masked sum.

The state is copied, put back, damaged or read by others; two processes of a node get one message; the
server tells a node two sets, repeats itself, or begins a later sum meanwhile. Expected: at most one answer to
each message, of a node whose state, journal and agreement fit, and no file of an input once it was sent.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import secagg.roles.client.participation
from fedavg import OneShot, SecAgg
from fedavg.adapters.exchange import Agreement, MeanServer, Node, RefusedRequestError, enrol_here
from fedavg.adapters.exchange.keys import private
from fedavg.adapters.exchange.messages import Request, Stage, read_request
from fedavg.adapters.exchange.nodes import states
from fedavg.adapters.exchange.nodes.node import JOURNAL_FILE
from fedavg.adapters.exchange.nodes.states import STATE_FILE, StateFile
from fedavg.adapters.exchange.nodes.suspended import SuspendedClient
from fedavg.adapters.exchange.sides import sum_spec
from fedavg.errors import ConfigError, JournalError
from fedavg.sums.masked import STAGES
from fedavg.sums.sides.masked_client import SecAggClientSide
from secagg.wire.codec import decode, encode
from secagg.wire.messages import Survivors
from tests.fedavg.adapters.exchange.parties import MASKED, MODEL, RUN, Parties, terms, update
from tests.hostile.mutants import FOUND, without

LATER = list(STAGES.values())[1:]
LONG = {"w": np.zeros(20_000)}


@pytest.fixture
def parties():
    return masked()


def masked() -> Parties:
    return Parties(agreed=terms(sum=MASKED))


def refused(what: str | None = None):
    return pytest.raises(RefusedRequestError, match=what)


def advanced(parties: Parties, stage: str, number: int = 1):
    """A round in which the requests of a stage are ready: the server, and the requests by node."""
    server = parties.server(number)
    parties.collect(server)
    while requests := server.advance():
        if server.stage == stage:
            return server, requests
        for node, request in requests.items():
            server.receive(parties.answered(node, request), sender=node)
    raise LookupError(stage)


def answers(parties: Parties, node: int, requests) -> list[bytes]:
    """What processes answer of which each has a copy of the node's state as it is now."""
    state, found = parties.shelves[node].state, []
    for request in requests:
        parties.shelves[node].state = state
        with contextlib.suppress(RefusedRequestError):
            found.append(parties.answered(node, request))
    return found


def no_claim_here(monkeypatch):
    without(monkeypatch, Node, "_claim", "not self._recorded(facts.fact(what))")


def no_claim_there(monkeypatch):
    monkeypatch.setattr(secagg.roles.client.participation, "claim_answer", lambda *_: None)


# XS1: copies of a state -------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", LATER)
def test_xs1_of_all_copies_of_a_state_one_answers(stage, parties):
    _, requests = advanced(parties, stage)
    assert len(answers(parties, 0, [requests[0]] * 3)) == 1


def test_xs1_each_of_both_claims_is_enough(monkeypatch):
    """A node claims a message of a round, and its client a phase of a session."""
    for no_claim in (no_claim_here, no_claim_there):
        with monkeypatch.context() as patch:
            no_claim(patch)
            test_xs1_of_all_copies_of_a_state_one_answers("unmask", masked())


def test_xs1_mutant_without_both_claims(monkeypatch):
    no_claim_here(monkeypatch)
    no_claim_there(monkeypatch)
    for stage in LATER:
        with pytest.raises(FOUND):
            test_xs1_of_all_copies_of_a_state_one_answers(stage, masked())


def test_xs1_states_of_a_whole_round_answer_nothing_after_it(parties):
    server, kept = parties.server(), []
    parties.collect(server)
    while requests := server.advance():
        kept.append((parties.shelves[0].state, requests[0]))
        for node, request in requests.items():
            server.receive(parties.answered(node, request), sender=node)
    assert server.result().contributors == tuple(range(6))
    assert len(kept) == len(LATER)
    for state, request in kept:
        parties.shelves[0].state = state
        assert answers(parties, 0, [request]) == []


def folders(tmp_path: Path):
    """Four nodes with folders, and the requests of the first later stage."""
    agreed = enrol_here(tmp_path, 4, terms(sum=SecAgg(dropout_rate=0.25)))
    server = MeanServer(agreed, RUN, 1, "train", 4, MODEL)
    for node in range(4):
        here = Node.open(tmp_path / str(node))
        part = here.join(*here.read(server.request, run=RUN, kind="train"), MODEL)
        server.receive(part.send(*update(node)))
    return server, server.advance()


def answered(folder: Path, request: bytes) -> bytes:
    node = Node.open(folder)
    return node.answer(*node.read(request, run=RUN, kind="train"))


def test_xs1_of_many_processes_with_one_message_one_answers(tmp_path):
    """They have one folder, as the processes of a SuperNode have."""
    server, requests = folders(tmp_path)
    replies, start = [], threading.Barrier(6)

    def process() -> None:
        start.wait()
        with contextlib.suppress(RefusedRequestError):
            replies.append(answered(tmp_path / "0", requests[0]))

    threads = [threading.Thread(target=process) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (reply,) = replies
    assert server.receive(reply, 0) == 0
    # The client is there for the next message: copies of this one have not used up its phase.
    for node in (1, 2, 3):
        server.receive(answered(tmp_path / str(node), requests[node]), node)
    server.receive(answered(tmp_path / "0", server.advance()[0]), 0)


def test_xs1_mutant_whose_copies_of_a_message_use_up_the_next_phase(tmp_path, monkeypatch):
    no_claim_here(monkeypatch)
    with pytest.raises((*FOUND, RefusedRequestError)):
        test_xs1_of_many_processes_with_one_message_one_answers(tmp_path)


def test_xs1_a_copied_folder_without_its_journal_answers_nothing(tmp_path):
    _, requests = folders(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "0", copy, ignore=shutil.ignore_patterns(JOURNAL_FILE))
    with pytest.raises(JournalError, match="enrol with a new identity"):
        answered(copy, requests[0])


# XS2: two sets ----------------------------------------------------------------------------------------


def two_sets(parties: Parties) -> list[bytes]:
    """Node 0's answers when two copies of it are told of a sum with node 5, and of one without."""
    _, requests = advanced(parties, "consistency")
    asked = read_request(requests[0])
    session, everybody = decode(asked.body)
    assert isinstance(everybody, Survivors)
    fewer = encode(Survivors(everybody.members[:-1] + b"\0"), session)
    facts = asked.facts(RUN, "train")
    told = Request.about(Stage.CONTINUE, facts, parties.agreement.digest, fewer).to_bytes()
    return answers(parties, 0, [requests[0], told])


def test_xs2_a_node_signs_one_set_a_round(parties):
    assert len(two_sets(parties)) == 1


def test_xs2_mutant_that_signs_both(monkeypatch):
    no_claim_here(monkeypatch)
    no_claim_there(monkeypatch)
    with pytest.raises(FOUND):
        test_xs2_a_node_signs_one_set_a_round(masked())


def test_xs2_a_node_that_is_told_another_set_ends_the_round_or_is_left_out(parties):
    """Alone it signs what it is told, and its signature counts for no quorum of the others."""
    server, requests = advanced(parties, "consistency")
    asked = read_request(requests[0])
    session, everybody = decode(asked.body)
    fewer = encode(Survivors(everybody.members[:-1] + b"\0"), session)
    facts = asked.facts(RUN, "train")
    told = Request.about(Stage.CONTINUE, facts, parties.agreement.digest, fewer).to_bytes()
    with pytest.raises(secagg.SecAggError):
        server.receive(parties.answered(0, told), 0)
    for node in range(1, 6):
        server.receive(parties.answered(node, requests[node]), node)
    last = server.advance()
    assert 0 not in last
    for node, request in last.items():
        server.receive(parties.answered(node, request), node)
    assert server.advance() == {}
    assert server.result().contributors == tuple(range(6))
    stolen = Request.about(
        Stage.CONTINUE, facts, parties.agreement.digest, read_request(last[1]).body
    )
    with refused("masked sum cannot go on here"):
        parties.answered(0, stolen.to_bytes())


# XS3: the state and the file --------------------------------------------------------------------------


def _turned(state: bytes) -> bytes:
    return state[:-1] + bytes([state[-1] ^ 1])


DAMAGES = {
    "empty": lambda _: b"",
    "a header alone": lambda state: state[:76],
    "truncated": lambda state: state[:-1],
    "another": lambda _: bytes(500),
    "one bit": _turned,
    "another salt": lambda state: state[:50] + bytes([state[50] ^ 1]) + state[51:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_xs3_a_damaged_state_answers_nothing_and_uses_nothing_up(damage, parties):
    server, requests = advanced(parties, "share_keys")
    state = parties.shelves[0].state
    parties.shelves[0].state = DAMAGES[damage](state)
    with refused("cannot go on with this sum"):
        parties.answered(0, requests[0])
    parties.shelves[0].state = state
    assert server.receive(parties.answered(0, requests[0]), 0) == 0


def test_xs3_a_state_of_another_round_answers_nothing(parties):
    """The state of an earlier round is put back, and one of a later round is asked for an earlier one."""
    _, first = advanced(parties, "share_keys", 1)
    earlier = parties.shelves[0].state
    server, second = advanced(parties, "share_keys", 2)
    later = parties.shelves[0].state
    for state, request in ((later, first[0]), (earlier, second[0])):
        parties.shelves[0].state = state
        with refused("another context"):
            parties.answered(0, request)
    parties.shelves[0].state = later
    assert server.receive(parties.answered(0, second[0]), 0) == 0


def test_xs3_a_state_of_another_node_answers_nothing(parties):
    _, requests = advanced(parties, "share_keys")
    parties.shelves[0].state = parties.shelves[1].state
    with refused("state of client 1"):
        parties.answered(0, requests[0])


def test_xs3_a_request_of_another_round_meets_no_state(parties):
    """The server changes what the request says of the round; the name of the sum is then another one."""
    server, requests = advanced(parties, "share_keys")
    asked = read_request(requests[0])
    for changes in ({"number": 2}, {"asked": 5}, {"length": 12}, {"content": bytes(32)}):
        told = Request(**{**{f: getattr(asked, f) for f in asked.__struct_fields__}, **changes})
        with refused("another context"):
            parties.answered(0, told.to_bytes())
    here = parties.node(0)
    for run, kind in (("run 2", "train"), (RUN, "evaluate")):
        with refused("another context"):
            here.answer(*here.read(requests[0], run=run, kind=kind))
    assert server.receive(parties.answered(0, requests[0]), 0) == 0


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660])
def test_xs3_a_file_that_others_can_read_is_not_used(mode, tmp_path):
    server, requests = folders(tmp_path)
    path = tmp_path / "0" / STATE_FILE
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others can read"):
        answered(tmp_path / "0", requests[0])
    path.chmod(0o600)
    assert server.receive(answered(tmp_path / "0", requests[0]), 0) == 0


def test_xs3_mutant_that_looks_at_no_mode(tmp_path, monkeypatch):
    mutant = without(monkeypatch, private, "read_private", "mode & 0o077")
    monkeypatch.setattr(states, "read_private", mutant)
    with pytest.raises(FOUND):
        test_xs3_a_file_that_others_can_read_is_not_used(0o604, tmp_path)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_xs3_a_file_with_another_name_is_not_used(link, tmp_path):
    """The other name would keep the state of this phase when the file is replaced."""
    _, requests = folders(tmp_path)
    path, other = tmp_path / "0" / STATE_FILE, tmp_path / "other"
    path.rename(other)
    link(path, other)
    with pytest.raises(ConfigError, match="cannot be kept"):
        answered(tmp_path / "0", requests[0])


def test_xs3_mutant_that_follows_other_names(tmp_path, monkeypatch):
    monkeypatch.setattr(private, "refuse_other_names", lambda _: None)
    monkeypatch.setattr(states, "replace_file", lambda path, data, **_: path.write_bytes(data))
    with pytest.raises(FOUND):
        test_xs3_a_file_with_another_name_is_not_used(Path.hardlink_to, tmp_path)


# XS4: a later sum begins meanwhile --------------------------------------------------------------------


class Slow:
    """A journal whose next question waits."""

    def __init__(self, journal) -> None:
        self.journal, self.asked, self.go_on = journal, threading.Event(), threading.Event()

    def add(self, fact: bytes) -> bool:
        self.asked.set()
        self.go_on.wait(60)
        return self.journal.add(fact)


def test_xs4_a_slow_process_of_an_earlier_sum_ends_no_later_one(tmp_path):
    """Its new state must not stand where the later sum's is."""
    overlap(tmp_path, 0.1)


def overlap(tmp_path: Path, patience: float) -> None:
    """A process is about to claim a message of sum 1; meanwhile sum 2 begins, and goes on.

    Args:
        patience: seconds for the beginning of sum 2, before the other process goes on.
    """
    _, requests = folders(tmp_path)
    agreed = Node.open(tmp_path / "0").agreement
    node = Node.open(tmp_path / "0")
    slow = Slow(node.journal)
    process = Node(agreed, node.keys, slow, shelf=node.shelf)
    asked = process.read(requests[0], run=RUN, kind="train")
    later, sent = MeanServer(agreed, RUN, 2, "train", 4, MODEL), []

    def earlier_one() -> None:
        with contextlib.suppress(RefusedRequestError):
            process.answer(*asked)

    def later_one() -> None:
        here = Node.open(tmp_path / "0")
        part = here.join(*here.read(later.request, run=RUN, kind="train"), MODEL)
        sent.append(part.send(*update(0)))

    first, second = threading.Thread(target=earlier_one), threading.Thread(target=later_one)
    first.start()
    assert slow.asked.wait(60)
    second.start()
    second.join(patience)
    slow.go_on.set()
    first.join(60)
    second.join(60)
    later.receive(sent[0])
    for other in (1, 2, 3):
        here = Node.open(tmp_path / str(other))
        part = here.join(*here.read(later.request, run=RUN, kind="train"), MODEL)
        later.receive(part.send(*update(other)))
    try:
        reply = answered(tmp_path / "0", later.advance()[0])
    except RefusedRequestError as error:
        pytest.fail(str(error))
    assert later.receive(reply, 0) == 0


def test_xs4_mutant_without_a_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(StateFile, "locked", lambda _: contextlib.nullcontext())
    with pytest.raises(FOUND):
        overlap(tmp_path, 60)


# XS5: what stays on the disk --------------------------------------------------------------------------


def test_xs5_no_file_holds_the_input_once_it_was_masked(parties):
    server = parties.server(model=LONG)
    for node in range(6):
        sent = {"w": np.full(20_000, 0.5)}, {"loss": 1.0, "num-examples": 40}
        server.receive(parties.contributed(node, server.request, *sent, model=LONG))
    sizes = {}
    while requests := server.advance():
        sizes[server.stage] = len(parties.shelves[0].state)
        for node, request in requests.items():
            server.receive(parties.answered(node, request), sender=node)
    whole = {stage: size for stage, size in sizes.items() if size > 4 * 20_000}
    assert list(whole) == ["share_keys", "check_shares", "masked_input"]
    assert max(sizes["consistency"], sizes["unmask"]) < 4000
    assert parties.shelves[0].state is None


def test_xs5_a_new_round_removes_an_earlier_state_before_training(parties):
    _, requests = advanced(parties, "share_keys")
    assert parties.shelves[0].state is not None
    here = parties.node(0)
    part = here.join(*here.read(parties.server(2).request, run=RUN, kind="train"), MODEL)
    assert parties.shelves[0].state is None
    with refused("not in this sum"):
        parties.answered(0, requests[0])
    part.send(*update(0))
    assert parties.shelves[0].state is not None


def test_xs5_mutant_that_keeps_an_earlier_state(monkeypatch):
    monkeypatch.setattr(SuspendedClient, "forget", lambda _: None)
    with pytest.raises(FOUND):
        test_xs5_a_new_round_removes_an_earlier_state_before_training(masked())


def test_xs5_a_refused_message_removes_the_state(parties):
    """The check that failed is final for this client, so that its input has no more use."""
    _, requests = advanced(parties, "masked_input")
    asked = read_request(requests[0])
    facts = asked.facts(RUN, "train")
    cut = Request.about(Stage.CONTINUE, facts, parties.agreement.digest, asked.body[:-1])
    with refused("masked sum cannot go on here"):
        parties.answered(0, cut.to_bytes())
    assert parties.shelves[0].state is None
    with refused("not in this sum"):
        parties.answered(0, requests[0])


def test_xs5_mutant_that_keeps_the_state_of_a_client_that_is_over(monkeypatch):
    without(
        monkeypatch, SuspendedClient, "go_on", "except BaseException:", "except ZeroDivisionError:"
    )
    with pytest.raises(FOUND):
        test_xs5_a_refused_message_removes_the_state(masked())


def test_xs5_a_killed_writer_leaves_nothing_for_long(tmp_path):
    """A process is killed while it writes the state: the part goes with the next round."""
    _, _ = folders(tmp_path)
    part = tmp_path / "0" / f"{STATE_FILE}.part"
    part.write_bytes(b"the first half of a state")
    here = Node.open(tmp_path / "0")
    server = MeanServer(here.agreement, RUN, 2, "train", 4, MODEL)
    here.join(*here.read(server.request, run=RUN, kind="train"), MODEL)
    assert not list((tmp_path / "0").glob(f"{STATE_FILE}*"))


def test_xs5_an_agreement_on_a_committee_removes_what_a_masked_sum_left(tmp_path):
    folders(tmp_path)
    committee = OneShot(committee=4, corrupt_members=0, absent_members=1)
    others = Parties(4, terms(sum=committee))
    kept, folder = Node.open(tmp_path / "0").keys, tmp_path / "0"
    cards = [kept.card, *(keys.card for keys in others.keys[1:])]
    Agreement.among(others.agreed, cards).write(folder / "agreement.json")
    assert (folder / STATE_FILE).exists()
    Node.open(folder)
    assert not (folder / STATE_FILE).exists()


# XS6: before the answer leaves ------------------------------------------------------------------------


def full(monkeypatch, parties: Parties, node: int = 0):
    def put(_: bytes) -> None:
        raise ConfigError("the disk is full")

    monkeypatch.setattr(parties.shelves[node], "put", put)


def test_xs6_nothing_is_sent_before_the_state_is_stored(parties, monkeypatch):
    server = parties.server()
    with monkeypatch.context() as patch:
        full(patch, parties)
        with pytest.raises(ConfigError, match="disk is full"):
            parties.contributed(0, server.request, *update(0))
    with refused("joined before"):
        parties.contributed(0, server.request, *update(0))


@pytest.mark.parametrize("stage", LATER[:-1])
def test_xs6_an_answer_whose_state_cannot_be_stored_is_never_given(stage, parties, monkeypatch):
    _, requests = advanced(parties, stage)
    state = parties.shelves[0].state
    with monkeypatch.context() as patch:
        full(patch, parties)
        with pytest.raises(ConfigError, match="disk is full"):
            parties.answered(0, requests[0])
    assert parties.shelves[0].state is None
    parties.shelves[0].state = state
    with refused("answered before"):
        parties.answered(0, requests[0])


# XS7: what the server offers, and what it is told -----------------------------------------------------


def offered(parties: Parties, chosen: SecAgg) -> bytes:
    """A request whose offer the server made under other assumptions than the agreement's."""
    honest = read_request(parties.server().request)
    facts = honest.facts(RUN, "train")
    server = secagg.Server(
        chosen.params(sum_spec(facts, parties.agreement)),
        context=facts.context(parties.agreement.digest),
        directory=secagg.Directory(dict(parties.agreement.nodes)),
    )
    return Request.about(
        Stage.CONTRIBUTE, facts, parties.agreement.digest, server.offer()
    ).to_bytes()


@pytest.mark.parametrize(
    "chosen", [SecAgg(0.2, 0.0), SecAgg(0.2, 0.1, "semi-honest"), SecAgg(0.3, 0.1)]
)
def test_xs7_an_offer_under_other_assumptions_is_refused(chosen, parties):
    with refused("masked sum cannot go on here"):
        parties.contributed(0, offered(parties, chosen), *update(0))
    # Refused before it was claimed: the honest request is answered.
    parties.contributed(0, parties.server().request, *update(0))


def test_xs7_mutant_that_accepts_what_is_offered(monkeypatch):
    without(monkeypatch, SecAggClientSide, "session", "client.params != self.config.params(spec)")
    with pytest.raises(FOUND):
        test_xs7_an_offer_under_other_assumptions_is_refused(SecAgg(0.2, 0.0), masked())


def test_xs7_an_offer_for_another_sum_is_refused_and_uses_nothing_up(parties):
    honest, other = read_request(parties.server().request), read_request(parties.server(2).request)
    facts = honest.facts(RUN, "train")
    moved = Request.about(Stage.CONTRIBUTE, facts, parties.agreement.digest, other.body)
    with refused("another context"):
        parties.contributed(0, moved.to_bytes(), *update(0))
    parties.contributed(0, parties.server().request, *update(0))


def test_xs7_a_second_offer_for_a_round_is_refused(parties):
    """A server that starts anew has another session of the same name."""
    parties.contributed(0, parties.server().request, *update(0))
    with refused("answered before"):
        parties.contributed(0, parties.server().request, *update(0))


def test_xs7_mutant_that_joins_a_round_twice(monkeypatch):
    no_claim_here(monkeypatch)
    with pytest.raises(FOUND):
        test_xs7_a_second_offer_for_a_round_is_refused(masked())


@pytest.mark.parametrize("body", [b"", b"junk", bytes(80), b"ONE1" + bytes(32)])
def test_xs7_junk_is_refused_and_uses_nothing_up(body, parties):
    server, requests = advanced(parties, "share_keys")
    facts = read_request(requests[0]).facts(RUN, "train")
    for stage in (Stage.CONTINUE, Stage.OPEN):
        request = Request.about(stage, facts, parties.agreement.digest, body)
        with refused():
            parties.answered(0, request.to_bytes())
    assert server.receive(parties.answered(0, requests[0]), 0) == 0


def test_xs7_a_failing_journal_is_no_matter_of_the_server(parties):
    """Its text names a path and a disk: it goes to the node's own log, and nothing is answered."""
    _, requests = advanced(parties, "unmask")

    class Broken(set):
        def add(self, fact):
            raise JournalError("/srv/node3/journal: no space left")

    node = parties.node(0)
    broken = Node(parties.agreement, node.keys, Broken(), node.ledger, node.shelf)
    asked = broken.read(requests[0], run=RUN, kind="train")
    with pytest.raises(JournalError):
        broken.answer(*asked)

    class Later(set):
        """It fails at the client's own claim, after the node's."""

        def add(self, fact):
            if fact.startswith(b"secagg"):
                raise JournalError("/srv/node3/journal: no space left")
            return True

    late = Node(parties.agreement, node.keys, Later(), node.ledger, node.shelf)
    with pytest.raises(ConfigError, match="no space left"):
        late.answer(*late.read(requests[0], run=RUN, kind="train"))
    assert parties.shelves[0].state is None
