"""A session whose clients are all suspended before each message has the messages of one in memory."""

from __future__ import annotations

import numpy as np
import pytest

import secagg.roles.client.suspended
from secagg import Client, Directory, Identity, Params, Phase, Server
from secagg.testing import deterministic_entropy
from tests.hostile.mutants import without
from tests.secagg.roles.client.test_suspended import BETWEEN, Memory
from tests.secagg.support.lab import ANY_OFFER, CONTEXT

FAR = [0, 1, 2**31, 2**32 - 2, 2**32 - 1]
ORDER = list(Phase)


class Play:
    """One session of entropy that repeats, whose clients are all suspended before each message, or none.

    Args:
        params: its parameters.
        ids: of the clients.
        times: how often each client is suspended and resumed before a message; 0 for never.
        late: the phase before whose message the inputs are given; from the beginning if it is left out.
        missing: client → the first phase that it misses.
    """

    def __init__(self, params, ids, *, times=0, late=None, missing=None):
        self.times, self.late, self.missing = times, late, missing or {}
        self.sent, self.states = {}, 0
        with deterministic_entropy(b"one session"):
            self.identities = {i: Identity.generate() for i in ids}
            self.directory = Directory({i: x.public for i, x in self.identities.items()})
            self.server = Server(params, context=CONTEXT, directory=self.directory)
            least, most = _range_of(params)
            rng = np.random.default_rng(1)
            self.inputs = {i: rng.integers(least, most, params.vector_length) for i in ids}
            self.journals = {i: Memory() for i in ids}
            self.clients = {i: self.joined(i) for i in ids}
            self.run()

    def joined(self, i):
        told = {"context": CONTEXT, "policy": ANY_OFFER, "journal": self.journals[i]}
        offer = self.server.offer()
        client = Client.from_offer(offer, i, self.identities[i], self.directory, **told)
        if self.late is None:
            client.set_input(self.inputs[i])
        return client

    def run(self):
        told = dict.fromkeys(self.clients, b"")
        while self.server.phase is not Phase.DONE:
            now = self.server.phase
            for i in told:
                if i not in self.missing or ORDER.index(now) < ORDER.index(self.missing[i]):
                    self.sent[now, i] = reply = self.reply(now, i, told[i])
                    self.server.receive(i, reply)
            told = self.server.advance()

    def reply(self, now, i, message):
        if now is Phase.ADVERTISE_KEYS:
            return self.clients[i].start()
        for time in range(max(1, self.times)):
            if self.times:
                self.renew(i)
            if self.late is now and not time:  # so that the second state has it
                self.clients[i].set_input(self.inputs[i])
        return self.clients[i].receive(message)

    def renew(self, i):
        self.states += 1
        with deterministic_entropy(b"salt %d" % self.states):
            state = self.clients[i].suspend()
        told = {"context": CONTEXT, "policy": ANY_OFFER, "journal": self.journals[i]}
        me = self.identities[i]
        self.clients[i] = Client.resume(state, i, me, self.directory, **told)


def _range_of(params):
    """A range that the ring, or the bound, cuts into."""
    if params.max_abs is None:
        return -(2**63), 2**63 - 1
    return -params.max_abs, params.max_abs + 1


def check_equal(params, ids, *, times=1, **how):
    there, here = Play(params, ids, times=times, **how), Play(params, ids, **how)
    assert there.states >= times * len(BETWEEN) * (len(ids) - len(how.get("missing", ())))
    assert here.states == 0
    assert there.sent == here.sent
    assert np.array_equal(there.server.result().total, here.server.result().total)


COMPLETE = Params.for_cohort(5, 7, max_abs=1000, dropout_rate=0.2, corrupt_rate=0.0), FAR
LOCAL = (
    Params.for_cohort(10, 3, max_abs=15, corrupt_rate=0.0, threat_model="malicious-local"),
    [*range(0, 90, 10), 2**32 - 1],
)
SESSIONS = {
    "complete": COMPLETE,
    "corrupt": (Params.for_cohort(12, 33, max_abs=3), [*range(11), 2**32 - 1]),
    "semi-honest": (
        Params.for_cohort(8, 5, max_abs=3, threat_model="semi-honest"),
        list(range(8)),
    ),
    "local": LOCAL,
    "local, corrupt": (
        Params.for_cohort(16, 3, max_abs=15, threat_model="malicious-local"),
        [*range(0, 150, 10), 2**32 - 1],
    ),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_every_message_is_the_same(name):
    check_equal(*SESSIONS[name])


def test_the_graphs_of_the_sessions_are_complete_and_sparse():
    assert {name for name, (params, _) in SESSIONS.items() if not params.complete} == {
        "local",
        "local, corrupt",
    }


@pytest.mark.parametrize("bits", [2, 8, 9, 15, 16, 17, 31, 32, 33, 47, 61, 62])
def test_in_every_width_of_words(bits):
    check_equal(Params.for_cohort(3, 9, ring_bits=bits), FAR[2:])


@pytest.mark.parametrize("phase", BETWEEN)
@pytest.mark.parametrize("name", ["complete", "local"])
def test_with_a_drop_out_in_each_phase(name, phase):
    params, ids = SESSIONS[name]
    check_equal(params, ids, missing={ids[1]: phase})


@pytest.mark.parametrize("phase", BETWEEN[:3])
@pytest.mark.parametrize("name", ["complete", "local"])
def test_with_inputs_that_come_between_two_states_of_a_phase(name, phase):
    params, ids = SESSIONS[name]
    check_equal(params, ids, late=phase, times=2)


# Mutants ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what", "instead"),
    [
        ("_write_input", 'newbyteorder("<")', 'newbyteorder(">")'),
        ("_read_input", 'newbyteorder("<")', 'newbyteorder(">")'),
    ],
)
def test_mutants_that_turn_the_words_round_are_found(name, what, instead, monkeypatch):
    fields = dict(secagg.roles.client.suspended._FIELDS)
    mutant = without(monkeypatch, secagg.roles.client.suspended, name, what, instead)
    write, read = fields["input"]
    swapped = (mutant, read) if name == "_write_input" else (write, mutant)
    monkeypatch.setitem(secagg.roles.client.suspended._FIELDS, "input", swapped)
    with pytest.raises((AssertionError, secagg.StateError)):
        check_equal(*COMPLETE)


def test_mutant_that_loses_the_order_of_neighbours_is_found(monkeypatch):
    """The shares of an answer stand in the order of positions."""
    write, read = secagg.roles.client.suspended._FIELDS["due"]

    def reversed_(held, data):
        read(held, data)
        held.secrets.due = dict(reversed(held.secrets.due.items()))

    monkeypatch.setitem(secagg.roles.client.suspended._FIELDS, "due", (write, reversed_))
    with pytest.raises((AssertionError, secagg.SecAggError)):
        check_equal(*LOCAL)
