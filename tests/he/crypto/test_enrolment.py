"""Enrolled signing keys: the directory, the rounds, the wire form and who may not enrol."""

import struct

import numpy as np
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

import he
import he.roles.parallel
from he.crypto import enrolment
from he.rounds import hash_context
from he.wire import open_sum
from tests.he.support.rounds import fresh_context, keys, random_vectors

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def identities(*clients):
    return {client: he.SigningKey.generate() for client in clients}


def directory_of(signers):
    return he.Directory({client: key.public for client, key in signers.items()})


def enrolled_round(members, secret, vectors, signers, context, *, processes=0):
    """A server that holds everyone's upload."""
    directory = directory_of(signers)
    server = he.Server(secret.public(), context=context, enrolled=directory)
    for (client_id, key), vector in zip(signers.items(), vectors, strict=True):
        client = he.Client(members, client_id, context=context, signing_key=key)
        chunks = (
            he.encrypt_chunks(client, vector, processes=processes)
            if processes
            else client.encrypt(vector)
        )
        for chunk in chunks:
            server.receive(client_id, chunk)
    return server, directory


@pytest.mark.parametrize("public_key", [True, False])
@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_enrolled_clients_sum_as_others_do(scheme, public_key):
    secret = keys(4, 1000, scheme, public_key=public_key)
    members = secret.encryptor() if public_key else secret
    length = 16 * secret.params.values_per_ciphertext + 3
    vectors, context = random_vectors(3, length, 1000), fresh_context()
    server, directory = enrolled_round(members, secret, vectors, identities(5, 2, 9), context)
    chunks = list(server.result())
    holder = he.KeyHolder(secret, min_clients=3, context=context, enrolled=directory)
    opened = holder.decrypt(chunks)
    assert np.array_equal(opened.total, vectors.sum(axis=0))
    assert opened.survivors == directory.enrolled == (2, 5, 9)
    first, second = (
        open_sum(c, secret.public(), hash_context(context), enrolled=True) for c in chunks
    )
    assert len(first.proofs) == 3
    assert second.proofs == ()
    assert {he.envelope_kind(chunk) for chunk in chunks} == {"sum"}


def test_workers_never_see_the_signing_key(monkeypatch):
    """A worker's chunk is unsigned; the client's own process signs it."""
    secret, signers = keys(3, 1000, public_key=True), identities(1, 2)
    started = []
    pool = he.roles.parallel.ProcessPoolExecutor

    def watched(*args, **options):
        started.append(b"".join(options["initargs"]))
        return pool(*args, **options)

    monkeypatch.setattr(he.roles.parallel, "ProcessPoolExecutor", watched)
    vectors, context = random_vectors(2, 10, 1000), fresh_context()
    server, directory = enrolled_round(
        secret.encryptor(), secret, vectors, signers, context, processes=1
    )
    holder = he.KeyHolder(secret, min_clients=2, context=context, enrolled=directory)
    assert np.array_equal(holder.decrypt(server.result()).total, vectors.sum(axis=0))
    assert len(started) == 2
    assert not any(key.private_bytes() in sent for key in signers.values() for sent in started)


def test_what_a_client_signs_is_short_and_rebuilt_by_hand():
    """Ed25519 over a label, the chunk's first 105 bytes and SHA-256 of the rest; RFC 8032 draws nothing."""
    secret, context = keys(3, 1000, public_key=True), fresh_context()
    key = he.SigningKey.from_private_bytes(bytes(range(32)))
    client = he.Client(secret.encryptor(), 7, context=context, signing_key=key)
    (chunk,) = client.encrypt(np.array([1, -2, 3]))
    head, body, signature = chunk[:105], chunk[105:-64], chunk[-64:]
    assert head[:5] == b"HEC\x02\x03"
    statement = b"he enrolled upload\0" + head + blake3(body).digest()
    assert signature == Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(statement)
    other = he.SigningKey.from_private_bytes(bytes(32))
    directory = directory_of({7: key, 8: other})
    server = he.Server(secret.public(), context=context, enrolled=directory)
    server.receive(7, chunk)
    signer = he.Client(secret.encryptor(), 8, context=context, signing_key=other)
    server.receive(8, next(signer.encrypt(np.array([5, 5, 5]))))
    (total,) = server.result()
    magic, kind, *_ = struct.unpack_from("<4sB16s32sIQ", total)
    size, client_id, nonce, digest, proof = struct.unpack_from("<IQ32s32s64s", total, 65)
    assert (magic, kind, size, client_id) == (b"HEC\x02", 4, 2, 7)
    assert (nonce, digest, proof) == (head[73:], blake3(body).digest(), signature)


def test_all_parties_have_a_directory_or_none_has():
    secret, signers, context = keys(3, 1000, public_key=True), identities(1, 2), fresh_context()
    vectors = random_vectors(2, 10, 1000)
    server, _ = enrolled_round(secret.encryptor(), secret, vectors, signers, context)
    with pytest.raises(he.WireFormatError, match="enrolled clients"):
        he.KeyHolder(secret, min_clients=2, context=context).decrypt(server.result())
    client = he.Client(secret.encryptor(), 1, context=context, signing_key=signers[1])
    plain = he.Server(secret.public(), context=context)
    with pytest.raises(he.WireFormatError, match="directory"):
        plain.receive(1, next(client.encrypt(vectors[0])))
    for client_id in (1, 2):
        member = he.Client(secret.encryptor(), client_id, context=context)
        plain.receive(client_id, next(member.encrypt(vectors[0])))
    holder = he.KeyHolder(secret, min_clients=2, context=context, enrolled=directory_of(signers))
    with pytest.raises(he.WireFormatError, match="the group"):
        holder.decrypt(plain.result())


@pytest.mark.parametrize(
    ("enrolled", "match"),
    [
        ({}, "nobody"),
        ({1: b"short"}, "32 bytes"),
        ({1: bytes(range(32)), 2: bytes(range(32))}, "two clients"),
        ({1: (1).to_bytes(32, "little")}, "low order"),
        ({1: (P + 3).to_bytes(32, "little")}, "canonical"),
    ],
)
def test_who_cannot_be_enrolled(enrolled, match):
    with pytest.raises(he.LocalProtocolError, match=match):
        he.Directory(enrolled)


def test_a_directory_does_not_follow_its_source():
    source = {1: he.SigningKey.generate().public}
    directory = he.Directory(source)
    source[2] = he.SigningKey.generate().public
    assert directory.enrolled == (1,)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_signing_key_has_32_bytes(size):
    with pytest.raises(he.LocalProtocolError, match="32 bytes"):
        he.SigningKey.from_private_bytes(bytes(size))


def added(one, two):
    """RFC 8032, section 5.1.4, in affine coordinates."""
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def test_the_list_of_low_orders_is_that_of_the_curve():
    """A point of order 8 and its multiples; every y on the list is one of theirs, and no other is."""
    y = enrolment._ORDER_8
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    multiples = [(0, 1)]
    for _ in range(8):
        multiples.append(added(multiples[-1], (x, y)))
    assert multiples[8] == (0, 1)
    assert multiples[4] == (0, P - 1)
    assert {point[1] for point in multiples} == enrolment._LOW_ORDER


def test_mutant_without_the_check_of_low_orders_anyone_signs(monkeypatch):
    """Under y = 1, the neutral element, (R, S) = (1, 0) holds for every message."""
    neutral = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")
    monkeypatch.setattr(enrolment, "_LOW_ORDER", frozenset())
    he.Directory({1: neutral}).verify(1, b"whatever", neutral + bytes(32))
