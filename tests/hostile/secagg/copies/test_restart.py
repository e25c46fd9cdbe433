"""S21: a client that forgets over a restart which sessions it joined, and gives one input to two sums."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fedavg
import he
import secagg
import secagg.roles.client.joining
from secagg import Identity, LocalProtocolError, Phase, RemoteProtocolError
from tests.hostile.mutants import without
from tests.secagg.support.lab import CONTEXT, Lab

VICTIM = 20


class Remembering:
    """A journal that outlives a client's objects, as a file does."""

    def __init__(self):
        self.facts = set()

    def add(self, fact, /):
        fresh = fact not in self.facts
        self.facts.add(fact)
        return fresh


def restarted(lab):
    """The clients after a restart: keys restored from storage, and nothing that an object remembered."""
    for i, identity in lab.identities.items():
        lab.identities[i] = Identity.from_private_bytes(identity.private_bytes())


def joined(lab, journals, offer=None):
    lab.clients = {i: lab.join(i, offer=offer, journal=journals.get(i)) for i in lab.ids}
    for i, client in lab.clients.items():
        client.set_input(lab.inputs[i])
    lab.next_messages = {}


def summed(lab, silent=None):
    lab.run_to(Phase.DONE, silent=silent or {})
    return lab.server.result().total


def two_sums(lab, journals):
    """A server that keeps a session's beginning runs it again after its clients' restart, less the victim."""
    server = secagg.Server(lab.params, context=CONTEXT, directory=lab.directory)
    lab.server = server
    joined(lab, journals)
    first = summed(lab)
    restarted(lab)
    again = secagg.Server(lab.params, context=CONTEXT, directory=lab.directory)
    again._offer, again._session = server._offer, server._session
    again._tally = type(again._tally)(
        lab.params, server._session, server._offer, lab.directory, None
    )
    lab.server = again
    joined(lab, journals)
    return first - summed(lab, silent={VICTIM: Phase.MASKED_INPUT})


def test_s21_a_restarted_client_joins_no_session_twice():
    journals = {i: Remembering() for i in Lab(5).ids}
    with pytest.raises(RemoteProtocolError, match="its journal says so"):
        two_sums(Lab(5), journals)


def test_s21_mutant_without_a_journal_is_read():
    lab = Lab(5)
    assert np.array_equal(two_sums(lab, {}), lab.inputs[VICTIM])


def test_s21_mutant_that_ignores_the_journals_answer_is_read(monkeypatch):
    without(
        monkeypatch,
        secagg.roles.client.joining,
        "_record",
        'not boolean("what journal.add returns", new)',
    )
    lab = Lab(5)
    journals = {i: Remembering() for i in lab.ids}
    assert np.array_equal(two_sums(lab, journals), lab.inputs[VICTIM])


def test_s21_the_fact_is_recorded_before_a_key_is_made(monkeypatch):
    """A client that dies while it joins has joined."""
    lab, journal = Lab(5), Remembering()
    lab.server = secagg.Server(lab.params, context=CONTEXT, directory=lab.directory)

    def dies():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("secagg.crypto.keys.AgreementKey.generate", dies)
        with pytest.raises(KeyboardInterrupt):
            lab.join(VICTIM, journal=journal)
    restarted(lab)
    with pytest.raises(RemoteProtocolError, match="or may have"):
        lab.join(VICTIM, journal=journal)


class Broken:
    """A journal that cannot be written, or that does not keep to the Protocol."""

    def __init__(self, answer):
        self.answer = answer

    def add(self, fact, /):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [OSError(28, "No space left on device"), None, 1, "yes"])
def test_s21_without_a_sound_record_nothing_is_joined_and_nothing_is_used_up(answer):
    lab = Lab(5)
    lab.server = secagg.Server(lab.params, context=CONTEXT, directory=lab.directory)
    with pytest.raises(
        LocalProtocolError, match=r"journal failed.*space|what journal\.add returns"
    ):
        lab.join(VICTIM, journal=Broken(answer))
    assert lab.join(VICTIM, journal=Remembering()).phase is Phase.ADVERTISE_KEYS


def test_s21_a_refused_offer_leaves_no_fact():
    lab, journal = Lab(5), Remembering()
    with pytest.raises(RemoteProtocolError, match="another context"):
        lab.join(VICTIM, context=b"another round", journal=journal)
    assert not journal.facts


def test_s21_facts_tell_sessions_clients_and_keys_apart():
    journal = Remembering()
    for _ in range(2):
        lab = Lab(5)
        lab.server = secagg.Server(lab.params, context=CONTEXT, directory=lab.directory)
        for i in lab.ids:
            lab.join(i, journal=journal)
    assert len(journal.facts) == 10


@pytest.mark.parametrize("journal", ["a path", 5, {"add": 1}])
def test_s21_what_is_no_journal_is_refused(journal):
    lab = Lab(5)
    lab.server = secagg.Server(lab.params, context=CONTEXT, directory=lab.directory)
    with pytest.raises(LocalProtocolError, match="journal must have a method add"):
        lab.join(VICTIM, journal=journal)


def test_s21_one_file_serves_clients_and_a_key_holder(tmp_path):
    """The two Protocols are one shape, and a file's facts do not collide."""
    shapes = [inspect.signature(package.Journal.add) for package in (secagg, he)]
    assert shapes[0] == shapes[1]
    lab, path = Lab(5), tmp_path / "once"
    lab.server = secagg.Server(lab.params, context=CONTEXT, directory=lab.directory)
    lab.join(VICTIM, journal=fedavg.FileJournal(path))
    restarted(lab)
    with pytest.raises(RemoteProtocolError, match="joined before"):
        lab.join(VICTIM, journal=fedavg.FileJournal(path))
    secret = he.SecretContext.generate(he.Params.for_sum(2, max_abs=9))
    he.KeyHolder(secret, min_clients=2, context=b"r", journal=fedavg.FileJournal(path))
