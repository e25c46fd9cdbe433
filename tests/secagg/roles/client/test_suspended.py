"""A client that is suspended between two phases, and resumed elsewhere, answers as a resident one does."""

from __future__ import annotations

import mmap
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import fedavg
import secagg.roles.client.participation
import secagg.roles.client.suspended
from secagg import (
    CapacityError,
    Client,
    Directory,
    Identity,
    LocalProtocolError,
    Params,
    Phase,
    Server,
    StateError,
)
from secagg.crypto.shamir import SHARE_SIZE
from secagg.params.params import MAX_CLIENTS, MAX_LENGTH
from secagg.roles.client.participation import Participation
from secagg.roles.client.suspended import Held, check_size
from secagg.testing import deterministic_entropy
from tests.hostile.mutants import without
from tests.secagg.support.lab import ANY_OFFER, CONTEXT, Lab

WHO = 20
BETWEEN = (
    Phase.SHARE_KEYS,
    Phase.CHECK_SHARES,
    Phase.MASKED_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASK,
)


class Memory(set):
    def add(self, fact, /):
        new = fact not in self
        super().add(fact)
        return new


def resumed(lab, state, journal, **other):
    given = {"client_id": WHO, "identity": lab.identities[WHO], "directory": lab.directory}
    return Client.resume(
        state, **(given | {"context": CONTEXT, "journal": journal, "policy": ANY_OFFER} | other)
    )


def fresh(journal, params=None):
    """A lab whose client WHO has a journal."""
    lab = Lab.__new__(Lab)
    join = Lab.join
    try:
        Lab.join = lambda self, i, **k: join(self, i, **k, journal=journal if i == WHO else None)
        lab.__init__(params.n_clients if params else 5, params=params)
    finally:
        Lab.join = join
    return lab


def at(phase, journal):
    lab = fresh(journal).run_to(phase)
    return lab, lab.clients[WHO].suspend()


def played(suspending, journal):
    """The client's messages of a whole session."""
    with deterministic_entropy(b"one session"):
        lab = fresh(journal)
        while lab.server.phase is not Phase.DONE:
            for i in lab.next_messages or lab.ids:
                if i == WHO and suspending and lab.server.phase in BETWEEN:
                    client = lab.clients[i]
                    salted = deterministic_entropy(lab.server.phase.value.encode())
                    with salted:
                        state = client.suspend()
                    lab.clients[i] = resumed(lab, state, journal)
                lab.answer(i)
            lab.next_messages = lab.server.advance()
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))
    return {phase: data for (phase, i), data in lab.sent.items() if i == WHO}


def test_a_resumed_client_sends_what_a_resident_one_sends(tmp_path):
    there = played(True, fedavg.FileJournal(tmp_path / "once"))
    assert there == played(False, Memory())
    assert len(there) == 6


@pytest.mark.parametrize("phase", BETWEEN)
def test_of_two_resumes_of_one_state_one_answers(phase):
    journal = Memory()
    lab, state = at(phase, journal)
    first, second = resumed(lab, state, journal), resumed(lab, state, journal)
    lab.server.receive(WHO, first.receive(lab.next_messages[WHO]))
    with pytest.raises(StateError, match="answered phase"):
        second.receive(lab.next_messages[WHO])
    with pytest.raises(LocalProtocolError, match="ABORTED"):
        second.receive(lab.next_messages[WHO])


@pytest.mark.parametrize("phase", BETWEEN)
def test_a_state_of_somebody_else_or_altered_is_refused(phase):
    journal = Memory()
    lab, state = at(phase, journal)
    for place in range(len(state)):
        bad = bytearray(state)
        bad[place] ^= 1
        with pytest.raises(StateError):
            resumed(lab, bytes(bad), journal)
    for cut in range(len(state)):
        with pytest.raises(StateError):
            resumed(lab, state[:cut], journal)
    for other in (
        {"client_id": 30},
        {"identity": lab.identities[30]},
        {"context": b"another"},
    ):
        with pytest.raises(StateError):
            resumed(lab, state, journal, **other)


def test_a_suspended_client_answers_no_more_and_needs_a_journal():
    lab, _ = at(Phase.SHARE_KEYS, Memory())
    with pytest.raises(LocalProtocolError, match="was suspended"):
        lab.clients[WHO].receive(lab.next_messages[WHO])
    with pytest.raises(LocalProtocolError, match="needs a journal"):
        lab.clients[10].suspend()


@pytest.mark.parametrize("phase", BETWEEN)
def test_another_journal_is_noticed_and_stays_noticed(phase):
    lab, state = at(phase, Memory())
    empty = Memory()
    for _ in range(2):
        with pytest.raises(StateError):
            resumed(lab, state, empty).receive(lab.next_messages[WHO])


# What `resume` is given, and what it passes on ----------------------------------------------------------


@pytest.mark.parametrize("phase", BETWEEN)
def test_a_directory_without_this_identity_is_refused(phase):
    """All others would refuse a roster with it, so nothing is claimed."""
    journal = Memory()
    lab, state = at(phase, journal)
    others = {i: x.public for i, x in lab.identities.items() if i != WHO}
    stranger = others | {WHO: Identity.generate().public}
    claims = set(journal)
    for known in (others, stranger):
        with pytest.raises(LocalProtocolError, match="does not hold this identity for client 20"):
            resumed(lab, state, journal, directory=Directory(known))
    assert journal == claims


def test_mutant_that_does_not_look_into_the_directory(monkeypatch):
    monkeypatch.setattr(secagg.roles.client.participation, "check_known", lambda *_: None)
    with pytest.raises(pytest.fail.Exception):
        test_a_directory_without_this_identity_is_refused(Phase.UNMASK)


class Counted(ThreadPoolExecutor):
    tasks = 0

    def submit(self, *task):
        self.tasks += 1
        return super().submit(*task)


def masked_by_an_executor():
    journal = Memory()
    lab, state = at(Phase.MASKED_INPUT, journal)
    with Counted(2) as executor:
        resumed(lab, state, journal, executor=executor).receive(lab.next_messages[WHO])
    return executor.tasks


def test_a_resumed_client_masks_with_its_executor():
    assert masked_by_an_executor() > 0


def test_mutant_that_loses_the_executor(monkeypatch):
    given = "directory, executor, kept)"
    mutant = without(monkeypatch, Participation, "resume", given, "directory, None, kept)")
    monkeypatch.setattr(Participation, "resume", classmethod(mutant))
    assert masked_by_an_executor() == 0


# Sizes ------------------------------------------------------------------------------------------------

LONGEST = 2**28 - 2**19  # words of 8 bytes, as docs/protocol.md says


def joined(params, journal):
    """A client of an offered session that nobody plays."""
    me = Identity.generate()
    known = Directory({5: me.public, 6: Identity.generate().public, 7: Identity.generate().public})
    offer = Server(params, context=CONTEXT, directory=known).offer()
    told = {"context": CONTEXT, "policy": ANY_OFFER, "journal": journal}
    return Client.from_offer(offer, 5, me, known, **told)


def test_a_vector_that_no_state_holds_is_refused_before_anything_is_sent():
    """At the first call, though no input was given yet, and nothing is recorded."""
    params = Params.for_cohort(3, LONGEST + 1, ring_bits=33)
    journal = Memory()
    client = joined(params, journal)
    client.start()
    known = set(journal)
    told = (
        f"takes {8 * LONGEST + 8} bytes: {LONGEST + 1} coordinates of 8 bytes .* at most {LONGEST} "
    )
    for _ in range(2):
        with pytest.raises(CapacityError, match=told + ".*Keep the client in memory"):
            client.suspend()
    assert journal == known
    assert client.phase is Phase.SHARE_KEYS  # and it goes on


@pytest.mark.parametrize(("length", "bits"), [(LONGEST, 62), (MAX_LENGTH, 32), (MAX_LENGTH, 2)])
def test_the_longest_vectors_that_fit(length, bits):
    client = joined(Params.for_cohort(3, length, ring_bits=bits), Memory())
    client.start()
    assert client.suspend()


def test_a_long_vector_may_be_suspended_once_it_is_masked():
    params = Params.for_cohort(3, MAX_LENGTH, ring_bits=62)
    for phase in BETWEEN[:3]:
        with pytest.raises(CapacityError):
            check_size(phase, params)
    for phase in BETWEEN[3:]:
        check_size(phase, params)


def test_all_else_takes_less_than_its_four_mebibytes():
    """In the largest session, if every other client were a neighbour."""
    header, offer, entry, n = 76, 200, 4 + 3 * 32 + 64, MAX_CLIENTS
    shares = n * (4 + 2 * SHARE_SIZE)
    most = header + offer + n * entry + 2 * (n // 8 + 100) + shares + 4 * 64 + 10 * 4
    assert most < 2**31 - 8 * LONGEST == 2**22
    with mmap.mmap(-1, 2**31) as zeros, pytest.raises(OverflowError):
        AESGCM(bytes(32)).encrypt(bytes(12), zeros, b"")  # what a state must stay below


def copies(call, vector):
    """How many vectors a call has in memory at most, beside those from before it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = call()
        return found, (tracemalloc.get_traced_memory()[1] - before) / vector.nbytes
    finally:
        tracemalloc.stop()


def long_lab(journal):
    lab = fresh(journal, params=Params.for_cohort(3, 200_000, ring_bits=33))
    return lab.run_to(Phase.MASKED_INPUT)


def test_a_vector_is_copied_no_more_than_sealing_needs():
    """Plain text and sealed text; what is resumed is words and plain text."""
    journal = Memory()
    lab = long_lab(journal)
    words = lab.clients[WHO]._secrets.input
    state, suspending = copies(lab.clients[WHO].suspend, words)
    _, resuming = copies(lambda: resumed(lab, state, journal), words)
    assert suspending < 2.5
    assert resuming < 2.5


@pytest.mark.parametrize(
    ("name", "what", "instead"),
    [
        ("seal_state", "_plain(held)", "(plain := _plain(held))"),
        ("open_state", "memoryview(plain)", "memoryview(bytearray(plain))"),
    ],
)
def test_mutants_that_keep_one_more_copy(name, what, instead, monkeypatch):
    mutant = without(monkeypatch, secagg.roles.client.suspended, name, what, instead)
    monkeypatch.setattr(secagg.roles.client.participation, name, mutant)
    with pytest.raises(AssertionError):
        test_a_vector_is_copied_no_more_than_sealing_needs()


@pytest.mark.skipif(sys.byteorder == "big", reason="the words are turned round there")
def test_the_words_of_an_input_are_read_where_they_are():
    """A vector may take a good part of memory, and is not held twice before it is joined to the rest."""
    client = long_lab(Memory()).clients[WHO]
    secrets = client._secrets
    held = Held(client.phase, client._offer, client._session, WHO, secrets)
    written = np.frombuffer(secagg.roles.client.suspended._write_input(held), np.uint8)
    assert np.shares_memory(written, secrets.input)


def test_mutant_that_copies_the_words(monkeypatch):
    without(monkeypatch, secagg.roles.client.suspended, "_write_input", "copy=False", "copy=True")
    with pytest.raises(AssertionError):
        test_the_words_of_an_input_are_read_where_they_are()


# Quorums of neighbours ----------------------------------------------------------------------------------


def last_state():
    journal = Memory()
    params = Params.for_cohort(16, 1, max_abs=1000, threat_model="malicious-local")
    lab = fresh(journal, params=params).run_to(Phase.UNMASK)
    told = lab.clients[WHO]._survivors
    return lab, resumed(lab, lab.clients[WHO].suspend(), journal), told


def test_the_last_state_has_no_signatures_of_inputs():
    """They were checked before the client signed; unmasking needs the set, and its own signature."""
    lab, client, told = last_state()
    assert not told.signatures
    assert not client._survivors.signatures
    lab.clients[WHO] = client
    lab.run_to(Phase.DONE)
    assert np.array_equal(lab.server.result().total, lab.total(lab.ids))


def test_mutant_that_keeps_the_signatures_of_inputs(monkeypatch):
    kept = "Survivors(survivors.members)"
    without(monkeypatch, Client, "_sign", kept, "survivors")
    with pytest.raises((AssertionError, StateError)):
        test_the_last_state_has_no_signatures_of_inputs()
