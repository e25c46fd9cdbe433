"""C9: one round, two openings over a restart of the key holder."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import he
from tests.he.support.rounds import collect, fresh_context, keys, random_vectors, uploads
from tests.hostile.mutants import without


class Remembering:
    """A journal that outlives a key holder's objects, as a file does."""

    def __init__(self):
        self.facts = set()

    def add(self, fact, /):
        fresh = fact not in self.facts
        self.facts.add(fact)
        return fresh


class Full:
    """A journal that cannot be written."""

    def add(self, fact, /):
        raise OSError(28, os.strerror(28))


def restarted(secret):
    """What a key holder has after a restart: the exported key, and nothing that it remembered."""
    return he.SecretContext.from_secret_key(secret.params, secret.export_secret_key())


def two_sums():
    """One round's sums with and without client 2, made by a server that wants the difference."""
    secret, context, vectors = keys(3, 1000), fresh_context(), random_vectors(3, 10, 1000)
    sent = uploads(secret, vectors, context)
    fewer = {client_id: sent[client_id] for client_id in (0, 1)}
    whole, less = (list(collect(secret, one, context).result()) for one in (sent, fewer))
    return secret, context, vectors, whole, less


def open_sum(secret, context, chunks, journal=None):
    holder = he.KeyHolder(secret, min_clients=2, context=context, journal=journal)
    return holder.decrypt(chunks).total


def test_c9_a_restarted_key_holder_opens_no_round_twice():
    secret, context, vectors, whole, less = two_sums()
    journal = Remembering()
    assert np.array_equal(open_sum(secret, context, whole, journal), vectors.sum(axis=0))
    for again in (whole, less):
        with pytest.raises(he.LocalProtocolError, match="journal says"):
            open_sum(restarted(secret), context, again, journal)


def test_c9_the_fact_is_recorded_before_anything_is_decrypted(monkeypatch):
    """A key holder that dies while it opens has opened."""
    secret, context, _, whole, less = two_sums()
    journal = Remembering()

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("he.crypto.rlwe.Phases.next", dies)
        with pytest.raises(KeyboardInterrupt):
            open_sum(secret, context, whole, journal)
    with pytest.raises(he.LocalProtocolError, match="or may have been"):
        open_sum(restarted(secret), context, less, journal)


def test_c9_a_journal_that_cannot_be_written_keeps_the_sum_closed(monkeypatch):
    secret, context, _, whole, _ = two_sums()
    monkeypatch.setattr(
        "he.crypto.rlwe.Decryptor.phases", lambda *_: pytest.fail("decrypted without a record")
    )
    with pytest.raises(he.LocalProtocolError, match=r"journal failed.*space"):
        open_sum(secret, context, whole, Full())


def test_c9_a_refused_sum_leaves_no_fact():
    """Only what passes every check uses up its round."""
    secret, context, vectors, whole, _ = two_sums()
    journal = Remembering()
    damaged = [whole[0][:-1] + bytes([whole[0][-1] ^ 1])]
    with pytest.raises(he.AuthenticationError):
        open_sum(secret, context, damaged, journal)
    assert not journal.facts
    assert np.array_equal(open_sum(secret, context, whole, journal), vectors.sum(axis=0))


def test_c9_facts_tell_rounds_and_keys_apart():
    journal = Remembering()
    for _ in range(2):
        secret, context, vectors, whole, _ = two_sums()
        assert np.array_equal(open_sum(secret, context, whole, journal), vectors.sum(axis=0))
    other = restarted(secret)
    strange = he.SecretContext.generate(secret.params)
    chunks = list(collect(strange, uploads(strange, vectors, context), context).result())
    assert np.array_equal(open_sum(strange, context, chunks, journal), vectors.sum(axis=0))
    assert len(journal.facts) == 3
    with pytest.raises(he.LocalProtocolError):
        open_sum(other, context, whole, journal)


def test_c9_of_threads_that_open_at_once_one_does():
    secret, context, _, whole, less = two_sums()
    start = Barrier(8)

    def attempt(index):
        start.wait()
        try:
            return open_sum(secret, context, (whole, less)[index % 2])
        except he.LocalProtocolError:
            return None

    with ThreadPoolExecutor(8) as threads:
        opened = [total for total in threads.map(attempt, range(8)) if total is not None]
    assert len(opened) == 1


def test_c9_mutant_without_a_journal_shows_an_input_over_a_restart():
    secret, context, vectors, whole, less = two_sums()
    difference = open_sum(secret, context, whole) - open_sum(restarted(secret), context, less)
    assert np.array_equal(difference, vectors[2])


def test_c9_mutant_that_ignores_the_journals_answer_shows_it_too(monkeypatch):
    check = 'self._journal is not None and not recorded(self._journal, fact, "nothing is opened")'
    without(monkeypatch, he.KeyHolder, "_claim", check)
    secret, context, vectors, whole, less = two_sums()
    journal = Remembering()
    first = open_sum(secret, context, whole, journal)
    assert np.array_equal(first - open_sum(restarted(secret), context, less, journal), vectors[2])
