"""E8 and C10: vectors that change under a client's hands, and chunks that are made twice."""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

import he
from he.coding.packing import unpack
from he.coding.plaintexts import decode
from he.coding.words import drop_low_bits, pack_words, restore_low_bits, unpack_words
from he.params.capacity import DEGREE, MODULUS
from he.roles.client import Upload
from he.rounds import hash_context
from he.wire import UploadChunk, encode_upload, open_upload
from tests.he.support.rounds import keys
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
    without(monkeypatch, Upload, "seal", "self._made.setdefault(index, mark) is not mark")
    scheme, upload = begun()
    assert seen_by_the_server(scheme, upload, upload) == [5, -7, 900]
    with pytest.raises(FOUND):
        test_c10_a_chunk_is_made_once()


def begun():
    scheme = he.SecretContext.generate(he.Params.for_sum(3, max_abs=1000, scheme="bfv"))
    return scheme, he.Client(scheme, 1, context=CONTEXT).begin(np.zeros(3, np.int64))


def seen_by_the_server(scheme, one, other):
    """The difference of two vectors in chunk 0 of two uploads of one name, without any key."""
    words = []
    for upload, values in ((one, [0, 0, 0]), (other, [5, -7, 900])):
        chunk = upload.chunk(scheme, 0, np.array(values))
        sent = open_upload(chunk, scheme.public(), hash_context(CONTEXT))
        words.append(words_of(sent, scheme.params))
    centred = (words[1].astype(object) - words[0] + MODULUS // 2) % MODULUS - MODULUS // 2
    slots = decode(centred.astype(np.int64), scheme.params, contributors=2)
    return unpack(slots, scheme.params, contributors=2)[:3].tolist()


COPIES = [copy.copy, copy.deepcopy, lambda upload: pickle.loads(pickle.dumps(upload))]  # noqa: S301 - our own


@pytest.mark.parametrize("copied", COPIES)
def test_c10_an_upload_is_not_copied(copied):
    with pytest.raises(he.LocalProtocolError, match="cannot be copied or pickled"):
        copied(begun()[1])


@pytest.mark.parametrize("copied", COPIES[1:])
def test_c10_mutant_that_may_be_copied_shows_the_server_the_difference(copied, monkeypatch):
    monkeypatch.delattr(Upload, "__reduce__")
    scheme, upload = begun()
    assert seen_by_the_server(scheme, upload, copied(upload)) == [5, -7, 900]
    with pytest.raises(FOUND):
        test_c10_an_upload_is_not_copied(copied)


def in_a_fork(scheme, upload):
    """A chunk that a fork of this process makes, or its refusal as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = upload.chunk(scheme, 0, np.zeros(3, np.int64))
        except he.LocalProtocolError as error:
            answer = str(error).encode()
        os.write(writing, answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        answer = told.read()
    os.waitpid(child, 0)
    return answer


def test_c10_an_upload_works_in_no_fork_of_its_process():
    scheme, upload = begun()
    assert b"belongs to another process" in in_a_fork(scheme, upload)
    assert upload.chunk(scheme, 0, np.zeros(3, np.int64))


def test_c10_mutant_that_goes_on_in_a_fork_sends_two_under_one_nonce(monkeypatch):
    without(monkeypatch, Upload, "seal", "self._process != os.getpid()")
    scheme, upload = begun()
    both = in_a_fork(scheme, upload), upload.chunk(scheme, 0, np.zeros(3, np.int64))
    names = [open_upload(sent, scheme.public(), hash_context(CONTEXT)).name for sent in both]
    assert names[0].nonce == names[1].nonce
    assert both[0] != both[1]
    with pytest.raises(FOUND):
        test_c10_an_upload_works_in_no_fork_of_its_process()


# A limit, as it is: ciphertexts can be copied --------------------------------------------------------------


def copied(chunk, keys_of_group, client_id):
    """Another's chunk as one's own: what a client can do that taps the wire, without the secret key."""
    params = keys_of_group.params
    theirs = open_upload(chunk, keys_of_group.public(), hash_context(CONTEXT))
    parts = keys_of_group.encrypt(
        np.zeros((1, DEGREE), np.int64), bytes(32), 0
    )  # an encryption of 0
    words = restore_low_bits(unpack_words(theirs.body, params.word_bits), params.word_bits)
    fresh = (words.reshape(params.parts, 1, DEGREE) + parts) % np.uint64(MODULUS)
    sent = drop_low_bits(fresh, params.word_bits)
    name = replace(theirs.name, client_id=client_id, nonce=bytes(range(32)))
    restored = restore_low_bits(sent, params.word_bits)
    tags = keys_of_group.tag_key.expected(restored, (name,), 0)
    mine = UploadChunk(name, 0, tuple(tags), pack_words(sent, params.word_bits))
    message = encode_upload(mine, keys_of_group.public())
    return message + keys_of_group.sign(message)


def test_the_limit_a_copied_upload_is_in_the_sum_twice():
    """As docs/limits.md says; under masks the copy would be noise."""
    secret = he.SecretContext.generate(he.Params.for_sum(3, max_abs=1000, public_key=True))
    group = secret.encryptor()
    victim, other = np.array([5, -7, 900]), np.array([1, 1, 1])
    (chunk,) = he.Client(group, 1, context=CONTEXT).encrypt(victim)
    (third,) = he.Client(group, 3, context=CONTEXT).encrypt(other)
    server = he.Server(secret.public(), context=CONTEXT, vector_length=3)
    for client, sent in ((1, chunk), (2, copied(chunk, group, 2)), (3, third)):
        server.receive(client, sent)
    total = he.KeyHolder(secret, min_clients=3, context=CONTEXT).decrypt(server.result()).total
    assert np.array_equal(total, 2 * victim + other)
