"""Encryption in worker processes: the same sums, bounded memory, keys as bytes only."""

import pickle

import numpy as np
import pytest

import he
from he.crypto.context import read_exported
from he.roles import parallel
from he.secrecy import SecretBytes
from tests.he.support.rounds import collect, fresh_context, keys, random_vectors, uploads


@pytest.mark.parametrize("public_key", [False, True])
def test_workers_make_the_chunks_of_an_honest_upload(public_key):
    secret = keys(3, 2**25, "bfv", public_key=public_key)
    members = secret.encryptor() if public_key else secret
    length = (3 if public_key else 50) * secret.params.values_per_ciphertext - 7
    vectors, context, seen = random_vectors(3, length, 2**25), fresh_context(), []
    sent = uploads(members, vectors[:2], context)
    client = he.Client(members, 2, context=context)
    chunks = he.encrypt_chunks(
        client, vectors[2], processes=2, progress=lambda *done: seen.append(done)
    )
    sent[2] = list(chunks)
    count = secret.params.chunks(length)
    assert seen == [(number, count) for number in range(1, count + 1)]
    server = collect(secret, sent, context)
    result = he.KeyHolder(secret, min_clients=3, context=context).decrypt(server.result())
    assert np.array_equal(result.total, vectors.sum(axis=0))
    with pytest.raises(he.LocalProtocolError, match="already"):
        he.encrypt_chunks(client, vectors[2])


def test_refusals_come_before_any_process_starts(monkeypatch):
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", None)
    client = he.Client(keys(), 1, context=b"c")
    with pytest.raises(he.CapacityError):
        he.encrypt_chunks(client, np.array([2**40]))
    with pytest.raises(he.LocalProtocolError, match="processes"):
        he.encrypt_chunks(client, np.array([1]), processes=0)
    assert len(list(client.encrypt(np.array([1])))) == 1


def test_a_worker_that_dies_is_a_typed_error(monkeypatch):
    class Broken:
        def result(self):
            raise parallel.BrokenProcessPool("killed")

    monkeypatch.setattr(parallel.ProcessPoolExecutor, "submit", lambda *_: Broken())
    with pytest.raises(he.LocalProtocolError, match="new Client"):
        list(he.encrypt_chunks(he.Client(keys(), 1, context=b"c"), np.array([1])))


def test_keys_on_their_way_print_redacted_and_arrive_as_bytes():
    secret = SecretBytes(keys().export_secret_key())
    assert repr(secret) == str(secret) == f"{secret!r:s}" == "SecretBytes(<redacted>)"
    arrived = pickle.loads(pickle.dumps(secret))  # noqa: S301 - made in this line
    assert type(arrived) is bytes
    assert arrived == keys().export_secret_key()
    assert read_exported(keys().params, arrived).public() == keys().public()
