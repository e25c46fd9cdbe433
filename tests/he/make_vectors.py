"""Writes tests/he/vectors/he-v2.json: run as `python -m tests.he.make_vectors`, once a wire version.

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

PATH = Path(__file__).parent / "vectors" / "he-v2.json"
CONTEXT = b"he-v2 vector"
VALUES = [0, 1, -1, 1000, -1000, 123]


def vector_key(label):
    """A key that is a function of its label. It is not small, as real ones are: SEAL does not mind."""
    stream = np.frombuffer(hashlib.shake_256(label).digest(8 * DEGREE), "<u8")
    return (stream % np.uint64(MODULUS)).astype(np.uint64)


def case(scheme):
    params = he.Params.for_sum(3, max_abs=1000, scheme=scheme)
    secret = he.SecretContext(params, vector_key(b"he-v2 " + scheme.encode()))
    client = he.Client(secret, 7, context=CONTEXT)
    (chunk,) = client.encrypt(np.array(VALUES, np.int64))
    return {
        "scheme": scheme,
        "params": params.to_bytes().hex(),
        "public_context": secret.public().to_bytes().hex(),
        "upload": base64.b64encode(chunk).decode(),
    }


def main():
    document = {
        "source": "made by tests/he/make_vectors.py of this repository; licence as the repository",
        "checked_by": "tests/he/test_vectors.py: HKDF, fingerprint, wire and tag written anew there",
        "context": CONTEXT.hex(),
        "client_id": 7,
        "values": VALUES,
        "n_clients": 3,
        "max_abs": 1000,
        "cases": [case("ckks"), case("bfv")],
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
