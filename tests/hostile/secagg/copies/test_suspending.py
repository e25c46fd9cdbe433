"""S24: the calls that put a client away and bring it back, amid threads, forks and failures."""

from __future__ import annotations

import os
import signal

import pytest

import secagg
import secagg.guards.calls
import secagg.roles.client.client
import secagg.roles.client.participation
from secagg import (
    Client,
    Identity,
    InternalError,
    LocalProtocolError,
    Phase,
    RemoteProtocolError,
    SecAggError,
)
from secagg.crypto.ephemeral import Ephemeral
from secagg.crypto.keys import AgreementKey, Secret
from secagg.roles.client.participation import Participation
from secagg.roles.client.suspended import Held
from tests.hostile.leftovers import BrokenError, Leftovers, passed_on
from tests.hostile.mutants import FOUND, without
from tests.hostile.secagg.copies.test_threads import raced, stop_at
from tests.hostile.secagg.inputs.test_tracebacks import INPUT, secrets_of, words_of
from tests.secagg.roles.client.test_suspended import BETWEEN, WHO, Memory, fresh, resumed
from tests.secagg.support.lab import ANY_OFFER, CONTEXT
from tests.secagg.support.snapshots import fork_client


def ready(phase, journal=None):
    """A lab that awaits a phase, its client's message, and the client."""
    lab = fresh(Memory() if journal is None else journal).run_to(phase)
    return lab, lab.next_messages[WHO], lab.clients[WHO]


# Threads ----------------------------------------------------------------------------------------------


def test_s24_a_client_that_is_being_suspended_answers_nothing(monkeypatch):
    """A client in memory makes no claim: its answer and its state's would be two."""
    journal = Memory()
    lab, message, client = ready(Phase.CONSISTENCY, journal)
    stopped = stop_at(monkeypatch, secagg.roles.client.participation, "allow_answers")
    state, second = raced(stopped, client.suspend, lambda: client.receive(message))
    assert isinstance(second, LocalProtocolError)
    assert "one at a time" in str(second)
    assert resumed(lab, state, journal).receive(message)


def test_s24_a_client_that_is_answering_is_not_suspended(monkeypatch):
    _, message, client = ready(Phase.CONSISTENCY)
    stopped = stop_at(monkeypatch, secagg.roles.client.client, "check_survivors")
    reply, second = raced(stopped, lambda: client.receive(message), client.suspend)
    assert isinstance(reply, bytes)
    assert isinstance(second, LocalProtocolError)
    assert "one at a time" in str(second)


@pytest.mark.parametrize(
    "race",
    [
        test_s24_a_client_that_is_being_suspended_answers_nothing,
        test_s24_a_client_that_is_answering_is_not_suspended,
    ],
)
def test_s24_mutant_that_suspends_without_its_turn(race, monkeypatch):
    without(monkeypatch, Participation, "suspend", "with self._turn:", "if True:")
    with pytest.raises(FOUND):
        race(monkeypatch)


# Forks ------------------------------------------------------------------------------------------------


def elsewhere(monkeypatch):
    """From here on the code runs in another process, as after a fork."""
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)


def test_s24_a_forked_client_is_not_suspended(monkeypatch):
    _, _, client = ready(Phase.CHECK_SHARES)
    with monkeypatch.context() as child:
        elsewhere(child)
        with pytest.raises(LocalProtocolError, match="before a fork"):
            client.suspend()
    assert client.suspend()


def test_s24_mutant_that_is_suspended_in_two_processes(monkeypatch):
    without(monkeypatch, Participation, "suspend", "self._living()", "self._secrets")
    without(monkeypatch, Participation, "_check_process", "self._process != os.getpid()")
    with pytest.raises(FOUND):
        test_s24_a_forked_client_is_not_suspended(monkeypatch)


class Forked(Memory):
    """A journal, during whose work the process forks: from then on the code runs in the copy."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.monkeypatch, self.forks = monkeypatch, False

    def add(self, fact, /):
        new = super().add(fact)
        if self.forks:
            self.forks = False
            elsewhere(self.monkeypatch)
        return new


@pytest.mark.parametrize("phase", BETWEEN)
def test_s24_a_copy_that_forks_off_during_the_claim_answers_nothing(phase, monkeypatch):
    """Parent and copy have one claim; in the first phase they would seal two texts under one key."""
    journal = Forked(monkeypatch)
    lab, message, client = ready(phase, journal)
    client = resumed(lab, client.suspend(), journal)
    journal.forks = True
    with pytest.raises(LocalProtocolError, match="before a fork"):
        client.receive(message)
    assert client.phase is Phase.ABORTED


def test_s24_a_copy_that_forks_off_while_it_is_suspended_gives_no_state(monkeypatch):
    journal = Forked(monkeypatch)
    _, _, client = ready(Phase.CHECK_SHARES, journal)
    journal.forks = True
    with pytest.raises(LocalProtocolError, match="before a fork"):
        client.suspend()


@pytest.mark.parametrize("phase", BETWEEN)
def test_s24_a_copy_that_forks_off_during_an_answer_gives_none(phase, monkeypatch):
    """A client in memory too."""
    _, message, client = ready(phase)
    honest = secagg.roles.client.client.check_kind

    def forking(*args):
        elsewhere(monkeypatch)
        return honest(*args)

    monkeypatch.setattr(secagg.roles.client.client, "check_kind", forking)
    with pytest.raises(LocalProtocolError, match="before a fork"):
        client.receive(message)
    assert client.phase is Phase.ABORTED


def test_s24_of_parent_and_copy_the_parent_answers():
    """With a fork in earnest, by a signal that arrives between the claim and the answer."""
    children = []

    class Signalled(Memory):
        def add(self, fact, /):
            new = super().add(fact)
            if b"answers" in fact:
                signal.raise_signal(signal.SIGUSR1)
            return new

    journal, own = Signalled(), os.getpid()
    lab, message, client = ready(Phase.SHARE_KEYS, journal)
    client = resumed(lab, client.suspend(), journal)
    before = signal.signal(signal.SIGUSR1, lambda *_: children.append(os.fork()))
    try:
        reply = client.receive(message)
    except LocalProtocolError:
        if os.getpid() != own:  # pragma: no cover - in the child
            os._exit(7)
        raise
    finally:
        if os.getpid() != own:  # pragma: no cover - in the child
            os._exit(1)
        signal.signal(signal.SIGUSR1, before)
    assert reply
    (child,) = children
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize("owner", ["_acting", "suspend"])
def test_s24_mutant_that_looks_for_a_fork_at_the_door_alone(owner, monkeypatch):
    without(monkeypatch, Participation, owner, "self._check_process()", "pass")
    attacks = {
        "_acting": (
            lambda patch: test_s24_a_copy_that_forks_off_during_the_claim_answers_nothing(
                Phase.SHARE_KEYS, patch
            ),
            lambda patch: test_s24_a_copy_that_forks_off_during_an_answer_gives_none(
                Phase.SHARE_KEYS, patch
            ),
            lambda _: test_s24_of_parent_and_copy_the_parent_answers(),
        ),
        "suspend": (test_s24_a_copy_that_forks_off_while_it_is_suspended_gives_no_state,),
    }
    for attack in attacks[owner]:
        with monkeypatch.context() as patch, pytest.raises(FOUND):
            attack(patch)


# Sessions that are joined anew ------------------------------------------------------------------------


def test_s24_a_session_that_goes_on_is_not_joined_anew():
    """By the same identity, restored in another process, and without the journal."""
    journal = Memory()
    lab, message, client = ready(Phase.CHECK_SHARES, journal)
    state = client.suspend()
    me = Identity.from_private_bytes(lab.identities[WHO].private_bytes())
    first = resumed(lab, state, journal, identity=me)
    with pytest.raises(RemoteProtocolError, match="joined before"):
        Client.from_offer(
            lab.server.offer(), WHO, me, lab.directory, context=CONTEXT, policy=ANY_OFFER
        )
    assert (
        resumed(lab, state, journal, identity=me) is not first
    )  # resuming twice is the journal's matter
    assert first.receive(message)


def test_s24_mutant_whose_identity_does_not_notice_is_joined_anew(monkeypatch):
    monkeypatch.setattr(Identity, "rejoin", lambda *_: None)
    with pytest.raises(FOUND):
        test_s24_a_session_that_goes_on_is_not_joined_anew()


# What failures and the old object leave behind ---------------------------------------------------------

LEFTOVERS = Leftovers(
    secagg,
    SecAggError,
    (Client, Identity, Ephemeral, Secret, AgreementKey, Held),
    theirs=('return boolean("what journal.add',),  # its text is the journal's own
)


def suspending(phase):
    _, _, client = ready(phase)
    if client._secrets.input is not None:
        client._secrets.input = words_of(client)
    secrets = secrets_of(client)

    def prepare():
        twin = fork_client(client)
        twin._journal = Memory()
        return twin.suspend, twin, secrets

    return prepare


def resuming(phase):
    lab, _, client = ready(phase)
    if client._secrets.input is not None:
        client._secrets.input = words_of(client)
    secrets, state, journal = secrets_of(client), client.suspend(), client._journal
    private = lab.identities[WHO].private_bytes()

    def prepare():
        box = [Identity.from_private_bytes(private)]
        return lambda: resumed(lab, state, journal, identity=box.pop()), None, secrets

    return prepare


@pytest.mark.parametrize(
    ("calls", "phase"),
    [
        (suspending, Phase.SHARE_KEYS),
        (suspending, Phase.MASKED_INPUT),
        (suspending, Phase.UNMASK),
        (resuming, Phase.MASKED_INPUT),
    ],
)
def test_s24_wherever_the_calls_fail_nothing_is_left(calls, phase):
    """Each line of `suspend` and `resume` in turn, as in S20."""
    count = 0
    for place, _, error, secrets in LEFTOVERS.failures(calls(phase)):
        count += 1
        assert not LEFTOVERS.left_behind(error, secrets, INPUT), place
    assert count > 30


@pytest.mark.parametrize("calls", [suspending, resuming])
def test_s24_mutant_that_keeps_its_frames_is_found(calls, monkeypatch):
    monkeypatch.setattr(secagg.guards.calls, "_empty", lambda *_: None)
    monkeypatch.setattr(secagg.guards.calls, "_named", passed_on(InternalError))
    with pytest.raises(FOUND):
        test_s24_wherever_the_calls_fail_nothing_is_left(calls, Phase.MASKED_INPUT)


@pytest.mark.parametrize(("calls", "name"), [(suspending, "suspend"), (resuming, "resume")])
def test_s24_mutant_without_the_wrapper_is_found(calls, name, monkeypatch):
    bare = getattr(Participation, name)
    bare = getattr(bare, "__func__", bare).__wrapped__
    monkeypatch.setattr(Participation, name, classmethod(bare) if name == "resume" else bare)
    with pytest.raises(BrokenError):  # it holds secrets, and passes
        test_s24_wherever_the_calls_fail_nothing_is_left(calls, Phase.MASKED_INPUT)


@pytest.mark.parametrize("phase", BETWEEN)
def test_s24_a_suspended_client_is_forgotten_even_if_its_secrets_are_held(phase):
    _, _, client = ready(phase)
    held = client._secrets
    client.suspend()
    assert client._secrets is None
    assert not any(getattr(held, name) for name in Ephemeral.__slots__)


def test_s24_mutant_that_keeps_what_it_has_put_away(monkeypatch):
    without(monkeypatch, Participation, "suspend", "secrets.forget()", "pass")
    with pytest.raises(FOUND):
        test_s24_a_suspended_client_is_forgotten_even_if_its_secrets_are_held(Phase.SHARE_KEYS)


def test_s24_what_is_held_between_two_phases_is_not_printed(monkeypatch):
    shown = []
    seal = secagg.roles.client.participation.seal_state
    monkeypatch.setattr(
        secagg.roles.client.participation,
        "seal_state",
        lambda held: (shown.append(held), seal(held))[1],
    )
    _, _, client = ready(Phase.UNMASK)
    client.suspend()
    assert [repr(held) for held in shown] == [f"{held}" for held in shown] == ["Held(<redacted>)"]
