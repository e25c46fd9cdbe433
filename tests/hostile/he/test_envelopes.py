"""C3: damaged, replayed and made-up bytes raise a typed error before SEAL parses anything."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import he
from he.crypto.context import PublicContext
from he.rounds import hash_context
from he.scheme import Ring
from tests.he.support.rounds import collect, fresh_context, keys, uploads

CONTEXT = b"hostile round"
SECRET = keys(3, 1000)
LENGTH = 16 * SECRET.params.values_per_ciphertext + 1
UPLOADS = uploads(SECRET, np.ones((3, LENGTH), np.int64), CONTEXT)
CHUNK = UPLOADS[0][0]
SUM = list(collect(SECRET, UPLOADS, CONTEXT).result())
HEADER_BYTES = 105


@pytest.fixture
def no_parser(monkeypatch):
    """Fail the test if a body is parsed, by us or by SEAL."""

    def parser(*_):
        pytest.fail("unauthenticated bytes reached the parser")

    monkeypatch.setattr("he.roles.server.unpack_words", parser)
    monkeypatch.setattr(Ring, "_load", parser)


def server():
    return he.Server(SECRET.public(), context=CONTEXT)


def flipped(data, place, mask=1):
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


PLACES = [*range(0, HEADER_BYTES + 8, 3), 5000, len(CHUNK) - 130, len(CHUNK) - 65, len(CHUNK) - 1]


@pytest.mark.usefixtures("no_parser")
@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_never_reaches_the_parser(place):
    with pytest.raises(he.HeError):
        server().receive(0, flipped(CHUNK, place))


@pytest.mark.usefixtures("no_parser")
@pytest.mark.parametrize(
    "data", [b"", CHUNK[:1], CHUNK[:105], CHUNK[:-1], CHUNK + b"\0", 2 * CHUNK]
)
def test_truncated_empty_and_surplus_bytes_never_reach_the_parser(data):
    with pytest.raises((he.WireFormatError, he.AuthenticationError)):
        server().receive(0, data)


def test_without_the_signature_a_flipped_bit_is_added(monkeypatch):
    """Mutant: SEAL takes the damaged ciphertext; only the tag then keeps the sum closed."""
    monkeypatch.setattr(PublicContext, "verify", lambda *_: None)
    context = fresh_context()
    sent = uploads(SECRET, np.ones((2, 5), np.int64), context)
    sent[1] = [flipped(sent[1][0], 5000)]
    damaged = collect(SECRET, sent, context)
    assert damaged.contributors == (0, 1)
    with pytest.raises(he.AuthenticationError, match="not the sum"):
        he.KeyHolder(SECRET, min_clients=2, context=context).decrypt(damaged.result())


@pytest.mark.usefixtures("no_parser")
def test_a_chunk_of_another_round_is_refused():
    other = he.Server(SECRET.public(), context=b"the next round")
    with pytest.raises(he.ContextMismatchError, match="another round"):
        other.receive(0, CHUNK)


def test_without_the_context_check_a_replay_is_added(monkeypatch):
    """Mutant: last round's upload joins this round at the server; F_k is bound to its round."""
    monkeypatch.setattr("he.wire.uploads.check_origin", lambda *_: None)
    context = fresh_context()
    sent = uploads(SECRET, np.ones((1, LENGTH), np.int64), context)
    sent[1] = UPLOADS[1]
    replayed = collect(SECRET, sent, context)
    assert replayed.contributors == (0, 1)
    with pytest.raises(he.AuthenticationError):
        he.KeyHolder(SECRET, min_clients=2, context=context).decrypt(replayed.result())


@pytest.mark.usefixtures("no_parser")
def test_a_sum_is_no_upload_and_an_upload_no_sum():
    with pytest.raises(he.WireFormatError, match="upload"):
        server().receive(0, SUM[0])
    with pytest.raises(he.WireFormatError, match="sum"):
        he.KeyHolder(SECRET, min_clients=2, context=CONTEXT).decrypt([CHUNK])


@pytest.mark.parametrize("public_key", [False, True])
def test_other_parameters_are_refused(public_key):
    other = keys(4, 1000, "bfv", public_key=public_key)
    (chunk,) = uploads(other, np.ones((1, 5), np.int64), CONTEXT)[0]
    with pytest.raises(he.ContextMismatchError, match="other parameters"):
        server().receive(0, chunk)


def resigned(**changes):
    """What a member of the group can make: signed, and not what an honest client makes."""
    upload = he.wire.open_upload(CHUNK, SECRET.public(), hash_context(CONTEXT))
    fields = {name: getattr(upload, name) for name in ("name", "index", "tags", "body")}
    chunk = he.wire.UploadChunk(**{**fields, **changes})
    return signed(SECRET, chunk)


def signed(secret, chunk):
    message = he.wire.encode_upload(chunk, secret.public())
    return message + secret.sign(message)


@pytest.mark.usefixtures("no_parser")
@pytest.mark.parametrize(
    "changes",
    [
        {"index": 2},
        {"index": 1},
        {"tags": (1,) * 15},
        {"tags": (1,) * 15 + (he.params.MODULUS,)},
        {"name": he.crypto.tags.UploadName(hash_context(CONTEXT), 0, bytes(32), 0)},
        {"name": he.crypto.tags.UploadName(hash_context(CONTEXT), 0, bytes(32), 2**40)},
        {"name": he.crypto.tags.UploadName(hash_context(CONTEXT), 2**63, bytes(32), LENGTH)},
        {"body": b""},
    ],
)
def test_a_member_cannot_send_a_chunk_with_no_place(changes):
    with pytest.raises(he.WireFormatError):
        server().receive(0, resigned(**changes))


def test_a_member_cannot_send_coefficients_beyond_q():
    secret = keys(3, 1000, "ckks")
    (chunk,) = uploads(secret, np.ones((1, 5), np.int64), CONTEXT)[0]
    upload = he.wire.open_upload(chunk, secret.public(), hash_context(CONTEXT))
    forged = he.wire.UploadChunk(upload.name, 0, upload.tags, b"\xff" * len(upload.body))
    receiving = he.Server(secret.public(), context=CONTEXT)
    with pytest.raises(he.WireFormatError, match="below q"):
        receiving.receive(0, signed(secret, forged))


DECODERS = {
    "params": he.Params.from_bytes,
    "public": he.PublicContext.from_bytes,
    "secret": lambda data: he.SecretContext.from_secret_key(SECRET.params, data),
    "kind": he.envelope_kind,
    "coefficients": he.ciphertext_coefficients,
    "receive": lambda data: server().receive(0, data),
    "open": lambda data: he.KeyHolder(SECRET, min_clients=2, context=b"fuzz").decrypt([data]),
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(DECODERS)),
    st.sampled_from([CHUNK, SUM[0], SUM[1], SECRET.public().to_bytes(), SECRET.params.to_bytes()]),
    st.data(),
)
def test_decoders_accept_or_raise_a_typed_error(decoder, valid, data):
    """Valid messages with cuts, insertions and changed octets, and bytes from nowhere."""
    edited = bytearray(valid)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, min(len(edited), 200)))
        edited[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    cut = data.draw(st.just(len(edited)) | st.integers(0, len(edited)))
    with contextlib.suppress(he.HeError):
        DECODERS[decoder](bytes(edited[:cut]))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=300))
def test_decoders_raise_a_typed_error_on_bytes_from_nowhere(decoder, data):
    with pytest.raises(he.HeError):
        DECODERS[decoder](data)


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=64, max_size=64), st.sampled_from([0, 1]))
def test_any_body_of_a_member_is_a_ciphertext_or_a_typed_error(pattern, surplus):
    """SEAL's loader meets no header but ours, and no coefficient beyond q."""
    body = (pattern * 8000)[: 16 * 512 * SECRET.params.word_bits + surplus]
    with contextlib.suppress(he.HeError):
        server().receive(0, resigned(body=body))


@pytest.mark.parametrize("arrived", [(0,), (1,), (0, 1)])
def test_duplicates_are_refused_before_the_parser(arrived, request):
    receiving = server()
    for index in arrived:
        receiving.receive(0, UPLOADS[0][index])
    request.getfixturevalue("no_parser")
    with pytest.raises(he.RemoteProtocolError, match=r"twice|already"):
        receiving.receive(0, UPLOADS[0][arrived[0]])
