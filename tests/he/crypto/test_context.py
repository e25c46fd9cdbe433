import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from he import (
    AuthenticationError,
    ContextMismatchError,
    EncryptContext,
    HeError,
    LocalProtocolError,
    Params,
    PublicContext,
    SecretContext,
    UnsafeParametersError,
    WireFormatError,
)
from he.rounds import hash_context
from tests.he.support.rounds import keys, random_vectors, summed

PUBLIC_KEY = {"n_clients": 3, "max_abs": 1000, "scheme": "bfv", "public_key": True}


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_secret_keys_leave_and_come_back_whole(scheme):
    secret = keys(scheme=scheme)
    again = SecretContext.from_secret_key(secret.params, secret.export_secret_key())
    assert again.public() == secret.public()
    vectors = random_vectors(3, 10, 1000)
    assert summed(again, vectors, members=secret).total.tolist() == vectors.sum(axis=0).tolist()


def test_encryption_keys_leave_and_come_back_whole():
    secret = keys(**PUBLIC_KEY)
    encryptor = secret.encryptor()
    again = EncryptContext.from_encryption_keys(
        encryptor.params, encryptor.export_encryption_keys()
    )
    assert again.public() == encryptor.public() == secret.public()
    vectors = random_vectors(3, 10, 1000)
    assert summed(secret, vectors, members=again).total.tolist() == vectors.sum(axis=0).tolist()


def test_public_key_mode_needs_parameters_with_room_for_it():
    with pytest.raises(UnsafeParametersError, match="public_key=True"):
        keys().encryptor()


def test_exported_keys_are_bound_to_their_parameters():
    other = Params.for_sum(4, max_abs=1000, scheme="bfv")
    with pytest.raises(ContextMismatchError):
        SecretContext.from_secret_key(other, keys().export_secret_key())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda _: b"",
        lambda data: b"HEE2" + data[4:],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    ],
)
def test_damaged_keys_are_refused(damage):
    with pytest.raises(WireFormatError):
        SecretContext.from_secret_key(keys().params, damage(keys().export_secret_key()))


def test_public_context_round_trips_within_128_bytes():
    public = keys().public()
    assert len(public.to_bytes()) == 71
    assert PublicContext.from_bytes(public.to_bytes()) == public


@settings(max_examples=200)
@given(
    st.binary(max_size=80)
    | st.binary(min_size=67, max_size=67).map(b"HEV2".__add__)
    | st.tuples(st.integers(0, 70), st.integers(1, 255)).map(
        lambda flip: bytes(
            octet ^ (flip[1] if index == flip[0] else 0)
            for index, octet in enumerate(keys().public().to_bytes())
        )
    )
)
def test_any_bytes_are_a_public_context_or_a_wire_error(data):
    with pytest.raises(WireFormatError):
        PublicContext.from_bytes(data)


def test_fingerprints_cover_parameters_and_key():
    one = keys().public()
    other_key = SecretContext.generate(keys().params).public()
    other_params = PublicContext(Params.for_sum(4, max_abs=9), one.verify_key)
    assert len({one.fingerprint, other_key.fingerprint, other_params.fingerprint}) == 3


def test_signatures_of_others_are_refused():
    secret, other = keys(), SecretContext.generate(keys().params)
    secret.public().verify(b"message", secret.sign(b"message"))
    for message, signature in [(b"message", other.sign(b"message")), (b"massage", b"s" * 64)]:
        with pytest.raises(AuthenticationError):
            secret.public().verify(message, signature)
    with pytest.raises(UnsafeParametersError):
        PublicContext(secret.params, b"short")


@pytest.mark.parametrize("context", [b"", "round 1", None])
def test_contexts_are_non_empty_bytes(context):
    with pytest.raises(LocalProtocolError):
        hash_context(context)


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_any_bytes_are_keys_or_a_typed_error(data):
    params = keys(**PUBLIC_KEY).params
    for read in (SecretContext.from_secret_key, EncryptContext.from_encryption_keys):
        with pytest.raises(HeError):
            read(params, data)


def test_exported_keys_with_words_beyond_q_are_refused():
    data = keys().export_secret_key()
    content = data[:20] + b"\xff" * 8 + data[28:-32]
    forged = content + hashlib.sha256(content).digest()
    with pytest.raises(WireFormatError, match="not below q"):
        SecretContext.from_secret_key(keys().params, forged)
