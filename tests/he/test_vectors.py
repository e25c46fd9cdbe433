"""Known answers of parameters version 3, read by a second implementation that shares no code with `he`."""

import base64
import hashlib
import hmac
import json
import struct

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

import he
from he.coding.packing import unpack
from he.coding.plaintexts import decode
from he.coding.words import restore_low_bits, unpack_words
from he.crypto.streams import uniform
from he.rounds import hash_context
from he.wire import open_upload
from tests.he.make_vectors import ENROLLED, PATH, layout, vector_key

Q = 1152921504606830593
BFV_BITS = 56
DOCUMENT = json.loads(PATH.read_text())
CASES = DOCUMENT["cases"]
NAMES = [case["scheme"] for case in CASES]


def hkdf_sha256(material, info):
    """RFC 5869 without a salt, 32 bytes: one block."""
    extracted = hmac.digest(bytes(32), material, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def integers(body, bits):
    """Coefficients of c0 from planes of 32, 16, 8 and 4 bits; the middle where low bits are missing."""
    start, shift, words = 0, 0, [0] * 4096
    for width in (32, 16, 8, 4):
        if width != 32 and not (bits - 32) & width:
            continue
        plane = int.from_bytes(body[start : start + 512 * width], "little")
        octets = plane.to_bytes(512 * width, "little")
        for place in range(4096):
            if width == 4:
                digit = octets[place // 2] >> 4 * (place % 2) & 15
            else:
                size = width // 8
                digit = int.from_bytes(octets[place * size : (place + 1) * size], "little")
            words[place] += digit << shift
        start, shift = start + 512 * width, shift + width
    dropped = 60 - bits
    return [(word << dropped | (1 << dropped >> 1)) % Q for word in words]


@pytest.fixture(params=CASES, ids=NAMES)
def case(request):
    return request.param


def material(case):
    key = vector_key(b"he-v3 " + case["scheme"].encode())
    return struct.pack("<4096Q", *key.tolist())


def secret_of(case):
    params = he.Params.from_bytes(bytes.fromhex(case["params"]))
    return he.SecretContext(params, vector_key(b"he-v3 " + case["scheme"].encode()))


def test_parameters_are_the_documented_octets(case):
    code = {"ckks": 0, "bfv": 1}[case["scheme"]]
    assert case["params"] == struct.pack("<4sBBBIQ", b"HEP3", code, 0, 0, 3, 1000).hex()


def test_layouts_are_those_of_this_version():
    """Parties derive the layout each for itself: another one under one identifier would decode wrongly."""
    stored = DOCUMENT["layouts"]
    assert len(stored) == 320
    assert [layout(*row[:5]) for row in stored] == stored


def test_public_context_follows_from_the_key(case):
    params = bytes.fromhex(case["params"])
    seed = hkdf_sha256(material(case), b"he group key sign " + params)
    verify_key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    fingerprint = hashlib.sha256(b"he fingerprint" + params + verify_key).digest()[:16]
    assert case["public_context"] == (b"HEV2" + params + verify_key + fingerprint).hex()
    assert secret_of(case).public().to_bytes().hex() == case["public_context"]


def test_the_stored_upload_has_the_documented_layout_and_tag(case):
    chunk = base64.b64decode(case["upload"])
    public = bytes.fromhex(case["public_context"])
    bits = {"ckks": 60, "bfv": BFV_BITS}[case["scheme"]]
    assert len(chunk) == 65 + 40 + 8 + 512 * bits + 64
    magic, kind, fingerprint, context, index, length, client, nonce, tag = struct.unpack_from(
        "<4sB16s32sIQQ32sQ", chunk
    )
    assert (magic, kind, fingerprint) == (b"HEC\x02", 1, public[-16:])
    assert context == hashlib.sha256(b"he context" + bytes.fromhex(DOCUMENT["context"])).digest()
    assert (index, length, client) == (0, len(DOCUMENT["values"]), DOCUMENT["client_id"])

    seed = hkdf_sha256(material(case), b"he group key tag " + bytes.fromhex(case["params"]))
    stream = hashlib.shake_256(b"he tag vector" + seed).digest(8 * 4160)
    words = [word % 2**60 for word in struct.unpack("<4160Q", stream)]
    vector = [word for word in words if word < Q][:4096]
    mask_key = hashlib.blake2b(b"he tag mask", key=seed, digest_size=32).digest()
    name = struct.pack("<32sQ32sQI", context, client, nonce, length, index)
    mask = hashlib.shake_256(mask_key + name).digest(32)

    coefficients = integers(chunk[113:-64], bits)
    assert he.ciphertext_coefficients(chunk).tolist() == coefficients
    expected = sum(r * c for r, c in zip(vector, coefficients, strict=True))
    assert tag == (expected + int.from_bytes(mask, "little")) % Q

    signed = blake3(b"he upload chunk" + chunk[:-64]).digest()
    seed = hkdf_sha256(material(case), b"he group key sign " + bytes.fromhex(case["params"]))
    Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(chunk[-64:], signed)


def test_the_stored_upload_is_accepted_and_opens_to_its_values(case):
    chunk = base64.b64decode(case["upload"])
    secret = secret_of(case)
    context = bytes.fromhex(DOCUMENT["context"])
    server = he.Server(secret.public(), context=context)
    server.receive(DOCUMENT["client_id"], chunk)
    assert server.contributors == (7,)
    upload = open_upload(chunk, secret.public(), hash_context(context))
    bits = secret.params.word_bits
    parts = restore_low_bits(unpack_words(upload.body, bits), bits).reshape(1, 1, 4096)
    phase = secret.phase(parts, [upload.name.nonce], 0)
    slots = decode(phase, secret.params, contributors=1)
    assert unpack(slots, secret.params, contributors=1)[:6].tolist() == DOCUMENT["values"]


def test_c1_is_the_documented_key_stream():
    """AES-128-CTR under a hash of the nonce, 60 bits of each word, 4,104 words a ciphertext."""
    chunk = base64.b64decode(CASES[0]["upload"])
    nonce = chunk[73:105]
    key = hashlib.sha256(b"he uniform polynomials" + nonce).digest()[:16]
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(3 * 8 * 4104))
    words = [word % 2**60 for word in struct.unpack(f"<{3 * 4104}Q", stream)]
    assert uniform(nonce, 2, 1)[0].tolist() == words[2 * 4104 : 2 * 4104 + 4096]


@pytest.mark.parametrize("public", [case["public_context"] for case in CASES[::-1]], ids=NAMES)
def test_the_other_cases_context_refuses_the_upload(public):
    chunk = base64.b64decode(CASES[public == CASES[0]["public_context"]]["upload"])
    server = he.Server(
        he.PublicContext.from_bytes(bytes.fromhex(public)),
        context=bytes.fromhex(DOCUMENT["context"]),
    )
    with pytest.raises(he.ContextMismatchError):
        server.receive(7, chunk)


OWN = json.loads(ENROLLED.read_text())


def enrolled_server():
    seeds = {int(client): bytes.fromhex(seed) for client, seed in OWN["seeds"].items()}
    public = {
        client: Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        for client, seed in seeds.items()
    }
    context = he.PublicContext.from_bytes(bytes.fromhex(OWN["public_context"]))
    return he.Server(context, context=bytes.fromhex(OWN["context"]), enrolled=he.Directory(public))


def test_the_enrolled_upload_is_signed_as_documented():
    """Kind 3; a label, 105 bytes of head and the hash of what follows them, under the client's own seed."""
    chunk = base64.b64decode(OWN["upload"])
    assert chunk[:5] == b"HEC\x02\x03"
    assert struct.unpack_from("<Q", chunk, 65) == (7,)
    statement = b"he enrolled upload\0" + chunk[:105] + blake3(chunk[105:-64]).digest()
    seed = bytes.fromhex(OWN["seeds"]["7"])
    assert chunk[-64:] == Ed25519PrivateKey.from_private_bytes(seed).sign(statement)
    server = enrolled_server()
    server.receive(7, chunk)
    assert server.contributors == (7,)


@pytest.mark.parametrize("case", OWN["refused"], ids=lambda case: case["why"])
def test_what_is_no_enrolled_upload_is_refused(case):
    chunk = bytearray(base64.b64decode(OWN["upload"]))
    chunk[4] = case.get("kind", 3)
    chunk[53:57] = struct.pack("<I", case.get("index", 0))
    chunk[-64:] = bytes.fromhex(case.get("signature", chunk[-64:].hex()))
    server = enrolled_server()
    with pytest.raises(getattr(he, case["error"]), match=f"client {case['sender']}"):
        server.receive(case["sender"], bytes(chunk))
    assert server.contributors == ()
