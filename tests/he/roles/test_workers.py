"""Encryption in spawned processes: contexts are rebuilt from bytes, never pickled."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import he
from tests.he.support.rounds import collect, fresh_context, keys, random_vectors


def encrypt_here(params, key, client_id, context, vector):
    parameters = he.Params.from_bytes(params)
    read = {
        b"HEK2": he.SecretContext.from_secret_key,
        b"HEE2": he.EncryptContext.from_encryption_keys,
    }[key[:4]]
    return list(he.Client(read(parameters, key), client_id, context=context).encrypt(vector))


@pytest.fixture(scope="module")
def pool():
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as executor:
        yield executor


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_spawned_workers_encrypt(pool, scheme):
    secret = keys(3, 1000, scheme, public_key=True)
    exported = [
        secret.export_secret_key(),
        secret.encryptor().export_encryption_keys(),
        secret.export_secret_key(),
    ]
    vectors, context = random_vectors(3, 10, 1000), fresh_context()
    jobs = [
        pool.submit(encrypt_here, secret.params.to_bytes(), exported[i], i, context, vectors[i])
        for i in range(3)
    ]
    server = collect(secret, {i: job.result() for i, job in enumerate(jobs)}, context)
    result = he.KeyHolder(secret, min_clients=3, context=context).decrypt(server.result())
    assert np.array_equal(result.total, vectors.sum(axis=0))
