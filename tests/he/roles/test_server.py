from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from he import (
    CapacityError,
    Client,
    KeyHolder,
    LocalProtocolError,
    RemoteProtocolError,
    Server,
    UnsafeParametersError,
)
from tests.he.support.rounds import fresh_context, keys, uploads

LONG = 17 * keys(3, 2**25).params.values_per_ciphertext  # two chunks


class Round:
    def __init__(self):
        self.secret = keys(3, 2**25)
        self.context = fresh_context()
        self.server = Server(self.secret.public(), context=self.context)

    def upload(self, client_id, length=LONG, value=1):
        client = Client(self.secret, client_id, context=self.context)
        return list(client.encrypt(np.full(length, value)))

    def add(self, client_id, **kwargs):
        for chunk in self.upload(client_id, **kwargs):
            self.server.receive(client_id, chunk)

    def opened(self):
        holder = KeyHolder(self.secret, min_clients=2, context=self.context)
        return holder.decrypt(self.server.result())


@pytest.fixture
def ongoing():
    return Round()


def check_unharmed(ongoing):
    """The refusal before changed nothing: the round ends as if it had not been."""
    ongoing.add(8, value=5)
    result = ongoing.opened()
    assert set(result.survivors) >= {7, 8}
    assert result.total.tolist() == [6] * LONG


def test_a_chunk_of_another_client_is_refused(ongoing):
    first, second = ongoing.upload(7)
    ongoing.server.receive(7, first)
    with pytest.raises(RemoteProtocolError, match="client 9 sent a chunk of client 7"):
        ongoing.server.receive(9, second)
    ongoing.server.receive(7, second)
    check_unharmed(ongoing)


def test_a_repeated_chunk_is_refused(ongoing):
    first, second = ongoing.upload(7)
    ongoing.server.receive(7, first)
    with pytest.raises(RemoteProtocolError, match="chunk 0 twice"):
        ongoing.server.receive(7, first)
    ongoing.server.receive(7, second)
    check_unharmed(ongoing)


def test_a_second_upload_is_refused(ongoing):
    ongoing.add(7)
    with pytest.raises(RemoteProtocolError, match="contributed already"):
        ongoing.add(7)
    check_unharmed(ongoing)


def test_chunks_of_two_uploads_do_not_mix_but_a_dropped_upload_may_begin_again(ongoing):
    ongoing.server.receive(7, ongoing.upload(7)[0])
    again = ongoing.upload(7)
    with pytest.raises(RemoteProtocolError, match=r"drop\(7\)"):
        ongoing.server.receive(7, again[1])
    ongoing.server.drop(7)
    for chunk in again:
        ongoing.server.receive(7, chunk)
    check_unharmed(ongoing)


def test_one_client_too_many_is_refused(ongoing):
    ongoing.add(7)
    for client_id in (1, 2):
        ongoing.server.receive(client_id, ongoing.upload(client_id)[0])
    with pytest.raises(CapacityError, match=r"client 8 .* 3 declared"):
        ongoing.add(8)
    ongoing.server.drop(2)
    check_unharmed(ongoing)


def test_a_declared_length_refuses_others_by_name_whenever_they_send(ongoing):
    ongoing.server = Server(ongoing.secret.public(), context=ongoing.context, vector_length=LONG)
    with pytest.raises(RemoteProtocolError, match=f"client 1 sent a vector of {LONG - 1} integers"):
        ongoing.server.receive(1, ongoing.upload(1, length=LONG - 1)[0])
    ongoing.add(7)
    ongoing.add(8)
    with pytest.raises(RemoteProtocolError, match=f"this sum is one of vectors of {LONG}"):
        ongoing.add(9, length=LONG + 1)
    assert ongoing.server.contributors == (7, 8)
    assert ongoing.server.outvoted == {}
    assert ongoing.opened().total.tolist() == [2] * LONG


def test_without_a_declared_length_the_one_that_most_sent_is_summed(ongoing):
    ongoing.add(1, length=5)
    assert ongoing.server.contributors == (1,)
    ongoing.add(7)
    assert ongoing.server.contributors == ()  # one each: nobody is ahead
    with pytest.raises(LocalProtocolError, match=rf"\(5, {LONG}\); declare the right one"):
        ongoing.server.result()
    ongoing.add(8)
    assert ongoing.server.contributors == (7, 8)
    assert ongoing.server.outvoted == {1: 5}
    result = ongoing.opened()
    assert result.survivors == (7, 8)
    assert result.total.tolist() == [2] * LONG


def test_clients_of_every_length_take_one_seat_and_one_turn(ongoing):
    ongoing.add(1, length=5)
    with pytest.raises(RemoteProtocolError, match="client 1 has contributed already"):
        ongoing.add(1)
    ongoing.add(7)
    ongoing.add(8)
    with pytest.raises(CapacityError, match="client 9 is one more than the 3 declared"):
        ongoing.add(9)


def test_the_key_holder_refuses_another_length_before_the_round_counts_as_opened(ongoing):
    ongoing.add(7)
    ongoing.add(8)
    chunks = list(ongoing.server.result())
    secret, context = ongoing.secret, ongoing.context
    with pytest.raises(RemoteProtocolError, match=f"vectors of {LONG} integers, not of 5"):
        KeyHolder(secret, min_clients=2, context=context, vector_length=5).decrypt(chunks)
    holder = KeyHolder(secret, min_clients=2, context=context, vector_length=LONG)
    assert holder.decrypt(chunks).survivors == (7, 8)


def test_threads_may_share_a_server(ongoing):
    """Sixteen clients from eight threads: every tag of the sum still holds."""
    secret = keys(16, 1000)
    server = Server(secret.public(), context=ongoing.context)
    sent = uploads(secret, np.arange(16 * 9000).reshape(16, 9000) % 1000, ongoing.context)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: [server.receive(one[0], c) for c in one[1]], sent.items()))
    holder = KeyHolder(secret, min_clients=16, context=ongoing.context)
    expected = (np.arange(16 * 9000).reshape(16, 9000) % 1000).sum(axis=0)
    assert np.array_equal(holder.decrypt(server.result()).total, expected)


def test_a_complete_upload_is_no_longer_held_in_pieces(ongoing):
    ongoing.add(7)
    assert not ongoing.server._partial
    check_unharmed(ongoing)


def test_dropping_takes_nothing_from_the_sum(ongoing):
    ongoing.add(7)
    ongoing.server.drop(7)
    ongoing.server.drop(1234)
    assert ongoing.server.contributors == (7,)
    check_unharmed(ongoing)


def test_the_sum_is_closed_once_taken(ongoing):
    ongoing.add(7)
    ongoing.add(8)
    once, again = list(ongoing.server.result()), list(ongoing.server.result())
    assert once == again
    with pytest.raises(LocalProtocolError, match="taken already"):
        ongoing.add(9)


def test_there_is_no_sum_of_nobody(ongoing):
    ongoing.server.receive(7, ongoing.upload(7)[0])
    with pytest.raises(LocalProtocolError, match="no upload is complete"):
        ongoing.server.result()


@pytest.mark.parametrize("client_id", [-1, 2**63, True, "7", None])
def test_client_ids_are_small_integers(ongoing, client_id):
    with pytest.raises(LocalProtocolError):
        ongoing.server.receive(client_id, ongoing.upload(7)[0])
    with pytest.raises(LocalProtocolError):
        Client(ongoing.secret, client_id, context=b"c")


def test_clients_encrypt_once(ongoing):
    client = Client(ongoing.secret, 7, context=ongoing.context)
    with pytest.raises(CapacityError):
        client.encrypt(np.array([2**26]))
    client.encrypt(np.array([1]))
    with pytest.raises(LocalProtocolError, match="already"):
        client.encrypt(np.array([1]))


def test_roles_take_their_own_context_only():
    secret = keys(3, 1000, "bfv", public_key=True)
    for holder_of_keys in (secret, secret.encryptor(), secret.export_secret_key(), None):
        with pytest.raises(UnsafeParametersError, match="never a key"):
            Server(holder_of_keys, context=b"c")
    with pytest.raises(LocalProtocolError):
        Client(secret.public(), 1, context=b"c")
    for other in (secret.public(), secret.encryptor()):
        with pytest.raises(LocalProtocolError, match="SecretContext"):
            KeyHolder(other, min_clients=2, context=b"c")


@pytest.mark.parametrize("min_clients", [-1, 0, 1, 4])
def test_a_key_holder_opens_sums_of_two_at_least(min_clients):
    with pytest.raises(LocalProtocolError, match="min_clients"):
        KeyHolder(keys(), min_clients=min_clients, context=b"c")
