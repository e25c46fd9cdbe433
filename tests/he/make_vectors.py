"""Writes tests/he/vectors: run as `python -m tests.he.make_vectors`, once a wire version.

Encryption draws from the operating system, so the stored uploads are samples, not functions of
the key. What is derived from the key (verify key, tag key, masks) is reproduced by the reader in
test_vectors.py, which shares no code with the package.
"""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np

import he
from he.params import DEGREE, MODULUS
from he.wire import sign_as_client

PATH = Path(__file__).parent / "vectors" / "he-v3.json"
ENROLLED = PATH.with_name("he-v3-enrolled.json")
CONTEXT = b"he-v3 vector"
VALUES = [0, 1, -1, 1000, -1000, 123]


def vector_key(label):
    """A key that is a function of its label. It is not small, as real ones are: SEAL does not mind."""
    stream = np.frombuffer(hashlib.shake_256(label).digest(8 * DEGREE), "<u8")
    return (stream % np.uint64(MODULUS)).astype(np.uint64)


def case(scheme):
    params = he.Params.for_sum(3, max_abs=1000, scheme=scheme)
    secret = he.SecretContext(params, vector_key(b"he-v3 " + scheme.encode()))
    client = he.Client(secret, 7, context=CONTEXT)
    (chunk,) = client.encrypt(np.array(VALUES, np.int64))
    return {
        "scheme": scheme,
        "params": params.to_bytes().hex(),
        "public_context": secret.public().to_bytes().hex(),
        "upload": base64.b64encode(chunk).decode(),
    }


def layouts():
    """How parameters lay out integers: all parties derive it, so it may not change within a version."""
    sizes = [(n, bits) for n in (2, 10, 47, 100, 1000) for bits in (2, 8, 13, 16, 20, 24, 30, 32)]
    return [
        layout(n, 0 if ring else 2 ** (bits - 1), scheme, public_key, bits if ring else 0)
        for n, bits in sizes
        for scheme in ("ckks", "bfv")
        for public_key in (False, True)
        for ring in (False, True)
    ]


def layout(n_clients, max_abs, scheme, public_key, ring_bits):
    """One row: the arguments, then limbs, fields, bits of a word and the plain modulus."""
    params = he.Params.for_sum(
        n_clients,
        max_abs=max_abs or None,
        scheme=scheme,
        public_key=public_key,
        ring_bits=ring_bits,
    )
    derived = (params.limbs, params.fields, params.word_bits, params.plain_modulus)
    return [n_clients, max_abs, scheme, public_key, ring_bits, *derived]


def enrolled():
    """An enrolled client's upload in public-key mode, and what must be refused in its place."""
    params = he.Params.for_sum(3, max_abs=1000, scheme="bfv", public_key=True)
    secret = he.SecretContext(params, vector_key(b"he-v3 enrolled"))
    seeds = {7: bytes(range(32)), 8: bytes(range(32, 64))}
    signers = {client: he.SigningKey.from_private_bytes(seed) for client, seed in seeds.items()}
    client = he.Client(secret.encryptor(), 7, context=CONTEXT, signing_key=signers[7])
    (chunk,) = client.encrypt(np.array(VALUES, np.int64))
    by_group = secret.sign(chunk[:-64])
    by_other = sign_as_client(chunk[:-64], signers[8])[-64:]
    as_group = chunk[:4] + b"\x01" + chunk[5:-64]
    refused = [
        {"sender": 8, "why": "another client's chunk", "error": "RemoteProtocolError"},
        {"sender": 9, "why": "not enrolled", "error": "RemoteProtocolError"},
        {
            "sender": 7,
            "why": "signed by client 8",
            "error": "AuthenticationError",
            "signature": by_other,
        },
        {
            "sender": 7,
            "why": "signed by the group",
            "error": "AuthenticationError",
            "signature": by_group,
        },
        {
            "sender": 7,
            "why": "an upload of the group",
            "error": "AuthenticationError",
            "kind": 1,
            "signature": secret.sign(as_group),
        },
        {"sender": 7, "why": "another chunk", "error": "AuthenticationError", "index": 1},
    ]
    for case in refused:
        if "signature" in case:
            case["signature"] = case["signature"].hex()
    return {
        "source": "made by tests/he/make_vectors.py of this repository; licence as the repository",
        "checked_by": "tests/he/test_vectors.py: the statement and its signature written anew there",
        "context": CONTEXT.hex(),
        "seeds": {str(client): seed.hex() for client, seed in seeds.items()},
        "public_context": secret.public().to_bytes().hex(),
        "upload": base64.b64encode(chunk).decode(),
        "refused": refused,
    }


def main():
    ENROLLED.write_text(json.dumps(enrolled(), indent=1) + "\n")
    if PATH.exists():  # samples of a wire version are made once
        return
    document = {
        "source": "made by tests/he/make_vectors.py of this repository; licence as the repository",
        "checked_by": "tests/he/test_vectors.py: HKDF, fingerprint, wire and tag written anew there",
        "context": CONTEXT.hex(),
        "client_id": 7,
        "values": VALUES,
        "n_clients": 3,
        "max_abs": 1000,
        "cases": [case("ckks"), case("bfv")],
        "layouts": "LAYOUTS",
    }
    rows = ",\n  ".join(json.dumps(row) for row in layouts())
    text = json.dumps(document, indent=1).replace('"LAYOUTS"', f"[\n  {rows}\n ]")
    PATH.write_text(text + "\n")


if __name__ == "__main__":
    main()
