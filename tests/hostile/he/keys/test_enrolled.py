"""C3, C5 where clients are enrolled: no party can send in a client's name, and only senders are named."""

from dataclasses import replace

import numpy as np
import pytest

import he
from he import wire
from he.coding.words import pack_words, restore_low_bits, unpack_words
from he.crypto import enrolment
from he.crypto.tags import UploadName
from he.params import DEGREE, MODULUS
from he.rounds import hash_context
from he.scheme import Ring
from tests.he.support.rounds import fresh_context, keys, random_vectors
from tests.hostile.mutants import without

SECRET = keys(4, 1000, public_key=True)
MEMBERS = SECRET.encryptor()
SIGNERS = {client: he.SigningKey.generate() for client in (1, 2, 3)}
STRANGER = he.SigningKey.generate()
DIRECTORY = he.Directory({client: key.public for client, key in SIGNERS.items()})
VECTORS = dict(zip(SIGNERS, random_vectors(3, 10, 1000), strict=True))


@pytest.fixture
def no_parser(monkeypatch):
    """Fail the test if a body is parsed, by us or by SEAL."""

    def parser(*_):
        pytest.fail("unauthenticated bytes reached the parser")

    monkeypatch.setattr("he.roles.server.unpack_words", parser)
    monkeypatch.setattr(Ring, "_load", parser)


def server(context):
    return he.Server(SECRET.public(), context=context, enrolled=DIRECTORY)


def holder(context, min_clients=2):
    return he.KeyHolder(SECRET, min_clients=min_clients, context=context, enrolled=DIRECTORY)


def upload(context, client_id, signing_key):
    member = he.Client(MEMBERS, client_id, context=context, signing_key=signing_key)
    (chunk,) = member.encrypt(VECTORS.get(client_id, VECTORS[1]))
    return chunk


CHUNK = upload(b"round", 2, SIGNERS[2])
"""Client 2's honest upload."""

IMPOSTORS = {
    "another client's key": (2, upload(b"round", 2, SIGNERS[1]), "client 2's chunk is damaged"),
    "another client's chunk": (1, CHUNK, "client 1 sent a chunk of client 2"),
    "a stranger": (9, upload(b"round", 9, STRANGER), "client 9 is not enrolled"),
    "a stranger as client 2": (2, upload(b"round", 2, STRANGER), "client 2's chunk is damaged"),
    "the group's key": (2, upload(b"round", 2, None), "client 2 signed with the group's key"),
    "the group's key under the other kind": (
        2,
        CHUNK[:-64] + MEMBERS.sign(CHUNK[:-64]),
        "client 2's chunk is damaged",
    ),
    "a flipped bit": (2, CHUNK[:500] + bytes([CHUNK[500] ^ 1]) + CHUNK[501:], "client 2's chunk"),
}


@pytest.mark.usefixtures("no_parser")
@pytest.mark.parametrize("name", IMPOSTORS)
def test_c3_an_impostor_is_named_before_anything_is_parsed(name):
    sender, chunk, match = IMPOSTORS[name]
    receiving = server(b"round")
    with pytest.raises((he.AuthenticationError, he.RemoteProtocolError), match=match):
        receiving.receive(sender, chunk)
    assert receiving.contributors == ()


@pytest.mark.usefixtures("no_parser")
def test_c3_an_old_rounds_chunk_is_refused():
    with pytest.raises(he.ContextMismatchError, match="another round"):
        server(b"next round").receive(2, CHUNK)


def test_c3_a_replayed_chunk_is_refused_and_its_sender_named():
    receiving = server(b"round")
    receiving.receive(2, CHUNK)
    for sender, match in (
        (2, "client 2 has contributed"),
        (1, "client 1 sent a chunk of client 2"),
    ):
        with pytest.raises(he.RemoteProtocolError, match=match):
            receiving.receive(sender, CHUNK)
    assert receiving.contributors == (2,)


def test_c3_mutant_without_own_signatures_client_1_speaks_for_client_2(monkeypatch):
    monkeypatch.setattr(enrolment.Directory, "verify", lambda *_: None)
    context, chosen = fresh_context(), np.full(10, 1000)
    member = he.Client(MEMBERS, 2, context=context, signing_key=SIGNERS[1])
    receiving = server(context)
    receiving.receive(2, next(member.encrypt(chosen)))
    receiving.receive(3, upload(context, 3, SIGNERS[3]))
    opened = holder(context).decrypt(receiving.result())
    assert opened.survivors == (2, 3)
    assert np.array_equal(opened.total, chosen + VECTORS[3])


def test_c3_mutant_without_the_senders_check_a_chunk_travels_twice(monkeypatch):
    """Then client 1 delivers client 2's chunk, and it is client 1 that is noted as having contributed."""
    mutant = without(monkeypatch, wire.uploads, "_check_client", "client_id != sender")
    monkeypatch.setattr(wire.uploads, "_check_client", mutant)
    with pytest.raises(he.RemoteProtocolError, match="client 1 sent a chunk of client 2"):
        server(b"round").receive(1, CHUNK)  # the second look, after the signature, still sees it
    monkeypatch.setattr(he.Server, "_check_sender", lambda *_: None)
    receiving = server(b"round")
    receiving.receive(1, CHUNK)
    assert receiving.contributors == (2,)


class Padded:
    """A server with a client's help, hence with the group's tag key, that pads a sum of two to three.

    Two clients sent; the server names client 3 too, who is enrolled and silent, and adds the mask of that
    name to the tags, as only a member can.
    """

    def __init__(self, min_clients=3):
        self.context = fresh_context()
        receiving = server(self.context)
        for client in (1, 2):
            receiving.receive(client, upload(self.context, client, SIGNERS[client]))
        (self.chunk,) = receiving.result()
        self.hashed = hash_context(self.context)
        self.honest = wire.open_sum(self.chunk, SECRET.public(), self.hashed, enrolled=True)
        self.min_clients = min_clients

    def forged(self, proof):
        first = self.honest
        absent = UploadName(self.hashed, 3, bytes(32), first.vector_length)
        masks = MEMBERS.tag_key.masks(absent, 0, len(first.tags))
        tags = tuple((a + b) % MODULUS for a, b in zip(first.tags, masks, strict=True))
        named = (*first.contributors, absent)
        proofs = (*first.proofs, proof)
        padded = replace(first, contributors=named, tags=tags, proofs=proofs)
        return wire.encode_sum(padded, SECRET.public(), self.hashed)

    def proof_of(self, context, client):
        chunk = upload(context, client, SIGNERS[client])
        hashed = hash_context(context)
        opened = wire.open_upload(chunk, SECRET.public(), hashed, sender=client, enrolled=DIRECTORY)
        return opened.proof

    def open(self, chunk):
        return holder(self.context, self.min_clients).decrypt([chunk])


@pytest.mark.parametrize(
    "made_of", ["zeros", "another client's", "another round's", "another nonce"]
)
def test_c5_a_sum_names_nobody_who_did_not_sign(made_of, monkeypatch):
    attack = Padded()
    proof = {
        "zeros": lambda: enrolment.Proof(bytes(32), bytes(64)),
        "another client's": lambda: attack.honest.proofs[0],
        "another round's": lambda: attack.proof_of(fresh_context(), 3),
        "another nonce": lambda: attack.proof_of(attack.context, 3),
    }[made_of]()
    chunk = attack.forged(proof)
    monkeypatch.setattr("he.crypto.rlwe.Decryptor.phases", never_called)
    with pytest.raises(he.AuthenticationError, match="client 3"):
        attack.open(chunk)


def test_c5_a_sum_names_nobody_who_is_not_enrolled():
    attack = Padded(min_clients=2)
    named = tuple(
        replace(name, client_id=9) if name.client_id == 2 else name
        for name in attack.honest.contributors
    )
    chunk = wire.encode_sum(
        replace(attack.honest, contributors=named), SECRET.public(), attack.hashed
    )
    with pytest.raises(he.AuthenticationError, match="client 9 is not enrolled"):
        attack.open(chunk)


def test_c5_mutant_without_proofs_a_member_and_the_server_pad_a_sum(monkeypatch):
    attack = Padded()
    chunk = attack.forged(enrolment.Proof(bytes(32), bytes(64)))
    monkeypatch.setattr("he.roles.keyholder.check_proof", lambda *_: None)
    opened = attack.open(chunk)
    assert opened.survivors == (1, 2, 3)
    assert np.array_equal(opened.total, VECTORS[1] + VECTORS[2])


def test_the_limit_a_member_and_the_server_still_open_one_input_of_named_clients():
    """What enrolment does not give: names are signed, contents rest on tags, and a member can make tags."""
    attack = Padded(min_clients=2)
    chunk = upload(attack.context, 1, SIGNERS[1])
    victim = wire.open_upload(chunk, SECRET.public(), attack.hashed, sender=1, enrolled=DIRECTORY)
    other = attack.honest.contributors[1]
    masks = MEMBERS.tag_key.masks(other, 0, len(victim.tags))
    bits = SECRET.params.word_bits
    words = restore_low_bits(unpack_words(victim.body, bits), bits).reshape(2, -1, DEGREE)
    alone = replace(
        attack.honest,
        contributors=(victim.name, other),
        tags=tuple((a + b) % MODULUS for a, b in zip(victim.tags, masks, strict=True)),
        proofs=(victim.proof, attack.honest.proofs[1]),
        body=pack_words(words, 60),
    )
    opened = attack.open(wire.encode_sum(alone, SECRET.public(), attack.hashed))
    assert np.array_equal(opened.total, VECTORS[1])


def never_called(*_):
    pytest.fail("decrypted")
