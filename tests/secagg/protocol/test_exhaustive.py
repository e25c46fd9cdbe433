"""Everything that can happen to a small session: drop-outs, orders of arrival, messages at wrong times."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest

import secagg.roles.client.client
import secagg.roles.server.admission
import secagg.roles.server.unmask
from secagg import (
    Aborted,
    AbortReason,
    LocalProtocolError,
    Params,
    Phase,
    RemoteProtocolError,
    Server,
)
from secagg.session.state import CLIENT_AWAITS, SERVER_AWAITS
from secagg.testing import deterministic_entropy
from secagg.wire.codec import Kind, encode_chunk, read_header
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import Lab
from tests.secagg.support.snapshots import fork_client, fork_server, state_of

RUNNING = tuple(SERVER_AWAITS)
NEVER = len(RUNNING)


# Drop-outs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """The rules of a complete graph, written down a second time."""

    n: int
    dropout: float
    corrupt: float

    def outcome(self, pattern):
        """The phase at whose end the session aborts and why; or the positions in the sum.

        pattern: for each client the number of the first phase it misses, or NEVER.
        """
        colluders = math.ceil(self.corrupt * self.n)
        quorum = (self.n + colluders) // 2 + 1
        threshold = max(quorum, colluders + 1)
        silent = math.ceil(self.dropout * self.n)
        least = max(3, self.n - silent, quorum, colluders + 2, threshold)
        needs = (
            (least, AbortReason.TOO_FEW_KEYS),
            (least, AbortReason.TOO_FEW_SHARES),
            (least, AbortReason.TOO_FEW_SHARES),
            (least, AbortReason.TOO_FEW_SURVIVORS),
            (quorum, AbortReason.TOO_FEW_SIGNATURES),
            (threshold, AbortReason.TOO_FEW_UNMASK_SHARES),
        )
        for phase, (need, reason) in enumerate(needs):
            if sum(left > phase for left in pattern) < need:
                return reason
        given = RUNNING.index(Phase.MASKED_INPUT)
        return tuple(place for place, left in enumerate(pattern) if left > given)


def branches(lab, server, clients, pending, phase, pattern):
    """(pattern, outcome) of every way on from here; what has happened is played once for all of them."""
    if phase == NEVER:
        yield pattern, server.result()
        return
    alive = [i for i, left in zip(lab.ids, pattern, strict=True) if left == NEVER]
    replies, twins = {}, dict(clients)
    for i in alive:
        twins[i] = fork_client(clients[i])
        replies[i] = twins[i].receive(pending[i]) if phase else twins[i].start()
    for stay in itertools.product((True, False), repeat=len(alive)):
        twin = fork_server(server)
        gone = {i for i, kept in zip(alive, stay, strict=True) if not kept}
        now = tuple(phase if i in gone else left for i, left in zip(lab.ids, pattern, strict=True))
        for i in alive:
            if i not in gone:
                twin.receive(i, replies[i])
        try:
            messages = twin.advance()
        except Aborted as error:
            assert twin.phase is Phase.ABORTED
            left = [range(phase + 1, NEVER + 1) if d == NEVER else (d,) for d in now]
            yield from ((whole, error.reason) for whole in itertools.product(*left))
        else:
            yield from branches(lab, twin, twins, messages, phase + 1, now)


@pytest.mark.parametrize(
    ("n", "dropout", "corrupt"),
    [(3, 0.0, 0.0), (3, 0.3, 0.0), (4, 0.0, 0.0), (4, 0.25, 0.0), (4, 0.25, 0.25)],
)
def test_every_pattern_of_drop_outs(n, dropout, corrupt):
    """7^n patterns: each client leaves before any of the six phases, or never."""
    lab = Lab(
        n, params=Params.for_cohort(n, 3, max_abs=1000, dropout_rate=dropout, corrupt_rate=corrupt)
    )
    assert lab.params.complete
    model, seen = Model(n, dropout, corrupt), set()
    everyone = (NEVER,) * n
    for pattern, outcome in branches(lab, lab.server, lab.clients, {}, 0, everyone):
        expected = model.outcome(pattern)
        seen.add(pattern)
        if isinstance(outcome, AbortReason):
            assert outcome is expected, pattern
            continue
        assert outcome.survivors == tuple(lab.ids[place] for place in expected), pattern
        assert np.array_equal(outcome.total, lab.total(outcome.survivors)), pattern
    assert len(seen) == 7**n


@pytest.mark.parametrize(
    ("name", "check", "instead"),
    [
        ("_orphans", "if other not in survivors", "if False"),
        ("_check_enough", "len(held) < threshold", "False"),
    ],
)
def test_a_mutant_that_settles_wrongly_is_found(monkeypatch, name, check, instead):
    """Masks shared with drop-outs stay in; or secrets are rebuilt of too few shares."""
    without(monkeypatch, secagg.roles.server.unmask, name, check, instead)
    with pytest.raises(FOUND):
        test_every_pattern_of_drop_outs(4, 0.25, 0.0)


# Orders of arrival -----------------------------------------------------------------------------------


def test_every_order_of_arrival_within_each_phase():
    """n = 3. All orders lead to one state, hence all 6^6 orders of a session do."""
    lab = Lab(3, dropout_rate=0.0)
    for phase in RUNNING:
        replies = {i: lab.reply(i) for i in lab.ids}
        ends = []
        for order in itertools.permutations(lab.ids):
            server = fork_server(lab.server)
            for i in order:
                server.receive(i, replies[i])
            messages = server.advance()
            state = state_of(server)
            state["_tally"]["result"] = None  # compared below, by its total
            state["_tally"]["unpacker"] = None  # work space
            ends.append((state, messages))
        assert len(ends) == 6
        assert all(end == ends[0] for end in ends), phase
        lab.server, lab.next_messages = server, messages
        assert server.phase is not phase
    assert np.array_equal(server.result().total, lab.total(lab.ids))


def test_every_interleaving_of_uploads_in_parts():
    """Three inputs of two parts each: 90 orders, one sum."""
    lab = Lab(3, dropout_rate=0.0).run_to(Phase.MASKED_INPUT)
    parts = {}
    for i in lab.ids:
        reply = lab.reply(i)
        half = len(reply) // 2
        parts[i] = [
            encode_chunk(lab.session, at, 2, piece)
            for at, piece in enumerate((reply[:half], reply[half:]))
        ]
    ends = []
    for order in set(itertools.permutations(lab.ids * 2)):
        server = fork_server(lab.server)
        waiting = {i: iter(pieces) for i, pieces in parts.items()}
        for i in order:
            server.receive_chunk(i, next(waiting[i]))
        ends.append((server.advance(), server._tally.total.tobytes()))
    assert len(ends) == 90
    assert all(end == ends[0] for end in ends)


# Wrong times -----------------------------------------------------------------------------------------


def seeded_lab():
    """The same session every time, to the last bit."""
    return Lab(4, dropout_rate=0.25)


def record():
    """Every kind of message of one session, to or from client 10, and forks of it at every phase."""
    with deterministic_entropy(b"wrong times"):
        lab = seeded_lab()
    messages, points = {Kind.OFFER: lab.server.offer()}, {}
    while lab.server.phase in SERVER_AWAITS:
        phase = lab.server.phase
        points[phase] = fork_server(lab.server), fork_client(lab.clients[10])
        if lab.next_messages:
            messages[CLIENT_AWAITS[phase]] = lab.next_messages[10]
        for i in lab.ids:
            lab.answer(i)
        messages[SERVER_AWAITS[phase]] = lab.sent[phase, 10]
        lab.next_messages = lab.server.advance()
    points[Phase.DONE] = lab.server, lab.clients[10]
    broken = points[Phase.SHARE_KEYS]
    server, client = fork_server(broken[0]), fork_client(broken[1])
    with pytest.raises(Aborted):
        server.advance()
    with pytest.raises(RemoteProtocolError):
        client.receive(b"")
    points[Phase.ABORTED] = server, client
    messages[Kind.CHUNK] = encode_chunk(lab.session, 0, 2, b"part")
    return messages, points


@pytest.fixture(scope="module")
def recorded():
    return record()


def test_a_new_kind_or_phase_is_recorded_too(recorded):
    messages, points = recorded
    assert set(messages) == set(Kind)
    assert set(points) == set(Phase)
    assert len({read_header(message)[1] for message in messages.values()}) == 1
    assert all(read_header(message)[0] is kind for kind, message in messages.items())


def offer_to_server(recorded, phase, kind):
    """A valid message of the session, at any time: only the awaited one may be taken."""
    messages, points = recorded
    server = fork_server(points[phase][0])
    before = state_of(server)
    if kind is SERVER_AWAITS.get(phase):
        server.receive(10, messages[kind])
        before = state_of(server)
        with pytest.raises(RemoteProtocolError, match="second message"):
            server.receive(10, messages[kind])
    else:
        over = phase not in SERVER_AWAITS
        with pytest.raises(LocalProtocolError if over else RemoteProtocolError) as caught:
            server.receive(10, messages[kind])
        if not over:
            assert caught.value.culprit == 10
            assert kind is Kind.CHUNK or kind.name in str(caught.value)
    assert state_of(server) == before


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("phase", Phase)
def test_s9_servers_take_each_kind_at_its_time_only(recorded, phase, kind):
    offer_to_server(recorded, phase, kind)


def offer_to_client(recorded, phase, kind):
    """A valid message of the session, at any time: only the awaited one is answered, and once."""
    messages, points = recorded
    client = fork_client(points[phase][1])
    if kind is CLIENT_AWAITS.get(phase):
        assert client.receive(messages[kind])
        assert client.phase is not phase
        if client.phase is not Phase.DONE:
            with pytest.raises(RemoteProtocolError) as caught:
                client.receive(messages[kind])
            assert caught.value.culprit == "server"
            assert client.phase is Phase.ABORTED
            assert client._secrets is None
        return
    quiet = phase in (Phase.ADVERTISE_KEYS, Phase.ABORTED)  # by the caller's fault: nothing changes
    with pytest.raises(LocalProtocolError if quiet else RemoteProtocolError) as caught:
        client.receive(messages[kind])
    if phase in CLIENT_AWAITS:
        assert kind.name in str(caught.value)
        assert client.phase is Phase.ABORTED
    else:
        assert client.phase is phase
    assert (client._secrets is None) == (phase is not Phase.ADVERTISE_KEYS)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("phase", Phase)
def test_s9_clients_take_each_kind_at_its_time_only(recorded, phase, kind):
    offer_to_client(recorded, phase, kind)


def test_s9_mutant_servers_take_messages_early_or_late(recorded, monkeypatch):
    without(monkeypatch, Server, "_take", "kind is not SERVER_AWAITS[self._phase]")
    for kind in (Kind.ADVERTISE_KEYS, Kind.SHARE_KEYS):
        with pytest.raises(FOUND):
            offer_to_server(recorded, Phase.CHECK_SHARES, kind)


def test_s9_mutant_clients_sign_when_shares_are_due(recorded, monkeypatch):
    without(
        monkeypatch, secagg.roles.client.client, "check_kind", "kind is not CLIENT_AWAITS[phase]"
    )
    with pytest.raises(FOUND):
        offer_to_client(recorded, Phase.UNMASK, Kind.SURVIVORS)


CALLS = {
    "start": lambda client: client.start(),
    "set_input": lambda client: client.set_input(np.zeros(4, np.int64)),
}
WELCOME = {"start": {Phase.ADVERTISE_KEYS}, "set_input": set(RUNNING[:4])}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("call", CALLS)
def test_s9_callers_at_the_wrong_time_change_nothing(recorded, phase, call):
    client = fork_client(recorded[1][phase][1])
    if client._secrets is not None and phase in WELCOME["set_input"]:
        client._secrets.input = None
    if phase in WELCOME[call]:
        CALLS[call](client)
        phase = client.phase
    with pytest.raises(LocalProtocolError):
        CALLS[call](client)
    assert client.phase is phase


def test_servers_that_are_over_do_nothing(recorded):
    for phase in (Phase.DONE, Phase.ABORTED):
        server = fork_server(recorded[1][phase][0])
        before = state_of(server)
        with pytest.raises(LocalProtocolError):
            server.advance()
        assert state_of(server) == before


def test_no_result_before_the_end(recorded):
    for phase, (server, _) in recorded[1].items():
        if phase is Phase.DONE:
            assert server.result().survivors
        else:
            with pytest.raises(LocalProtocolError):
                server.result()


# Sums from outside -----------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.MASKED_INPUT])
def test_s9_sums_from_outside_come_with_inputs_only(recorded, phase):
    server = fork_server(recorded[1][phase][0])
    before = state_of(server)
    with pytest.raises((LocalProtocolError, RemoteProtocolError)):
        server.receive_sum({10: b""}, np.zeros(4, np.int64))
    assert state_of(server) == before


@pytest.mark.parametrize("named", [[], [10, 50], [10, 20, 2**32]])
def test_s5_sums_from_outside_are_of_somebody(recorded, named):
    """Nobody's sum would change the total unseen."""
    server = fork_server(recorded[1][Phase.MASKED_INPUT][0])
    before = state_of(server)
    with pytest.raises((LocalProtocolError, RemoteProtocolError)):
        server.receive_sum(dict.fromkeys(named, b""), np.ones(4, np.int64))
    assert state_of(server) == before
    assert not server._tally.total.any()


def test_s5_mutant_takes_the_sum_of_nobody(recorded, monkeypatch):
    without(monkeypatch, secagg.roles.server.admission, "somebody", "not found")
    with pytest.raises(FOUND):
        test_s5_sums_from_outside_are_of_somebody(recorded, [])
