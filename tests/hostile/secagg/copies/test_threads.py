"""Two threads, one object: one call is at work, and the other one is refused and changes nothing.

Each race is staged: the first call is stopped at a place of the test's choice until the second is over.
"""

from __future__ import annotations

import contextlib
import sys
import threading

import numpy as np
import pytest

import secagg.guards.calls
import secagg.roles.client.client
from secagg import (
    Client,
    Directory,
    Identity,
    LocalProtocolError,
    Params,
    Phase,
    RemoteProtocolError,
    SecAggError,
    Server,
    TrustServerDirectory,
)
from secagg.crypto.keys import Ed25519PrivateKey
from secagg.wire.messages import Survivors
from tests.hostile.mutants import FOUND, without
from tests.secagg.support.lab import ANY_OFFER, CONTEXT, Lab

DEADLINE = 60  # seconds until a stuck test is called one


class Stopped:
    """A function that stops at its first call until it is told to go on."""

    def __init__(self, function):
        self.function = function
        self.reached, self.go, self.calls = threading.Event(), threading.Event(), []

    def __call__(self, *args, **kwargs):
        self.calls.append(args)
        if len(self.calls) == 1:
            self.reached.set()
            assert self.go.wait(DEADLINE)
        return self.function(*args, **kwargs)


def outcome(call):
    """What a call returns, or the typed error that it raises."""
    try:
        return call()
    except SecAggError as error:
        return error


def raced(stopped, first, second):
    """Outcomes of two calls, of which the second is made while the first is at work."""
    found = []
    thread = threading.Thread(target=lambda: found.append(outcome(first)))
    thread.start()
    try:
        assert stopped.reached.wait(DEADLINE)
        return_of_second = outcome(second)
    finally:
        stopped.go.set()
        thread.join(DEADLINE)
    return found[0], return_of_second


def stop_at(monkeypatch, owner, name):
    stopped = Stopped(getattr(owner, name))
    monkeypatch.setattr(owner, name, stopped)
    return stopped


def without_turns(monkeypatch):
    """The package without its two defences: everybody's turn at once, and secrets that stay in place."""
    monkeypatch.setattr(secagg.guards.calls.Turn, "__enter__", lambda _: None)
    without(monkeypatch, Client, "_acting", "self._secrets = None", "pass")


# The client -------------------------------------------------------------------------------------------


def two_survivor_sets(monkeypatch):
    """A client in two threads that are told different survivors, and the lab."""
    lab = Lab(9, dropout_rate=0.2, corrupt_rate=0.1).run_to(Phase.CONSISTENCY)
    client = lab.clients[10]
    told = [lab.encode(Survivors(members)) for members in (b"\1" * 9, b"\1" * 8 + b"\0")]
    stopped = stop_at(monkeypatch, secagg.roles.client.client, "check_survivors")
    return lab, raced(stopped, *(lambda m=m: client.receive(m) for m in told))


def test_s19_two_survivor_sets_at_once_get_one_signature(monkeypatch):
    lab, (first, second) = two_survivor_sets(monkeypatch)
    assert isinstance(first, bytes)
    assert isinstance(second, LocalProtocolError)
    assert "one at a time" in str(second)
    lab.server.receive(10, first)
    lab.clients.pop(10)
    for i in lab.clients:
        lab.answer(i)
    lab.server.advance()


def test_s19_mutant_without_turns_signs_both(monkeypatch):
    without_turns(monkeypatch)
    _, replies = two_survivor_sets(monkeypatch)
    assert all(isinstance(reply, bytes) for reply in replies)
    with pytest.raises(FOUND):
        test_s19_two_survivor_sets_at_once_get_one_signature(monkeypatch)


PLACES = {
    Phase.SHARE_KEYS: "check_roster",
    Phase.CHECK_SHARES: "open_inbox",
    Phase.MASKED_INPUT: "mask_input",
    Phase.CONSISTENCY: "check_survivors",
    Phase.UNMASK: "check_quorum",
}


@pytest.mark.parametrize("phase", PLACES)
def test_s19_every_phase_answers_once(phase, monkeypatch):
    lab = Lab(5).run_to(phase)
    client, message = lab.clients[10], lab.next_messages[10]
    stopped = stop_at(monkeypatch, secagg.roles.client.client, PLACES[phase])
    first, second = raced(stopped, lambda: client.receive(message), lambda: client.receive(message))
    assert isinstance(second, LocalProtocolError)
    assert len(stopped.calls) == 1
    lab.server.receive(10, first)  # the refused call has changed nothing
    for i in lab.ids[1:]:
        lab.answer(i)
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.DONE)
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


@pytest.mark.parametrize("phase", PLACES)
def test_s19_mutant_without_turns_answers_every_phase_twice(phase, monkeypatch):
    without_turns(monkeypatch)
    with pytest.raises((*FOUND, SecAggError)):
        test_s19_every_phase_answers_once(phase, monkeypatch)


def test_s19_no_input_is_changed_while_it_is_being_masked(monkeypatch):
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    client = lab.clients[10]
    stopped = stop_at(monkeypatch, secagg.roles.client.client, "mask_input")
    message = lab.next_messages[10]
    _, second = raced(
        stopped,
        lambda: client.receive(message),
        lambda: client.set_input(np.zeros(4, np.int64)),
    )
    assert isinstance(second, LocalProtocolError)


def test_s19_two_threads_start_once(monkeypatch):
    lab = Lab(5)
    stopped = stop_at(monkeypatch, secagg.roles.client.client, "AdvertiseKeys")
    first, second = raced(stopped, lab.clients[10].start, lab.clients[10].start)
    assert isinstance(first, bytes)
    assert isinstance(second, LocalProtocolError)


class Slow:
    """A set of sessions, with a pause between a look and an addition, as between two threads."""

    def __init__(self, stopped):
        self.stopped, self.facts = stopped, {}

    def setdefault(self, fact, mark):
        found = self.facts.setdefault(fact, mark)
        self.stopped()
        return found


def test_s19_one_identity_joins_a_session_once():
    """Two threads with one offer: one client; the mark is set in the same step that looks for it."""
    identity = Identity.generate()
    directory = Directory({5: identity.public})
    params = Params.for_cohort(3, 2, max_abs=9)
    offer = Server(params, context=CONTEXT, directory=TrustServerDirectory()).offer()
    stopped = Stopped(lambda: None)
    identity._joined = Slow(stopped)

    def join():
        return Client.from_offer(offer, 5, identity, directory, context=CONTEXT, policy=ANY_OFFER)

    first, second = raced(stopped, join, join)
    assert isinstance(first, Client)
    assert isinstance(second, RemoteProtocolError)
    assert "joined before" in str(second)


class LooksThenAdds(Identity):
    """As it was: a look, and then an addition."""

    __slots__ = ("stopped",)

    def join(self, session, client_id):
        known = (session, client_id) in self._joined
        self.stopped()
        if known:
            raise RemoteProtocolError("joined before", "server")
        self._joined[session, client_id] = None


def test_s19_mutant_that_looks_and_then_adds_joins_twice():
    identity = LooksThenAdds(Ed25519PrivateKey.generate())
    identity.stopped = stopped = Stopped(lambda: None)

    def join():
        identity.join(b"session", 5)
        return "joined"

    assert raced(stopped, join, join) == ("joined", "joined")


# The server -------------------------------------------------------------------------------------------


def test_s19_a_server_adds_an_input_once(monkeypatch):
    """Else two threads of a web server, with one client's message sent twice, add it twice, unseen."""
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    replies = {i: lab.reply(i) for i in lab.ids}
    stopped = stop_at(monkeypatch, secagg.roles.server.tally.ring, "add_packed")
    first, second = raced(
        stopped,
        lambda: lab.server.receive(10, replies[10]),
        lambda: lab.server.receive(10, replies[10]),
    )
    assert first is None
    assert isinstance(second, LocalProtocolError)
    for i in lab.ids[1:]:
        lab.server.receive(i, replies[i])
    lab.next_messages = lab.server.advance()
    lab.run_to(Phase.DONE)
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


def test_s19_mutant_server_without_turns_adds_it_twice(monkeypatch):
    without_turns(monkeypatch)
    with pytest.raises(FOUND):
        test_s19_a_server_adds_an_input_once(monkeypatch)


def test_s19_a_phase_is_not_closed_while_a_message_is_taken(monkeypatch):
    lab = Lab(5).run_to(Phase.MASKED_INPUT)
    reply = lab.reply(10)
    stopped = stop_at(monkeypatch, secagg.roles.server.tally.ring, "add_packed")
    first, second = raced(stopped, lambda: lab.server.receive(10, reply), lab.server.advance)
    assert first is None
    assert isinstance(second, LocalProtocolError)
    assert lab.server.phase is Phase.MASKED_INPUT


# Without a stage --------------------------------------------------------------------------------------


@contextlib.contextmanager
def hasty():
    """Threads that are switched as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_s19_whatever_the_timing_a_client_signs_one_set():
    """Calls that do not overlap are two messages in one phase, of which the second ends the session."""
    with hasty():
        for _ in range(10):
            lab = Lab(9, dropout_rate=0.2, corrupt_rate=0.1).run_to(Phase.CONSISTENCY)
            sets = [lab.encode(Survivors(m)) for m in (b"\1" * 9, b"\1" * 8 + b"\0")]
            found, ready = [], threading.Barrier(2)

            def tell(message, client=lab.clients[10], found=found, ready=ready):
                ready.wait(DEADLINE)
                found.append(outcome(lambda: client.receive(message)))

            threads = [threading.Thread(target=tell, args=(message,)) for message in sets]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(DEADLINE)
            assert sorted(isinstance(reply, bytes) for reply in found) == [False, True]


def test_s19_a_turn_is_one_threads_whatever_the_timing():
    """Twenty thousand claims by four threads: never two at once, and none is lost."""
    turn, inside, most, done = secagg.guards.calls.Turn("it"), [], [], []

    def work():
        for _ in range(5_000):
            with contextlib.suppress(LocalProtocolError), turn:
                inside.append(None)
                most.append(len(inside))
                inside.pop()
                done.append(None)

    with hasty():
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert set(most) == {1}
    assert len(most) == len(done) > 0
    with turn:
        pass


def test_s19_a_turn_ends_with_an_error_too():
    turn = secagg.guards.calls.Turn("it")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turn:
            raise ZeroDivisionError
