"""The server: whole uploads, each added once, and a key sum that must fit."""

import numpy as np
import pytest

import he
from he.onetime import Encryptor, Params, Server
from tests.he.onetime.rounds import CONTEXT, collected, encrypted

PARAMS = Params(3, 100, 400_000)
VECTORS = {i: (np.arange(400_000) * i) % 100 for i in (1, 2, 5)}


def test_the_example_has_several_chunks():
    assert PARAMS.chunks > 1
    assert PARAMS.width(PARAMS.polynomials - 1) < PARAMS.degree


def test_chunks_may_come_in_any_order():
    server, key_sum = Server(PARAMS, context=CONTEXT), 0
    uploads = {i: encrypted(PARAMS, i, vector) for i, vector in VECTORS.items()}
    for place in reversed(range(PARAMS.chunks)):
        for client_id, (chunks, _) in uploads.items():
            server.receive(client_id, chunks[place])
    assert server.complete == (1, 2, 5)
    for client_id, (_, key) in uploads.items():
        server.add(client_id)
        key_sum = key_sum + key
    assert server.complete == ()
    assert server.contributors == (1, 2, 5)
    assert np.array_equal(server.open_with_key_sum(key_sum).total, sum(VECTORS.values()))


def test_an_incomplete_upload_cannot_be_added():
    server = Server(PARAMS, context=CONTEXT)
    chunks, _ = encrypted(PARAMS, 1, VECTORS[1])
    for chunk in chunks[:-1]:
        server.receive(1, chunk)
    assert server.complete == ()
    for call in (server.add, server.digest):
        with pytest.raises(he.LocalProtocolError, match="no complete upload"):
            call(1)
    server.receive(1, chunks[-1])
    server.add(1)
    with pytest.raises(he.LocalProtocolError, match="no complete upload"):
        server.add(1)


def test_a_chunk_arrives_once():
    server = Server(PARAMS, context=CONTEXT)
    chunks, _ = encrypted(PARAMS, 1, VECTORS[1])
    server.receive(1, chunks[0])
    with pytest.raises(he.RemoteProtocolError, match="client 1 sent chunk 0 twice"):
        server.receive(1, chunks[0])
    for chunk in chunks[1:]:
        server.receive(1, chunk)
    server.add(1)
    with pytest.raises(he.RemoteProtocolError, match="sent chunk 1 twice"):
        server.receive(1, chunks[1])


def test_a_dropped_upload_may_begin_again():
    server = Server(PARAMS, context=CONTEXT)
    server.receive(1, encrypted(PARAMS, 1, VECTORS[1])[0][0])
    server.drop(1)
    server.drop(1)  # nothing is left to drop
    for chunk in encrypted(PARAMS, 1, VECTORS[1])[0]:
        server.receive(1, chunk)
    assert server.complete == (1,)


def test_both_sides_have_one_digest():
    encryptor = Encryptor(PARAMS, 1, context=CONTEXT)
    server = Server(PARAMS, context=CONTEXT)
    for chunk in encryptor.encrypt(VECTORS[1]):
        server.receive(1, chunk)
    assert server.digest(1) == encryptor.digest


def test_no_more_clients_than_declared():
    server = Server(PARAMS, context=CONTEXT)
    for client_id in range(4):
        for chunk in encrypted(PARAMS, client_id, VECTORS[1])[0]:
            server.receive(client_id, chunk)
    for client_id in range(3):
        server.add(client_id)
    with pytest.raises(he.CapacityError, match="client 3 is one more than the 3 declared"):
        server.add(3)


@pytest.mark.parametrize("client_id", [1, 2])
def test_a_sum_without_one_of_the_keys_does_not_open(client_id):
    server, key_sum = collected(PARAMS, VECTORS)
    key = encrypted(PARAMS, client_id, VECTORS[client_id])[1]
    with pytest.raises(he.RemoteProtocolError, match="more noise than 3 honest clients"):
        server.open_with_key_sum(key_sum - key)
    assert np.array_equal(server.open_with_key_sum(key_sum).total, sum(VECTORS.values()))


def test_a_sum_of_keys_that_is_too_large_is_refused_at_once():
    server, key_sum = collected(PARAMS, VECTORS)
    key_sum[3] = 64
    with pytest.raises(he.RemoteProtocolError, match="no sum of the keys of 3 clients"):
        server.open_with_key_sum(key_sum)


def test_one_wrong_coefficient_of_the_key_sum_is_seen():
    server, key_sum = collected(PARAMS, VECTORS)
    key_sum[17] += 1 if key_sum[17] < 60 else -1
    with pytest.raises(he.RemoteProtocolError, match="more noise"):
        server.open_with_key_sum(key_sum)


@pytest.mark.parametrize("key_sum", [None, [0] * 2048, np.zeros(2047, np.int64), np.zeros(4096)])
def test_another_thing_is_no_sum_of_keys(key_sum):
    server, _ = collected(PARAMS, VECTORS)
    with pytest.raises(he.LocalProtocolError, match="key_sum must be"):
        server.open_with_key_sum(key_sum)


def test_without_uploads_there_is_no_sum():
    server = Server(PARAMS, context=CONTEXT)
    with pytest.raises(he.LocalProtocolError, match="there is no sum"):
        server.open_with_key_sum(np.zeros(PARAMS.degree, np.int64))


@pytest.mark.parametrize("arguments", [{"params": None}, {"context": b""}, {"enrolled": {1: b""}}])
def test_other_arguments_are_refused(arguments):
    given = {"params": PARAMS, "context": b"c"} | arguments
    with pytest.raises(he.LocalProtocolError):
        Server(**given)
