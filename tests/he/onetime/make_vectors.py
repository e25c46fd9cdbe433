"""Writes tests/he/vectors/he-onetime-v1.json: `python -m tests.he.onetime.make_vectors`, once a wire version.

Keys and errors come from the operating system, so a stored upload is a sample; its key is stored with it. The
reader in test_vectors.py shares no code with the package.
"""

import base64
import json
from pathlib import Path

import numpy as np

from he.onetime import Encryptor, Params

PATH = Path(__file__).parents[1] / "vectors" / "he-onetime-v1.json"
CONTEXT = b"he-onetime-v1 vector"
CASES = [
    (3, 1000, 7),
    (100, 2**15, 40),
    (1000, 2**15, 6000),
    (1500, 2**31, 33),
    (2, 2**50, 5),
    (2, 1, 213_100),  # nine polynomials in two chunks
]


def values_of(length, bound):
    """Values from −bound to bound, both included."""
    return [(place * 7919) % (2 * bound + 1) - bound for place in range(length - 2)] + [
        bound,
        -bound,
    ]


def case(n_clients, max_abs, length):
    params = Params(n_clients, max_abs, length)
    encryptor = Encryptor(params, 7, context=CONTEXT)
    chunks = list(encryptor.encrypt(np.array(values_of(length, max_abs), np.int64)))
    layout = params.layout
    return {
        "params": params.to_bytes().hex(),
        "layout": [layout.degree, layout.word_bytes, layout.fields, layout.field_bits],
        "chunks": [base64.b64encode(chunk).decode() for chunk in chunks],
        "digest": encryptor.digest.hex(),
        "key": base64.b64encode(encryptor.take_key().astype("i1").tobytes()).decode(),
    }


def layouts():
    """Rows of arguments and layouts: all parties derive them, so they may not change within a version."""
    sizes = [
        (n, bits, 10**p) for n in (2, 10, 100, 1000) for bits in (2, 16, 32) for p in (1, 4, 7)
    ]
    return [[*size, *layout_of(*size)] for size in sizes]


def layout_of(n_clients, bits, length):
    found = Params(n_clients, 2 ** (bits - 1), length).layout
    return [found.degree, found.word_bytes, found.fields, found.field_bits]


if __name__ == "__main__":
    document = {
        "source": "made by tests/he/onetime/make_vectors.py of this repository; licence as the repository",
        "checked_by": "tests/he/onetime/test_vectors.py: written anew there, on Python's integers",
        "context": CONTEXT.hex(),
        "cases": [case(*arguments) for arguments in CASES],
        "layouts": layouts(),
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n")
