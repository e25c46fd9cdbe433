"""Chunks: one form, refused for another sender, round, place or length, and signed by enrolled clients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import he
from he.onetime import Encryptor, Params, Server, is_upload, upload_words
from tests.he.onetime.rounds import CONTEXT, encrypted

PARAMS = Params(3, 100, 640)
VECTOR = np.arange(640) % 100
(CHUNK,), _ = encrypted(PARAMS, 7, VECTOR)
KEYS = {7: he.SigningKey.generate(), 8: he.SigningKey.generate()}
DIRECTORY = he.Directory({client_id: key.public for client_id, key in KEYS.items()})


def signed(client_id, key=None):
    (chunk,), _ = encrypted(PARAMS, client_id, VECTOR, signing_key=KEYS[key or client_id])
    return chunk


def server(**named):
    return Server(PARAMS, context=CONTEXT, **named)


def test_a_chunk_is_recognised_and_shows_uniform_words():
    assert is_upload(CHUNK)
    assert he.envelope_kind(CHUNK) == "one-time upload"
    words = upload_words(CHUNK)
    assert len(words) == PARAMS.upload_bytes // 8
    # 100 ones or more too few or too many in 64 bits of each word: false alarm below 1e-6 (Hoeffding).
    ones = int(np.bitwise_count(words).sum())
    bits = 64 * len(words)
    assert abs(ones - bits / 2) < np.sqrt(bits * np.log(2e6) / 2)


def test_chunks_of_other_messages_are_not():
    secret = he.SecretContext.generate(he.Params.for_sum(3, max_abs=9))
    (other,) = he.Client(secret, 7, context=CONTEXT).encrypt(np.array([1]))
    assert not is_upload(other)
    with pytest.raises(he.WireFormatError):
        upload_words(other)
    with pytest.raises(he.WireFormatError, match="'upload' stands where 'one-time upload' is due"):
        server().receive(7, other)
    with pytest.raises(he.WireFormatError, match="'one-time upload' stands where 'upload' is due"):
        he.Server(secret.public(), context=CONTEXT).receive(7, CHUNK)
    with pytest.raises(he.LocalProtocolError):
        is_upload("text")


def test_a_chunk_belongs_to_its_sender_round_and_parameters():
    with pytest.raises(he.RemoteProtocolError, match="client 8 sent a chunk of client 7"):
        server().receive(8, CHUNK)
    with pytest.raises(he.ContextMismatchError, match="another round"):
        Server(PARAMS, context=b"round 2").receive(7, CHUNK)
    for other in (Params(4, 100, 640), Params(3, 101, 640), Params(3, 100, 641)):
        with pytest.raises(he.ContextMismatchError, match="other parameters"):
            Server(other, context=CONTEXT).receive(7, CHUNK)


@pytest.mark.parametrize("data", [CHUNK[:-1], CHUNK + b"\0", CHUNK[:70], CHUNK[:5], b""])
def test_another_length_is_refused(data):
    with pytest.raises(he.WireFormatError):
        server().receive(7, data)


@given(st.integers(0, 72), st.integers(1, 255))
def test_damage_in_a_header_is_refused(place, change):
    damaged = bytearray(CHUNK)
    damaged[place] ^= change
    with pytest.raises(he.HeError):
        server().receive(7, bytes(damaged))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_chunk_or_a_typed_error(data):
    with pytest.raises(he.HeError):
        server().receive(7, data)


def test_an_enrolled_clients_chunk_is_signed():
    one = server(enrolled=DIRECTORY)
    one.receive(7, signed(7))
    assert one.complete == (7,)


@pytest.mark.parametrize("place", [100, -65, -1])
def test_damage_anywhere_in_a_signed_chunk_is_refused(place):
    damaged = bytearray(signed(7))
    damaged[place] ^= 1
    with pytest.raises(he.AuthenticationError, match="client 7's chunk is damaged"):
        server(enrolled=DIRECTORY).receive(7, bytes(damaged))


def test_another_clients_signature_is_refused():
    with pytest.raises(he.AuthenticationError):
        server(enrolled=DIRECTORY).receive(7, signed(7, key=8))


def test_all_parties_have_a_directory_or_none():
    with pytest.raises(he.WireFormatError, match="one of nobody"):
        server(enrolled=DIRECTORY).receive(7, CHUNK)
    with pytest.raises(he.WireFormatError, match="one of enrolled clients"):
        server().receive(7, signed(7))


class Silent:
    def sign(self, message):
        return None


def test_a_signer_without_a_signature_is_an_error():
    chunks = Encryptor(PARAMS, 7, context=CONTEXT, signing_key=Silent()).encrypt(VECTOR)
    with pytest.raises(he.LocalProtocolError, match="no Ed25519 signature"):
        next(chunks)
