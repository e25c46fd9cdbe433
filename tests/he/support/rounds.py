"""Whole rounds in one process, for the tests of `he`."""

from __future__ import annotations

import secrets
from functools import lru_cache

import numpy as np

import he


@lru_cache(maxsize=64)
def keys(n_clients=3, max_abs=1000, scheme="bfv", *, public_key=False):
    params = he.Params.for_sum(n_clients, max_abs=max_abs, scheme=scheme, public_key=public_key)
    return he.SecretContext.generate(params)


def fresh_context():
    return secrets.token_bytes(8)


def uploads(secret, vectors, context, *, first_id=0):
    """{client_id: its chunks}."""
    return {
        first_id + index: list(he.Client(secret, first_id + index, context=context).encrypt(vector))
        for index, vector in enumerate(vectors)
    }


def collect(secret, sent, context):
    server = he.Server(secret.public(), context=context)
    for client_id, chunks in sent.items():
        for chunk in chunks:
            server.receive(client_id, chunk)
    return server


def summed(secret, vectors, *, members=None):
    context = fresh_context()
    server = collect(secret, uploads(members or secret, vectors, context), context)
    holder = he.KeyHolder(secret, min_clients=2, context=context)
    return holder.decrypt(server.result())


def random_vectors(n_clients, length, max_abs, seed=0):
    """Uniform values, with both bounds certain to occur."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-max_abs, max_abs, (n_clients, length), dtype=np.int64, endpoint=True)
    vectors[:, 0] = max_abs
    vectors[:, -1] = -max_abs
    return vectors


def tag_vector(key):
    """The secret r of a `TagKey`, uint64[parts, N], from its limbs of ten bits."""
    shifts = np.arange(0, 60, 10, dtype=np.uint64)[:, None]
    return (key._limbs.astype(np.uint64) << shifts).sum(axis=1)
