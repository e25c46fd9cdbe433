"""Known answers of wire version 1, read by a second implementation that shares no code with `he`."""

import base64
import hashlib
import hmac
import json
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import he
from he.context import hash_context
from he.packing import unpack
from he.scheme import ring_for
from he.wire import open_upload
from tests.he.make_vectors import PATH, vector_key

Q = 1152921504606830593
DOCUMENT = json.loads(PATH.read_text())
CASES = DOCUMENT["cases"]
NAMES = [case["scheme"] for case in CASES]


def hkdf_sha256(material, info):
    """RFC 5869 without a salt, 32 bytes: one block."""
    extracted = hmac.digest(bytes(32), material, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def integers(packed):
    """60-bit integers, two to 15 bytes, little-endian."""
    for start in range(0, len(packed), 15):
        pair = int.from_bytes(packed[start : start + 15], "little")
        yield pair % 2**60
        yield pair >> 60


@pytest.fixture(params=CASES, ids=NAMES)
def case(request):
    return request.param


def material(case):
    key = vector_key(b"he-v1 " + case["scheme"].encode())
    return struct.pack("<4096Q", *key.tolist())


def secret_of(case):
    params = he.Params.from_bytes(bytes.fromhex(case["params"]))
    return he.SecretContext(params, vector_key(b"he-v1 " + case["scheme"].encode()))


def test_parameters_are_the_documented_octets(case):
    code = {"ckks": 0, "bfv": 1}[case["scheme"]]
    assert case["params"] == struct.pack("<4sBBIQ", b"HEP1", code, 0, 3, 1000).hex()


def test_public_context_follows_from_the_key(case):
    params = bytes.fromhex(case["params"])
    seed = hkdf_sha256(material(case), b"he group key sign " + params)
    verify_key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    fingerprint = hashlib.sha256(b"he fingerprint" + params + verify_key).digest()[:16]
    assert case["public_context"] == (b"HEV1" + params + verify_key + fingerprint).hex()
    assert secret_of(case).public().to_bytes().hex() == case["public_context"]


def test_the_stored_upload_has_the_documented_layout_and_tag(case):
    chunk = base64.b64decode(case["upload"])
    public = bytes.fromhex(case["public_context"])
    assert len(chunk) == 77 + 24 + 30784 + 64
    magic, kind, fingerprint, context, index, count, length, tag, client, nonce = (
        struct.unpack_from("<4sB16s32sIIQQQ16s", chunk)
    )
    assert (magic, kind, fingerprint) == (b"HEC\x01", 1, public[-16:])
    assert context == hashlib.sha256(b"he context" + bytes.fromhex(DOCUMENT["context"])).digest()
    assert (index, count, length, client) == (0, 1, len(DOCUMENT["values"]), DOCUMENT["client_id"])

    seed = hkdf_sha256(material(case), b"he group key tag " + bytes.fromhex(case["params"]))
    stream = hashlib.shake_256(b"he tag vector" + seed).digest(8 * 8256)
    words = [word % 2**60 for word in struct.unpack("<8256Q", stream)]
    vector = [word for word in words if word < Q][:8192]
    mask_key = hashlib.blake2b(b"he tag mask", key=seed, digest_size=32).digest()
    name = struct.pack("<32sQ16sQI", context, client, nonce, length, index)
    mask = hashlib.blake2b(name, key=mask_key, digest_size=32).digest()

    # c0 is in the chunk; c1 is expanded by SEAL, from the seed behind c0
    upload = open_upload(chunk, secret_of(case).public(), context)
    first = list(integers(upload.body[:30720]))
    ring = ring_for(secret_of(case).params)
    both = ring.coefficients(
        ring.ciphertext(he.ciphertext_coefficients(chunk), upload.body[30720:])
    ).tolist()
    assert both[:4096] == first
    expected = sum(r * c for r, c in zip(vector, both, strict=True))
    assert tag == (expected + int.from_bytes(mask, "little")) % Q


def test_the_stored_upload_is_accepted_and_opens_to_its_values(case):
    chunk = base64.b64decode(case["upload"])
    secret = secret_of(case)
    context = bytes.fromhex(DOCUMENT["context"])
    server = he.Server(secret.public(), context=context)
    server.receive(DOCUMENT["client_id"], chunk)
    assert server.contributors == (7,)
    upload = open_upload(chunk, secret.public(), hash_context(context))
    ring = ring_for(secret.params)
    coefficients = ring.coefficients(
        ring.ciphertext(he.ciphertext_coefficients(chunk), upload.body[30720:])
    )
    opened = unpack(secret.open_slots(coefficients), secret.params, contributors=1)
    assert opened[:6].tolist() == DOCUMENT["values"]


@pytest.mark.parametrize("public", [case["public_context"] for case in CASES[::-1]], ids=NAMES)
def test_the_other_cases_context_refuses_the_upload(public):
    chunk = base64.b64decode(CASES[public == CASES[0]["public_context"]]["upload"])
    server = he.Server(
        he.PublicContext.from_bytes(bytes.fromhex(public)),
        context=bytes.fromhex(DOCUMENT["context"]),
    )
    with pytest.raises(he.ContextMismatchError):
        server.receive(7, chunk)
