"""E8 and C10: vectors that change under a client's hands, and chunks that are made twice."""

from __future__ import annotations

import numpy as np
import pytest

import he
from he.client import Upload
from he.coding.packing import unpack
from he.coding.plaintexts import decode
from he.coding.words import restore_low_bits, unpack_words
from he.crypto.context import hash_context
from he.params.capacity import DEGREE, MODULUS
from he.wire import open_upload
from tests.he.rounds import keys
from tests.hostile.mutants import FOUND, without

SECRET = keys(3, 1000)
CONTEXT = b"round 1"


# E8: a vector that changes between its check and its encryption ------------------------------------------


def changed_on_the_way(*, copy):
    """A client whose vector somebody writes to after the first chunk, beyond every bound."""
    step = 16 * SECRET.params.values_per_ciphertext
    vector = np.full(2 * step, 1000, np.int64)
    chunks = he.Client(SECRET, 1, context=CONTEXT).encrypt(vector, copy=copy)
    first = next(chunks)
    vector[:] = 10**9
    return [first, *chunks], step


def test_e8_a_vector_that_changes_is_refused_and_never_wraps():
    with pytest.raises(he.CapacityError, match="max_abs"):
        changed_on_the_way(copy=False)


def test_e8_a_copy_does_not_change():
    chunks, step = changed_on_the_way(copy=True)
    server = he.Server(SECRET.public(), context=CONTEXT, vector_length=2 * step)
    other = he.Client(SECRET, 2, context=CONTEXT).encrypt(np.ones(2 * step, np.int64))
    for client, sent in ((1, chunks), (2, other)):
        for chunk in sent:
            server.receive(client, chunk)
    holder = he.KeyHolder(keys_again(), min_clients=2, context=CONTEXT)
    assert set(holder.decrypt(server.result()).total.tolist()) == {1001}


def keys_again():
    """The same key, without the memory of what was opened."""
    return he.SecretContext.from_secret_key(SECRET.params, SECRET.export_secret_key())


def test_e8_mutant_that_checks_once_sends_what_it_has_not_checked(monkeypatch):
    chunk = without(monkeypatch, Upload, "chunk", "check_vector(values, params)", "None")
    monkeypatch.setattr(Upload, "chunk", chunk)
    with pytest.raises(FOUND):
        test_e8_a_vector_that_changes_is_refused_and_never_wraps()


# C10: one nonce, two ciphertexts -------------------------------------------------------------------------


def words_of(sent, params):
    """What travels of an upload's ciphertexts: c0, int64[c, N]."""
    words = restore_low_bits(unpack_words(sent.body, params.word_bits), params.word_bits)
    return words.reshape(params.parts, -1, DEGREE)[0]


def both_chunks():
    """What a client sends that makes a chunk again, from a vector that has changed."""
    upload = he.Client(SECRET, 1, context=CONTEXT).begin(np.zeros(3, np.int64))
    return [upload.chunk(SECRET, 0, np.array(values)) for values in ([0, 0, 0], [5, -7, 900])]


def test_c10_a_chunk_is_made_once():
    with pytest.raises(he.LocalProtocolError, match="chunk 0 of this upload was made already"):
        both_chunks()


def test_c10_a_refused_chunk_uses_nothing_up():
    upload = he.Client(SECRET, 1, context=CONTEXT).begin(np.zeros(3, np.int64))
    with pytest.raises(he.CapacityError):
        upload.chunk(SECRET, 0, np.array([10**9]))
    assert upload.chunk(SECRET, 0, np.zeros(3, np.int64))
    for index in (1, -1, "0", None):
        with pytest.raises(he.LocalProtocolError):
            upload.chunk(SECRET, index, np.zeros(3, np.int64))


def test_c10_mutant_that_makes_it_again_shows_the_server_the_difference(monkeypatch):
    """No key is needed: the random halves are the same, and cancel."""
    chunk = without(monkeypatch, Upload, "chunk", "self._made.setdefault(number, mark) is not mark")
    monkeypatch.setattr(Upload, "chunk", chunk)
    scheme = he.SecretContext.generate(he.Params.for_sum(3, max_abs=1000, scheme="bfv"))
    upload = he.Client(scheme, 1, context=CONTEXT).begin(np.zeros(3, np.int64))
    words = []
    for values in ([0, 0, 0], [5, -7, 900]):
        sent = open_upload(
            upload.chunk(scheme, 0, np.array(values)), scheme.public(), hash_context(CONTEXT)
        )
        words.append(words_of(sent, scheme.params))
    centred = (words[1].astype(object) - words[0] + MODULUS // 2) % MODULUS - MODULUS // 2
    slots = decode(centred.astype(np.int64), scheme.params, contributors=2)
    difference = unpack(slots, scheme.params, contributors=2)
    assert difference[:3].tolist() == [5, -7, 900]
    with pytest.raises(FOUND):
        test_c10_a_chunk_is_made_once()
