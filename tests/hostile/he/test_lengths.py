"""C8: the client that sends first decides nothing; least of all how long everyone's vector is."""

import numpy as np
import pytest

import he
from tests.he.support.rounds import fresh_context, keys

SECRET = keys(10, 1000)
LENGTH = 5000


def chunks(context, client_id, length):
    client = he.Client(SECRET, client_id, context=context)
    return list(client.encrypt(np.full(length, client_id)))


def attacked(server, context, length, *, complete):
    """Client 0 goes first, with a vector of another length; nine follow. Who was refused?"""
    refused = {}
    first = chunks(context, 0, length)
    for client_id in range(10):
        sent = chunks(context, client_id, LENGTH) if client_id else first[: None if complete else 1]
        try:
            for chunk in sent:
                server.receive(client_id, chunk)
        except he.RemoteProtocolError as error:
            refused[client_id] = str(error)
    return refused


def opened(server, context):
    return he.KeyHolder(SECRET, min_clients=9, context=context).decrypt(server.result())


@pytest.mark.parametrize("length", [LENGTH - 1, LENGTH + 1, 1, 40 * LENGTH])
@pytest.mark.parametrize("complete", [True, False])
def test_c8_a_first_sender_of_another_length_is_refused_and_the_others_are_summed(length, complete):
    context = fresh_context()
    server = he.Server(SECRET.public(), context=context, vector_length=LENGTH)
    refused = attacked(server, context, length, complete=complete)
    assert set(refused) == {0}
    assert f"client 0 sent a vector of {length} integers" in refused[0]
    result = opened(server, context)
    assert result.survivors == tuple(range(1, 10))
    assert result.total.tolist() == [45] * LENGTH


@pytest.mark.parametrize("complete", [True, False])
def test_c8_without_a_declared_length_the_first_sender_is_one_among_ten(complete):
    context = fresh_context()
    server = he.Server(SECRET.public(), context=context)
    assert attacked(server, context, 40 * LENGTH, complete=complete) == {}
    assert server.outvoted == ({0: 40 * LENGTH} if complete else {})
    result = opened(server, context)
    assert result.survivors == tuple(range(1, 10))
    assert result.total.tolist() == [45] * LENGTH


def test_c8_mutant_that_takes_the_first_senders_length_blames_nine_honest_clients(monkeypatch):
    honest = he.Server._check_sender

    def first_decides(self, client_id, upload):
        names = [name for one in self._sums.values() for name in one.names.values()]
        names += [partial.name for partial in self._partial.values()]
        self._vector_length = (names or [upload.name])[0].vector_length
        honest(self, client_id, upload)

    monkeypatch.setattr(he.Server, "_check_sender", first_decides)
    context = fresh_context()
    server = he.Server(SECRET.public(), context=context, vector_length=LENGTH)
    refused = attacked(server, context, LENGTH + 1, complete=True)
    assert set(refused) == set(range(1, 10))
    assert server.contributors == (0,)
