"""E9: a transport reads the next message into the buffer of the last one, in secagg and in he."""

from __future__ import annotations

import numpy as np
import pytest

import he
import secagg.roles.client.client
import secagg.roles.client.joining
import secagg.roles.server.server
from secagg import Client, Directory, Identity, Params, Phase, SecAggError, Server
from tests.hostile.mutants import FOUND
from tests.secagg.support.lab import ANY_OFFER

IDS = range(5)


class Buffer:
    """A buffer that is filled again for each message."""

    def __init__(self, size=1 << 16):
        self.memory = bytearray(size)

    def holding(self, data):
        self.memory[:] = b"\xff" * len(self.memory)
        self.memory[: len(data)] = data
        return memoryview(self.memory)[: len(data)]


def test_e9_a_session_over_one_buffer_is_exact():
    """One client is silent, so that shares of both kinds are needed."""
    buffer, params = Buffer(), Params.for_cohort(5, 4, max_abs=100, dropout_rate=0.2)
    identities = {i: Identity.generate() for i in IDS}
    directory = Directory({i: identity.public for i, identity in identities.items()})
    server = Server(params, context=buffer.holding(b"round"), directory=directory)
    offer, clients = server.offer(), {}
    for i in IDS:
        context = bytearray(b"round")
        clients[i] = Client.from_offer(
            buffer.holding(offer), i, identities[i], directory, context=context, policy=ANY_OFFER
        )
        context[:] = b"other"
        clients[i].set_input(np.full(4, i))
    pending = dict.fromkeys(IDS)
    while server.phase is not Phase.DONE:
        now = server.phase
        for i, message in pending.items():
            client = clients[i]
            told = None if message is None else buffer.holding(message)
            reply = client.start() if told is None else client.receive(told)
            if not (now is Phase.MASKED_INPUT and i == 1):
                server.receive(i, buffer.holding(reply))
        pending = dict(server.advance())
    assert server.result().survivors == (0, 2, 3, 4)
    assert server.result().total.tolist() == [9] * 4


def test_e9_mutant_that_keeps_views_of_the_buffer(monkeypatch):
    for module in (
        secagg.roles.server.server,
        secagg.roles.client.client,
        secagg.roles.client.joining,
    ):
        monkeypatch.setattr(module, "octets", lambda _, data: data)
        if hasattr(module, "context_of"):
            monkeypatch.setattr(module, "context_of", lambda data: data)
    with pytest.raises((*FOUND, SecAggError, TypeError)):
        test_e9_a_session_over_one_buffer_is_exact()


def encrypted():
    keys = he.SecretContext.generate(he.Params.for_sum(3, max_abs=1000, scheme="bfv"))
    return keys, he.Server(keys.public(), context=b"round", vector_length=50)


def test_e9_a_sum_of_ciphertexts_over_one_buffer_is_exact():
    buffer, (keys, server) = Buffer(1 << 18), encrypted()
    for i in range(3):
        for chunk in he.Client(keys, i, context=b"round").encrypt(np.full(50, i)):
            server.receive(i, buffer.holding(chunk))
    holder = he.KeyHolder(keys, min_clients=2, context=b"round")
    total = holder.decrypt(buffer.holding(chunk) for chunk in server.result()).total
    assert total.tolist() == [3] * 50


def test_e9_chunks_that_are_others_on_a_second_reading_are_read_once():
    keys, server = encrypted()
    for i in range(3):
        for chunk in he.Client(keys, i, context=b"round").encrypt(np.full(50, i)):
            server.receive(i, chunk)
    right = list(server.result())

    class Changing:
        read = 0

        def __iter__(self):
            self.read += 1
            return iter(right if self.read == 1 else [bytes(len(chunk)) for chunk in right])

    holder = he.KeyHolder(keys, min_clients=2, context=b"round")
    assert holder.decrypt(Changing()).total.tolist() == [3] * 50
