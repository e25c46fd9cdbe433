"""Known answers of one-time uploads, read by a second implementation on Python's integers."""

import base64
import hashlib
import json
import struct

import numpy as np
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from he.onetime import Params, Server
from tests.he.onetime.make_vectors import CASES, CONTEXT, PATH, layout_of, values_of

DOCUMENT = json.loads(PATH.read_text())


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def public_polynomial(params, limbs, degree, number):
    """a of one polynomial: signed limbs of 16 bits, each its own part of AES-128 in counter mode."""
    seed = sha256(b"he one-time seed", params, sha256(b"he context", CONTEXT))
    key = sha256(b"he one-time polynomials", seed)[:16]
    start = (number * limbs * degree // 8).to_bytes(16, "big")
    stream = Cipher(AES(key), CTR(start)).encryptor().update(bytes(2 * limbs * degree))
    planes = [struct.unpack_from(f"<{degree}h", stream, 2 * degree * limb) for limb in range(limbs)]
    return [sum(plane[j] << 16 * limb for limb, plane in enumerate(planes)) for j in range(degree)]


def negacyclic(one, other, wanted):
    """The first coefficients of a product modulo x^N + 1, by one product of long integers."""
    degree, bits = len(one), 256

    def packed(values):
        half = len(values) // 2
        if not half:
            return values[0]
        return packed(values[:half]) + (packed(values[half:]) << bits * half)

    whole, digits, carry = packed(one) * packed(other), [], 0
    for octets in np.frombuffer(
        whole.to_bytes(2 * degree * bits // 8, "little", signed=True), np.uint8
    ).reshape(-1, bits // 8):
        digit = int.from_bytes(octets.tobytes(), "little") + carry
        carry = digit >> bits - 1
        digits.append(digit - (carry << bits))
    return [digits[j] - digits[j + degree] for j in range(wanted)]


@pytest.mark.parametrize(("case", "arguments"), list(zip(DOCUMENT["cases"], CASES, strict=True)))
def test_a_stored_upload_is_read_by_a_second_implementation(case, arguments):
    n_clients, max_abs, length = arguments
    degree, size, fields, _ = case["layout"]
    params = struct.pack("<4sIQQ", b"HE1P", n_clients, max_abs, length)
    assert case["params"] == params.hex()
    chunks = [base64.b64decode(chunk) for chunk in case["chunks"]]
    digests = [blake3(chunk).digest() for chunk in chunks]
    assert case["digest"] == sha256(b"he one-time upload", *digests).hex()
    fingerprint = sha256(b"he one-time parameters", params)[:16]
    head = struct.pack("<4sB16s32s", b"HEC\x02", 5, fingerprint, sha256(b"he context", CONTEXT))
    key = [int(k) for k in np.frombuffer(base64.b64decode(case["key"]), "i1")]
    values, number, of_each = [], 0, degree * fields
    for index, chunk in enumerate(chunks):
        assert chunk[:73] == head + struct.pack("<IQQ", index, length, 7)
        body = chunk[73:]
        for _ in range(16384 // degree):
            left = length - number * of_each
            if left <= 0:
                break
            width = min(degree, max(128, -(-left // fields)))
            public = public_polynomial(params, -(-size // 2), degree, number)
            product = negacyclic(public, key, width)
            values += integers(body[: width * size], product, case["layout"])
            body, number = body[width * size :], number + 1
        assert not body
    assert values[:length] == values_of(length, max_abs)
    assert not any(values[length:])


def integers(body, product, layout):
    """The integers of one polynomial, field after field, from its bytes and the product of a and the key."""
    _, size, fields, field_bits = layout
    width, modulus, limbs = len(product), 1 << 8 * size, -(-size // 2)
    words = [0] * width
    for limb in range(limbs):
        octets = min(2, size - 2 * limb)
        for j in range(width):
            place = 2 * width * limb + octets * j
            words[j] += int.from_bytes(body[place : place + octets], "little") << 16 * limb
    assert len(body) == width * size
    noise_bits = 8 * size - fields * field_bits
    found = [[0] * width for _ in range(fields)]
    for j in range(width):
        phase = (words[j] + product[j]) % modulus
        rest = phase - modulus if phase >= modulus // 2 else phase
        noise = (rest + (1 << noise_bits - 1)) % (1 << noise_bits) - (1 << noise_bits - 1)
        assert abs(noise) <= 21
        rest = rest - noise >> noise_bits
        for field in range(fields):
            half = 1 << field_bits - 1
            found[field][j] = (rest + half) % (2 * half) - half
            rest = rest - found[field][j] >> field_bits
    return [value for row in found for value in row]


@pytest.mark.parametrize(("case", "arguments"), list(zip(DOCUMENT["cases"], CASES, strict=True)))
def test_the_package_opens_the_stored_uploads(case, arguments):
    params = Params(*arguments)
    assert Params.from_bytes(bytes.fromhex(case["params"])) == params
    server = Server(params, context=CONTEXT)
    for chunk in case["chunks"]:
        server.receive(7, base64.b64decode(chunk))
    assert server.digest(7).hex() == case["digest"]
    server.add(7)
    key = np.frombuffer(base64.b64decode(case["key"]), "i1").astype(np.int64)
    assert server.open_with_key_sum(key).total.tolist() == values_of(arguments[2], arguments[1])


def test_layouts_have_not_changed():
    for n_clients, bits, length, *layout in DOCUMENT["layouts"]:
        assert layout_of(n_clients, bits, length) == layout
