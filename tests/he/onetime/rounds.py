"""Rounds of sums under one-time keys, for the tests."""

import numpy as np

from he.onetime import Encryptor, Server

CONTEXT = b"round 1"


class Memory(set):
    """A journal in memory."""

    def add(self, fact):
        new = fact not in self
        super().add(fact)
        return new


def encrypted(params, client_id, vector, context=CONTEXT, **named):
    """A client's chunks and its key."""
    encryptor = Encryptor(params, client_id, context=context, **named)
    return list(encryptor.encrypt(vector)), encryptor.take_key()


def collected(params, vectors, context=CONTEXT):
    """A server with all uploads added, and the sum of the keys."""
    server, key_sum = Server(params, context=context), np.zeros(params.degree, np.int64)
    for client_id, vector in vectors.items():
        chunks, key = encrypted(params, client_id, vector, context)
        for chunk in chunks:
            server.receive(client_id, chunk)
        server.add(client_id)
        key_sum += key
    return server, key_sum
